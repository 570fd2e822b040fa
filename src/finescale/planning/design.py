"""Which runs to make next: ``plan_runs`` finds the settings that tell most about a target for what they cost.

The target is one prediction (a model size and a data size). With several methods it is the decision between
them: a method's uncertainty counts by how likely it changes which method is best. What is known comes from
records, or from a prior around the paper's Table 4 where there are none yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from finescale.advice.cost import Costs
from finescale.errors import DataError, UsageError
from finescale.planning.at_target import runs_with_target
from finescale.planning.beliefs import PARAMETERS, PRIORS, DesignPoints
from finescale.planning.expected import ExpectedLoss
from finescale.planning.known import DRAWS, MethodKnowledge, joint_problem
from finescale.planning.measured import measured_settings, run_noise
from finescale.planning.outlook import Outlook, Plan, Planned
from finescale.planning.scale import LOSSES, PlanScale
from finescale.planning.search import Check
from finescale.records.outcome_words import amount
from finescale.records.records import DATA_SIZE, FACTORS, Records
from finescale.wording import chance, count, listed, method_name

if TYPE_CHECKING:
    from finescale.planning.choices import Choices

Array = np.ndarray[Any, Any]
BEND = 0.02
"""How far the law may be off, in nats for every e-fold between a setting and the target."""
CHECK_SHARE = 0.2
"""The part of the spending that goes near the target, where it would expose a law that fails."""
SURE = 0.98
SHOWN_DRAWS = 400
"""Draws that the probabilities are counted in."""
_LEVEL = 1.645
_SAME = 1e-9


def plan_runs(
    records: Records | None,
    target: Mapping[str, float],
    budget: float,
    *,
    choices: Choices,
    costs: Costs,
    task: str = "",
    noise: float | None = None,
    bend: float = BEND,
    check_share: float = CHECK_SHARE,
    seeds: int = 3,
    seed: int = 0,
    forecasts: Mapping[str, ExpectedLoss] | None = None,
    reachable: bool = False,
    scale: PlanScale = LOSSES,
) -> Plan:
    """Finds the next runs that are worth most for a budget.

    Args:
        records: Finished runs, or None to start from nothing.
        target: Where the loss is to be predicted: ``finetune_examples`` and a factor, e.g.
            ``{"model_params": 1.6e10, "finetune_examples": 1e6}``.
        budget: FLOPs.
        choices: The settings that can be run (``design.settings``).
        costs: What a run costs (``cost.costs``).
        task: The task whose runs are read.
        noise: Standard deviation of a run's loss in nats; None: as the records show.
        bend: How far the law may be off, in nats for every e-fold between a setting and the target.
        check_share: The part of the budget that goes to the settings nearest to the target.
        seeds: Most runs of one setting, earlier ones counted.
        seed: Seed of the draws.
        forecasts: What is forecast at the target, by method (``expected_losses``), in place of what the
            planner's own law says of it.
        reachable: Whether a value of the factor that is not offered can be run, too.
        scale: What the records' losses and the forecasts are of: they are what is lost on it.

    Returns:
        The plan, in the outcome's own unit.

    Raises:
        UsageError: A target, budget or option that makes no sense.
        DataError: No run can be paid for, its cost is not known, or the target is known already.
    """
    factor = check_question(target, budget, bend, check_share, seeds, noise)
    rng = np.random.default_rng(seed)
    measured = {m: measured_settings(records, task, factor, m, choices.base) for m in choices.methods}
    noise, notes = run_noise(records, task, choices.methods, noise, scale)
    knowns = {
        m: _method_knowledge(choices, costs, factor, m, target, measured[m], noise, bend, reachable=reachable)
        for m in choices.methods
    }
    shown = {m: known.draws(SHOWN_DRAWS, rng) for m, known in knowns.items()}
    missed = {m: _misses(known) for m, known in knowns.items()}
    told = dict(forecasts or {})
    for m, known in knowns.items():
        off = missed[m] * rng.standard_normal(SHOWN_DRAWS)
        if m not in told:
            told[m] = _by_law(known.targets.loss(shown[m])[:, 0] + off)
        elif known.runs.any():
            missed[m] = 0.0
    losses = {m: told[m].draws for m in knowns}
    best = _best(losses)
    weights = _weights(losses, best, sum(known.runs.sum() for known in knowns.values()))
    _refuse_known(told, noise, weights, scale)
    problems = [known.problem(shown[m][:DRAWS]) for m, known in knowns.items()]
    problem = joint_problem(problems, [weights[m] for m in knowns])
    offered = np.concatenate(
        [
            (np.arange(known.cost.size) < _offered_settings(choices, m)[0].size) & (weights[m] > 0)
            for m, known in knowns.items()
        ]
    )
    _refuse_poor(problem.cost[offered], budget)
    distance = np.concatenate([known.distance for known in knowns.values()])
    most = np.where(offered, np.maximum(seeds - problem.made, 0), 0)
    check = Check(np.where(offered, distance, np.inf), check_share, np.asarray(0.0))
    doubted = np.concatenate([np.full(known.cost.size, weights[m] > 0) for m, known in knowns.items()])
    there = np.where((distance < _SAME) & doubted, np.maximum(seeds - problem.made, 0), 0)
    runs, first = runs_with_target(problem, float(budget), most, check, there)
    if not runs.any():
        raise DataError(
            "every setting that the budget pays for has its runs already",
            wanted=f"a setting with fewer than {seeds} runs",
            got=f"{count(float(problem.made.sum()))} runs",
            remedy="raise --budget or --seeds, or allow other settings (--examples, --values)",
        )
    near = distance <= distance[runs > 0].min() + 1e-9
    made: list[Planned] = []
    outlooks: list[Outlook] = []
    at = 0
    for m, known in knowns.items():
        part = slice(at, at + known.cost.size)
        at = part.stop
        made += _rows(choices, measured[m], factor, m, known, runs[part], near[part], target)
        after = _after(known, shown[m], told[m].half, runs[part], first[part], missed[m])
        now = told[m]
        had = int(np.count_nonzero(known.runs))
        low, high = sorted((scale.value(now.low), scale.value(now.high)))
        value = scale.value(now.loss)
        outlooks.append(Outlook(m, value, low, high, after * scale.width, best[m], had))
    made.sort(key=lambda run: (dict(run.sizes) != dict(target), run.cost, run.method))
    at = {m: any(run.method == m and dict(run.sizes) == dict(target) for run in made) for m in knowns}
    notes += _remarks(knowns, weights, missed, target, costs, budget, at, scale)
    basis = costs.basis.partition(", hours")[0]
    return Plan(
        task, dict(target), float(budget), tuple(made), tuple(outlooks), tuple(notes), basis, scale.outcome
    )


def check_question(  # noqa: PLR0917
    target: Mapping[str, float], budget: float, bend: float, share: float, seeds: int, noise: float | None
) -> str:
    """Refuses a question that makes no sense; gives the target's factor.

    Raises:
        UsageError: What is wrong, in words.
    """
    known = (DATA_SIZE, *FACTORS)
    example = 'e.g. "model_params=1.6e10,finetune_examples=1e6"'
    for name, value in target.items():
        if name not in known:
            raise UsageError(
                f"the target names an unknown column `{name}`", wanted=", ".join(known), remedy=example
            )
        if not 0 < value < math.inf:
            raise UsageError(f"the target's {name}", wanted="a number above 0", got=f"{value:g}")
    factors = [name for name in target if name in FACTORS]
    if DATA_SIZE not in target or len(factors) != 1:
        raise UsageError(
            "the target needs finetune_examples and one factor",
            wanted=example,
            got=", ".join(target) or "nothing",
        )
    for flag, good, wanted, value in (
        ("--budget", 0 < budget < math.inf, "FLOPs above 0", budget),
        ("--bend", 0 <= bend < math.inf, "nats, 0 or more", bend),
        ("--check-share", 0 <= share <= 1, "between 0 and 1", share),
        ("--seeds", seeds >= 1, "at least 1", seeds),
        ("--noise", noise is None or 0 < noise < math.inf, "nats above 0", noise or 0),
    ):
        if not good:
            raise UsageError(f"{flag} {value:g}", wanted=wanted, got=f"{value:g}")
    return factors[0]


def _method_knowledge(  # noqa: PLR0917
    choices: Choices,
    costs: Costs,
    factor: str,
    method: str,
    target: Mapping[str, float],
    measured: pl.DataFrame,
    noise: float,
    bend: float,
    *,
    reachable: bool,
) -> MethodKnowledge:
    """What is known of a method: settings on offer come first, then the target and others with runs."""
    x, d = _offered_settings(choices, method)
    place = set(zip(x, d, strict=True))
    asked = (target[factor], target[DATA_SIZE])
    other = [asked] if reachable or asked[0] in choices.sizes[method][0] else []
    other += [(row[factor], row[DATA_SIZE]) for row in measured.iter_rows(named=True)]
    other = [one for one in dict.fromkeys(other) if one not in place]
    x = np.r_[x, [one[0] for one in other]]
    d = np.r_[d, [one[1] for one in other]]
    place = {(a, b): i for i, (a, b) in enumerate(zip(x, d, strict=True))}
    runs, mean = np.zeros(x.size), np.zeros(x.size)
    for row in measured.iter_rows(named=True):
        index = place[row[factor], row[DATA_SIZE]]
        runs[index], mean[index] = row["runs"], row["mean"]
    centre = float(np.exp(np.log(x).mean())), float(np.exp(np.log(d).mean()))
    aim = DesignPoints.around(np.array([target[factor]]), np.array([target[DATA_SIZE]]), centre)
    cost = np.array([_price(choices, costs, factor, method, a, b) for a, b in zip(x, d, strict=True)])
    return MethodKnowledge(
        PRIORS[factor], DesignPoints.around(x, d, centre), aim, cost, noise, bend, runs, mean
    )


def _offered_settings(choices: Choices, method: str) -> tuple[Array, Array]:
    """The method's settings to choose from: values of the factor and data sizes, [N]."""
    x, d = np.meshgrid(*choices.sizes[method], indexing="ij")
    return x.ravel(), d.ravel()


