"""From records to the points of a fit: groups, a factor's slice at the base setting, seeds averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from finescale.errors import DataError, UsageError, nearest
from finescale.laws.law import Law
from finescale.records.expression import matches
from finescale.records.outcomes import refuse_score
from finescale.records.records import DATA_SIZE, FACTORS, Records, untuned

Array = np.ndarray[Any, Any]
GROUP = ("task", "method")
"""The columns that make groups unless others are named."""
ANY = "any"
"""A base value that means: do not slice by this factor."""
_SAME = {"model_params": "model_params_nonembedding", "model_params_nonembedding": "model_params"}
_ROW = "_row"


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
    """

    by: Mapping[str, Any]
    factor: str | None
    base: Mapping[str, Any]
    columns: Mapping[str, str]
    points: pl.DataFrame
    runs: pl.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def fitted(self) -> pl.DataFrame:
        """The settings that the fit sees."""
        return self.points.filter(~pl.col("held_out"))

    @property
    def label(self) -> str:
        """The group and factor in words."""
        parts = [f"{name} {value}" for name, value in self.by.items()]
        return ", ".join(parts + ([self.factor] if self.factor else [])) or "all runs"


@dataclass(frozen=True)
class Choice:
    """How runs are chosen; see ``FitKeywords`` for the meaning of each field."""

    by: tuple[str, ...] = GROUP
    loss: str = "test_loss"
    hold_out: str | bool | None = None
    base: Mapping[str, Any] = field(default_factory=dict)
    average_seeds: bool = True
    weights: str | None = None


def varies(frame: pl.DataFrame, name: str, by: Sequence[str] = ()) -> bool:
    """Whether a column has more than one value in some group."""
    distinct = pl.col(name).drop_nulls().n_unique()
    counts = frame.group_by(list(by)).agg(distinct) if by else frame.select(distinct)
    return bool((counts[name] > 1).any())


def varying_factors(frame: pl.DataFrame, by: Sequence[str] = ()) -> tuple[str, ...]:
    """The factors with more than one value in some group; parameters without embeddings only if alone."""
    by = [name for name in by if name in frame.columns]
    found = [name for name in FACTORS if name in frame.columns and varies(frame, name, by)]
    if "model_params" in found and "model_params_nonembedding" in found:
        found.remove("model_params_nonembedding")
    return tuple(found)


def check_base(base: Mapping[str, Any]) -> None:
    """Refuses a base setting of something that is no factor.

    Raises:
        UsageError: A name that no table knows as a factor; with or without a method behind it.
    """
    known = (*FACTORS, "model", DATA_SIZE)
    unknown = [name for name in base if name.partition(".")[0] not in known]
    if unknown:
        raise UsageError(
            f"--base {unknown[0]}: no such factor",
            wanted=f"one of {', '.join(FACTORS)}, or pet_size.METHOD",
            got=unknown[0],
        )


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


def slices(records: Records, law: Law, factor: str | None, choice: Choice) -> tuple[list[Slice], list[str]]:
    """Cuts the records into the slices of one factor, one for each group.

    Args:
        records: The runs.
        law: The law; a law of one variable makes every value of the other factors a group.
        factor: The factor for X (for a law of one variable: its variable), or None.
        choice: How runs are chosen.

    Returns:
        The slices, and notes on groups that have none.

    Raises:
        UsageError: A column that is not there.
        DataError: No run at all.
    """
    check_base(choice.base)
    if choice.loss == records.loss:
        refuse_score(records.outcome, "a law")
    check_groups(choice.by, records)
    columns = variable_columns(law, factor)
    if "X" in columns and factor is None:
        raise UsageError(f"the law `{law.name}` needs a factor", wanted="e.g. --factor model_params")
    frame = records.frame.with_row_index(_ROW)
    for name in (*columns.values(), choice.loss, *([choice.weights] if choice.weights else [])):
        if name not in frame.columns:
            have = ", ".join(frame.columns[1:])
            remedy = f"map it: --column {name}=THEIRS"
            raise UsageError(
                f"no column `{name}`", got=f"columns {have}", remedy=remedy, where=records.source
            )
    notes: list[str] = []
    frame = _usable(frame, columns, choice, notes)
    by = [name for name in choice.by if name in frame.columns]
    curve = _curve_columns(frame, law, columns, by, choice)
    made: list[Slice] = []
    for values, rows in frame.group_by(by + curve, maintain_order=True) if by + curve else [((), frame)]:
        group = dict(zip(by + curve, values, strict=True))
        piece = _slice(rows, group, law, factor, columns, choice)
        if isinstance(piece, str):
            notes.append(piece)
        else:
            made.append(piece)
    if not frame.height:
        raise DataError(
            "no run is left to fit", got="; ".join((*records.notes, *notes)), where=records.source
        )
    return made, notes


def _usable(
    frame: pl.DataFrame, columns: Mapping[str, str], choice: Choice, notes: list[str]
) -> pl.DataFrame:
    """The rows that the law can take: with a loss, tuned, and with every variable."""
    frame = frame.filter(pl.col(choice.loss).is_not_null() & pl.col(choice.loss).is_finite())
    marks = {name for name in ("method", DATA_SIZE) if name in frame.columns}
    if marks:
        padded = frame.with_columns([pl.lit(None).alias(name) for name in {"method", DATA_SIZE} - marks])
        bare = padded.select(untuned()).to_series()
        if bare.any():
            notes.append(
                f"Left out {bare.sum()} runs of untuned models (0 examples): the law starts at 1 example."
            )
            frame = frame.filter(~bare)
    for name in columns.values():
        kept = frame.filter((pl.col(name) > 0).fill_null(value=False))
        lost = frame.height - kept.height
        if lost and not (name == "pet_size" and "method" in frame.columns):
            notes.append(f"Left out {lost} runs without a positive {name}.")
        frame = kept
    return frame


