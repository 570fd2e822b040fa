"""Which runs of a study settle which method is best at least cost: the next batch.

Designs of several sizes are made, from a share of what is left of the study to all of it: runs at the
question itself first, the rest where they tell most (as ``plan`` chooses). Of each the probability is worked
out that it decides; the design whose cost over that probability is least is begun.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.planning.believed import Belief
from finescale.planning.known import DRAWS, joint_problem
from finescale.planning.rest import AdviceToCome, advice_to_come
from finescale.planning.search import DesignProblem, best_shares, whole_runs

Array = np.ndarray[Any, Any]
SAME = 1e-9
_BUDGETS, _STEPS = 6, 40
_HOPE = 0.02
"""Designs that decide less often than this are as good as none."""


@dataclass(frozen=True)
class OpenStudy:
    """The runs of a study that can be made, the methods' settings one after the other.

    Attributes:
        beliefs: What is believed, by method.
        open: Runs that are open at each setting, by method, [N].
        weights: How much each method's uncertainty counts.
        sure: The probability of being best that is wanted.
        untuned: Methods whose rate no sweep chose: they are never advised.
    """

    beliefs: Mapping[str, Belief]
    open: Mapping[str, Array]
    weights: Mapping[str, float]
    sure: float
    untuned: Collection[str] = ()

    @property
    def problem(self) -> DesignProblem:
        """The methods' design problems as one."""
        problems = [one.known.problem(one.shown[:DRAWS]) for one in self.beliefs.values()]
        return joint_problem(problems, [self.weights[name] for name in self.beliefs])

    def after(self, runs: Array) -> AdviceToCome:
        """The advice after so many more runs of each setting, [settings of all methods]."""
        draws, left, end = {}, {}, 0
        for name, one in self.beliefs.items():
            part = runs[end : (end := end + one.known.cost.size)]
            first = np.where(one.known.distance < SAME, part, 0)
            draws[name] = one.told.draws
            now = one.told.half
            left[name] = (one.after(part, first) / now) ** 2 if now > 0 and part.any() else 1.0
        return advice_to_come(draws, left, self.sure, self.untuned)

    def all_open(self) -> Array:
        """Every run that is open, as numbers of runs of each setting."""
        return np.concatenate([self.open[name] for name in self.beliefs])

    def design(self) -> Array:
        """The runs whose cost is least for the probability that they decide, [settings of all methods]."""
        problem = self.problem
        doubted = np.concatenate(
            [np.full(one.known.cost.size, self.weights[name] > 0) for name, one in self.beliefs.items()]
        )
        most = np.where(doubted, self.all_open(), 0.0)
        if not most.any():
            return most
        distance = np.concatenate([one.known.distance for one in self.beliefs.values()])
        whole = float(most @ problem.cost)
        least = max(float(problem.cost[most > 0].min()), whole / 200)
        best, index = most, np.inf
        for budget in np.geomspace(least, whole, _BUDGETS):
            runs = _runs(problem, float(budget), most, distance < SAME)
            chance = self.after(runs).decided
            if runs.any() and chance > _HOPE and float(runs @ problem.cost) / chance < index:
                best, index = runs, float(runs @ problem.cost) / chance
        return best


def _runs(problem: DesignProblem, budget: float, most: Array, target: Array) -> Array:
    """Runs for a budget: in turn one of every setting at the target, then those that tell most."""
    forced, left = np.zeros(most.shape), budget
    while True:
        able = [i for i in np.flatnonzero(target & (forced < most)) if problem.cost[i] <= left]
        if not able or problem.cost[able].sum() > left:
            break
        forced[able] += 1
        left -= float(problem.cost[able].sum())
    known, more = problem.after(forced), most - forced
    shares = best_shares(known, np.asarray(left), more, steps=_STEPS)
    return forced + whole_runs(known, shares, np.asarray(left), more)


def in_turn(runs: Array, cost: Array, target: Array, *, room: float, slots: int) -> list[int]:
    """The settings of a design whose runs come next, one a run.

    One run of every setting at the target comes first, and alone: it may decide. Else the cheapest do.

    Args:
        runs: Runs of each setting.
        cost: Cost of a run of each.
        target: Whether each is at the target.
        room: What they may cost together; the first may cost more.
        slots: How many can be made at a time: at least so many, where there are any.
    """
    turns = [(turn, i) for i in np.flatnonzero(runs) for turn in range(int(runs[i]))]
    turns.sort(key=lambda one: (not target[one[1]], one[0] if target[one[1]] else 0, cost[one[1]]))
    first = sum(bool(target[i]) for turn, i in turns if not turn)
    chosen: list[int] = []
    spent = 0.0
    for _, i in turns:
        wanted = len(chosen) < max(slots, first, 1)
        if not wanted and (first or spent + cost[i] > room):
            break
        chosen.append(int(i))
        spent += float(cost[i])
    return chosen
