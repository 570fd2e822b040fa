"""What further runs would do to an advice: how likely it is given, and how likely it names another method.

What is believed of each method at the question is a set of joint draws. Runs narrow it: a part of every
draw's deviation is found out (the centre moves by it), the rest is left. So the advice after the runs is a
random thing now, and its distribution follows from the draws and from the share of variance that is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.advice.scan import SURE

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class AdviceToCome:
    """The advice after further runs, as probabilities.

    Attributes:
        named: How likely each method is advised then; what is missing from 1 is no advice.
        decided: How likely some method is then best with the probability that is wanted.
    """

    named: Mapping[str, float]
    decided: float

    def other_than(self, method: str | None) -> float:
        """How likely another method is advised then; with None: any method."""
        return sum(share for name, share in self.named.items() if name != method)


def advice_to_come(
    draws: Mapping[str, Array], left: Mapping[str, float], sure: float, untuned: Collection[str] = ()
) -> AdviceToCome:
    """The advice after runs that leave so much of what is not known.

    Args:
        draws: Draws of each method's loss at the question, joint, [draws]; lower is better.
        left: The share of each method's variance that is left after the runs, 0 to 1.
        sure: The probability of being best that is wanted.
        untuned: Methods whose rate no sweep chose: they are never advised.
    """
    names = list(draws)
    table = np.stack([draws[name] for name in names])
    half = table.shape[1] // 2
    centre = np.median(table, axis=1, keepdims=True)
    share = np.clip([[left[name]] for name in names], 0.0, 1.0)
    found = centre + np.sqrt(1 - share) * (table - centre)[:, :half]
    unknown = np.sqrt(share) * (table - centre)[:, half : 2 * half]
    winner = np.argmin(found[:, :, None] + unknown[:, None, :], axis=0)  # [found out, left]
    chances = np.stack([(winner == index).mean(axis=1) for index in range(len(names))])
    chances[[name in untuned for name in names]] = 0.0
    advised = chances >= SURE
    named = {name: float(advised[index].mean()) for index, name in enumerate(names)}
    return AdviceToCome(named, float((chances.max(axis=0) >= sure).mean()))
