"""Which runs to make next: ``plan_runs`` finds the settings that tell most about a target for what they cost.

The target is one prediction (a model size and a data size). With several methods it is the decision between
them: a method's uncertainty counts by how likely it changes which method is best. What is known comes from
records, or from a prior around the paper's Table 4 where there are none yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from finescale.errors import DataError
from finescale.planning.at_target import runs_with_target
from finescale.planning.believed import Belief, beliefs_now
from finescale.planning.expected import ExpectedLoss
from finescale.planning.known import DRAWS, joint_problem
from finescale.planning.measured import measured_settings, run_noise
from finescale.planning.outlook import Outlook, Plan, Planned
from finescale.planning.question import Offer, Question, Terms
from finescale.planning.remarks import refuse_known, refuse_poor, remarks
from finescale.planning.scale import LOSSES, PlanScale
from finescale.planning.search import Check, DesignProblem
from finescale.records.records import Records
from finescale.wording import chance, count, method_name

Array = np.ndarray[Any, Any]
SURE = 0.98
_SAME = 1e-9


def plan_runs(
    records: Records | None,
    task: str,
    question: Question,
    offer: Offer,
    terms: Terms,
    *,
    forecasts: Mapping[str, ExpectedLoss] | None = None,
    scale: PlanScale = LOSSES,
) -> Plan:
    """Finds the next runs that are worth most for a budget.

    Args:
        records: Finished runs, or None to start from nothing.
        task: The task whose runs are read.
        question: Where the loss is to be predicted, and the budget.
        offer: What can be run.
        terms: What is taken for given; ``noise`` on the scale.
        forecasts: What is forecast at the target, by method (``expected_losses``), in place of what the
            planner's own law says of it.
        scale: What the records' losses and the forecasts are of: they are what is lost on it.

    Returns:
        The plan, in the outcome's own unit.

    Raises:
        DataError: No run can be paid for, its cost is not known, or the target is known already.
    """
    rng = np.random.default_rng(terms.seed)
    choices = offer.choices
    measured = {
        m: measured_settings(records, task, question.factor, m, choices.base) for m in choices.methods
    }
    noise, notes = run_noise(records, task, choices.methods, terms.noise, scale)
    knowns = {m: offer.knowledge(m, question, runs, noise, terms.bend) for m, runs in measured.items()}
    beliefs = beliefs_now(knowns, forecasts or {}, rng)
    best = _best({m: one.told.draws for m, one in beliefs.items()})
    weights = _weights(beliefs, best)
    refuse_known(beliefs, noise, scale)
    runs, first = _chosen(beliefs, weights, question, offer, terms)
    distance = np.concatenate([known.distance for known in knowns.values()])
    near = distance <= distance[runs > 0].min() + _SAME
    made: list[Planned] = []
    outlooks: list[Outlook] = []
    end = 0
    for m, one in beliefs.items():
        part = slice(end, end := end + one.known.cost.size)
        made += offer.rows(question, one.known, measured[m], method=m, runs=runs[part], near=near[part])
        low, high = sorted((scale.value(one.told.low), scale.value(one.told.high)))
        after = one.after(runs[part], first[part]) * scale.width
        had = int(np.count_nonzero(one.known.runs))
        outlooks.append(Outlook(m, scale.value(one.told.loss), low, high, after, best[m], had))
    asked = dict(question.target)
    made.sort(key=lambda run: (dict(run.sizes) != asked, run.cost, run.method))
    there = {run.method for run in made if dict(run.sizes) == asked}
    notes += remarks(beliefs, weights, question, offer.costs, there=there, scale=scale)
    basis = offer.costs.basis.partition(", hours")[0]
    budget = float(question.budget)
    return Plan(task, asked, budget, tuple(made), tuple(outlooks), tuple(notes), basis, scale.outcome)


def _chosen(
    beliefs: Mapping[str, Belief],
    weights: Mapping[str, float],
    question: Question,
    offer: Offer,
    terms: Terms,
) -> tuple[Array, Array]:
    """The new runs of each setting, the methods one after the other, and those of them at the target, [N]."""
    problem = _problem(beliefs, weights)
    knowns = {m: one.known for m, one in beliefs.items()}
    can = {m: np.arange(known.cost.size) < offer.settings(m)[0].size for m, known in knowns.items()}
    offered = np.concatenate([can[m] & (weights[m] > 0) for m in knowns])
    doubted = np.concatenate([np.full(known.cost.size, weights[m] > 0) for m, known in knowns.items()])
    distance = np.concatenate([known.distance for known in knowns.values()])
    refuse_poor(problem.cost[offered], question.budget)
    free = np.maximum(terms.seeds - problem.made, 0)
    check = Check(np.where(offered, distance, np.inf), terms.check_share, np.asarray(0.0))
    runs, first = runs_with_target(
        problem,
        float(question.budget),
        np.where(offered, free, 0),
        check,
        np.where((distance < _SAME) & doubted, free, 0),
    )
    if not runs.any():
        raise DataError(
            "every setting that the budget pays for has its runs already",
            wanted=f"a setting with fewer than {terms.seeds} runs",
            got=f"{count(float(problem.made.sum()))} runs",
            remedy="raise --budget or --seeds, or allow other settings (--examples, --values)",
        )
    return runs, first


def _problem(beliefs: Mapping[str, Belief], weights: Mapping[str, float]) -> DesignProblem:
    problems = [one.known.problem(one.shown[:DRAWS]) for one in beliefs.values()]
    return joint_problem(problems, [weights[m] for m in beliefs])


def _best(losses: Mapping[str, Array]) -> dict[str, float]:
    """The share of draws in which each method has the lowest loss."""
    winner = np.argmin(np.stack(list(losses.values())), axis=0)
    return {m: float(np.mean(winner == index)) for index, m in enumerate(losses)}


def _weights(beliefs: Mapping[str, Belief], best: Mapping[str, float]) -> dict[str, float]:
    """How much each method's variance counts: 1 in doubt of the best, 0 where it is clearly worse.

    With no run made, or with one method, every method counts alike.
    """
    if len(beliefs) == 1 or not any(one.known.runs.any() for one in beliefs.values()):
        return dict.fromkeys(beliefs, 1.0)
    losses = {m: one.told.draws for m, one in beliefs.items()}
    leader = max(best, key=lambda m: best[m])
    doubt = {m: float(np.mean(loss < losses[leader])) for m, loss in losses.items() if m != leader}
    weights = {m: min(1.0, 4 * p * (1 - p)) if p > 1 - SURE else 0.0 for m, p in doubt.items()}
    if not any(weights.values()):
        raise DataError(
            f"{method_name(leader)} is the best method at the target with a probability of "
            f"{chance(best[leader])}: no run is needed to decide",
            wanted="a decision in doubt",
            remedy=f"to predict it better: --method {leader}",
        )
    return weights | {leader: max(weights.values())}
