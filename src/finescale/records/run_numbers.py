"""What a column called `run` holds where it names no runs: a number for each repeat, or groups of runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import polars as pl

from finescale.records.names import bare
from finescale.records.roles import RUN_IDS, SETTING, Role, role_by_name


def roles_of_runs(frame: pl.DataFrame, ignore: Collection[str]) -> tuple[dict[str, Role], list[str]]:
    """The roles of columns that are called like runs' names and hold none, and notes that say so.

    Such a name is of one run, and so of one setting. Where most of a column's values come in several settings
    they number the repeats (1, 2, 3 in each), or they name groups of runs.

    Args:
        frame: A table with our names, its cells as they stand.
        ignore: Columns whose meaning is known.

    Example:
        >>> runs = pl.DataFrame({"method": ["full", "full", "lora", "lora"], "run": [1, 2, 1, 2]})
        >>> roles_of_runs(runs, ())[0]
        {'run': 'repeat'}
    """
    roles: dict[str, Role] = {}
    notes: list[str] = []
    settings = [name for name in SETTING if name in frame.columns]
    for name in frame.columns:
        if name in ignore or bare(name) not in RUN_IDS or frame[name].dtype.is_nested():
            continue
        if not _of_several_settings(frame, name, settings):
            continue
        if _numbers_repeats(frame, name, settings):
            roles[name] = "repeat"
            notes.append(f"`{name}` numbers the repeats of a setting (--role '{name}=label' if it does not).")
        elif name == "run":
            roles[name] = "label"
            notes.append(f"`{name}` has the same value in several settings: it names groups, not runs.")
    return roles, notes


def _of_several_settings(frame: pl.DataFrame, name: str, settings: list[str]) -> bool:
    """Whether half of a column's values or more come in several settings."""
    if not settings or frame[name].null_count() or frame[name].n_unique() == frame.height:
        return False
    counts = frame.group_by(name).agg(pl.struct(settings).n_unique().alias("settings"))["settings"]
    return int((counts > 1).sum()) >= counts.len() / 2


def _numbers_repeats(frame: pl.DataFrame, name: str, settings: list[str]) -> bool:
    """Whether some setting has all of a column's values, and each of them is one run's there."""
    most = frame.group_by(settings).agg(pl.col(name).n_unique())[name].max()
    if most != frame[name].n_unique():
        return False
    roles: Mapping[str, Role | None] = {other: role_by_name(other) for other in frame.columns}
    apart = [other for other, role in roles.items() if role in ("hyperparameter", "repeat")]
    apart = [other for other in apart if not frame[other].dtype.is_nested() and other not in settings]
    once = not frame.select(*settings, *apart, name).is_duplicated().any()
    return once or "progress" in roles.values()
