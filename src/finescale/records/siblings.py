"""A run that lies far from its siblings - same setting, other seed: named, never dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from finescale.wording import count

_FAR, _NEXT = 6.0, 3.0
"""Beyond so many robust standard deviations of all siblings, and so many times the next largest gap."""
_FEWEST, _MOST = 6, 5
"""So many gaps tell what is usual; so many rows are named at most."""
_TO_SD = 1.4826 / 2**0.5
"""A median of absolute differences of two normal values to their standard deviation."""


def far_siblings(frame: pl.DataFrame, settings: Sequence[str], outcome: str, row: str) -> tuple[str, ...]:
    """Sentences on rows that are far from all other rows of their setting.

    Args:
        frame: The runs that count, with an outcome each.
        settings: The columns of a setting.
        outcome: The column that is analysed.
        row: The column with the rows' numbers in the source.
    """
    keys = list(settings)
    setting = frame.select(keys).hash_rows() if keys and frame.height > 1 else None
    if setting is None or setting.n_unique() == frame.height:
        return ()
    places = pl.int_range(frame.height, eager=True).alias("_place")
    rows = pl.DataFrame([setting.alias("_of"), frame[outcome].alias("_y"), places])
    rows = rows.sort("_of", "_y", nulls_last=True)
    own = pl.col("_of") == pl.col("_of").shift(1)  # windows over a million settings take ten times as long
    rows = rows.with_columns(own.fill_null(False).not_().alias("_first"))
    rows = rows.with_columns(pl.col("_first").shift(-1, fill_value=True).alias("_last"))
    rows = rows.filter(~(pl.col("_first") & pl.col("_last")))
    y, first, last = pl.col("_y"), pl.col("_first"), pl.col("_last")
    two = (first & last.shift(-1, fill_value=False)) | (last & first.shift(1, fill_value=False))
    rows = rows.with_columns(
        pl.when(~first).then(y - y.shift(1)).alias("_down"),
        pl.when(~last).then(y.shift(-1) - y).alias("_up"),
        two.alias("_two"),
    )
    gaps = rows["_up"].drop_nulls()
    if gaps.len() < _FEWEST:
        return ()
    spread = max(float(gaps.median() or 0) * _TO_SD, 1e-4 * abs(float(rows["_y"].median() or 0)))  # type: ignore[arg-type]
    # the outermost row of a setting, apart from its neighbour; of two rows the one that is further up
    low = pl.when(first & ~pl.col("_two")).then(pl.col("_up"))
    high = pl.when(last).then(pl.col("_down"))
    rows = rows.with_columns(pl.max_horizontal(low, high).alias("_gap"))
    outer = rows.filter(pl.col("_gap").is_not_null()).top_k(2 * _MOST, by="_gap")
    apart = _apart(outer.sort("_gap", descending=True), gaps, spread)
    return tuple(_words(one | frame.row(one["_place"], named=True), keys, outcome, row) for one in apart)


def _apart(outer: pl.DataFrame, gaps: pl.Series, spread: float) -> list[dict[str, Any]]:
    """The rows before the first large drop in the sorted gaps, if they are beyond what is usual."""
    ordered = gaps.top_k(_MOST + 1).sort(descending=True).to_list()
    for many in range(min(_MOST, gaps.len() // 4), 0, -1):
        if ordered[many - 1] > _FAR * spread and ordered[many - 1] >= _NEXT * ordered[many]:
            return [
                one for one in outer.head(2 * many).iter_rows(named=True) if one["_gap"] >= ordered[many - 1]
            ]
    return []


def _words(one: dict[str, object], keys: Sequence[str], outcome: str, row: str) -> str:
    where = ", ".join(f"{name} {_plain(one[name])}" for name in keys if one[name] is not None)
    if one.get("seed") is not None:
        where += f", seed {one['seed']}"
    below = not one["_first"] or one["_two"]
    few = "sibling is" if one["_two"] else "siblings are"
    return (
        f"Row {one[row]} ({where}) has {outcome} {_plain(one['_y'])}: its {few} {_plain(one['_gap'])} "
        f"{'below' if below else 'above'}. Look at that run; it counts as it is (--where leaves it out)."
    )


def _plain(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return count(value) if abs(value) >= 1e4 else f"{value:.4g}"
