"""Reading a table from a file or another library's frame into polars; errors name file and row.

What a file is, is told by its content, not by its name: Parquet, Arrow, Excel, JSON, JSON lines, or text with
a separator; each may be compressed.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from finescale.errors import FOR_POLARS, INSTEAD, UsageError, printable
from finescale.records.compressed import decompress
from finescale.records.defused import as_meant
from finescale.records.json_tables import read_json
from finescale.records.nested import with_columns_of_objects
from finescale.records.spreadsheets import read_spreadsheet
from finescale.records.text_tables import TITLE_LINES, as_csv
from finescale.spec.paths import exists

if TYPE_CHECKING:
    from narwhals.typing import IntoFrame

    TableLike = str | Path | IntoFrame
    """A file, or a frame of any library that narwhals knows (polars, pandas, pyarrow ...)."""

MAX_BYTES = 1_000_000_000
MAX_CELLS = 200_000_000
"""A million runs with every column are a quarter of it; a small Parquet file may unfold to any number."""
SEPARATORS = (",", "\t", ";", "|")


def read_table(source: TableLike) -> tuple[pl.DataFrame, str, int]:
    """Reads a table as ``open_table`` does, without what was noticed."""
    return open_table(source)[:3]


def open_table(source: TableLike) -> tuple[pl.DataFrame, str, int, tuple[str, ...]]:
    """Reads a table as it is; cells of text files stay text. Control characters in texts are replaced.

    Args:
        source: A file, or any frame that narwhals knows (polars, pandas, pyarrow, ..., eager or lazy).

    Returns:
        The table, its name for messages, the number of its first row (2 in a CSV file, after the header), and
        notes: which sheet of several was read.

    Raises:
        UsageError: The file is missing, damaged, empty, too large or of an unknown kind; the object is no
            table.
    """
    if not isinstance(source, str | Path):
        return (
            _printable(with_columns_of_objects(_from_frame(source)), "the given frame"),
            "the given frame",
            1,
            (),
        )
    path = Path(source)
    name = path.name
    if not exists(source):
        raise UsageError("no such file", wanted="a table of runs", remedy="check the path", where=str(path))
    if path.is_dir():
        raise UsageError(
            "a folder, not a file", wanted="a table of runs, e.g. records.parquet", where=str(path)
        )
    if not path.is_file():
        raise UsageError("not a regular file", wanted="a table of runs", where=str(path))
    try:
        _refuse_large(path.stat().st_size, MAX_BYTES, "bytes", name)
        table, first_row, notes = _read_bytes(path.read_bytes(), path)
    except UsageError:
        raise
    except (*_UNREADABLE, OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        wanted = f"a valid {path.suffix or 'table'} file"
        raise UsageError("the file cannot be read as a table", wanted=wanted, got=first, where=name) from None
    return _printable(with_columns_of_objects(table), name), name, first_row, notes


_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, MemoryError)
_DATABASE = b"SQLite format 3"


def _read_bytes(raw: bytes, path: Path) -> tuple[pl.DataFrame, int, tuple[str, ...]]:
    """The table in a file's bytes, by what they begin with, the number of its first row, and notes."""
    raw = decompress(raw, MAX_BYTES, path.name)
    if raw.startswith(b"PAR1"):
        return _read_parquet(raw, path.name), 1, ()
    if raw.startswith(b"ARROW1"):
        return pl.read_ipc(io.BytesIO(raw)), 1, ()
    if raw.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        return read_spreadsheet(raw, path.name)
    if raw.startswith(_DATABASE):
        raise UsageError("a database, not a table", wanted="a table of runs", where=path.name)
    text = _text(raw, path.name)
    if not text.strip():
        raise UsageError("the file is empty", wanted="a header and one row for each run", where=path.name)
    if text.lstrip()[0] in "[{" and path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return read_json(text, path.name), 1, ()
    text, skipped = _without_comments(text)
    text, above = as_csv(text, SEPARATORS)
    table, lines = _read_delimited(text, path.name)
    return table, 1 + lines + skipped + above, ()


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


def _read_parquet(raw: bytes, name: str) -> pl.DataFrame:
    """Reads what the file's own counts say to be of a size that can be read."""
    lazy = pl.scan_parquet(io.BytesIO(raw))
    width = len(lazy.collect_schema())
    rows = int(lazy.select(pl.len()).collect().item())
    _refuse_large(rows * width, MAX_CELLS, "cells", name)
    return lazy.collect()


