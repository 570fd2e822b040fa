"""What is believed of each method at the target now, and what it will be after new runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finescale.planning.beliefs import PARAMETERS
from finescale.planning.expected import ExpectedLoss
from finescale.planning.known import DRAWS, MethodKnowledge

Array = np.ndarray[Any, Any]
SHOWN_DRAWS = 400
"""Draws that the probabilities are counted in."""
HALF_90 = 1.645
"""Half a 90% interval, in standard deviations."""


@dataclass(frozen=True)
class Belief:
    """What is believed of a method's loss at the target.

    Attributes:
        known: Its settings and what was measured.
        shown: Draws of its law's parameters, [K, P].
        told: What is expected at the target.
        missed: By how much the law misses the runs beyond their noise (standard deviation); 0 where a
            forecast is believed, which has that in it.
    """

    known: MethodKnowledge
    shown: Array
    told: ExpectedLoss
    missed: float

    def after(self, runs: Array, first: Array) -> float:
        """Half the interval that is expected after new runs.

        Runs elsewhere narrow what is believed now by as much as they narrow the law; those at the target are
        observations of it.

        Args:
            runs: New runs at each setting, [N].
            first: Those of them at the target, [N].
        """
        problem = self.known.problem(self.shown)
        now = (self.told.half / HALF_90) ** 2
        narrowed = (0 * runs, runs - first)
        before, then = (float(np.median(problem.variance(some))) + self.missed**2 for some in narrowed)
        left = now * min(then / before, 1.0)
        return HALF_90 / math.sqrt(1 / left + float(first.sum()) / self.known.noise**2)


def beliefs_now(
    knowns: Mapping[str, MethodKnowledge], forecasts: Mapping[str, ExpectedLoss], rng: np.random.Generator
) -> dict[str, Belief]:
    """What is believed of each method now: its forecast, or where there is none its law's prediction.

    Args:
        knowns: What is known, by method.
        forecasts: What is forecast at the target, by method.
        rng: Random numbers.
    """
    shown = {m: known.draws(SHOWN_DRAWS, rng) for m, known in knowns.items()}
    found = {}
    for m, known in knowns.items():
        missed = law_misses(known)
        off = missed * rng.standard_normal(SHOWN_DRAWS)
        by_law = Belief(known, shown[m], ExpectedLoss.of(known.targets.loss(shown[m])[:, 0] + off), missed)
        found[m] = replace(by_law, told=forecasts[m], missed=0.0) if m in forecasts else by_law
    return found


def law_misses(known: MethodKnowledge) -> float:
    """Standard deviation of the measured settings from the law; 0 where noise alone explains it."""
    used = known.runs > 0
    if used.sum() < 6:
        return 0.0
    free = replace(known, bend=0.0).draws(1 + DRAWS, np.random.default_rng(0))
    predicted = np.median(known.settings.loss(free), axis=0)
    free_settings = max(1, int(used.sum()) - len(PARAMETERS))
    off = math.sqrt(float(((predicted - known.mean)[used] ** 2).sum()) / free_settings)
    return off if off > known.noise else 0.0
