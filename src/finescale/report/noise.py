"""The difference that the noise between seeds leaves to be told: nothing smaller is called one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from finescale.records.noise import Noise

LEVEL = 0.9
"""Coverage of the intervals of differences, as for the laws."""


@dataclass(frozen=True)
class Difference:
    """The difference of two means with its interval; NaN limits where the noise is unknown."""

    value: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


def smallest_difference(noise: Noise, runs: int) -> float:
    """The smallest difference of two means of so many runs each whose interval leaves 0 out."""
    if not noise.known or runs < 1:
        return float("nan")
    return _quantile(noise.freedom) * noise.sd * math.sqrt(2 / runs)


def difference(
    first: tuple[float, int, Noise], second: tuple[float, int, Noise], comparisons: int = 1
) -> Difference:
    """The difference of two settings' means, with Welch's interval from the pooled noise of their methods.

    Args:
        first: Mean loss, number of runs, noise.
        second: What is subtracted.
        comparisons: How many differences are judged together: all their intervals hold at once at the level.
    """
    value = first[0] - second[0]
    parts = [(noise.sd**2 / runs, noise.freedom) for _, runs, noise in (first, second)]
    if not all(noise.known for _, _, noise in (first, second)):
        return Difference(value, float("nan"), float("nan"))
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return Difference(value, value, value)
    freedom = variance**2 / sum(part**2 / known for part, known in parts)
    return mean_difference(value, math.sqrt(variance), freedom, comparisons)


def mean_difference(value: float, error: float, freedom: float, comparisons: int = 1) -> Difference:
    """A difference with Student's interval from its standard error and that one's degrees of freedom."""
    half = _quantile(freedom, comparisons) * error
    return Difference(value, value - half, value + half)


def _quantile(freedom: float, comparisons: int = 1) -> float:
    """Student's t at the interval's upper end."""
    from scipy.special import stdtrit  # noqa: PLC0415 - scipy only where a difference is asked for

    return float(stdtrit(freedom, 1 - (1 - LEVEL) / (2 * max(1, comparisons))))
