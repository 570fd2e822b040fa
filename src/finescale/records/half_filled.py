"""Settings that only some rows state: an empty cell beside a filled one may be the same value or another."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from finescale.records.columns import DATA_SIZE, FACTORS
from finescale.records.differences import plain
from finescale.records.roles import Role
from finescale.wording import listed

_SIZES = {"model_params", "model_params_nonembedding"}
"""Two ways to count one thing: where one is empty the other is."""
_SHOWN = 3


def half_filled(frame: pl.DataFrame, roles: Mapping[str, Role]) -> tuple[list[str], list[str]]:
    """Notes and doubts on factors that are empty in some rows of a setting and filled in others.

    Args:
        frame: Runs, one candidate a setting.
        roles: The columns' roles.

    Example:
        >>> runs = {"pet_size": [None, 8], "finetune_examples": [100, 100], "test_loss": [2.0, 3.0]}
        >>> half_filled(pl.DataFrame(runs), {"pet_size": "setting", "finetune_examples": "setting"})[1]
        ["which pet_size do the rows without one have? fill in 1 empty cell, or --where 'pet_size > 0'"]
    """
    settings = [name for name, role in roles.items() if role == "setting" and name in frame.columns]
    notes, doubts = [], []
    for name in FACTORS:
        if name not in settings or not frame[name].null_count() or DATA_SIZE not in frame.columns:
            continue
        same = [key for key in settings if key != name and not {key, name} <= _SIZES]
        stated = pl.col(name).is_not_null()
        both = frame.filter((stated.any() & ~stated.all()).over(same) & (pl.col(DATA_SIZE) > 0))
        empty = both.filter(~stated)
        if not empty.height:
            continue
        values = [plain(value) for value in both[name].drop_nulls().unique().sort().head(_SHOWN)]
        many = f"{empty.height} empty cell{'s' if empty.height > 1 else ''}"
        kept = _kept(frame, name)
        remedy = f"fill in {many}, or --where '{kept}'"
        notes.append(
            f"{name} is empty in {empty.height} rows whose setting other rows have with "
            f"{listed(values, 'or')}: what they are is not known. Say it: {remedy}."
        )
        doubts.append(f"which {name} do the rows without one have? {remedy}")
    return notes, doubts or _of_no_size(frame, settings)


def _of_no_size(frame: pl.DataFrame, settings: list[str]) -> list[str]:
    """A question where some methods say the model's size and others never do, and no name tells the model."""
    if "model_params" not in settings or "method" not in settings or "model" in settings:
        return []
    if not frame["model_params"].null_count():
        return []
    tuned = frame.filter(pl.col(DATA_SIZE) > 0) if DATA_SIZE in frame.columns else frame
    counts = tuned.group_by("method", maintain_order=True).agg(pl.col("model_params").is_not_null().any())
    without = counts.filter(~pl.col("model_params"))["method"].drop_nulls().to_list()
    if not without or len(without) == counts.height:
        return []
    many = tuned.filter(pl.col("method").is_in(without)).height
    return [f"which model_params do the rows of {listed(without)} have? fill in {many} empty cells"]


def _kept(frame: pl.DataFrame, name: str) -> str:
    """An expression for the rows that state a factor, and for those of methods that have none of it."""
    condition = f"{name} > 0"
    if "method" not in frame.columns:
        return condition
    counts = frame.group_by("method", maintain_order=True).agg(pl.col(name).is_not_null().any().alias("some"))
    without = counts.filter(~pl.col("some"))["method"].drop_nulls().to_list()
    return " or ".join([condition, *(f'method == "{method}"' for method in without)])
