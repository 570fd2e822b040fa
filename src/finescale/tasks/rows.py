"""Rows of a data file (JSONL, JSON, CSV, TSV, Parquet), each with its line, for messages that say where."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from finescale.errors import UsageError
from finescale.tasks.foreign import refuse_pointer, remedy_of

ONE_OBJECT = 'one object a line, e.g. {"source": "...", "target": "..."}, or one array of objects'
DELIMITERS = (",", ";", "\t")
LONGEST_FIELD = 2**31 - 1
"""Characters of a CSV field; Python's own limit (131,072) is below the length of a long document."""
SNIFFED = 1_000_000, 20
"""Characters and rows of a CSV file that tell its delimiter."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DATA = re.compile(r'\s*\{\s*"data"\s*:\s*(?=\[)')
"""How a file begins that is one object with its rows in `data`."""
_AFTER = re.compile(r"[ \t\r\n]*(?:,[ \t\r\n]*|(?=\]))")
"""What stands between two items of an array, or before its end."""


class Row(NamedTuple):
    """One row of a file: its line (a Parquet file: its row, from 1), and column name to value."""

    line: int
    values: dict[str, Any]


def read_rows(path: Path, where: str | None = None) -> list[Row]:
    """Reads a file whole.

    Args:
        path: A .jsonl, .json, .csv, .tsv or .parquet file. JSON may be an array of objects, lines of them, or
            one object whose `data` is an array of them.
        where: The field that names it, for messages about the file as a whole. Default: its path.

    Raises:
        UsageError: No such file, another kind of file, invalid UTF-8, or a line that cannot be read.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise UsageError(
            "unknown kind of data file",
            wanted="a name that ends in " + ", ".join(READERS),
            got=path.name,
            remedy=remedy_of(path),
            where=where or str(path),
        )
    if not path.is_file():
        beside = sorted(item.name for item in path.parent.glob("*") if item.suffix in READERS)
        raise UsageError(
            "no such data file",
            wanted="a file, relative to the study file",
            got=str(path),
            remedy=f"there is: {', '.join(beside[:5])}" if beside else "",
            where=where or str(path),
        )
    refuse_pointer(path)
    return list(read(path))


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(
            "invalid UTF-8",
            wanted="text in UTF-8",
            got=f"the byte 0x{error.object[error.start]:02x}",
            remedy="convert the file, e.g. with iconv",
            where=f"{path}, line {line}",
        ) from None


def _json(path: Path) -> Iterator[Row]:
    """Objects line by line, or the objects of one array."""
    text = _text(path)
    start = len(text) - len(text.lstrip())
    if text.startswith("[", start) and not _is_line_of_json(text[start:].split("\n", 1)[0]):
        yield from _array(path, text, start)
        return
    if (start := _array_of_data(text)) is not None:
        yield from _array(path, text, start, whole=False)
        return
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        where = f"{path}, line {line}"
        try:
            values = json.loads(content, object_pairs_hook=_distinct(where))
        except UsageError:
            raise
        except (ValueError, RecursionError) as error:
            raise UsageError(
                "not a line of JSON", wanted=ONE_OBJECT, got=f"{error}: {content[:60]}", where=where
            ) from None
        yield Row(line, _object(values, content, where))


def _is_line_of_json(content: str) -> bool:
    """Whether a line that begins with a bracket is a whole list, no beginning of an array of objects."""
    try:
        found = json.loads(content)
        return len(found) > 0 and not any(isinstance(item, dict) for item in found)
    except (ValueError, RecursionError):
        return False


def _array_of_data(text: str) -> int | None:
    """Where the rows begin of a file that is one object with objects in `data`; None for any other file."""
    found = _DATA.match(text)
    if found is None:
        return None
    try:
        rows = json.loads(text)["data"]
    except (ValueError, RecursionError):  # lines of such objects, or no JSON
        return None
    chat = {"role", "content"}, {"from", "value"}
    rowlike = rows and all(
        isinstance(row, dict) and not any(keys <= row.keys() for keys in chat) for row in rows
    )
    return found.end() if rowlike else None


