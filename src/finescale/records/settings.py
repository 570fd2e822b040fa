"""What one setting is, and the base setting: one home for both, for every command.

A *setting* is what runs have in common that differ by their seed alone: ``SETTING``. The *base setting* of a
task is what a question that names one factor leaves as it is: one model size and one number of pretraining
tokens for all methods, so that methods are compared on the same model, and one PET size for each method, as
their units differ. Each is the most frequent value among the task's finished, tuned runs; of equally frequent
ones the paper's default, else the middle one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finescale.errors import UsageError, nearest
from finescale.records.records import DATA_SIZE, FACTORS, untuned
from finescale.wording import exact_count

Array = np.ndarray[Any, Any]
SETTING: tuple[str, ...] = ("task", "method", "model", *FACTORS, DATA_SIZE)
"""The columns that identify a setting."""
GROUP = ("task", "method")
"""The columns that make groups unless others are named; a table without them has one of each."""
SIZE = "model_params"
SIZES = (SIZE, "model_params_nonembedding")
"""Two ways to count a model's parameters: one factor, not two."""
PAPER_FACTORS = (SIZE, "pretrain_tokens", "pet_size")
"""The paper's factors (Figures 2, 3 and 4)."""
PAPER_BASE: Mapping[str, float] = {SIZE: 1e9, "pet_size.lora": 4.0, "pet_size.prompt": 100.0}
"""The paper's base setting (beside its last checkpoint): 1B model, LoRA of rank 4, 100 prompt tokens."""
UNNAMED = "unnamed"
"""The task or method of a table that does not name any."""
ANY = "any"
"""A base value that leaves its factor free."""
_SAME = 1e-9
"""Values that differ by less, relatively, are one value: tables round."""


@dataclass(frozen=True)
class Base:
    """The base setting of one task.

    Attributes:
        values: Model size and pretraining tokens by their column, PET sizes as ``pet_size.METHOD``.
        ties: Where several values were equally frequent, by the same names: which was taken, in words.
    """

    values: Mapping[str, Any]
    ties: Mapping[str, str]


def setting_columns(frame: pl.DataFrame, *, without: Sequence[str] = ()) -> list[str]:
    """The columns of a table that identify a setting.

    Args:
        frame: Runs, or settings.
        without: Columns to leave out, e.g. ``("finetune_examples",)`` for what identifies a curve.
    """
    return [name for name in SETTING if name in frame.columns and name not in without]


def fill_groups(table: pl.DataFrame) -> pl.DataFrame:
    """The table with the columns ``task`` and ``method``, filled in where they are missing."""
    have = table.columns
    return table.with_columns(
        [(pl.col(n).fill_null(UNNAMED) if n in have else pl.lit(UNNAMED)).alias(n) for n in GROUP]
    )


def of_group(frame: pl.DataFrame, group: Mapping[str, Any]) -> pl.DataFrame:
    """The rows of a group, by its columns; all rows where it has none, as of a table without methods."""
    own = [pl.col(name).eq_missing(pl.lit(value)) for name, value in group.items()]
    return frame.filter(own) if own else frame


def tuned_runs(frame: pl.DataFrame) -> pl.Series:
    """Which rows are runs of tuned models: not method ``none``, and not 0 examples. One boolean a row."""
    return frame.select(~untuned(frame.columns).alias("tuned")).to_series()


def varies(frame: pl.DataFrame, name: str, by: Sequence[str] = ()) -> bool:
    """Whether a column has more than one value in some group."""
    distinct = pl.col(name).drop_nulls().n_unique()
    counts = frame.group_by(list(by)).agg(distinct) if by else frame.select(distinct)
    return bool((counts[name] > 1).any())


def varying_factors(frame: pl.DataFrame, by: Sequence[str] = ()) -> tuple[str, ...]:
    """The factors with more than one value in some group; parameters without embeddings only if alone."""
    by = [name for name in by if name in frame.columns]
    found = [name for name in FACTORS if name in frame.columns and varies(frame, name, by)]
    return tuple(name for name in found if name != SIZES[1] or SIZE not in found)


def check_base(base: Mapping[str, Any]) -> None:
    """Refuses a base setting of something that is no factor.

    Raises:
        UsageError: A name that no table knows as a factor; with or without a method behind it.
    """
    known = (*FACTORS, "model", DATA_SIZE)
    for name in base:
        if name.partition(".")[0] not in known:
            raise UsageError(
                f"--base {name}: no such factor",
                wanted=f"one of {', '.join(known)}, or pet_size.METHOD",
                got=name,
                remedy=nearest(name, known),
            )


def base_value(base: Mapping[str, Any], name: str, method: Any = None) -> Any:
    """A factor's value at the base, the method's own before that of all; None where it is free."""
    value = base.get(f"{name}.{method}", base.get(name))
    return None if value == ANY else value


