"""A run that lies far from its siblings - same setting, other seed: named, never dropped."""

from __future__ import annotations

from collections.abc import Sequence

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
    if not keys or frame.height < 2 or frame.select(keys).hash_rows().n_unique() == frame.height:
        return ()
    rows = frame.select(
        *keys, row, *(["seed"] if "seed" in frame.columns else []), pl.col(outcome).alias("_y")
    )
    rows = rows.filter(pl.len().over(keys) > 1).sort(*keys, "_y", nulls_last=True)
    if rows.height < 2:
        return ()
    down = (pl.col("_y") - pl.col("_y").shift(1)).over(keys)
    up = (pl.col("_y").shift(-1) - pl.col("_y")).over(keys)
    rows = rows.with_columns(
        down.alias("_down"), up.alias("_up"), pl.len().over(keys).alias("_many"),
        pl.int_range(pl.len()).over(keys).alias("_at"),
    )  # fmt: skip
    gaps = rows["_up"].drop_nulls()
    if gaps.len() < _FEWEST:
        return ()
    spread = max(float(gaps.median() or 0) * _TO_SD, 1e-4 * abs(float(rows["_y"].median() or 0)))  # type: ignore[arg-type]
    # the outermost row of a setting, apart from its neighbour; of two rows the one that is further up
    low = pl.when((pl.col("_at") == 0) & (pl.col("_many") > 2)).then(pl.col("_up"))
    high = pl.when(pl.col("_at") == pl.col("_many") - 1).then(pl.col("_down"))
    rows = rows.with_columns(pl.max_horizontal(low, high).alias("_gap"))
    outer = rows.filter(pl.col("_gap").is_not_null()).sort("_gap", descending=True)
    return tuple(_words(one, keys, outcome, row) for one in _apart(outer, gaps, spread))


def _apart(outer: pl.DataFrame, gaps: pl.Series, spread: float) -> list[dict[str, object]]:
    """The rows before the first large drop in the sorted gaps, if they are beyond what is usual."""
    ordered = gaps.sort(descending=True).to_list()
    for many in range(min(_MOST, len(ordered) // 4), 0, -1):
        if ordered[many - 1] > _FAR * spread and ordered[many - 1] >= _NEXT * ordered[many]:
            return [
                one for one in outer.head(2 * many).iter_rows(named=True) if one["_gap"] >= ordered[many - 1]
            ]
    return []


def _words(one: dict[str, object], keys: Sequence[str], outcome: str, row: str) -> str:
    where = ", ".join(f"{name} {_plain(one[name])}" for name in keys if one[name] is not None)
    if one.get("seed") is not None:
        where += f", seed {one['seed']}"
    below = one["_at"] != 0 or one["_many"] == 2
    few = "sibling is" if one["_many"] == 2 else "siblings are"
    return (
        f"Row {one[row]} ({where}) has {outcome} {_plain(one['_y'])}: its {few} {_plain(one['_gap'])} "
        f"{'below' if below else 'above'}. Look at that run; it counts as it is (--where leaves it out)."
    )


def _plain(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return count(value) if abs(value) >= 1e4 else f"{value:.4g}"
