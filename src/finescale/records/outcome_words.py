"""Outcomes in words: a value, a difference, a column's heading, each with the unit of what was measured."""

from __future__ import annotations

import math

from finescale.records.outcomes import Outcome
from finescale.wording import nats

_HUNDREDS = 20.0
"""Scores on a scale that is wider are told with two digits behind the point, others with three."""


def amount(outcome: Outcome, value: float | None, finer: int = 0) -> str:
    """A value or a difference without its unit: ``0.519``, ``81.20``; a dash where there is none.

    Args:
        outcome: What was measured.
        value: The value.
        finer: So many digits more, for what is small beside the values: deviations, noise.
    """
    return nats(value, digits(outcome) + finer)


def digits(outcome: Outcome) -> int:
    """How many digits behind the point a value has."""
    return 2 if _in_points(outcome) else 3


def measured(outcome: Outcome, value: float | None) -> str:
    """A value with its unit: ``0.519 nats``, ``0.812``, ``81.20%``."""
    return f"{amount(outcome, value)}{after_value(outcome)}"


def difference(outcome: Outcome, value: float | None, finer: int = 0) -> str:
    """A difference with its unit: ``0.086 nats``, ``0.012``, ``1.20 points``; ``finer`` as for ``amount``."""
    return f"{amount(outcome, value, finer)}{after_difference(outcome)}"


def after_value(outcome: Outcome) -> str:
    """What follows a value: `` nats``, ``%``, nothing."""
    return outcome.unit if outcome.unit in ("%", "") else f" {outcome.unit}"


def after_difference(outcome: Outcome) -> str:
    """What follows a difference: `` nats``, `` points``, nothing."""
    return " points" if _in_points(outcome) else after_value(outcome)


def named(outcome: Outcome, value: float | None) -> str:
    """A value with its name and unit: ``test loss 0.519 nats``, ``accuracy 0.812``."""
    return f"{outcome.name} {measured(outcome, value)}"


def lead(outcome: Outcome, value: float) -> str:
    """By how much one is better than another: ``0.086 below``, ``0.012 above``."""
    return f"{amount(outcome, value)} {'below' if outcome.lower else 'above'}"


def noun(outcome: Outcome) -> str:
    """What a sentence calls it: ``loss``, ``accuracy``."""
    return "loss" if outcome.kind == "loss" else outcome.name


def one(outcome: Outcome) -> str:
    """The same with its article: ``a loss``, ``an accuracy``."""
    word = noun(outcome)
    return f"{'an' if word[:1].lower() in 'aeio' else 'a'} {word}"


def heading(outcome: Outcome) -> str:
    """Name, unit and, for a score, direction: ``test loss, nats per target token``, ``accuracy``."""
    if outcome.kind == "loss":
        return f"{outcome.name}, {unit_of(outcome)}"
    scale = f", {outcome.unit}" if outcome.unit else ""
    return f"{outcome.name}{scale} ({outcome.better} is better)"


def unit_of(outcome: Outcome) -> str:
    """The unit of a table's numbers: ``nats per target token``, ``nats per byte``; else the score's name."""
    if outcome.kind == "loss":
        return "nats per target token" if outcome.per_token else outcome.unit
    return outcome.name + (f", {outcome.unit}" if outcome.unit else "")


def difference_unit(outcome: Outcome) -> str:
    """The unit of differences, as a column's heading has it: ``nats``, ``points``; else the score's name."""
    if outcome.kind == "loss":
        return outcome.unit or "nats"
    return "points" if _in_points(outcome) else outcome.name


def deviation_unit(outcome: Outcome) -> str:
    """The unit of a table of deviations: ``nats per target token``, ``points``; else the score's name."""
    return unit_of(outcome) if outcome.kind == "loss" else difference_unit(outcome)


def axis(outcome: Outcome) -> str:
    """The title of an axis: ``test loss (nats per token, log scale)``, ``accuracy (higher is better)``."""
    if outcome.kind == "score":
        return heading(outcome)
    unit = "nats per token" if outcome.per_token else outcome.unit
    return f"{outcome.name} ({unit}, log scale)"


def lost_words(outcome: Outcome) -> str:
    """What a law of the score is fitted to: ``1 - accuracy``; a loss's name; empty without a best value."""
    if outcome.kind == "loss" or outcome.best == 0:
        return outcome.name
    if not math.isfinite(outcome.best):
        return ""
    return f"{outcome.name} - {outcome.best:g}" if outcome.lower else f"{outcome.best:g} - {outcome.name}"


def law_words(outcome: Outcome) -> str:
    """What L stands for in the laws of a score, in a sentence with a space before it; empty for a loss."""
    lost = lost_words(outcome)
    if outcome.kind == "loss" or not lost:
        return ""
    return (
        f" L is the {lost}." if lost == outcome.name else f" L is {lost}, its distance from the best value."
    )


def equal_reducible(outcome: Outcome) -> str:
    """What Eq. 3 of the paper solves for: of a score, the reducible part of the distance from the best."""
    return f"equal reducible {'loss' if outcome.kind == 'loss' else 'distance'}"


def _in_points(outcome: Outcome) -> bool:
    """Whether it is a score on a scale of a hundred or so."""
    return outcome.kind == "score" and _HUNDREDS < outcome.width < math.inf
