"""Tables in JSON: one object a line, a list of objects, or what pandas writes; nested names get dots."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from finescale.errors import UsageError
from finescale.records.columns import BY_NAME
from finescale.records.names import infer
from finescale.records.nested import flat, unnested
from finescale.records.roles import role_by_name

_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, MemoryError)
MAX_FITS = 1_000_000_000
_LOOK = 20
"""So many names tell whether they are of columns."""


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
    """Columns of lists or of objects; ``columns`` and ``data``; runs by name; a list beside its constants."""
    columns, table = data.get("columns"), data.get("data")
    if isinstance(table, list) and all(isinstance(row, dict) for row in table):
        return table
    if isinstance(columns, list) and isinstance(table, list):
        return [dict(zip(map(str, columns), row, strict=False)) for row in table if isinstance(row, list)]
    values = list(data.values())
    if len(values) == 1 and isinstance(values[0], list) and _rows(values[0]):
        return values[0]
    if all(isinstance(value, list) for value in values) and len({len(value) for value in values}) == 1:
        return [dict(zip(data, row, strict=True)) for row in zip(*values, strict=True)]
    if all(isinstance(value, dict) and value for value in values):
        return _rows_of_objects(data)
    return _rows_beside_constants(data)


def _rows_of_objects(data: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]] | None:
    """Runs by name (``{"run0": {"lr": 1}, ...}``), or columns by name, each with its cells by row."""
    each = list(data.values())
    same = len({tuple(value) for value in each}) == 1
    if _are_runs(data, same=same):
        told = any(name.isdecimal() for name in data) or any({"run", "name"} & set(row) for row in each)
        return [{**({} if told else {"run": name}), **row} for name, row in data.items()]
    return [{name: column[key] for name, column in data.items()} for key in each[0]] if same else None


def _are_runs(data: Mapping[str, Mapping[str, Any]], *, same: bool) -> bool:
    """Whether the objects of an object are runs, not columns: by whose names are a column's.

    Args:
        data: The objects by name.
        same: Whether all have the same names; those of runs may lack some.
    """
    each = list(data.values())
    names = dict.fromkeys(name for value in each for name in value)
    shared = [name for name in names if all(name in value for value in each)]
    if len(each) < 2 or 2 * len(shared) < len(names):  # settings in groups: one run
        return False
    if not same or [*map(str, range(len(data)))] == [*data]:
        return True
    if [*map(str, range(len(names)))] == [*names]:
        return False
    outer, inner = _known(data), _known(flat(each[0]))
    mixed = any(len({isinstance(cell, str) for cell in value.values()}) > 1 for value in each)
    return inner > outer or (inner == outer and mixed)


def _known(names: Iterable[str]) -> float:
    """The share of names that a table of runs has as columns."""
    looked = list(islice(names, _LOOK))
    ours = [name for name in looked if role_by_name(name) or any(infer(own, [name]) for own in BY_NAME)]
    return len(ours) / max(len(looked), 1)


def _rows_beside_constants(data: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The only list of objects (``{"model": "x", "results": [...]}``), what stands beside it in each row."""
    lists = [name for name, value in data.items() if isinstance(value, list) and value]
    lists = [name for name in lists if all(isinstance(row, dict) for row in data[name])]
    if len(lists) != 1:
        return None
    beside = flat({name: value for name, value in data.items() if name != lists[0]})
    constants = {name: value for name, value in beside.items() if not isinstance(value, list | dict)}
    return [constants | flat(row) for row in data[lists[0]]]


def _lines(text: str, name: str) -> pl.DataFrame:
    """Objects, one a line; what polars refuses (Python writes NaN) is read line by line."""
    try:
        return unnested(pl.read_ndjson(text.encode(), infer_schema_length=None))
    except _UNREADABLE:
        lines = enumerate(text.split("\n"), start=1)
        rows = [flat(_object(line, f"{name}, row {row}")) for row, line in lines if line.strip()]
        return pl.DataFrame(rows, infer_schema_length=None, strict=False)


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        found, got = json.loads(line), line
    except (ValueError, RecursionError) as error:
        found, got = None, f"{error}: {line}"
    if not isinstance(found, dict):
        wanted = 'one object a line, e.g. {"method": "lora", "test_loss": 2.5}'
        raise UsageError("not a line of JSON", wanted=wanted, got=got[:120], where=where)
    return found