def _curve_columns(
    frame: pl.DataFrame, law: Law, columns: Mapping[str, str], by: Sequence[str], choice: Choice
) -> list[str]:
    """For a law of one variable: the columns whose values are curves of their own."""
    if not law.per_curve:
        return []
    own = set(columns.values())
    names = [name for name in ("model", *FACTORS, DATA_SIZE) if name in frame.columns and name not in by]
    names = [
        name for name in names if name not in own and _SAME.get(name) not in own and name not in choice.base
    ]
    if own & {"model_params", "model_params_nonembedding"} and "model" in names:
        names.remove("model")
    if "model_params" in names and "model_params_nonembedding" in names:
        names.remove("model_params_nonembedding")
    return [name for name in names if varies(frame, name, by)]


def _slice(  # noqa: PLR0917
    rows: pl.DataFrame,
    group: dict[str, Any],
    law: Law,
    factor: str | None,
    columns: Mapping[str, str],
    choice: Choice,
) -> Slice | str:
    label = ", ".join(f"{name} {value}" for name, value in group.items()) or "all runs"
    used = set(columns.values())
    base: dict[str, Any] = {}
    for name in FACTORS:
        if name not in rows.columns or name in used or _SAME.get(name) in used or name in group:
            continue
        wanted = choice.base.get(f"{name}.{group.get('method')}", choice.base.get(name))
        values = rows[name]
        values = values.drop_nulls() if values.null_count() else values
        if wanted == ANY or not values.len():
            continue
        if wanted is None:
            if name == "model_params_nonembedding" and "model_params" in rows.columns:
                continue
            wanted = _most_frequent(values)
        kept = rows
        if values.min() != wanted or values.max() != wanted:
            near = (pl.col(name) / wanted - 1).abs() < 1e-9
            kept = rows.filter(near | pl.col(name).is_null())
        if not kept.height:
            have = ", ".join(f"{value:g}" for value in values.unique().sort())
            raise UsageError(
                f"no run of {label} has {name} = {wanted:g}", wanted=f"one of {have}", remedy="see --base"
            )
        rows, base[name] = kept, wanted
    if factor is not None and rows[factor].n_unique() < 2 and not law.per_curve:
        return f"{label}: no law over {factor}, it has only one value."
    rows = rows.with_columns(_held_out(rows, choice, used).alias("held_out"))
    points, runs = _points(rows, columns, choice)
    if law.last_sizes:
        sizes = points.filter(~pl.col("held_out"))[next(iter(columns.values()))].unique().sort()
        if sizes.len() > law.last_sizes:
            kept = (points[next(iter(columns.values()))] >= sizes[-law.last_sizes]) | points["held_out"]
            here, at = kept.to_numpy(), runs["point"].to_numpy()
            index = pl.Series("point", (here.cumsum() - 1)[at], dtype=pl.Int64)
            points, runs = points.filter(kept), runs.with_columns(index).filter(here[at])
    return Slice(group, factor, base, columns, points, runs, _repeated_seeds(runs, label))


def _most_frequent(values: pl.Series) -> float:
    """The most frequent value; the smallest of several."""
    distinct, counts = np.unique(values.to_numpy(), return_counts=True)
    return float(distinct[counts.argmax()])


def _held_out(rows: pl.DataFrame, choice: Choice, used: set[str]) -> pl.Series:
    rule = choice.hold_out
    if rule is None or rule is True:
        if "held_out" in rows.columns:
            return rows["held_out"].fill_null(value=False).cast(pl.Boolean)
        rule = False
    if rule is False or rule == "":
        return pl.repeat(False, rows.height, dtype=pl.Boolean, eager=True)
    if rule == "largest":
        return rows.select(
            pl.any_horizontal([pl.col(name) == pl.col(name).max() for name in sorted(used)])
        ).to_series()
    return matches(rows, str(rule))


def _points(
    rows: pl.DataFrame, columns: Mapping[str, str], choice: Choice
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One row a setting (or a run), sorted; and the runs with the index of their setting."""
    identity = [name for name in ("task", "method", "model", *FACTORS, DATA_SIZE) if name in rows.columns]
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
    keys = identity if choice.average_seeds else [*identity, _ROW]
    if rows.select(keys).hash_rows().n_unique() == rows.height:  # different hashes: different settings
        kept = [*dict.fromkeys([*columns.values(), *identity]), "loss", "runs", "weight", "held_out"]
        rows = rows.with_columns(pl.lit(1).alias("runs")).select(*kept, "seed", _ROW)
        rows = rows.sort(*columns.values(), _ROW)
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
    return points.drop("point", _ROW, strict=False), runs.select("point", "loss", "seed")


def _repeated_seeds(runs: pl.DataFrame, label: str) -> tuple[str, ...]:
    seeds = runs.filter(pl.col("seed").is_not_null())
    if seeds.select("point", "seed").is_duplicated().any():
        return (f"{label}: several runs share setting and seed (other columns differ?); they are averaged.",)
    return ()
