"""What the page advises for each task: candidates fitted once, the advice, the crossovers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finescale.advice.candidate import Candidates
from finescale.advice.candidates import FORECAST
from finescale.advice.cost import Costs
from finescale.advice.crossovers import Crossovers
from finescale.advice.options import Advice, Question
from finescale.advice.pairs import find_crossovers
from finescale.advice.recommend import answer_each
from finescale.errors import FinescaleError
from finescale.laws.law import Law
from finescale.records.records import Records


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


def decide(
    records: Records,
    task: str,
    *,
    law: str | Law = "auto",
    base: Mapping[str, Any] | None = None,
    via: str = "auto",
    bootstrap: int,
    seed: int,
) -> Decision | str:
    """Answers as ``finescale advise`` does; where that cannot be done, says why in a sentence.

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
        if len(answers) > 1:
            return " ".join([why, *(one.advice.sentence for one in answers)])
        found, prices, advice = answers[0].found, answers[0].prices, answers[0].advice
        pairs = find_crossovers(found, advice) if len(found.members) > 1 else ()
    except FinescaleError as error:
        return "; ".join(line.strip() for line in str(error).splitlines())
    return Decision(task, found, prices, advice, pairs)