def _price(  # noqa: PLR0917
    choices: Choices, costs: Costs, factor: str, method: str, value: float, examples: float
) -> float:
    size = choices.params(factor, value)
    flops = costs.of(method, size, examples).flops
    if not math.isfinite(flops):
        raise DataError(
            f"what a run of {method_name(method)} costs is not known",
            wanted="train_flops or tokens_processed in the records, and model_params",
            got=costs.basis,
            remedy="give --tokens-per-example (tokens of one example, times the epochs)",
        )
    return flops


def _best(losses: Mapping[str, Array]) -> dict[str, float]:
    """The share of draws in which each method has the lowest loss."""
    winner = np.argmin(np.stack(list(losses.values())), axis=0)
    return {m: float(np.mean(winner == index)) for index, m in enumerate(losses)}


def _weights(losses: Mapping[str, Array], best: Mapping[str, float], made: float) -> dict[str, float]:
    """How much each method's variance counts: 1 in doubt of the best, 0 where it is clearly worse.

    With no run made, or with one method, every method counts alike.
    """
    if len(losses) == 1 or not made:
        return dict.fromkeys(losses, 1.0)
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


def _by_law(losses: Array) -> ExpectedLoss:
    low, middle, high = (float(value) for value in np.percentile(losses, (5, 50, 95)))
    return ExpectedLoss(middle, low, high, losses)


