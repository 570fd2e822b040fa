"""What the page advises for each task: candidates fitted once, the advice, the crossovers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from finescale.advice.candidate import Candidates
from finescale.advice.candidates import FORECAST
from finescale.advice.cost import Costs
from finescale.advice.crossovers import Crossovers
from finescale.advice.options import Advice, Question
from finescale.advice.pairs import find_crossovers
from finescale.advice.recommend import Answer, answer_each
from finescale.advice.verdict import models_of
from finescale.errors import FinescaleError
from finescale.laws.law import Law
from finescale.records.records import Records
from finescale.records.settings import UNNAMED
from finescale.wording import capital


@dataclass(frozen=True)
class Decision:
    """What can be advised on one task.

    Attributes:
        task: The task.
        found: The candidates.
        prices: What runs cost.
        advice: The advice at the base setting and the largest data size that every method was run with.
        pairs: The crossovers of every pair; empty with one candidate.
    """

    task: str
    found: Candidates
    prices: Costs
    advice: Advice
    pairs: tuple[Crossovers, ...]


@dataclass(frozen=True)
class Apart:
    """What can be advised where the runs of a task do not compare, as their models' tokenizers differ.

    Attributes:
        why: Why there is no answer between them.
        each: What is advised for each tokenizer; its ``task`` says which.
    """

    why: str
    each: tuple[Decision, ...]


def decide(
    records: Records,
    task: str,
    *,
    law: str | Law = "auto",
    base: Mapping[str, Any] | None = None,
    via: str = "auto",
    bootstrap: int,
    seed: int,
) -> Decision | Apart | str:
    """Answers as ``finescale advise`` does; where that cannot be done, says why in a sentence.

    Runs that do not compare are answered for each apart.

    Args:
        records: The runs.
        task: The task.
        law: A law, which is fitted and answers alone; ``auto``: the forecast, as in the command.
        base: Values of the base setting; default: the most frequent.
        via: How a score is forecast: ``auto``, ``direct``, or through the ``loss``.
        bootstrap: Number of joint draws, or of resamples.
        seed: Their seed.
    """
    try:
        asked = FORECAST if law == "auto" else law
        options: dict[str, Any] = {"base": base, "via": via, "bootstrap": bootstrap, "seed": seed}
        options |= {"law": asked, "fitted": True}
        answers, why = answer_each(records, task, Question(), {}, options)
        if len(answers) == 1:
            return _decision(answers[0], task)
        each = tuple(_decision(one, _of_tokenizer(one, task)) for one in answers)
    except FinescaleError as error:
        return "; ".join(line.strip() for line in str(error).splitlines())
    return Apart(why, each)


def _decision(answer: Answer, task: str) -> Decision:
    found = replace(answer.found, task=task)
    pairs = find_crossovers(found, answer.advice) if len(found.members) > 1 else ()
    return Decision(task, found, answer.prices, answer.advice, pairs)


def _of_tokenizer(answer: Answer, task: str) -> str:
    """The task's name, with the models that this answer is about."""
    models = models_of(answer.advice.options[0].tokenizer or "unknown")
    return capital(models) if task == UNNAMED else f"{task}, {models}"
