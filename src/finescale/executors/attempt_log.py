"""The log of one attempt at a run: all that it and its libraries print, with times, in the run's folder.

While a run is executed, the process's standard output and error go to the file itself, so that a library's
last words are there however the process ends. A log that cannot be written costs no run.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STAMPED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_BAR = re.compile(r"\d+%\|")
_NO_CAUSE = ("Extension modules:", "Current thread", "Traceback (most recent call last)")
LAST_BYTES = 20_000


def log_file(folder: Path, run: str, attempt: int) -> Path:
    """Where the log of an attempt is, in a study's folder."""
    return folder / "runs" / run / "logs" / f"{attempt}.log"


def note(path: Path | None, words: str) -> None:
    """Adds a line with the time; nothing happens where there is no log, or no room for it."""
    if path is None:
        return
    line = f"{datetime.now():%Y-%m-%d %H:%M:%S} {words}\n"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(line)


def last_words(text: str, lines: int = 3) -> str:
    """The last lines that a library printed: without our own, which begin with a time, and progress bars."""
    said = [line.rstrip() for line in text.splitlines()]
    said = [line for line in said if line and not line.startswith(_NO_CAUSE)]
    said = [line for line in said if not (_STAMPED.match(line) or _BAR.search(line))]
    fatal = next((i for i, line in enumerate(said) if line.startswith("Fatal Python error")), None)
    said = said[-lines:] if fatal is None else said[fatal : fatal + lines]
    return "\n".join(said)


def tail(path: Path | None) -> str:
    """The end of a log; empty where there is none."""
    if path is None:
        return ""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


@contextlib.contextmanager
def capture_output(path: Path | None, level: str = "info") -> Iterator[None]:
    """Sends all that this process prints to a log.

    Args:
        path: The file; None: nothing changes.
        level: The lowest level of Python's own log messages that are kept, one of `LEVELS`.
    """
    file = _open(path)
    if file is None:
        yield
        return
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    handler = logging.StreamHandler(_stream(2))
    handler.setFormatter(logging.Formatter(FORMAT, "%Y-%m-%d %H:%M:%S"))
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    try:
        _flush()
        for descriptor in (1, 2):
            os.dup2(file, descriptor)
        yield
    finally:
        _flush()
        for descriptor, was in zip((1, 2), kept, strict=True):
            os.dup2(was, descriptor)
            os.close(was)
        os.close(file)
        logging.captureWarnings(False)
        root.removeHandler(handler)
        root.setLevel(before)


def forgiving_streams() -> None:
    """Makes printing safe: on a full disk, or in an encoding that lacks a letter, it costs no run."""
    sys.stdout, sys.stderr = _stream(1), _stream(2)


def _open(path: Path | None) -> int | None:
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError:
        return None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _stream(descriptor: int) -> TextIO:
    raw = _Forgiving(descriptor)
    buffered = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)


class _Forgiving(io.RawIOBase):
    """A file descriptor whose failed writes are dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def write(self, data: object, /) -> int:
        size = memoryview(data).nbytes  # pyright: ignore[reportArgumentType]
        with contextlib.suppress(OSError):
            os.write(self._descriptor, data)  # pyright: ignore[reportArgumentType]
        return size
