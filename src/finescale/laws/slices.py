"""From records to the points of a fit: groups, a factor's slice at the base setting, seeds averaged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from finescale.errors import DataError, UsageError, nearest
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut, group_label
from finescale.laws.options import RunFilter
from finescale.laws.slice_bases import ROW, at_bases, base_of, base_settings
from finescale.records.held_out import mark_held_out, of_one_curve
from finescale.records.outcomes import TEST_LOSS, Outcome, need_best
from finescale.records.records import DATA_SIZE, FACTORS, Records
from finescale.records.settings import (
    GROUP,
    SIZE,
    SIZES,
    check_base,
    setting_columns,
    tuned_runs,
    varies,
)
from finescale.records.tokenizers import mixed_words

_EDGE = 1e-4
"""A bounded score is kept so far from its best value, as a share of the bounds' distance."""


@dataclass(frozen=True)
class Slice:
    """The runs that one set of parameters is fitted to.

    Attributes:
        by: The group, e.g. ``{"task": "wmt14-en-de", "method": "lora"}``.
        factor: The factor that stands for the law's X; None where the law has none.
        base: The values of the factors that were kept constant.
        columns: The law's variables and their columns, e.g. ``{"X": "model_params"}``.
        points: One row a setting: the variables' columns, ``loss``, ``runs``, ``weight``, ``held_out``.
        runs: One row a run: ``point`` (index into points), ``loss``, ``seed`` (null where unknown).
        notes: What was left out of this slice.
        outcome: What was measured; of a score, ``loss`` is the distance from the best value.
        status: What to know of these runs, e.g. that their losses do not compare.
    """

    by: Mapping[str, Any]
    factor: str | None
    base: Mapping[str, Any]
    columns: Mapping[str, str]
    points: pl.DataFrame
    runs: pl.DataFrame
    notes: tuple[str, ...] = ()
    outcome: Outcome = TEST_LOSS
    status: tuple[str, ...] = ()

    @property
    def fitted(self) -> pl.DataFrame:
        """The settings that the fit sees."""
        return self.points.filter(~pl.col("held_out"))

    @property
    def label(self) -> str:
        """The group and factor in words."""
        label = group_label(self.by)
        return f"{label}, {self.factor}" if self.factor else label


def check_groups(by: Sequence[str], records: Records) -> None:
    """Refuses groups by a column that is not there; a table without tasks or methods has one of each.

    Raises:
        UsageError: A column that the table does not have.
    """
    have = records.frame.columns
    missing = [name for name in by if name not in have and name not in GROUP]
    if missing:
        raise UsageError(
            f"no column `{missing[0]}` to group by",
            wanted="some of " + ", ".join(have),
            got=", ".join(by),
            remedy=nearest(missing[0], have),
            where=records.source,
        )


def variable_columns(law: Law, factor: str | None) -> dict[str, str]:
    """The column behind each variable of the law; ``D`` of a law of one variable may be any factor."""
    along = (factor or DATA_SIZE) if law.per_curve else DATA_SIZE
    special = {"D": along} | ({"X": factor} if factor else {})
    return {name: special.get(name, name) for name in law.variables}