def _array(path: Path, text: str, start: int, *, whole: bool = True) -> Iterator[Row]:
    """The objects of an array, each with the line on which it begins; nothing follows if it is the whole."""
    at, line, seen = start + 1, text.count("\n", 0, start + 1) + 1, start + 1
    wanted = 'an array of objects, [{"source": "...", "target": "..."}, ...]'
    while True:
        at = _SPACE.match(text, at).end()  # pyright: ignore[reportOptionalMemberAccess] - nothing matches, too
        line, seen = line + text.count("\n", seen, at), at
        where = f"{path}, line {line}"
        if text.startswith("]", at):
            if whole and text[at + 1 :].strip():
                raise UsageError(
                    "text after the array", wanted=wanted, got=text[at + 1 :].strip()[:60], where=where
                )
            return
        try:
            values, at = json.JSONDecoder(object_pairs_hook=_distinct(where)).raw_decode(text, at)
        except UsageError:
            raise
        except (ValueError, RecursionError) as error:
            raise UsageError("not an array of JSON", wanted=wanted, got=str(error), where=where) from None
        yield Row(line, _object(values, text[seen:at], where))
        found = _AFTER.match(text, at)
        if found is None:
            got = text[at : at + 60].strip() or "the end of the file"
            raise UsageError("not an array of JSON", wanted="a comma, or ]", got=got, where=where)
        at = found.end()


def _object(values: Any, content: str, where: str) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise UsageError("not a JSON object", wanted=ONE_OBJECT, got=content[:60], where=where)
    if "\\ud" in content or "\\uD" in content:
        for name, value in values.items():
            refuse_half({name: value}, f"{where}, {name}")
    return values


def refuse_half(value: Any, where: str) -> None:
    """Refuses escapes that are half of a surrogate pair: JSON reads them, and no text can hold them.

    Args:
        value: What JSON gave.
        where: File, line and field.

    Raises:
        UsageError: There is one.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UsageError(
            "half of a surrogate pair",
            wanted="text: a character beyond U+FFFF is two escapes, such as \\ud83d\\ude00",
            got=f"\\u{ord(error.object[error.start]):04x} alone",
            remedy="remove it or the row; it comes from a text that was cut inside a character",
            where=where,
        ) from None


def _distinct(where: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Makes an object of its pairs, none of which may be there twice: JSON would take the last silently."""

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            _refuse_twice([name for name, _ in pairs], where, "keys")
        return found

    return made


def _refuse_twice(names: list[str], where: str, kind: str) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        places = " and ".join(str(place) for place, name in enumerate(names, 1) if name == twice)
        raise UsageError(
            f"two {kind} are called {twice!r}",
            wanted="different names: it is ambiguous which is meant",
            got=f"{kind} {places} of {', '.join(names)[:120]}",
            remedy="rename or remove one of them",
            where=where,
        )


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    text = _text(path)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise UsageError(
                "not a row of CSV",
                wanted='fields as in the header; those that hold a delimiter or a line break in "quotes"',
                got=str(error),
                remedy='inside quotes write a quote twice: ""',
                where=f"{path}, line {line}",
            ) from None
        if fields is None:
            return
        if not header:
            header = fields
            _refuse_twice(header, f"{path}, line {line}", "columns")
        elif fields:
            if len(fields) != len(header):
                raise UsageError(
                    "a row with another number of fields than the header",
                    wanted=f"{len(header)}: {', '.join(header)[:80]}",
                    got=str(len(fields)),
                    remedy='put fields that hold the delimiter or a line break in "quotes"',
                    where=f"{path}, line {line}",
                )
            yield Row(line, dict(zip(header, fields, strict=True)))


def _delimiter(text: str) -> str:
    """The delimiter that divides header and rows alike, and into most fields; the comma where none does."""
    characters, rows = SNIFFED
    start = text[:characters]

    def fit(mark: str) -> tuple[bool, float, int]:
        reader = csv.reader(io.StringIO(start, newline=""), delimiter=mark)
        header, *others = [len(fields) for fields in islice(filter(None, reader), rows)] or [0]
        alike = sum(fields == header for fields in others) / len(others) if others else 1.0
        return header > 1, alike, header

    return max(DELIMITERS, key=fit)


def _parquet(path: Path) -> Iterator[Row]:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        said = str(error).splitlines()[0]
        raise UsageError("not a Parquet file", wanted="Parquet", got=said[:120], where=str(path)) from None
    for row, values in enumerate(frame.iter_rows(named=True), start=1):
        yield Row(row, values)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _json, ".json": _json, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet
}  # fmt: skip
"""The kinds of data files by the end of their names."""
