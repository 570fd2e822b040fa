"""What a kind of source is: how its artefacts are told by their content, and how they become a raw table."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl

from finescale.errors import UsageError
from finescale.records.reading import RawTable

_SKIPPED = ("node_modules", "__pycache__", "site-packages")
_SQLITE = b"SQLite format 3\x00"
_LARGEST_JSON = 100_000_000


@dataclass(frozen=True)
class Tree:
    """The files below a folder, walked once for all kinds.

    Attributes:
        root: The folder.
        folders: Every folder below it, itself included, with the names of its files; hidden ones left out.
    """

    root: Path
    folders: Mapping[Path, tuple[str, ...]]

    @classmethod
    def of(cls, root: Path) -> Tree:
        """Walks a folder."""
        found: dict[Path, tuple[str, ...]] = {}
        for place, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name[0] != "." and name not in _SKIPPED)
            found[Path(place)] = tuple(sorted(files))
        return cls(root, found)

    def files(self, matches: Callable[[str], bool]) -> list[Path]:
        """The files whose names match."""
        return [place / name for place, names in self.folders.items() for name in names if matches(name)]

    @cached_property
    def databases(self) -> dict[Path, frozenset[str]]:
        """The SQLite files with the names of their tables."""
        return {
            file: sqlite_tables(file) for file in self.files(lambda name: name.endswith(_DATABASES))
            if is_sqlite(file)
        }  # fmt: skip


_DATABASES = (".db", ".sqlite", ".sqlite3")


@dataclass(frozen=True)
class Kind:
    """A kind of source.

    Attributes:
        name: As ``--source`` takes it.
        title: In words, for messages.
        places: What of it lies below a folder; empty: nothing.
        read: The raw table of such places, of one file, or of an address.
        is_file: Whether a single file is of the kind.
        is_address: Whether a text that names no file is an address of it.
        holds: Runs, or the scores of runs.
    """

    name: str
    title: str
    places: Callable[[Tree], Sequence[Path]]
    read: Callable[[Path | str, Sequence[Path]], RawTable]
    is_file: Callable[[Path], bool] = lambda file: False
    is_address: Callable[[str], bool] = lambda text: False
    holds: Literal["runs", "scores"] = "runs"


def is_sqlite(file: Path) -> bool:
    """Whether a file is an SQLite database."""
    return begins(file, len(_SQLITE)) == _SQLITE


def sqlite_tables(file: Path) -> frozenset[str]:
    """The names of a database's tables; none where it cannot be read."""
    import sqlite3  # noqa: PLC0415 - only where a database is looked at

    try:
        with sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True) as database:
            return frozenset(name for (name,) in database.execute("SELECT name FROM sqlite_master"))
    except sqlite3.Error:
        return frozenset()


def begins(file: Path, many: int) -> bytes:
    """A file's first bytes; none where it cannot be read."""
    try:
        with file.open("rb") as stream:
            return stream.read(many)
    except OSError:
        return b""


def json_object(file: Path) -> dict[str, Any]:
    """The object of a JSON file; empty where there is no file.

    Raises:
        UsageError: It holds something else.
    """
    if not file.is_file():
        return {}
    try:
        if file.stat().st_size > _LARGEST_JSON:
            raise UsageError("too large", wanted=f"at most {_LARGEST_JSON:,} bytes", where=str(file))
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("not JSON", wanted="an object", got=str(error), where=str(file)) from None
    if not isinstance(found, dict):
        raise UsageError("not an object", wanted="an object", got=type(found).__name__, where=str(file))
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a number; truth values are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names; lists as text."""
    made: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            made |= flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, str | bool) or is_number(value):
            made[f"{prefix}{name}"] = value
        else:
            made[f"{prefix}{name}"] = str(value)
    return made


def table_of(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame; a column of several types is text, and one without any value is left out."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        if all(value is None for value in values):
            continue
        if any(isinstance(value, str | bool) for value in values):
            values = [None if value is None else str(value) for value in values]
        elif any(isinstance(value, float) for value in values):
            values = [None if value is None else float(value) for value in values]
        columns.append(pl.Series(name, values, strict=False))
    return pl.DataFrame(columns)


def told_apart(rows: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The rows without a column in which all are the same: a project's name where there is one project."""
    if len({row.get(name) for row in rows}) > 1:
        return list(rows)
    return [{key: value for key, value in row.items() if key != name} for row in rows]


def needs(package: str, extra: str, what: str) -> UsageError:
    """The error where a package that reads a source is not installed."""
    return UsageError(
        f"reading {what} takes a package that is not installed",
        wanted=package,
        remedy=f'pip install "finescale[{extra}]"',
    )
