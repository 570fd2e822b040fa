"""Runs at the target itself come first where the budget pays for them: nothing tells more about it."""

from __future__ import annotations

from typing import Any

import numpy as np

from finescale.planning.search import Check, DesignProblem, best_runs

Array = np.ndarray[Any, Any]
_WORTH = 0.9
"""Further runs must narrow the interval that is expected at the target to this share."""


def runs_with_target(
    problem: DesignProblem, budget: float, most: Array, check: Check, target: Array
) -> tuple[Array, Array]:
    """The next runs, those at the target first.

    One run of each method tells what one wants to know; between several methods seeds are added in turn, as
    long as every one of them can have them.

    Args:
        problem: The design problem of the methods that are in doubt.
        budget: What the runs may cost.
        most: Most further runs of each setting that is offered, [N].
        check: Which part of the spending goes near the target where no run at the target is made.
        target: Most further runs of the settings at the target, 0 elsewhere, [N].

    Returns:
        Numbers of runs, [N], and those of them that are at the target, [N].
    """
    forced, left = np.zeros(target.shape), budget
    places = np.flatnonzero(target)
    for turn in range(int(target.max(initial=0)) if places.size > 1 else 1):
        able = [i for i in places if target[i] > forced[i]]
        if turn and problem.cost[able].sum() > left:
            break
        for i in able:
            if problem.cost[i] <= left:
                forced[i] += 1
                left -= float(problem.cost[i])
    if not forced.any():
        return best_runs(problem, np.asarray(budget), most, check), forced
    known = problem.after(forced)
    rest = best_runs(known, np.asarray(left), np.maximum(most - forced, 0))
    narrowed = np.exp(0.5 * (known.score(rest) - known.score(np.zeros_like(rest))))
    return (forced + rest if narrowed < _WORTH else forced), forced
