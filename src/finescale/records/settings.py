"""The base setting: what a question that names one factor leaves as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

PAPER_FACTORS = ("model_params", "pretrain_tokens", "pet_size")
"""The paper's factors (Figures 2, 3 and 4)."""
UNNAMED = "unnamed"
"""The task or method of a table that does not name any."""


def named_groups(table: pl.DataFrame) -> pl.DataFrame:
    """The table with the columns ``task`` and ``method``, filled in where they are missing."""
    names = ("task", "method")
    have = table.columns
    return table.with_columns(
        [(pl.col(n).fill_null(UNNAMED) if n in have else pl.lit(UNNAMED)).alias(n) for n in names]
    )


def base_setting(tuned: pl.DataFrame) -> dict[str, float]:
    """The most frequent value of each factor (the smallest of several); PET sizes as ``pet_size.METHOD``.

    Args:
        tuned: Runs of tuned models of one task.
    """
    base: dict[str, float] = {}
    for name in ("model_params", "pretrain_tokens"):
        value = _most_frequent(tuned, name)
        if value is not None:
            base[name] = value
    for (method,), part in tuned.group_by("method", maintain_order=True):
        value = _most_frequent(part, "pet_size")
        if value is not None:
            base[f"pet_size.{method}"] = value
    return base


def at_base(rows: pl.DataFrame, base: Mapping[str, Any], method: str, *, free: str = "") -> pl.DataFrame:
    """A method's rows with every factor but ``free`` at the base setting.

    Args:
        rows: Runs, or settings.
        base: As ``base_setting`` makes it; a value that is no number leaves its factor free.
        method: The method.
        free: A factor that may have any value.
    """
    rows = rows.filter(pl.col("method") == method)
    for name in PAPER_FACTORS:
        wanted = base.get(f"{name}.{method}", base.get(name))
        if name != free and isinstance(wanted, int | float) and name in rows.columns:
            near = (pl.col(name) / wanted - 1).abs() < 1e-9
            rows = rows.filter(near | pl.col(name).is_null())
    return rows


def _most_frequent(rows: pl.DataFrame, name: str) -> float | None:
    values = rows[name].drop_nulls() if name in rows.columns else pl.Series(name, [], dtype=pl.Float64)
    values = values.filter(values > 0)
    return float(values.mode().min()) if values.len() else None  # type: ignore[arg-type]
