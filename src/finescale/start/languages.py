"""Which languages texts are in, where the extra that tells them is installed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib.util import find_spec

LEAST_BYTES = 40
"""So many bytes of letters (UTF-8) tell a text's language: a sentence, or 14 characters of Chinese."""
LOOKED_LETTERS = 400
_NAMES = {"zxx": "no language"}
_FEWEST = 5
"""Fewer texts than this tell nothing of a column."""


def can_tell_languages() -> bool:
    """Whether the extra `languages` is installed."""
    return find_spec("py3langid") is not None


def languages(texts: Iterable[str]) -> str:
    """The languages of texts by their codes (ISO 639), the most frequent first, those of a twentieth or more.

    Each text that is long enough is told by py3langid's model, which is in its package; empty where too few
    are, or the extra is not installed.

    Example:
        >>> languages(["Click the button to open a new window, and wait until it is there."] * 5)
        'en'
    """
    if not can_tell_languages():
        return ""
    import py3langid  # noqa: PLC0415 - an extra

    long = [text[:LOOKED_LETTERS] for text in texts if _letters(text) >= LEAST_BYTES]
    if len(long) < _FEWEST:
        return ""
    found = Counter(_NAMES.get(code, str(code)) for code, _ in map(py3langid.classify, long))
    many = [(name, count) for name, count in found.most_common(6) if count >= len(long) / 20]
    if len(many) == 1:
        return many[0][0]
    return ", ".join(f"{name} {count / len(long):.0%}" for name, count in many)


def _letters(text: str) -> int:
    return len("".join(filter(str.isalpha, text[:LOOKED_LETTERS])).encode())
