"""Cells that hold a whole object, as trackers' own snippets write them: each of its names is a column."""

from __future__ import annotations

import ast
import json
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from finescale.records.columns import BY_NAME

_DEEPEST = 8
_LONGEST = 1_000_000
_LOOK = 20


def flat(row: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """An object whose nested objects are columns of their own: ``{"config": {"lr": 1}}`` is ``config.lr``."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping) and value and depth < _DEEPEST:
            made |= {f"{name}.{inner}": found for inner, found in flat(value, depth + 1).items()}
        else:
            made[str(name)] = value
    return made


def with_columns_of_objects(table: pl.DataFrame) -> pl.DataFrame:
    """The table with a column for each name in cells that hold objects: ``config`` becomes ``config.lr`` ...

    Args:
        table: A table; objects are structs, or texts in JSON or as Python writes a dictionary. Documented
            columns stay as they are.
    """
    table = unnested(table, BY_NAME)
    for name in table.columns:
        rows = None if name in BY_NAME else _objects(table[name])
        if rows is None:
            continue
        parts = [{key: _cell(value) for key, value in flat(row).items()} for row in rows]
        names = list(dict.fromkeys(key for part in parts for key in part))
        made = {f"{name}.{key}": [part.get(key) for part in parts] for key in names}
        table = table.drop(name)
        new = [
            pl.Series(key, cells, dtype=pl.String) for key, cells in made.items() if key not in table.columns
        ]
        table = table.with_columns(new)
    return table


def unnested(table: pl.DataFrame, but: Collection[str] = ()) -> pl.DataFrame:
    """The table with a column for each field of its structs, but those of some columns."""
    for _ in range(_DEEPEST):
        nested = [
            name for name, kind in table.schema.items() if isinstance(kind, pl.Struct) and name not in but
        ]
        if not nested:
            break
        for name in nested:
            fields = [field.name for field in table.schema[name].fields]  # type: ignore[attr-defined]
            parts = [pl.col(name).struct.field(field).alias(f"{name}.{field}") for field in fields]
            table = table.with_columns(parts).drop(name)
    return table


def _objects(values: pl.Series) -> list[dict[str, Any]] | None:
    """The objects of a column, empty ones for empty cells; None where a cell holds something else."""
    if values.dtype != pl.String or not _begins_so(values.drop_nulls().head(_LOOK)):
        return None
    text = values.str.strip_chars()
    full = text.filter((text != "").fill_null(value=False))
    if not full.len() or not (full.str.starts_with("{") & full.str.ends_with("}")).all():
        return None
    found = [_object(cell) if cell else {} for cell in text]
    return None if any(row is None for row in found) else found  # type: ignore[return-value]


def _begins_so(first: pl.Series) -> bool:
    """Whether the first cells may be objects: most columns are told by them, however long they are."""
    return bool((first.str.strip_chars_start().str.starts_with("{") | (first.str.strip_chars() == "")).all())


def _object(cell: str) -> dict[str, Any] | None:
    if len(cell) > _LONGEST:
        return None
    try:
        made = json.loads(cell)
    except (ValueError, RecursionError):
        try:
            made = _value(ast.parse(cell, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    return made if isinstance(made, dict) else None


def _value(node: ast.expr) -> Any:
    """A value as Python writes it, nothing of which is run; what is no plain value stays text."""
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            return {str(_value(key)): _value(value) for key, value in pairs if key is not None}
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(part) for part in parts]
        case _:
            return ast.unparse(node)


def _cell(value: Any) -> str | None:
    """A value as a cell of a text file."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str) if isinstance(value, bool | list | dict) else repr(value)