def slices(
    records: Records, law: Law, factor: str | None, choice: RunFilter
) -> tuple[list[Slice], list[str], list[LeftOut]]:
    """Cuts the records into the slices of one factor, one for each group.

    Args:
        records: The runs.
        law: The law; a law of one variable makes every value of the other factors a group.
        factor: The factor for X (for a law of one variable: its variable), or None.
        choice: How runs are chosen.

    Returns:
        The slices, notes, and the groups that have no slice.

    Raises:
        UsageError: A column that is not there.
        DataError: No run at all.
    """
    check_base(choice.base)
    outcome = records.outcome if choice.loss == records.loss else TEST_LOSS
    if outcome.kind == "score":
        need_best(outcome, "a law")
    check_groups(choice.by, records)
    columns = variable_columns(law, factor)
    if "X" in columns and factor is None:
        raise UsageError(f"the law `{law.name}` needs a factor", wanted="e.g. --factor model_params")
    frame = records.frame
    for name in (*columns.values(), choice.loss, *([choice.weights] if choice.weights else [])):
        if name not in frame.columns:
            have = ", ".join(frame.columns)
            remedy = f"map it: --column {name}=THEIRS"
            raise UsageError(
                f"no column `{name}`", got=f"columns {have}", remedy=remedy, where=records.source
            )
    notes: list[str] = []
    left_out: list[LeftOut] = []
    tuned = _tuned(mark_held_out(frame, choice.hold_out).with_row_index(ROW), choice.loss, notes)
    tuned = tuned.with_columns(_lost(outcome, choice.loss))
    frame = _with_variables(tuned, columns, notes)
    by = [name for name in choice.by if name in frame.columns]
    curve = _curve_columns(frame, law, columns, by, choice)
    free = {*columns.values(), *by, *curve}
    bases = base_settings(frame if law.per_curve else tuned, law, by, choice)
    frame, lost, ties = at_bases(frame, bases, by, free, choice)
    left_out += [LeftOut(group, law.name, factor, reason) for group, reason in lost]
    notes += ties
    made: list[Slice] = []
    for values, rows in frame.group_by(by + curve, maintain_order=True) if by + curve else [((), frame)]:
        group = dict(zip(by + curve, values, strict=True))
        base = base_of(rows, bases[_scope(group, by)].values, group, free)
        piece = _slice(rows, group, law, factor, columns, choice, base)
        if isinstance(piece, str):
            left_out.append(LeftOut(group, law.name, factor, piece))
        else:
            mixed = mixed_words(rows, outcome) if set(SIZES) & set(columns.values()) else ""
            made.append(replace(piece, outcome=outcome, status=(mixed,) if mixed else ()))
    if not frame.height:
        raise DataError(
            "no run is left to fit",
            got="; ".join((*records.notes, *notes, *map(str, left_out))),
            where=records.source,
        )
    return made, notes, left_out


def _tuned(frame: pl.DataFrame, loss: str, notes: list[str]) -> pl.DataFrame:
    """The runs of tuned models with a loss."""
    frame = frame.filter(pl.col(loss).is_not_null() & pl.col(loss).is_finite())
    tuned = tuned_runs(frame)
    if not tuned.all():
        notes.append(
            f"Left out {(~tuned).sum()} runs of untuned models (0 examples): the law starts at 1 example."
        )
        frame = frame.filter(tuned)
    return frame


def _with_variables(frame: pl.DataFrame, columns: Mapping[str, str], notes: list[str]) -> pl.DataFrame:
    """The runs with a positive value of every variable."""
    for name in columns.values():
        kept = frame.filter((pl.col(name) > 0).fill_null(value=False))
        lost = frame.height - kept.height
        if lost and not (name == "pet_size" and "method" in frame.columns):
            notes.append(f"Left out {lost} runs without a positive {name}.")
        frame = kept
    return frame


def _curve_columns(
    frame: pl.DataFrame, law: Law, columns: Mapping[str, str], by: Sequence[str], choice: RunFilter
) -> list[str]:
    """For a law of one variable: the columns whose values are curves of their own."""
    if not law.per_curve:
        return []
    own = set(columns.values())
    own |= {*SIZES, "model"} if own & set(SIZES) else set()
    names = [name for name in ("model", *FACTORS, DATA_SIZE) if name in frame.columns and name not in by]
    names = [name for name in names if name not in own and name not in choice.base]
    if SIZE in names and SIZES[1] in names:
        names.remove(SIZES[1])
    return [name for name in names if varies(frame, name, by)]


def _scope(group: Mapping[str, Any], by: Sequence[str]) -> tuple[Any, ...]:
    """What has a base setting of its own: a task; where runs are grouped by more, each group but a method."""
    return tuple(group[name] for name in by if name != "method")


