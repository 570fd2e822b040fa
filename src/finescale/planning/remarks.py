"""What a plan refuses, and what it says beside its table."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from finescale.advice.cost import Costs
from finescale.errors import DataError
from finescale.planning.believed import Belief
from finescale.planning.question import Question
from finescale.planning.scale import PlanScale
from finescale.records.outcome_words import amount
from finescale.records.records import DATA_SIZE
from finescale.wording import listed, method_name

Array = np.ndarray[Any, Any]


def refuse_known(beliefs: Mapping[str, Belief], noise: float, scale: PlanScale) -> None:
    """One method whose target is known to within a run's noise needs no run.

    Raises:
        DataError: It is so.
    """
    (one, *others) = beliefs.values()
    now = one.told
    if not others and now.half < noise:
        raise DataError(
            f"the target is known already: {amount(scale.outcome, scale.value(now.loss))} +- "
            f"{scale.tell_gap(now.half)}, less than the noise of a run "
            f"({amount(scale.outcome, noise * scale.width)})",
            wanted="a target that the runs leave in doubt",
            remedy="ask for a larger model or more examples",
        )


def refuse_poor(cost: Array, budget: float) -> None:
    """A budget that pays for no run makes no plan.

    Args:
        cost: FLOPs of a run of each setting on offer, [N].
        budget: FLOPs.

    Raises:
        DataError: It pays for none.
    """
    if cost.min() > budget:
        raise DataError(
            "the budget is too small for any run",
            wanted=f"at least {cost.min():.3g} FLOPs, the cheapest run",
            got=f"{budget:.3g} FLOPs",
            remedy="raise --budget, or allow smaller settings (--values, --examples)",
        )


def remarks(
    beliefs: Mapping[str, Belief],
    weights: Mapping[str, float],
    question: Question,
    costs: Costs,
    *,
    there: Collection[str],
    scale: PlanScale,
) -> list[str]:
    """What to know of a plan, in sentences.

    Args:
        beliefs: What is believed, by method.
        weights: How much each method's uncertainty counts; 0: it is clearly not the best.
        question: What is asked.
        costs: What a run costs.
        there: Methods that get a run at the target itself.
        scale: What planning's losses are of.
    """
    notes = []
    clear = [method_name(m) for m, weight in weights.items() if not weight]
    if clear:
        notes.append(f"No runs of {listed(clear)}: clearly not the best at the target.")
    if not any(one.known.runs.any() for one in beliefs.values()):
        notes.append("No runs yet: planned from a prior around the paper's laws; plan again after the first.")
    for m, one in beliefs.items():
        if one.missed:
            gap = scale.tell_gap(one.missed)
            words = f"{method_name(m)}: the law misses the runs by {gap} (standard deviation)"
            notes.append(f"{words}, more than their noise; the intervals have that in them.")
    params = question.target.get("model_params")
    own = {m: costs.of(m, params, question.target[DATA_SIZE]).flops for m in beliefs} if params else {}
    paid = [m for m, flops in own.items() if flops <= question.budget and weights[m]]
    first = [m for m in paid if m in there]
    if paid:
        who = listed([method_name(m) for m in first or paid])
        words = f"The budget pays for a run at the target itself ({who}): "
        can = "it comes first, as no other tells more. If it cannot be made, say what can (--values)."
        notes.append(words + (can if first else "make it, if it can be made."))
    return notes
