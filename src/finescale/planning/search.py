"""Which settings to pay for: V-optimal designs averaged over draws of the law.

A run at a setting tells g g^T / noise^2 about the parameters, g being the law's derivatives there. The
variance of the predictions at the targets is V = trace(B M^-1): M sums what the prior and all runs tell, B is
the mean of h h^T over the targets' derivatives h. As the law is not known, the mean of ln V over draws of the
law is minimised: every draw's own best design counts alike, however well its law can be predicted.

The continuous optimum (shares of the budget) comes from multiplicative updates; then whole runs are bought.
Shapes: `...` studies side by side (none, or one axis), K draws, N settings, P parameters.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_ROOM = 1 + 1e-12


@dataclass(frozen=True)
class DesignProblem:
    """One design problem (or, with leading axes, many).

    Attributes:
        slopes: Derivatives at the settings over the noise of a run, [..., K, N, P].
        known: What the prior tells, [..., K, P, P].
        made: Runs made before, [..., N].
        target: B, [..., K, P, P].
        cost: Cost of a run, [N].
        misfit: How far the law may be off at a setting, as a variance over that of a run's noise, [N]: it
            does not average out, so that the first run of a setting tells more than the tenth.
    """

    slopes: Array
    known: Array
    made: Array
    target: Array
    cost: Array
    misfit: Array

    def information(self, runs: Array) -> Array:
        """M after so many more runs of each setting [..., N], [..., K, P, P]."""
        runs = self.made + runs
        weighted = self.slopes * (runs / (1 + runs * self.misfit))[..., None, :, None]
        return self.known + np.swapaxes(weighted, -1, -2) @ self.slopes

    def variance(self, runs: Array) -> Array:
        """V in each draw, [..., K]."""
        return np.einsum("...pq,...qp->...", self.target, np.linalg.inv(self.information(runs)))

    def score(self, runs: Array) -> Array:
        """The mean of ln V over the draws, [...]: what a design minimises."""
        return np.log(self.variance(runs)).mean(axis=-1)

    def gain(self, runs: Array) -> Array:
        """By how much a little more of each setting lowers the score, a run, [..., N]."""
        lowered, _, variance = self._told(runs)
        return (lowered / variance).mean(axis=-2) / (1 + (self.made + runs) * self.misfit) ** 2

    def whole_gain(self, runs: Array) -> Array:
        """By how much one more run of each setting lowers the score, [..., N]."""
        lowered, seen, variance = self._told(runs)
        runs = self.made + runs
        more = 1 / ((1 + runs * self.misfit) * (1 + (runs + 1) * self.misfit))[..., None, :]
        return -np.log1p(-more * lowered / (variance * (1 + more * seen))).mean(axis=-2)

    def after(self, runs: Array) -> DesignProblem:
        """The problem that is left once these runs are made."""
        return replace(self, made=self.made + runs)

    def _told(self, runs: Array) -> tuple[Array, Array, Array]:
        """The products g M^-1 B M^-1 g and g M^-1 g of each setting, [..., K, N], and V, [..., K, 1]."""
        inverse = np.linalg.inv(self.information(runs))
        middle = inverse @ self.target @ inverse
        variance = np.einsum("...pq,...qp->...", self.target, inverse)[..., None]
        lowered = ((self.slopes @ middle) * self.slopes).sum(-1)
        return lowered, ((self.slopes @ inverse) * self.slopes).sum(-1), variance


@dataclass(frozen=True)
class Check:
    """Runs near the target, which would expose a law that fails there.

    Attributes:
        distance: Distance of each setting from the nearest target, [N], in e-folds of its sizes.
        share: The part of all spending that goes to the nearest settings that it can pay for.
        spent: What earlier runs cost, [...].
    """

    distance: Array
    share: float
    spent: Array

    def needed(self, problem: DesignProblem, runs: Array, budget: Array, most: Array) -> Array:
        """The check runs that a design [..., N] lacks, [..., N]."""
        lacking = np.zeros(runs.shape)
        order = np.lexsort((-problem.cost, self.distance.round(9)))
        for place in np.ndindex(runs.shape[:-1]):
            allowed = self.share * (self.spent[place] + budget[place])
            able = [i for i in order if problem.cost[i] <= min(allowed, budget[place]) * _ROOM]
            if not able:
                continue
            near = self.distance <= self.distance[able[0]] + 1e-9
            counted = (problem.made + runs)[place] * near
            missing = allowed - float(counted @ problem.cost)
            for i in able:
                count = min(np.floor(missing / problem.cost[i] * _ROOM), most[place][i])
                if count >= 1:
                    lacking[place][i] = count
                    missing -= count * problem.cost[i]
                if not near[i]:
                    break
        return lacking


def best_runs(problem: DesignProblem, budget: Array, most: Array, check: Check | None = None) -> Array:
    """The best whole runs for a budget, [..., N].

    Args:
        problem: The problem.
        budget: What the runs may cost, [...].
        most: Most further runs of each setting, [..., N].
        check: Which part of the spending goes near the target; None: no rule.

    Returns:
        Numbers of runs. A design of few runs is improved by exchanges too.
    """
    budget, most = np.asarray(budget, float), np.asarray(most, float)
    runs = _free_runs(problem, budget, most)
    if check is None or check.share <= 0:
        return runs
    forced = check.needed(problem, runs, budget, most)
    if not forced.any():
        return runs
    left = budget - (forced * problem.cost).sum(-1)
    again = forced + _free_runs(problem.after(forced), left, most - forced)
    return np.where(forced.any(-1, keepdims=True), again, runs)


def _free_runs(problem: DesignProblem, budget: Array, most: Array) -> Array:
    runs = whole_runs(problem, best_shares(problem, budget, most), budget, most)
    if runs.ndim == 1 and runs.sum() <= 40:
        return exchange_runs(problem, runs, float(budget), most)
    return runs


def best_shares(problem: DesignProblem, budget: Array, most: Array, steps: int = 150) -> Array:
    """The continuous design: how often each setting is to be run, [..., N].

    Args:
        problem: The problem.
        budget: What the design may cost, [...].
        most: Most further runs of each setting, [..., N].
        steps: Updates; the score is then within a percent or two of its optimum.
    """
    cap = most * problem.cost
    spend = _spread(np.where(cap > 0, 1.0, 0.0), cap, budget)
    for _ in range(steps):
        gain = problem.gain(spend / problem.cost) / problem.cost
        spend = _spread(spend * np.sqrt(gain), cap, budget)
    return spend / problem.cost


def _spread(weight: Array, cap: Array, budget: Array) -> Array:
    """Spends the budget in proportion to the weights, at most the cap on each, [..., N]."""
    full = np.zeros(np.broadcast_shapes(weight.shape, cap.shape), dtype=bool)
    spend = weight
    for _ in range(4):
        left = np.maximum(budget - np.where(full, cap, 0.0).sum(-1), 0.0)
        open_ = np.where(full, 0.0, weight)
        total = open_.sum(-1)
        scale = np.where(total > 0, left, 0.0) / np.where(total > 0, total, 1.0)
        spend = np.where(full, cap, open_ * scale[..., None])
        over = spend > cap
        if not over.any():
            break
        full = full | over
    return np.minimum(spend, cap)


def whole_runs(problem: DesignProblem, runs: Array, budget: Array, most: Array, steps: int = 200) -> Array:
    """Whole numbers of runs within the budget, [..., N]: rounded down, then the best run per cost.

    Args:
        problem: The problem.
        runs: The continuous design (or the runs to start from), [..., N].
        budget: What the runs may cost, [...].
        most: Most runs of each setting, [..., N].
        steps: Most runs that are bought one by one after rounding down.
    """
    bought = np.minimum(np.floor(runs + 1e-9), most)
    left = budget - (bought * problem.cost).sum(-1)
    for _ in range(steps):
        able = (problem.cost <= left[..., None] * _ROOM) & (bought < most)
        if not able.any():
            break
        worth = np.where(able, problem.whole_gain(bought) / problem.cost, -np.inf)
        one = (np.arange(problem.cost.size) == worth.argmax(-1)[..., None]) & able
        bought = bought + one
        left = left - (one * problem.cost).sum(-1)
    return bought


def exchange_runs(problem: DesignProblem, runs: Array, budget: float, most: Array, rounds: int = 20) -> Array:
    """Improves one small design [N]: the runs of a setting make room for others as long as that helps."""
    best, score = runs, float(problem.score(runs))
    for _ in range(rounds):
        trials = [_without(problem, best, index, budget, most) for index in np.flatnonzero(best)]
        able = np.flatnonzero((best < most) & (problem.cost <= budget * _ROOM))
        trials += [_with(problem, best, index, budget, most) for index in able]
        scores = [float(problem.score(trial)) for trial in trials]
        if not scores or min(scores) >= score - 1e-9:
            break
        best, score = trials[int(np.argmin(scores))], min(scores)
    return best


def _without(problem: DesignProblem, runs: Array, index: Any, budget: float, most: Array) -> Array:
    """One run of a setting less; others are bought with what it cost."""
    fewer, barred = runs.copy(), most.copy()
    fewer[index] -= 1
    barred[index] = fewer[index]
    return whole_runs(problem, fewer, np.asarray(budget), barred)


def _with(problem: DesignProblem, runs: Array, index: Any, budget: float, most: Array) -> Array:
    """One run of a setting more, paid for by the runs that are missed least."""
    trial = runs.copy()
    trial[index] += 1
    while (over := trial @ problem.cost - budget * _ROOM) > 0:
        given = [i for i in np.flatnonzero(trial) if i != index]
        if not given:
            return runs
        less = [trial - (np.arange(trial.size) == i) for i in given]
        now = float(problem.score(trial))
        saved = np.minimum(problem.cost[given], over)
        each = (np.array([float(problem.score(rest)) for rest in less]) - now) / saved
        trial = less[int(np.argmin(each))]
    return whole_runs(problem, trial, np.asarray(budget), most)
