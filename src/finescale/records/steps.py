"""Evaluations of one run at several steps: one row a run counts, the last one or the best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from finescale.records.names import bare
from finescale.records.roles import RUN_IDS, RUN_NAMES, Role

Which = Literal["last", "best"]
_STEP_IN_WORDS = r"^[a-z_\s-]*(\d+(?:\.\d+)?)\s*(?:(?:/|of)\s*\d+)?\s*(?:steps?|epochs?|it|iters?)?$"
_AT_THE_END = ("final", "last", "end", "final_step", "last_step")
_FEWEST_LOGGED = 3
_ROW, _STEP, _TIMES, _AGAIN, _RISE = "_row", "_step", "_times", "_again", "_rise"


@dataclass(frozen=True)
class OneRowARun:
    """Which rows stand for their runs.

    Attributes:
        keep: One boolean a row.
        progress: The column that grows within a run; empty where every run has one row.
        logged: Hyperparameters that change within a run: logged with its steps, they tell no runs apart.
        notes: What was done, in a sentence.
    """

    keep: pl.Series
    progress: str = ""
    logged: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def one_row_a_run(
    frame: pl.DataFrame, roles: Mapping[str, Role], *, outcome: str, lower: bool, which: Which
) -> OneRowARun:
    """Finds rows that are evaluations of the same run, and the one that counts.

    Args:
        frame: Rows of runs that finished.
        roles: The columns' roles.
        outcome: The column that is analysed.
        lower: Whether lower is better.
        which: ``last``: the row with the largest step among those with an outcome; ``best``: the one with the
            best dev loss, or the best outcome where there is no dev loss.
    """
    everything = OneRowARun(pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True))
    named_so = [name for name, role in roles.items() if role == "progress"]
    frame = frame.with_columns(
        [steps for name in named_so if (steps := _as_numbers(frame[name])) is not None]
    )
    progress = [name for name in named_so if frame[name].dtype.is_numeric()]
    if not progress or frame.height < 2:
        return everything
    found = run_identity(frame, roles)
    if found is None:
        return everything
    identity, named, logged = found
    counts = frame.group_by(identity).agg(pl.col(name).n_unique() for name in progress).select(progress)
    several = {name: float((counts[name] > 1).mean() or 0) for name in progress}  # type: ignore[arg-type]
    step = max(progress, key=lambda name: several[name])
    if several[step] == 0:
        return everything
    rows = frame.with_row_index(_ROW).filter(pl.col(outcome).is_not_null())
    rows = rows.with_columns(_over(_steps_in_order(step), identity).alias(_STEP))
    run = [*identity, _AGAIN]
    rows = _runs_apart(rows, identity, named=named)
    by, lower = ("dev_loss", True) if _has(frame, "dev_loss") and which == "best" else (outcome, lower)
    if which == "best":
        finite = rows.filter(pl.col(by).is_finite()).sort(by, descending=not lower, maintain_order=True)
        rows = pl.concat([finite, rows.filter(~pl.col(by).is_finite()).sort(_STEP, maintain_order=True)])
        chosen = rows.group_by(run, maintain_order=True).first()
    else:
        chosen = rows.sort(_STEP, maintain_order=True).group_by(run, maintain_order=True).last()
    marked = frame.select(pl.int_range(pl.len()).is_in(chosen[_ROW].implode())).to_series()
    dropped = frame.height - chosen.height
    words = "last" if which == "last" else f"one with the best {by}"
    if which == "best" and by == outcome:
        words += ", which flatters every run,"
    note = (
        f"{chosen.height} runs have several rows, one at each {step}: the {words} counts; "
        f"{dropped} rows of earlier or other steps do not (--step {'best' if which == 'last' else 'last'})."
    )
    return OneRowARun(marked, step, logged, (note,))


def _as_numbers(values: pl.Series) -> pl.Series | None:
    """Steps in words as numbers: 50/150, step_50, epoch 1, final; None where none are in words."""
    if values.dtype != pl.String:
        return None
    words = values.str.strip_chars().str.to_lowercase()
    steps = words.str.extract(_STEP_IN_WORDS).cast(pl.Float64, strict=False)
    steps = steps.set(words.is_in(_AT_THE_END).fill_null(False), float("inf"))
    return None if (words.is_not_null() & (words != "") & steps.is_null()).any() else steps.alias(values.name)


def _steps_in_order(step: str) -> pl.Expr:
    """A run's steps; its last row may say none, or -1."""
    value = pl.col(step).cast(pl.Float64)
    unsaid, last = value.is_null() | (value < 0), pl.int_range(pl.len()) == pl.len() - 1
    return pl.when(~unsaid).then(value).when(last).then(float("inf")).otherwise(-float("inf"))


