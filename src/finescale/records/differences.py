"""Hyperparameters that go with what is compared: with the method, or with the data size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from finescale.records.columns import DATA_SIZE
from finescale.records.names import bare
from finescale.records.roles import CONFIGURATIONS, Role
from finescale.wording import listed

_RATES = frozenset(
    {
        "learning_rate",
        "lr",
        "peak_lr",
        "peak_learning_rate",
        "base_lr",
        "init_lr",
        "max_lr",
        "min_lr",
        "lora_lr",
    }
)
"""What may differ between methods: each wants its own."""
_MOSTLY = 0.8
"""In so many of the settings that two methods share, or of the curves, it must hold to be said."""
_MANY = 6


def method_differences(frame: pl.DataFrame, roles: Mapping[str, Role]) -> tuple[str, ...]:
    """Sentences on hyperparameters whose values differ between methods at the same model and data size.

    Args:
        frame: The runs that count.
        roles: The columns' roles.

    Returns:
        One sentence a hyperparameter and task; none where methods share no setting.
    """
    if "method" not in frame.columns or frame["method"].n_unique() < 2:
        return ()
    names = [name for name in _compared(frame, roles) if bare(name) not in _RATES]
    same = [name for name, role in roles.items() if role == "setting" and name not in ("method", "pet_size")]
    said: dict[str, list[str]] = {}
    for name in names:
        rows = frame.filter(pl.col(name).is_not_null() & pl.col("method").is_not_null())
        for task, part in _by_task(rows):
            differ = _disjoint(part, name, [key for key in same if key != "task"])
            if differ:
                words = (
                    f"{name} differs between methods: {_values(part, name, differ)}; what lies between them "
                    f"may come from {name} as well as from the method"
                )
                said.setdefault(words, []).append(task)
    many = len({task for tasks in said.values() for task in tasks}) > 1
    return tuple(
        f"{words}{f' ({listed(tasks)})' if many and all(tasks) else ''}." for words, tasks in said.items()
    )


def follows_data(frame: pl.DataFrame, roles: Mapping[str, Role], swept: Sequence[str]) -> tuple[str, ...]:
    """Sentences on hyperparameters that change with the data size, so that a curve mixes two causes.

    Args:
        frame: The runs that count.
        roles: The columns' roles.
        swept: Hyperparameters that were chosen for each setting: those may change.
    """
    compared = [name for name in _compared(frame, roles) if name not in swept]
    if not compared or DATA_SIZE not in frame.columns or frame[DATA_SIZE].n_unique() < 2:
        return ()
    curve = [name for name, role in roles.items() if role == "setting" and name != DATA_SIZE]
    notes = []
    for name in compared:
        rows = frame.filter(pl.col(name).is_not_null() & (pl.col(DATA_SIZE) > 0))
        found = _changing_curves(rows, name, curve)
        if found is not None:
            notes.append(
                f"{name} follows the data size ({found}): a curve over the data mixes two causes, and a law "
                "fitted to it holds for this rule only."
            )
    return tuple(notes)


def _compared(frame: pl.DataFrame, roles: Mapping[str, Role]) -> list[str]:
    """Hyperparameters with several values; the epoch of a run's row is how long it was trained."""
    found = [
        name
        for name, role in roles.items()
        if role == "hyperparameter" or (role == "progress" and bare(name) in ("epoch", "current_epoch"))
    ]
    return [
        name for name in found
        if bare(name) not in CONFIGURATIONS
        and not frame[name].dtype.is_nested()
        and 1 < frame[name].drop_nulls().n_unique() <= frame.height / 2
    ]  # fmt: skip


def _by_task(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    if "task" not in rows.columns:
        return [("", rows)]
    return [(str(key[0]), part) for key, part in rows.group_by("task", maintain_order=True)]


def _disjoint(rows: pl.DataFrame, name: str, same: Sequence[str]) -> list[str]:
    """The methods whose values differ from another's in most of the settings that they share."""
    keys = list(same) or [pl.lit(0).alias("all")]
    cells = rows.group_by(*keys, "method", maintain_order=True).agg(pl.col(name).unique())
    by = list(same) or ["all"]
    pairs = cells.join(cells, on=by, suffix="_other", nulls_equal=True)
    pairs = pairs.filter(pl.col("method") < pl.col("method_other"))
    apart = pl.col(name).list.set_intersection(f"{name}_other").list.len() == 0
    shares = pairs.group_by("method", "method_other", maintain_order=True).agg(apart.mean().alias("share"))
    differ = shares.filter(pl.col("share") >= _MOSTLY)
    return sorted({*differ["method"].to_list(), *differ["method_other"].to_list()})


def _values(rows: pl.DataFrame, name: str, methods: Sequence[str]) -> str:
    """Each method's most frequent values."""
    words = []
    for method in methods[:_MANY]:
        counts = rows.filter(pl.col("method") == method)[name].value_counts(sort=True)
        words.append(f"{method} {listed([plain(value) for value in counts[name].head(3)], 'or')}")
    return ", ".join(words) + (", ..." if len(methods) > _MANY else "")


def _changing_curves(rows: pl.DataFrame, name: str, curve: Sequence[str]) -> str | None:
    """In words how a hyperparameter changes along the data sizes, where it does so in most curves."""
    cells = rows.group_by(*curve, DATA_SIZE).agg(pl.col(name).n_unique().alias("many"), pl.col(name).first())
    if int((cells["many"] == 1).sum()) < max(1, _MOSTLY * cells.height):
        return None
    cells = cells.sort(DATA_SIZE)
    changes = (pl.col(name) != pl.col(name).shift()).sum()
    parts = cells.group_by(*curve) if curve else [((), cells)]
    found = [
        part.select(changes.alias("changes"), pl.col(name).n_unique().alias("values"), pl.len())
        for _, part in parts
    ]
    table = pl.concat(found).filter(pl.col("len") > 1)
    # a rule has as many blocks of data sizes as values; values that come and go are something else
    steps = table.filter((pl.col("values") > 1) & (pl.col("changes") == pl.col("values") - 1))
    if not table.height or steps.height < _MOSTLY * table.height:
        return None
    rule = rows.group_by(name, maintain_order=True).agg(
        pl.col(DATA_SIZE).min().alias("low"), pl.col(DATA_SIZE).max().alias("high")
    )
    blocks = rule.sort("low").head(_MANY).iter_rows(named=True)
    return (
        "; ".join(
            f"{plain(row[name])} at {row['low']:,.0f}"
            + (f" to {row['high']:,.0f}" if row["high"] > row["low"] else "")
            for row in blocks
        )
        + " examples"
    )


def plain(value: object) -> str:
    """A value as a table shows it, without a needless fraction."""
    return f"{value:g}" if isinstance(value, float) else str(value)
