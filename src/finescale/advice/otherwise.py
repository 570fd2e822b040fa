"""When loss and score disagree: what the table's other outcome says of the methods that lead by this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from finescale.advice.candidate import Candidates
from finescale.advice.candidates import candidates
from finescale.advice.comparable import runs_of
from finescale.advice.cost import Costs
from finescale.advice.options import Advice, Option, Question
from finescale.errors import FinescaleError
from finescale.records.beside import other_outcomes
from finescale.records.outcome_words import measured
from finescale.records.outcomes import Outcome
from finescale.records.records import Records
from finescale.wording import chance, method_name

Advise = Callable[[Candidates, Question, Costs], Advice]
"""What answers a question: ``recommend.advise``."""


def disagreement(  # noqa: PLR0917
    records: Records,
    task: str | None,
    advice: Advice,
    prices: Costs,
    options: Mapping[str, Any],
    advise: Advise,
) -> str:
    """What the other outcome says where another method leads by it; empty where it agrees or is not there.

    Args:
        records: The runs.
        task: The task; None: the only one.
        advice: The advice by the records' own outcome.
        prices: What runs cost.
        options: Options of ``candidates``.
        advise: What answers a question (``recommend.advise``).
    """
    others = other_outcomes(runs_of(records, task), records.outcome)
    if not others or len(advice.options) < 2:
        return ""
    other = others[0]
    first = advice.options[0]
    asked = replace(advice.question, target_loss=None, target_score=None)
    if asked.examples is None and asked.budget is None:
        asked = replace(asked, examples=first.examples)
    rows = records.frame.filter(pl.col(other.column).is_not_null())
    try:
        by_other = replace(records, frame=rows, loss=other.column, outcome=other)
        told = advise(candidates(by_other, task, **{**options, "via": "auto"}), asked, prices)
    except FinescaleError:
        return ""
    leader = told.options[0]
    if _alike(leader, first):
        return ""
    place = next((at for at, one in enumerate(told.options) if _alike(one, first)), None)
    words = f"By {other.name} it is otherwise: {method_name(leader.name)} leads with {_told(leader, other)}"
    if place is None:
        return f"{words}."
    here = f"{method_name(first.name)} is number {place + 1} of {len(told.options)}"
    return f"{words}; {here} with {_told(told.options[place], other)}."


def _alike(one: Option, other: Option) -> bool:
    """Whether two candidates are one, though one of them may be of all models or PET sizes together."""
    if one.method != other.method:
        return False
    pairs = ((one.model, other.model), (one.pet_size, other.pet_size))
    return all(mine == theirs or None in (mine, theirs) for mine, theirs in pairs)


def _told(option: Option, outcome: Outcome) -> str:
    return f"{measured(outcome, option.loss)} (best with a probability of {chance(option.probability)})"
