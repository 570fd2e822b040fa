"""Text files that are written aside and renamed: nobody ever reads half of one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from finescale.errors import UsageError


def write_text(text: str, to: Path) -> None:
    """Writes a file whole, or leaves what was there.

    Args:
        text: What is written, in UTF-8.
        to: The file.

    Raises:
        UsageError: The file cannot be written.
    """
    aside = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        aside.write_text(text, encoding="utf-8")
        aside.replace(to)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise UsageError(
            "cannot write", got=str(error.strerror), remedy="check the path", where=str(to)
        ) from None
