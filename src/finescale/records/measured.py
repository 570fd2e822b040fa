"""Which outcome a table is analysed by: a loss, in nats whatever unit it came in, or a score."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import polars as pl

from finescale.errors import UsageError
from finescale.records.columns import BY_NAME, DATA_SIZE
from finescale.records.loss_units import PERCENT, UNITS, check_unit, is_loss_name, without_factor
from finescale.records.losses import check_perplexities, in_nats, in_words, loss_unit
from finescale.records.matching import Matched
from finescale.records.names import bare, untracked
from finescale.records.options import ReadingOptions
from finescale.records.outcomes import INF, Outcome, named_score, says_percent, score_name
from finescale.records.roles import SETTING
from finescale.records.typed import SOURCE_ROW

_OF_TRAINING = re.compile(r"(pre_?)?train")
"""How a column starts that is no result of finetuning: measured on training data, or on pretraining text."""
_PERPLEXITY = re.compile("ppl|perplexit")
_RISES = 0.9
"""Where so many groups of runs rise with the data, an unknown column is no loss."""
_SUSPECT = 20.0
"""Losses are below it, perplexities above."""


@dataclass(frozen=True)
class Measured:
    """The tables with the outcome in its final unit.

    Attributes:
        frame: Finished runs.
        every_row: All rows.
        outcome: What they are measured by.
        copies: Columns that only repeat the outcome in another unit.
        notes: What was converted or is suspected, in sentences.
        doubts: Questions without whose answer there is no advice.
    """

    frame: pl.DataFrame
    every_row: pl.DataFrame
    outcome: Outcome
    copies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def measure(
    frame: pl.DataFrame,
    every_row: pl.DataFrame,
    matched: Matched,
    options: ReadingOptions,
    *,
    has_percent: bool,
    origin: str,
) -> Measured:
    """Decides what the outcome's column means.

    Args:
        frame: Finished runs.
        every_row: All rows.
        matched: The table's columns under our names.
        options: What is stated.
        has_percent: Whether cells had percent signs.
        origin: The table, for messages.

    Raises:
        UsageError: A score whose direction nobody said; a unit that is none, or that a name leaves open; a
            change of a loss; a perplexity below 1.
    """
    column, theirs = matched.outcome, matched.theirs
    unit = check_unit(options.unit)
    values = frame[column].drop_nulls().drop_nans()
    score = named_score(theirs, [values.max(), values.min()] if values.len() else [], percent=has_percent)  # type: ignore[list-item]
    if is_read_as_loss(theirs, options):
        if has_percent or unit in PERCENT or (unit is None and says_percent(theirs)):
            raise UsageError(
                "a loss in percent",
                wanted="nats, bits or a perplexity; or a score: --score COLUMN --better higher|lower",
                got=f"percent signs in {theirs}" if has_percent else f"`{theirs}`, in percent",
                where=f"{origin}, column {theirs}",
            )
        named = without_factor(theirs) if column in matched.times else theirs
        made = _loss(frame, every_row, column, named, unit, values, origin)
        note = f"`{theirs}` is a loss, so it is read as --loss {theirs}."
        return made if options.score is None else replace(made, notes=(note, *made.notes))
    outcome = _score(column, theirs, score, options, percent=has_percent or unit in PERCENT, origin=origin)
    notes = []
    if options.score is None and options.better is None:
        notes.append(
            f"`{theirs}` is a score ({outcome.better} is better), so it is read as --score {theirs}."
        )
    _check_scale(frame, outcome, origin, sure=has_percent or unit in PERCENT)
    if options.better is not None and score is not None and options.better != score.better:
        notes.append(
            f"`{theirs}` says by its name that {score.better} is better; --better {options.better} is taken."
        )
    doubts = (
        *_constant(values, outcome, origin),
        *_maybe_fractions(values, outcome, theirs, sure=has_percent or unit in PERCENT),
    )
    return Measured(frame, every_row, outcome, notes=tuple(notes), doubts=doubts)


def is_read_as_loss(theirs: str, options: ReadingOptions) -> bool:
    """Whether an outcome is read as a loss: a name that is known goes over ``--loss`` and ``--score``.

    Args:
        theirs: The column's own name.
        options: What is stated.
    """
    known = named_score(theirs) is not None
    if options.better is not None:
        return False
    if options.score is not None:
        return not known and is_loss_name(theirs)
    return not known or check_unit(options.unit) in UNITS


def _score(
    column: str, theirs: str, known: Outcome | None, options: ReadingOptions, *, percent: bool, origin: str
) -> Outcome:
    """The score as its name, and what is stated over it."""
    better = options.better or (known.better if known else None)
    if better is None:
        raise UsageError(
            f"a score whose direction is not known: `{theirs}`",
            wanted="--better higher or --better lower (and --bounds LOW,HIGH where it has some)",
            got=theirs, remedy=f"--score '{theirs}' --better higher, or --better lower", where=origin,
        )  # fmt: skip
    low, high = options.bounds or ((known.low, known.high) if known else (-INF, INF))
    name = known.name if known else score_name(theirs).replace("_", " ")
    by_name = says_percent(theirs) and not (options.bounds is not None and high <= 1)
    unit = "%" if percent or by_name else ""
    made = Outcome(column, name, "score", "higher" if better == "higher" else "lower", low, high, unit)
    own = known.low if known else 0.0
    worst = high if made.lower else low
    tighter = options.bounds is not None and (worst > own if not made.lower else worst < (known or made).high)
    return replace(made, chance=worst) if tighter else made


def _check_scale(frame: pl.DataFrame, outcome: Outcome, origin: str, *, sure: bool) -> None:
    """Refuses values outside the bounds, and fractions and percentages in one column.

    Args:
        frame: Runs.
        outcome: The score.
        origin: The table.
        sure: Whether signs in the cells or ``--unit`` say that it is in percent. A name says it of the
            column, and of what is better lower, where less than one percent is usual.

    Raises:
        UsageError: One of them; it names the first row.
    """
    values = frame[outcome.column]
    known = values.is_finite().fill_null(False)
    outside = known & ~values.is_between(outcome.low, outcome.high).fill_null(False)
    if outside.any():
        raise UsageError(
            f"{outcome.name} outside its bounds",
            wanted=f"{outcome.low:g} to {outcome.high:g}",
            got=_first(values, outside),
            remedy="correct it; or state the bounds: --bounds LOW,HIGH",
            where=_place(frame, outside, outcome.column, origin),
        )
    if outcome.high != 100 or sure or (outcome.unit and outcome.lower):
        return
    small, many = known & (values > 0) & (values <= 1), int(known.sum())
    if not 0.1 * many <= small.sum() < many:
        return
    odd = small if 2 * small.sum() <= many else known & (values > 1)
    raise UsageError(
        f"{outcome.name} on two scales",
        wanted="fractions (0.7) or percentages (70), not both",
        got=f"{_first(values, odd)}; {small.sum()} of {many} values are at most 1",
        remedy="correct it, or write all on one scale; or, if they are right: --bounds 0,100 --unit percent",
        where=_place(frame, odd, outcome.column, origin),
    )


def _first(values: pl.Series, rows: pl.Series) -> str:
    """The first of the values that are meant, and how many more there are."""
    more = int(rows.sum()) - 1
    return f"{values[rows.arg_max() or 0]:g}" + (f", and {more} more such rows" if more else "")


def _place(frame: pl.DataFrame, rows: pl.Series, column: str, origin: str) -> str:
    return f"{origin}, row {frame[SOURCE_ROW][rows.arg_max() or 0]}, column {column}"


def _constant(values: pl.Series, outcome: Outcome, origin: str) -> tuple[str, ...]:
    """A doubt where every run has one and the same score: there is nothing to compare by it."""
    if values.len() < 2 or values.n_unique() > 1:
        return ()
    return (f"every run has the {outcome.name} {values[0]:g} ({origin}, column {outcome.column})",)


def _maybe_fractions(values: pl.Series, outcome: Outcome, theirs: str, *, sure: bool) -> tuple[str, ...]:
    """A doubt where a name says percent of a score that would be below one percent in every run."""
    known = values.filter(values.is_finite())
    if sure or outcome.unit != "%" or outcome.lower or outcome.high != 100 or not known.len():
        return ()
    if float(known.max()) > 1:  # type: ignore[arg-type]
        return ()
    return (
        f"is `{theirs}` in percent, as its name says, or are these fractions? "
        "--unit percent, or --bounds 0,1",
    )


def _loss(  # noqa: PLR0917
    frame: pl.DataFrame,
    every_row: pl.DataFrame,
    column: str,
    theirs: str,
    unit: str | None,
    values: pl.Series,
    origin: str,
) -> Measured:
    """A loss in nats; perplexities and bits are converted, under a name of their own."""
    notes: list[str] = []
    doubts: list[str] = []
    told = unit is not None
    unit = unit or loss_unit(theirs, origin)
    factor, becomes = UNITS[unit or "nats"]
    name = "test loss" if column == "test_loss" else bare(column).replace("_", " ")
    copies: tuple[str, ...] = ()
    check_perplexities(values, theirs, unit, origin)
    if factor != 1.0:
        target = (
            "test_loss" if "test_loss" not in frame.columns or column == "test_loss" else f"{column}_nats"
        )
        frame, every_row = (
            table.with_columns(in_nats(pl.col(column), unit).alias(target)) for table in (frame, every_row)
        )
        notes.append(f"`{theirs}` is {in_words(unit)}.")
        copies = (column,) if column != target else ()
        column, name = target, "test loss"
    elif not told and becomes == "nats" and values.len() and float(values.min() or 0) > _SUSPECT:  # type: ignore[arg-type]
        notes.append(
            f"Every {theirs} is above 20: is it a perplexity? The laws want the loss in nats per token, "
            "which is ln(perplexity): --unit perplexity."
        )
        doubts.append(f"is `{theirs}` a perplexity? --unit perplexity, or --unit nats")
    if factor == 1.0 and not told and _PERPLEXITY.search(bare(theirs)):
        notes.append(f"`{theirs}` is the logarithm of a perplexity: a loss in {becomes}, read as it is.")
    unknown = not is_loss_name(theirs) and BY_NAME.get(theirs) is None
    if unit is None and unknown and _rises(frame, column):
        doubts.append(
            f"`{theirs}` rises with the data: is it a score? --score '{theirs}' --better higher (or lower)"
        )
    outcome = Outcome(column, name, "loss", "lower", 0.0, math.inf, becomes)
    return Measured(frame, every_row, outcome, copies, tuple(notes), tuple(doubts))


def _rises(frame: pl.DataFrame, column: str) -> bool:
    """Whether the values rise with the data size in nearly every group of runs."""
    if DATA_SIZE not in frame.columns:
        return False
    groups = [name for name in SETTING if name in frame.columns and name != DATA_SIZE]
    rank = pl.corr(pl.col(DATA_SIZE), pl.col(column), method="spearman").alias("rank")
    usable = frame.filter(pl.col(column).is_finite() & (pl.col(DATA_SIZE) > 0))
    table = (
        usable.group_by(groups).agg(rank, pl.col(DATA_SIZE).n_unique().alias("sizes"))
        if groups
        else usable.select(rank, pl.col(DATA_SIZE).n_unique().alias("sizes"))
    )
    table = table.filter((pl.col("sizes") > 1) & pl.col("rank").is_finite())
    return bool(table.height) and float((table["rank"] > 0).mean() or 0) >= _RISES  # type: ignore[arg-type]


def outcomes_in(columns: Sequence[str]) -> list[str]:
    """The columns whose names say that they are a loss or a known score, losses first; none of training."""
    tested = [name for name in columns if not _OF_TRAINING.match(untracked(name).strip().casefold())]
    losses = [name for name in tested if is_loss_name(name)]
    return losses + [name for name in tested if name not in losses and named_score(name) is not None]