def _text(raw: bytes, name: str) -> str:
    """The text, without a byte order mark; spreadsheets write UTF-16 with one."""
    try:
        if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
            return raw.decode("utf-16")
        if b"\x00" in raw:
            raise UsageError(
                "zero bytes inside", wanted="a text file", remedy="save it as CSV in UTF-8", where=name
            )
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise UsageError(
            "text that is not UTF-8", wanted="UTF-8", remedy="save it as UTF-8", where=f"{name}, row {line}"
        ) from None


def _from_frame(source: Any) -> pl.DataFrame:
    import narwhals as nw  # noqa: PLC0415 - only where a frame comes in

    source = _with_index(source)
    try:
        frame = nw.from_native(source)
    except TypeError:
        raise UsageError(
            "not a table", wanted="a path, or a polars, pandas or pyarrow frame", got=type(source).__name__
        ) from None
    try:
        if isinstance(frame, nw.LazyFrame):
            frame = frame.collect()
        return frame.to_polars()
    except (pl.exceptions.PolarsError, nw.exceptions.NarwhalsError, TypeError, ValueError) as error:
        raise UsageError(
            "the frame cannot be read", wanted="columns of one type each", got=str(error).splitlines()[0]
        ) from None


def _with_index(source: Any) -> Any:
    """A pandas frame with its named index as columns: a group-by leaves settings there.

    Raises:
        UsageError: Two columns of one name, the index counted.
    """
    if type(source).__module__.partition(".")[0] != "pandas" or not hasattr(source, "columns"):
        return source
    names = [name for name in source.index.names if name is not None]
    names += [name for name in source.columns if name is not None]
    twice = [str(name) for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(
            f"two columns are called `{twice[0]}`", wanted="different names", where="the given frame"
        )
    if source.columns.nlevels > 1:
        raise UsageError(
            "columns of several levels", wanted="one name a column",
            remedy='frame.columns = ["_".join(map(str, c)) for c in frame.columns]', where="the given frame",
        )  # fmt: skip
    source = source.reset_index() if any(name is not None for name in source.index.names) else source
    return source.rename(columns=str)


def _read_delimited(text: str, name: str) -> tuple[pl.DataFrame, int]:
    """The table in a text, and how many lines its header fills."""
    header, lines = _header(text)
    separator = separator_of(header)
    try:
        names = next(csv.reader(io.StringIO(header, newline=""), delimiter=separator), [])
    except csv.Error as error:
        raise UsageError("the header cannot be read", got=str(error), where=f"{name}, row 1") from None
    names = [re.sub(r"\s*[\r\n]\s*", " ", column.strip()) for column in names]
    twice = {column for column in names if names.count(column) > 1} - {""}
    if twice:
        raise UsageError(
            f"two columns are called `{min(twice)}`", wanted="different names", where=f"{name}, row 1"
        )
    names = [column or f"column_{index + 1}" for index, column in enumerate(names)]
    try:
        table = pl.read_csv(text.encode(), separator=separator, infer_schema=False)
        return as_meant(table.rename(dict(zip(table.columns, names, strict=True)))), lines
    except pl.exceptions.NoDataError:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String)), lines
    except pl.exceptions.ComputeError:
        _refuse_ragged(text, separator, len(names), name)
        raise


def _header(text: str) -> tuple[str, int]:
    """The header, and how many lines it fills: a name in quotes may have line breaks."""
    lines: list[str] = []
    for line in text.split("\n", TITLE_LINES)[:TITLE_LINES]:
        lines.append(line)
        if sum(one.count('"') for one in lines) % 2 == 0:
            return "\n".join(lines).rstrip("\r"), len(lines)
    return text.partition("\n")[0].rstrip("\r"), 1


def _without_comments(text: str) -> tuple[str, int]:
    """A table without lines of comment above it (a header may begin with ``#``), and how many they were."""
    skipped, rest = 0, text
    while rest.startswith("#"):
        after = rest.partition("\n")[2]
        following = next((one for one in after.split("\n", 100) if one[:1] != "#"), "")
        cells = following.split(separator_of(following))
        if any(re.match(r"[\s\"+-]*[.\d]", cell) for cell in cells):  # runs follow: the line is the header
            break
        skipped, rest = skipped + 1, after
    return rest, skipped


def separator_of(header: str) -> str:
    """What separates the cells of a header: the mark that comes most often outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=bare.count)


def _refuse_ragged(text: str, separator: str, width: int, name: str) -> None:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
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
