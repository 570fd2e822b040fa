"""Which repeat of its setting a run is: by its seed, and by what else numbers repeats (folds, replicates)."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from finescale.records.roles import Role
from finescale.wording import listed

SEED = "seed"


def with_repeats(frame: pl.DataFrame, roles: Mapping[str, Role]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Gives runs as ``seed`` what tells the repeats of a setting apart.

    What is averaged, resampled and paired goes by ``seed``: a table whose repeats are numbered by another
    column, or by two, would lose which runs belong together.

    Args:
        frame: Runs.
        roles: The columns' roles.

    Returns:
        The runs, and a note where ``seed`` is not the table's own.
    """
    repeats = [name for name, role in roles.items() if role == "repeat" and name in frame.columns]
    names = [name for name in repeats if frame[name].n_unique() > 1 and not frame[name].dtype.is_nested()]
    others = [name for name in names if name != SEED and not (SEED in names and _is_same(frame, name))]
    if not others:
        return frame, ()
    names = [SEED, *others] if SEED in names else others
    if len(names) == 1:
        return frame.with_columns(pl.col(names[0]).alias(SEED)), (f"Repeats are numbered by `{names[0]}`.",)
    parts = [pl.col(name).cast(pl.String).fill_null("-") for name in names]
    told = frame.with_columns(pl.concat_str(parts, separator="/").alias(SEED))
    return told, (f"Repeats are told apart by {listed([f'`{name}`' for name in names])} together.",)


def _is_same(frame: pl.DataFrame, name: str) -> bool:
    """Whether a column only writes the seed in another way."""
    return frame.select(SEED, name).unique().height == frame[SEED].n_unique() == frame[name].n_unique()
