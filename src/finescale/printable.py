"""Names and messages from files and other programs, safe to show."""

from __future__ import annotations

import re

_UNSAFE = (
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 without tab and line feed: cursor, colours, window title
    "\u2028-\u202e\u2066-\u2069"  # line separators, and what turns the direction of writing around
    "\ud800-\udfff]"  # halves of surrogate pairs: no encoding can write them
)
UNPRINTABLE = re.compile(_UNSAFE)
"""Characters that do something to a terminal or cannot be written at all."""
FOR_POLARS = _UNSAFE.partition("\ud800")[0] + "]"
"""The same for polars, whose strings have no surrogates."""
INSTEAD = "\ufffd"


def printable(words: str) -> str:
    """The words with U+FFFD for every character that is unsafe to show; line breaks and tabs stay."""
    return UNPRINTABLE.sub(INSTEAD, words)
