"""Rows of a data file - JSONL, CSV, TSV or Parquet - each with its line, for messages that say where."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from finescale.errors import UsageError

LONGEST_FIELD = 2**31 - 1
"""Characters of a CSV field; Python's own limit (131,072) is below the length of a long document."""


class Row(NamedTuple):
    """One row of a file: its line (a Parquet file: its row, from 1), and column name to value."""

    line: int
    values: dict[str, Any]


def read_rows(path: Path, where: str | None = None) -> list[Row]:
    """Reads a file whole.

    Args:
        path: A .jsonl, .csv, .tsv or .parquet file.
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
            remedy="write one JSON object a line, as .jsonl" if path.suffix == ".json" else "",
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


def _jsonl(path: Path) -> Iterator[Row]:
    for line, text in enumerate(_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                "not a line of JSON",
                wanted='one object a line, e.g. {"source": "...", "target": "..."}',
                got=f"{error}: {text[:60]}",
                where=f"{path}, line {line}",
            ) from None
        if not isinstance(values, dict):
            raise UsageError(
                "not a JSON object",
                wanted='one object a line, e.g. {"source": "...", "target": "..."}',
                got=text[:60],
                where=f"{path}, line {line}",
            )
        yield Row(line, values)


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_FIELD)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(_text(path).splitlines(keepends=True), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise UsageError("not a row of CSV", got=str(error), where=f"{path}, line {line}") from None
        if fields is None:
            return
        if not header:
            header = fields
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


def _parquet(path: Path) -> Iterator[Row]:
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        said = str(error).splitlines()[0]
        raise UsageError("not a Parquet file", wanted="Parquet", got=said[:120], where=str(path)) from None
    for row, values in enumerate(frame.iter_rows(named=True), start=1):
        yield Row(row, values)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": _jsonl, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet
}  # fmt: skip
"""The kinds of data files by the end of their names."""
