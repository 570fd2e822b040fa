"""Outcomes in words: a value, a difference, a column's heading, each with the unit of what was measured."""

from __future__ import annotations

import math

from finescale.records.outcomes import Outcome
from finescale.wording import nats

_HUNDREDS = 20.0
"""Scores on a scale that is wider are told with two digits behind the point, others with three."""


def amount(outcome: Outcome, value: float | None) -> str:
    """A value or a difference without its unit: ``0.519``, ``81.20``; a dash where there is none."""
    return nats(value, 2 if outcome.kind == "score" and _HUNDREDS < outcome.width < math.inf else 3)


def measured(outcome: Outcome, value: float | None) -> str:
    """A value with its unit: ``0.519 nats``, ``0.812``, ``81.20%``."""
    return f"{amount(outcome, value)}{_unit(outcome)}"


def difference(outcome: Outcome, value: float | None) -> str:
    """A difference with its unit: ``0.086 nats``, ``0.012``, ``1.20 points``."""
    points = outcome.kind == "score" and _HUNDREDS < outcome.width < math.inf
    return f"{amount(outcome, value)}{' points' if points else _unit(outcome)}"


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
        return "nats per target token" if outcome.unit in ("nats", "") else outcome.unit
    return outcome.name + (f", {outcome.unit}" if outcome.unit else "")


def _unit(outcome: Outcome) -> str:
    if not outcome.unit:
        return ""
    return outcome.unit if outcome.unit == "%" else f" {outcome.unit}"
