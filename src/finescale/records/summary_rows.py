"""Rows that sum up others: means and standard deviations that stand among the runs they are of."""

from __future__ import annotations

import polars as pl

from finescale.records.names import bare
from finescale.records.roles import REPEATS

_SPREADS = frozenset({
    "std", "stdev", "std_dev", "stddev", "standard_deviation", "stderr", "std_err", "std_error",
    "standard_error", "sem", "variance",
})  # fmt: skip
_SPREADS_OF_REPEATS = _SPREADS | {"sd", "se", "var", "ci", "ci95", "95_ci", "+_", "±", "range", "delta"}
_MEANS = frozenset(["mean", "avg", "average", "median", "mean_std", "all", "overall", "total", "aggregate"])
_OTHERS = frozenset(["min", "max", "minimum", "maximum", "best", "worst", "count", "n"])
_MOST_VALUES = 2_000
"""A column of more different words names runs."""


def summary_rows(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows that are runs, and how many are left out, by reason.

    Args:
        frame: A table with our names, its cells as they stand.

    Example:
        >>> summary_rows(pl.DataFrame({"seed": ["0", "1", "mean", "std"]}))[1]
        {'`seed` mean, std: they sum up other rows': 2}
    """
    lost = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    left_out: dict[str, int] = {}
    for name in frame.columns:
        if frame[name].dtype != pl.String:
            continue
        repeats = bare(name) in REPEATS
        known = _SPREADS_OF_REPEATS if repeats else _SPREADS
        values = frame[name].drop_nulls().unique(maintain_order=True)
        if values.len() > _MOST_VALUES:
            continue
        distinct = {value: _word(value) for value in values}
        if not repeats and not any(word in known for word in distinct.values()):
            continue
        sums = {value for value, word in distinct.items() if word in known | _MEANS | _OTHERS}
        if sums == set(distinct):  # a table of means and their spreads: the means count
            sums = {value for value, word in distinct.items() if word not in _MEANS}
        mine = frame[name].is_in(list(sums)).fill_null(False) & ~lost
        if mine.any() and not mine.all():
            shown = ", ".join(value.strip() for value in distinct if value in sums)
            left_out[f"`{name}` {shown}: they sum up other rows"] = int(mine.sum())
            lost = lost | mine
    return (frame.filter(~lost), left_out) if left_out else (frame, {})


def _word(value: str) -> str:
    return value.strip().casefold().replace(".", "").replace("-", "_").replace(" ", "_").replace("%", "")
