"""The terminal that every command prints to: its width, its colours, and prose as it is."""

from __future__ import annotations

import os

from rich.console import Console

from finescale.errors import printable

WIDTH = 160
"""Characters of a line where output is piped and `COLUMNS` does not say."""


def console() -> Console:
    """A console as wide as `COLUMNS` says, else as its terminal, else `WIDTH`; `NO_COLOR` is heeded."""
    made = Console()
    stated = os.environ.get("COLUMNS", "")
    if stated.isdigit() and int(stated) > 0:
        return Console(width=int(stated))
    return made if made.is_terminal else Console(width=WIDTH)


def say(to: Console, text: str, style: str | None = None) -> None:
    """Prints prose as it is: no markup or control characters in names, no line breaks where it is piped."""
    to.print(printable(text), style=style, markup=False, highlight=False, soft_wrap=True)
