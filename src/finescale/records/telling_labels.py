"""Labels that decide the outcome: rows of one setting that differ in a version, a group or a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import polars as pl

from finescale.records.expression import quoted
from finescale.records.names import bare
from finescale.records.outcomes import Outcome
from finescale.records.roles import RUN_NAMES, Role

_MOST_VALUES = 8
_FEWEST_PAIRS = 4
_CHANCE = 1e-4
"""Two values of a label differ where a paired t test over the settings that have both says so beyond this."""
_NEVER = RUN_NAMES | {"status", "state", "done", "purpose", "error", "held_out", "lr_tuned", "lr_tuned_at"}


def telling_labels(
    frame: pl.DataFrame, roles: Mapping[str, Role], outcome: Outcome, stated: Iterable[str]
) -> tuple[list[str], list[str]]:
    """Notes and doubts on labels whose values have outcomes of their own, setting by setting.

    Args:
        frame: Runs, one candidate a setting.
        roles: The columns' roles.
        outcome: What is compared.
        stated: Columns whose role the user stated.
    """
    settings = [name for name, role in roles.items() if role == "setting" and name in frame.columns]
    repeats = [name for name, role in roles.items() if role == "repeat" and name in frame.columns]
    known = {bare(column) for column in stated}
    notes, doubts = [], []
    for name, role in roles.items():
        if role != "label" or name not in frame.columns or bare(name) in known | _NEVER:
            continue
        if not 2 <= frame[name].drop_nulls().n_unique() <= min(_MOST_VALUES, frame.height // _FEWEST_PAIRS):
            continue
        if not settings or any(_follows(frame, name, repeat) for repeat in repeats):
            continue
        told = _apart(frame, name, settings, outcome)
        if told is None:
            continue
        low, high, many = told
        question = (
            f"which rows of `{name}` count? --where '{quoted(name)}={low}' (or {high}), "
            f"--role '{name}=setting' (each is a task of its own), or "
            f"--role '{name}=label' (they are repeats)"
        )
        notes.append(
            f"Rows of one setting differ in `{name}`, and {outcome.name} is lower with `{low}` than with "
            f"`{high}` in {many} settings: they are averaged. Say which are meant: "
            f"{question.partition('? ')[2]}."
        )
        doubts.append(question)
    return notes, doubts


def _apart(
    frame: pl.DataFrame, name: str, settings: list[str], outcome: Outcome
) -> tuple[str, str, str] | None:
    """The two most frequent values, the lower first, and in how many settings; None where none is lower."""
    first, second = frame[name].drop_nulls().value_counts(sort=True)[name].head(2)
    outcomes = pl.col(outcome.column).log() if outcome.kind == "loss" else pl.col(outcome.column)
    of = {which: outcomes.filter(pl.col(name) == which).mean() for which in (first, second)}
    gaps = frame.group_by(settings).agg((of[first] - of[second]).alias("_gap"))["_gap"].drop_nulls()
    if gaps.len() < _FEWEST_PAIRS:
        return None
    mean, spread = float(gaps.mean() or 0.0), float(gaps.std() or 0.0)  # type: ignore[arg-type]
    if mean == 0 or _chance(mean, spread / math.sqrt(gaps.len()), gaps.len() - 1) > _CHANCE:
        return None
    low, high = (first, second) if mean < 0 else (second, first)
    same = int(((gaps < 0) == (mean < 0)).sum())
    return str(low), str(high), f"{same} of {gaps.len()}"


def _follows(frame: pl.DataFrame, name: str, other: str) -> bool:
    """Whether the value of one column decides that of another: a seed the host that it ran on."""
    return frame.select(name, other).unique().height == frame[other].n_unique()


def _chance(mean: float, error: float, freedom: int) -> float:
    """The two-sided probability of such a mean by chance."""
    if error <= 1e-9 * abs(mean):
        return 0.0
    from scipy.special import stdtr  # noqa: PLC0415 - only where a label may tell

    return 2 * float(stdtr(freedom, -abs(mean) / error))
