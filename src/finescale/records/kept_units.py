"""The outcome of a source that is collected: its name in the collected table says its unit, or it is in nats.

A column's own name, and flags, say the unit of its numbers; the collected table has neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from finescale.errors import UsageError
from finescale.records.loss_units import (
    PERCENT,
    UNITS,
    check_unit,
    is_derived,
    is_loss_name,
    unclear_unit,
    unit_by_name,
)
from finescale.records.losses import check_perplexities, in_nats, in_words, loss_unit
from finescale.records.matching import Matched
from finescale.records.measured import is_read_as_loss
from finescale.records.names import untracked
from finescale.records.options import ReadingOptions
from finescale.records.outcomes import TEST_LOSS, named_score, says_percent


@dataclass(frozen=True)
class Kept:
    """A source's rows, the name of its outcome in them, and what was done, in sentences."""

    frame: pl.DataFrame
    outcome: str
    notes: tuple[str, ...] = ()


def telling_its_unit(
    frame: pl.DataFrame,
    outcome: str,
    matched: Matched,
    options: ReadingOptions,
    finished: pl.DataFrame,
    *,
    signs: bool,
    origin: str,
) -> Kept:
    """The rows with an outcome whose name says its unit.

    Args:
        frame: All rows, under the names that they get.
        outcome: The outcome's column there; empty where there is none.
        matched: The source's columns under our names.
        options: How the source is read.
        finished: Its rows that count.
        signs: Whether the outcome's cells have percent signs.
        origin: The source.

    Raises:
        UsageError: A loss whose unit nobody can tell; perplexities below 1.
    """
    if not outcome or not frame[outcome].dtype.is_numeric():
        return Kept(frame, outcome)
    values = finished[matched.outcome]
    if is_read_as_loss(matched.theirs, options):
        return _loss(frame, outcome, options, theirs=matched.theirs, values=values, origin=origin)
    if is_loss_name(outcome) and named_score(own := untracked(matched.theirs)) is not None:
        renamed = _renamed(frame, outcome, own, ())  # an accuracy that was mapped to `test_loss`
        frame, outcome = renamed.frame, renamed.outcome
    percent = signs or says_percent(matched.theirs) or check_unit(options.unit) in PERCENT
    known = values.filter(values.is_finite())
    ends = [float(known.max()), float(known.min())] if known.len() else []  # type: ignore[arg-type]
    as_named = named_score(outcome, ends)
    if not percent or (as_named is not None and as_named.high == 100):
        return Kept(frame, outcome)
    return _renamed(frame, outcome, f"{outcome} (%)", ())


def _loss(
    frame: pl.DataFrame,
    outcome: str,
    options: ReadingOptions,
    *,
    theirs: str,
    values: pl.Series,
    origin: str,
) -> Kept:
    """A loss whose name says its unit, as it is; any other one in nats."""
    stated = check_unit(options.unit)
    if stated in PERCENT:
        raise UsageError(
            "a loss in percent", wanted="one of " + ", ".join(UNITS), got=str(options.unit), where=origin
        )
    unit = stated or loss_unit(theirs, origin)
    clear = not unclear_unit(outcome) and not is_derived(outcome)
    if clear and UNITS[unit_by_name(outcome) or "nats"] == UNITS[unit or "nats"]:
        return Kept(frame, outcome)
    check_perplexities(values, theirs, unit, origin)
    frame = frame.with_columns(in_nats(pl.col(outcome), unit).alias(outcome))
    notes = (f"`{theirs}` is {in_words(unit)}, which is what was collected.",)
    return _renamed(frame, outcome, _name_in_nats(frame, outcome, UNITS[unit or "nats"][1]), notes)


def _name_in_nats(frame: pl.DataFrame, outcome: str, unit: str) -> str:
    """A free name for a loss in nats, or in nats per byte, that says so."""
    per = unit.removeprefix("nats").replace(" ", "_")
    names = [f"{name}{per}" for name in (TEST_LOSS.column, "measured_loss", "collected_loss")]
    assert all(map(is_loss_name, names))
    return next(name for name in names if name == outcome or name not in frame.columns)


def _renamed(frame: pl.DataFrame, outcome: str, name: str, notes: tuple[str, ...]) -> Kept:
    if name == outcome or name in frame.columns:
        return Kept(frame, outcome, notes)
    return Kept(frame.rename({outcome: name}), name, notes)