def _refuse_known(
    told: Mapping[str, ExpectedLoss], noise: float, weights: Mapping[str, float], scale: PlanScale
) -> None:
    """One method whose target is known to within a run's noise needs no run."""
    (method, *others) = weights
    now = told[method]
    if not others and now.half < noise:
        raise DataError(
            f"the target is known already: {amount(scale.outcome, scale.value(now.loss))} +- "
            f"{scale.tell_gap(now.half)}, less than the noise of a run "
            f"({amount(scale.outcome, noise * scale.width)})",
            wanted="a target that the runs leave in doubt",
            remedy="ask for a larger model or more examples",
        )


def _refuse_poor(cost: Array, budget: float) -> None:
    if cost.min() > budget:
        raise DataError(
            "the budget is too small for any run",
            wanted=f"at least {cost.min():.3g} FLOPs, the cheapest run",
            got=f"{budget:.3g} FLOPs",
            remedy="raise --budget, or allow smaller settings (--values, --examples)",
        )


def _rows(  # noqa: PLR0917
    choices: Choices,
    measured: pl.DataFrame,
    factor: str,
    method: str,
    known: MethodKnowledge,
    runs: Array,
    near: Array,
    target: Mapping[str, float],
) -> list[Planned]:
    used = {(row[factor], row[DATA_SIZE]): set(row["seeds"]) for row in measured.iter_rows(named=True)}
    x, d = _offered_settings(choices, method)
    rows = []
    for index in np.flatnonzero(runs):
        inside = index < x.size  # else it is the target
        here = (x[index], d[index]) if inside else (target[factor], target[DATA_SIZE])
        sizes = {factor: float(here[0]), DATA_SIZE: float(here[1])}
        had = used.get((sizes[factor], sizes[DATA_SIZE]), set())
        free = (number for number in range(10**6) if number not in had)
        seeds = tuple(next(free) for _ in range(int(runs[index])))
        model = choices.model(factor, sizes[factor])
        rows.append(Planned(method, sizes, model, seeds, float(known.cost[index]), bool(near[index])))
    return rows


