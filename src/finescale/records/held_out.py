"""Which runs are held out: one rule for every command and for a study's ``hold_out``.

A rule marks *runs*, once, before anything is grouped or fitted: what one law must predict, another must not
have seen. ``max`` and ``min`` are taken inside each task and method, as data and PET sizes of two methods
cannot be compared.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from finescale.records.expression import matches
from finescale.records.records import DATA_SIZE
from finescale.records.settings import (
    GROUP,
    PAPER_FACTORS,
    SIZES,
    base_setting,
    base_value,
    fill_groups,
    tuned_runs,
)

LARGEST = "largest"
"""The rule that holds out the largest value of every factor and of the data size."""
_ROW = "_row"


def held_out(frame: pl.DataFrame, rule: str | bool | None = None) -> pl.Series:
    """Which runs a rule holds out.

    ``largest``, in each task and method: the runs with the largest data size, and for every factor that
    varies those with its largest value. Not so where a factor or the data size would then vary no more, or
    where it is the base setting and other factors vary: all their runs lie there, as where the stars of a
    study meet at the last checkpoint.

    Args:
        frame: Finished runs (or a study's planned ones), no sweep's.
        rule: An expression, ``largest``, False or an empty text (nothing), or None: the column ``held_out``
            where there is one.

    Returns:
        One boolean a row.

    Raises:
        UsageError: An expression that names an unknown column or is none.
    """
    if rule is None or rule is True:
        if "held_out" in frame.columns:
            return frame["held_out"].fill_null(value=False).cast(pl.Boolean)
        rule = False
    if not rule:
        return pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True).alias("held_out")
    by = [name for name in GROUP if name in frame.columns]
    held = _largest(frame, by) if rule == LARGEST else matches(frame, str(rule), by)
    return held.alias("held_out")


def mark_held_out(frame: pl.DataFrame, rule: str | bool | None = None) -> pl.DataFrame:
    """The table with the column ``held_out`` as the rule says; see ``held_out``."""
    return frame.with_columns(held_out(frame, rule))


def of_one_curve(held: pl.Series, sizes: pl.Series) -> pl.Series:
    """What is held out of a curve that is fitted alone.

    A model that is held out whole, to test laws over models, keeps out its largest data size only: a curve
    of its own says nothing of other models, and nothing would be left to fit.

    Args:
        held: Which of the curve's runs the rule holds out.
        sizes: The variable along the curve.
    """
    return (sizes == sizes.max() if held.len() and held.all() else held).alias("held_out")


def _largest(frame: pl.DataFrame, by: list[str]) -> pl.Series:
    size = next((name for name in SIZES if name in frame.columns), None)
    names = [name for name in (size, *PAPER_FACTORS[1:], DATA_SIZE) if name in frame.columns]
    groups = fill_groups(frame.select(*by, *(name for name in names if name))).with_columns(tuned_runs(frame))
    held = np.zeros(frame.height, dtype=bool)
    runs = groups.with_row_index(_ROW).filter("tuned")
    for (_,), task in runs.group_by("task", maintain_order=True):
        base = base_setting(task).values
        for (method,), part in task.group_by("method", maintain_order=True):
            varying = [name for name in names if name and part[name].drop_nulls().n_unique() > 1]
            for name in varying:
                top = part[name].max()
                others = [other for other in varying if other not in (name, DATA_SIZE)]
                rests = bool(others) and base_value(base, name, method) == top
                left = part.filter(pl.col(name) < top)
                if not rests and all(left[other].drop_nulls().n_unique() > 1 for other in varying):
                    held[part.filter(pl.col(name) == top)[_ROW].to_numpy()] = True
    return pl.Series(held)
