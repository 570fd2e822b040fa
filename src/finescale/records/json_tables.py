"""Tables in JSON: one object a line, a list of objects, or what pandas writes; nested names get dots."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from finescale.errors import UsageError
from finescale.records.nested import flat, unnested

_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, MemoryError)
MAX_FITS = 1_000_000_000


def read_json(text: str, name: str) -> pl.DataFrame:
    """Reads a table.

    Args:
        text: The file.
        name: Its name, for messages.

    Raises:
        UsageError: It is no JSON, or no table; or the laws that ``finescale fit`` wrote.
    """
    body = text.strip()
    first = _loaded(body.partition("\n")[0])
    if isinstance(first, dict) and "\n" in body:
        return _lines(text, name)
    whole = first if isinstance(first, dict) else _document(text, name)
    if is_fits(whole):
        raise UsageError(
            "fitted laws, not a table of runs",
            wanted="the table that they were fitted to",
            got="the JSON of finescale fit",
            remedy="finescale predict takes it",
            where=name,
        )
    if isinstance(first, dict) and _rows(first) is None:
        return _lines(text, name)
    rows = _rows(whole)
    if rows is None:
        raise UsageError(
            "no table in this JSON", wanted="a list of objects, one for each run", got=text[:80], where=name
        )
    return pl.DataFrame([flat(row) for row in rows], infer_schema_length=None, strict=False)


def is_fits(data: Any) -> bool:
    """Whether a JSON document holds fitted laws."""
    return isinstance(data, dict) and "schema" in data and "fits" in data


def holds_fits(path: Path) -> bool:
    """Whether a file holds fitted laws, or is called .json and holds no table either."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_FITS:
            return path.suffix.lower() == ".json"
        with path.open("rb") as file:
            if file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in (b"{", b"["):
                return path.suffix.lower() == ".json"
        data = _loaded(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError):
        return path.suffix.lower() == ".json"
    if isinstance(data, dict) and "fits" in data:
        return True
    return path.suffix.lower() == ".json" and not _rows(data)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _document(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{name}, row {error.lineno}"
        raise UsageError("not a line of JSON", wanted="JSON", got=error.msg, where=where) from None
    except RecursionError as error:
        raise UsageError(
            "not a line of JSON", wanted="JSON", got=str(error), where=f"{name}, row 1"
        ) from None


def _rows(data: Any) -> list[dict[str, Any]] | None:
    """The rows of a document: a list of objects, or one of the forms that pandas writes."""
    if isinstance(data, list):
        return data if all(isinstance(row, dict) for row in data) else None
    return _rows_of_object(data) if isinstance(data, dict) and data else None


def _rows_of_object(data: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Columns of lists or of objects; or ``columns`` and ``data``."""
    columns, table = data.get("columns"), data.get("data")
    if isinstance(table, list) and all(isinstance(row, dict) for row in table):
        return table
    if isinstance(columns, list) and isinstance(table, list):
        return [dict(zip(map(str, columns), row, strict=False)) for row in table if isinstance(row, list)]
    values = list(data.values())
    if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return [dict(zip(data, row, strict=True)) for row in zip(*values, strict=True)]
    if all(isinstance(value, dict) for value in values) and len({tuple(value) for value in values}) == 1:
        return [{name: column[key] for name, column in data.items()} for key in values[0]]
    return None


def _lines(text: str, name: str) -> pl.DataFrame:
    try:
        return unnested(pl.read_ndjson(text.encode(), infer_schema_length=None))
    except _UNREADABLE:
        for row, line in enumerate(text.split("\n"), start=1):
            _refuse_no_object(line, f"{name}, row {row}")
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