def _after(  # noqa: PLR0917
    known: MethodKnowledge, draws: Array, half: float, runs: Array, first: Array, missed: float
) -> float:
    """Half the interval that is expected after the runs.

    Runs elsewhere narrow what is believed now by as much as they narrow the law; those at the target are
    observations of it.
    """
    problem = known.problem(draws)
    now = (half / _LEVEL) ** 2
    before, then = (float(np.median(problem.variance(some))) + missed**2 for some in (0 * runs, runs - first))
    left = now * min(then / before, 1.0)
    return _LEVEL / math.sqrt(1 / left + float(first.sum()) / known.noise**2)


def _remarks(  # noqa: PLR0917
    knowns: Mapping[str, MethodKnowledge],
    weights: Mapping[str, float],
    missed: Mapping[str, float],
    target: Mapping[str, float],
    costs: Costs,
    budget: float,
    made: Mapping[str, bool],
    scale: PlanScale,
) -> list[str]:
    notes = []
    clear = [method_name(m) for m, weight in weights.items() if not weight]
    if clear:
        notes.append(f"No runs of {listed(clear)}: clearly not the best at the target.")
    if not any(known.runs.any() for known in knowns.values()):
        notes.append("No runs yet: planned from a prior around the paper's laws; plan again after the first.")
    for m, off in missed.items():
        if off:
            gap = scale.tell_gap(off)
            words = f"{method_name(m)}: the law misses the runs by {gap} (standard deviation)"
            notes.append(f"{words}, more than their noise; the intervals have that in them.")
    params = target.get("model_params")
    own = {m: costs.of(m, params, target[DATA_SIZE]).flops for m in knowns} if params else {}
    paid = [m for m, flops in own.items() if flops <= budget and weights[m]]
    first = [m for m in paid if made[m]]
    if paid:
        who = listed([method_name(m) for m in first or paid])
        words = f"The budget pays for a run at the target itself ({who}): "
        can = "it comes first, as no other tells more. If it cannot be made, say what can (--values)."
        notes.append(words + (can if first else "make it, if it can be made."))
    return notes


def _misses(known: MethodKnowledge) -> float:
    """Standard deviation of the measured settings from the law; 0 where noise alone explains it."""
    used = known.runs > 0
    if used.sum() < 6:
        return 0.0
    free = replace(known, bend=0.0).draws(1 + DRAWS, np.random.default_rng(0))
    predicted = np.median(known.settings.loss(free), axis=0)
    free_settings = max(1, int(used.sum()) - len(PARAMETERS))
    off = math.sqrt(float(((predicted - known.mean)[used] ** 2).sum()) / free_settings)
    return off if off > known.noise else 0.0