def run_identity(
    frame: pl.DataFrame, roles: Mapping[str, Role]
) -> tuple[list[str], bool, tuple[str, ...]] | None:
    """What tells runs apart: their names or numbers, else settings, hyperparameters and seeds.

    Returns:
        The columns, whether runs have a name or a seed, and hyperparameters that change within named runs;
        None where every row has a run's name of its own.
    """
    kinds = ("setting", "hyperparameter", "repeat", "unknown")
    columns = [name for name, role in roles.items() if role in kinds and not frame[name].dtype.is_nested()]
    repeats = any(roles[name] == "repeat" for name in columns)
    names = [name for name, role in roles.items() if role == "label" and bare(name) in RUN_NAMES]
    for name in names:
        if frame[name].null_count() or frame[name].n_unique() < 2:
            continue
        if frame[name].n_unique() == frame.height:
            return None
        if bare(name) in RUN_IDS:
            counts = frame.group_by(name).agg(pl.col(column).n_unique() for column in columns)
            logged = [
                column for column in columns
                if roles[column] in ("hyperparameter", "unknown") and (counts[column] > 1).any()
            ]  # fmt: skip
            return [name, *(column for column in columns if column not in logged)], True, tuple(logged)
        return [name, *columns], True, ()
    logged = _logged_rates(frame, roles, columns)
    return [column for column in columns if column not in logged], repeats, logged


def _logged_rates(frame: pl.DataFrame, roles: Mapping[str, Role], columns: list[str]) -> tuple[str, ...]:
    """Learning rates that a schedule sets: one at each step of a run, falling in the end."""
    steps = [name for name, role in roles.items() if role == "progress" and frame[name].dtype.is_numeric()]
    found = []
    for name in columns:
        if bare(name) not in ("learning_rate", "lr") or not steps or not frame[name].dtype.is_numeric():
            continue
        rest = [column for column in columns if column != name]
        falls = (pl.col(name).sort_by(steps[0]).diff().drop_nulls() <= 0).sum()
        counts = (frame.group_by(rest) if rest else frame.group_by(pl.lit(0).alias("_"))).agg(
            pl.len().alias("rows"),
            pl.col(steps[0]).n_unique().alias("steps"),
            pl.col(name).n_unique().alias("rates"),
            falls.alias("falls"),
        )
        long = (counts["rows"] >= _FEWEST_LOGGED) & (counts["rows"] == counts["steps"])
        if (
            long & (2 * counts["rates"] > counts["rows"]) & (2 * counts["falls"] >= counts["rows"] - 1)
        ).all():
            found.append(name)
    return tuple(found)


def _runs_apart(rows: pl.DataFrame, identity: list[str], *, named: bool) -> pl.DataFrame:
    """Numbers the runs that share an identity: where a step comes k times, there are k of them.

    Where the steps rise k times in the table's order, each rise is a run; else the n-th row of a step is the
    n-th run's. A step that comes again in one run with a name or a seed is a resumed run's: it stays one run.
    """
    rows = rows.with_columns(
        pl.len().over([*identity, _STEP]).alias(_TIMES),
        pl.int_range(pl.len()).over([*identity, _STEP]).alias(_AGAIN),
        _over((pl.col(_STEP) <= pl.col(_STEP).shift()).fill_null(False).cum_sum(), identity).alias(_RISE),
    )
    if named:
        same = _over(pl.col(_TIMES).n_unique() == 1, identity)
        return rows.with_columns(pl.when(same).then(_AGAIN).otherwise(0).alias(_AGAIN))
    apart = _over(pl.col(_RISE).max() + 1 == pl.col(_TIMES).max(), identity)
    return rows.with_columns(
        pl.when(apart).then(pl.col(_RISE).cast(pl.Int64)).otherwise(_AGAIN).alias(_AGAIN)
    )


def _over(value: pl.Expr, identity: list[str]) -> pl.Expr:
    return value.over(identity) if identity else value


def _has(frame: pl.DataFrame, name: str) -> bool:
    return (
        name in frame.columns and frame[name].null_count() < frame.height and frame[name].dtype.is_numeric()
    )