def base_setting(tuned: pl.DataFrame, asked: Mapping[str, Any] | None = None) -> Base:
    """The base setting of one task.

    Where no run has the most frequent model size and the most frequent number of pretraining tokens together
    (models of different makers), the model size is the most frequent one at that number of tokens.

    Args:
        tuned: The task's finished runs of tuned models, held-out ones too; with a column ``method``.
        asked: Values that are given (``--base``), ``any`` for none; the others are chosen among the runs
            there.
    """
    asked = asked or {}
    rows = tuned
    for name in (*FACTORS, "model"):
        if base_value(asked, name) is not None and name in rows.columns:
            there = rows.filter(same_value(name, asked[name]) | pl.col(name).is_null())
            rows = there if there.height else rows
    values: dict[str, Any] = {}
    ties: dict[str, str] = {}
    size = next((name for name in SIZES if name in rows.columns), None)
    free = size is not None and not {*SIZES, "model"} & set(asked)
    model = _most_frequent(rows, size, size) if free and size else None
    tokens = (
        None if "pretrain_tokens" in asked else _most_frequent(rows, "pretrain_tokens", "pretrain_tokens")
    )
    if size and model and tokens:
        there = rows.filter(same_value("pretrain_tokens", tokens[0]) | pl.col("pretrain_tokens").is_null())
        if not there.filter(same_value(size, model[0]) | pl.col(size).is_null()).height:
            model = _most_frequent(there, size, size)
    for name, found in ((size, model), ("pretrain_tokens", tokens)):
        if name and found:
            values[name], ties[name] = found
    for (method,), part in rows.group_by("method", maintain_order=True):
        key = f"pet_size.{method}"
        found = None if {"pet_size", key} & set(asked) else _most_frequent(part, "pet_size", key)
        if found:
            values[key], ties[key] = found
    return Base({**values, **asked}, {name: words for name, words in ties.items() if words})


def at_base(
    rows: pl.DataFrame,
    base: Mapping[str, Any],
    method: str | None = None,
    *,
    free: str | Collection[str] = (),
) -> pl.DataFrame:
    """The rows with every factor but the free ones at the base setting; an empty cell is no other value.

    Args:
        rows: Runs, or settings.
        base: As ``base_setting`` makes it.
        method: The method whose rows are wanted; None: those of all methods, each at its own base.
        free: The factor, or factors, that may have any value.
    """
    named = "method" in rows.columns
    if method is not None and named:
        rows = rows.filter(pl.col("method").fill_null(UNNAMED) == method)
    methods = [method] if method is not None or not named else rows["method"].fill_null(UNNAMED).unique()
    free = {free} if isinstance(free, str) else set(free)
    free |= set(SIZES) if free & set(SIZES) else set()
    for name in (*FACTORS, "model", DATA_SIZE):
        if name in free or name not in rows.columns or not any(key.partition(".")[0] == name for key in base):
            continue
        wanted = {own: base_value(base, name, UNNAMED if own is None else own) for own in methods}
        if len(set(wanted.values())) < 2:
            value = next(iter(wanted.values()), None)
            if value is not None and not _all_at(rows[name], value):
                rows = rows.filter(same_value(name, value) | pl.col(name).is_null())
            continue
        value = pl.col("method").fill_null(UNNAMED).replace_strict(wanted, return_dtype=rows[name].dtype)
        rows = rows.filter(same_value(name, value) | pl.col(name).is_null() | value.is_null())
    return rows


def same_value(name: str, value: Any) -> pl.Expr:
    """The rows at a value; numbers to a relative difference of 1e-9."""
    return pl.col(name) == value if isinstance(value, str) else (pl.col(name) / value - 1).abs() < _SAME


def _all_at(values: pl.Series, value: Any) -> bool:
    """Whether a column holds nothing but this value: most do, and a filter copies the table."""
    return values.min() == value == values.max()


def of_equals(values: Array, key: str) -> tuple[Any, str]:
    """The base value among equally frequent ones, and why it is taken.

    Args:
        values: The values, ascending, [values].
        key: The factor's column; ``pet_size.METHOD`` for PET sizes.
    """
    if key == "pretrain_tokens":
        return values[-1], "the last checkpoint, as in the paper"
    if key in PAPER_BASE and (default := values[np.abs(values / PAPER_BASE[key] - 1) < _SAME]).size:
        return default[0], "the paper's default"
    return values[len(values) // 2], "the middle one"


def _most_frequent(rows: pl.DataFrame, name: str, key: str) -> tuple[float, str] | None:
    """The most frequent positive value; of several the paper's, else the middle one, and words on the tie."""
    if name not in rows.columns:
        return None
    values, counts = np.unique(rows[name].drop_nulls().to_numpy(), return_counts=True)
    values, counts = values[values > 0], counts[values > 0]
    if not values.size:
        return None
    most = values[counts == counts.max()]
    if most.size == 1:
        return float(most[0]), ""
    chosen, why = of_equals(most, key)
    shown = ", ".join(map(exact_count, most[:6])) + (", ..." if len(most) > 6 else "")
    words = f"{key} {shown} are equally frequent, the base setting takes {exact_count(chosen)}, {why}"
    return float(chosen), f"{words} (--base {key}=VALUE to choose)."