def _lost(outcome: Outcome, column: str) -> pl.Expr:
    """What the law is fitted to; a perfect score keeps a trace of a distance, as logs need one."""
    lost = outcome.lost(pl.col(column))
    if outcome.kind == "score":
        lost = lost.clip(lower_bound=_EDGE * (outcome.width if math.isfinite(outcome.width) else 1.0))
    return lost.alias(column)


def _slice(  # noqa: PLR0917
    rows: pl.DataFrame,
    group: dict[str, Any],
    law: Law,
    factor: str | None,
    columns: Mapping[str, str],
    choice: RunFilter,
    base: Mapping[str, Any],
) -> Slice | str:
    """The slice of a group; in words, why there is none."""
    along = next(iter(columns.values()))
    if factor is not None and rows[factor].min() == rows[factor].max() and not law.per_curve:
        return f"no law over {factor}, it has only one value."
    if law.per_curve:
        rows = rows.with_columns(of_one_curve(rows["held_out"], rows[along]))
    points, runs = _points(rows, columns, choice)
    if law.last_sizes:
        sizes = points.filter(~pl.col("held_out"))[along].unique().sort()
        if sizes.len() > law.last_sizes:
            kept = (points[along] >= sizes[-law.last_sizes]) | points["held_out"]
            here, at = kept.to_numpy(), runs["point"].to_numpy()
            index = pl.Series("point", (here.cumsum() - 1)[at], dtype=pl.Int64)
            points, runs = points.filter(kept), runs.with_columns(index).filter(here[at])
    return Slice(group, factor, base, columns, points, runs, _repeated_seeds(runs, group_label(group)))


def _points(
    rows: pl.DataFrame, columns: Mapping[str, str], choice: RunFilter
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row a setting (or a run), sorted; and the runs with the index of their setting."""
    identity = setting_columns(rows)
    weight = pl.col(choice.weights) if choice.weights else pl.lit(1.0)
    rows = rows.with_columns(
        pl.col(choice.loss).cast(pl.Float64).alias("loss"),
        weight.cast(pl.Float64).alias("weight"),
        (pl.col("seed").cast(pl.String) if "seed" in rows.columns else pl.lit(None, dtype=pl.String)).alias(
            "seed"
        ),
    )
    if rows["weight"].null_count() or (rows["weight"] < 0).any():
        raise UsageError(
            "a weight below 0, or none", wanted="0 or more in every row", where=f"column {choice.weights}"
        )
    keys = identity if choice.average_seeds else [*identity, ROW]
    if rows.select(keys).hash_rows().n_unique() == rows.height:  # different hashes: different settings
        kept = [*dict.fromkeys([*columns.values(), *identity]), "loss", "runs", "weight", "held_out"]
        rows = rows.with_columns(pl.lit(1).alias("runs")).select(*kept, "seed", ROW)
        rows = rows.sort(*columns.values(), ROW)
        runs = (
            rows.select("loss", "seed").with_row_index("point").with_columns(pl.col("point").cast(pl.Int64))
        )
        return rows.select(kept), runs.select("point", "loss", "seed")
    total = pl.col("weight").sum()
    mean = (
        pl.when(total > 0)
        .then((pl.col("loss") * pl.col("weight")).sum() / total)
        .otherwise(pl.col("loss").mean())
    )
    points = (
        rows.group_by(keys, maintain_order=True)
        .agg(
            mean.alias("loss"),
            pl.len().alias("runs"),
            total.alias("weight") / pl.len(),
            pl.col("held_out").any(),
        )
        .sort(*columns.values(), *[key for key in keys if key not in columns.values()], nulls_last=True)
        .with_row_index("point")
    )
    runs = rows.select(*keys, "loss", "seed").join(points.select(*keys, "point"), on=keys, nulls_equal=True)
    return points.drop("point", ROW, strict=False), runs.select("point", "loss", "seed")


def _repeated_seeds(runs: pl.DataFrame, label: str) -> tuple[str, ...]:
    seeds = runs.filter(pl.col("seed").is_not_null())
    if seeds.select("point", "seed").is_duplicated().any():
        return (f"{label}: several runs share setting and seed (other columns differ?); they are averaged.",)
    return ()
