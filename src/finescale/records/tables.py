"""Reading a table from a file or another library's frame into polars; errors name file and row."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from finescale.errors import FOR_POLARS, INSTEAD, UsageError, printable
from finescale.spec.paths import exists

MAX_BYTES = 1_000_000_000
MAX_CELLS = 200_000_000
"""A million runs with every column are a quarter of it; a small Parquet file may unfold to any number."""
_READERS = ("csv", "tsv", "txt", "parquet", "jsonl", "ndjson")


def read_table(source: str | Path | Any) -> tuple[pl.DataFrame, str, int]:
    """Reads a table as it is; CSV cells stay text. Control characters in texts are replaced.

    Args:
        source: A file, or any frame that narwhals knows (polars, pandas, pyarrow, ..., eager or lazy).

    Returns:
        The table, its name for messages, and the number of its first row (2 in a CSV file, after the header).

    Raises:
        UsageError: The file is missing, damaged, empty, too large or of an unknown kind; the object is no
            table.
    """
    if not isinstance(source, str | Path):
        return _printable(_from_frame(source), "the given frame"), "the given frame", 1
    path = Path(source)
    suffix = path.suffix.lower().lstrip(".")
    name = path.name
    if not exists(source):
        raise UsageError("no such file", wanted="a table of runs", remedy="check the path", where=str(path))
    if path.is_dir():
        raise UsageError(
            "a folder, not a file", wanted="a table of runs, e.g. records.parquet", where=str(path)
        )
    if not path.is_file():
        raise UsageError("not a regular file", wanted="a table of runs", where=str(path))
    if suffix not in _READERS:
        kinds = ", ".join("." + reader for reader in _READERS)
        raise UsageError(
            "unknown kind of file", wanted=f"one of {kinds}", got=path.suffix or "no suffix", where=name
        )
    try:
        _refuse_large(path.stat().st_size, MAX_BYTES, "bytes", name)
        if suffix == "parquet":
            return _printable(_read_parquet(path), name), name, 1
        if suffix in ("jsonl", "ndjson"):
            return _printable(_read_json_lines(path), name), name, 1
        return _printable(_read_delimited(path), name), name, 2
    except UsageError:
        raise
    except (*_UNREADABLE, OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(
            "the file cannot be read as a table", wanted=f"a valid .{suffix} file", got=first, where=name
        ) from None


_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, MemoryError)


def _refuse_large(size: int, most: int, what: str, name: str) -> None:
    if size > most:
        raise UsageError(
            "too large for a table of runs", wanted=f"at most {most:,} {what}", got=f"{size:,}", where=name
        )


def _printable(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """The table without characters that do something to a terminal, in its texts and its header."""
    names = [printable(column) for column in table.columns]
    twice = next((column for column in names if names.count(column) > 1), None)
    if twice is not None:
        places = " and ".join(str(at + 1) for at, column in enumerate(names) if column == twice)
        raise UsageError(
            f"two columns are called `{twice}`", wanted="different names", where=f"{name}, columns {places}"
        )
    return table.rename(dict(zip(table.columns, names, strict=True))).with_columns(
        pl.col(pl.String).str.replace_all(FOR_POLARS, INSTEAD)
    )


def _read_parquet(path: Path) -> pl.DataFrame:
    """Reads what the file's own counts say to be of a size that can be read."""
    lazy = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    width = len(lazy.collect_schema())
    rows = int(lazy.select(pl.len()).collect().item())
    _refuse_large(rows * width, MAX_CELLS, "cells", path.name)
    return lazy.collect()


def _read_json_lines(path: Path) -> pl.DataFrame:
    raw = path.read_bytes()
    text = _utf8(raw, path.name)
    if not text.strip():
        raise UsageError("the file is empty", wanted="a JSON object for each run", where=path.name)
    try:
        return pl.read_ndjson(text.encode(), infer_schema_length=None)
    except _UNREADABLE:
        for row, line in enumerate(text.split("\n"), start=1):
            _refuse_no_object(line, f"{path.name}, row {row}")
        raise


def _refuse_no_object(line: str, where: str) -> None:
    if not line.strip():
        return
    try:
        found, got = json.loads(line), line
    except (ValueError, RecursionError) as error:
        found, got = None, f"{error}: {line}"
    if not isinstance(found, dict):
        wanted = 'one object a line, e.g. {"method": "lora", "test_loss": 2.5}'
        raise UsageError("not a line of JSON", wanted=wanted, got=got[:120], where=where)


def _utf8(raw: bytes, name: str) -> str:
    """The text, without a byte order mark."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(
            "text that is not UTF-8", wanted="UTF-8", remedy="save it as UTF-8", where=f"{name}, row {line}"
        ) from None


def _from_frame(source: Any) -> pl.DataFrame:
    import narwhals as nw  # noqa: PLC0415 - only where a frame comes in

    try:
        frame = nw.from_native(source)
    except TypeError:
        raise UsageError(
            "not a table", wanted="a path, or a polars, pandas or pyarrow frame", got=type(source).__name__
        ) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    try:
        return frame.to_polars()
    except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
        raise UsageError(
            "the frame cannot be read", wanted="columns of one type each", got=str(error)
        ) from None


def _read_delimited(path: Path) -> pl.DataFrame:
    raw = path.read_bytes()
    if not raw.strip():
        raise UsageError("the file is empty", wanted="a header and one row for each run", where=path.name)
    if b"\x00" in raw:
        raise UsageError(
            "zero bytes inside", wanted="a text file", remedy="save it as CSV in UTF-8", where=path.name
        )
    header = raw[: raw.find(b"\n")] if b"\n" in raw else raw
    separator = max((",", "\t", ";"), key=lambda mark: header.count(mark.encode()))
    _utf8(raw, path.name)
    try:
        names = next(csv.reader([header.decode("utf-8-sig").rstrip("\r")], delimiter=separator), [])
    except csv.Error as error:
        raise UsageError("the header cannot be read", got=str(error), where=f"{path.name}, row 1") from None
    names = [name.strip() for name in names]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UsageError(
            f"two columns are called `{min(twice)}`", wanted="different names", where=f"{path.name}, row 1"
        )
    if "" in names:
        names = [name or f"column_{index + 1}" for index, name in enumerate(names)]
    try:
        table = pl.read_csv(raw, separator=separator, infer_schema=False)
        return table.rename(dict(zip(table.columns, names, strict=True)))
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    except pl.exceptions.ComputeError:
        _refuse_ragged(raw.decode("utf-8-sig"), separator, len(names), path.name)
        raise


def _refuse_ragged(text: str, separator: str, width: int, name: str) -> None:
    reader = csv.reader(text.splitlines(), delimiter=separator)
    for row in _rows(reader):
        if len(row) > width:
            raise UsageError(
                "a row with too many cells",
                wanted=f"{width} cells, as in the header",
                got=f"{len(row)} cells",
                remedy="put text that holds the separator in double quotes",
                where=f"{name}, row {reader.line_num}",
            )


def _rows(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    """The rows up to the first that cannot be read."""
    try:
        yield from reader
    except csv.Error:
        return
