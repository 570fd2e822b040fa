"""Two laws along the data size: where their gap changes its sign, in the fit and in every draw."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from finescale.forecasts.group import Forecast
from finescale.laws.fitted import FittedLaw
from finescale.records.records import DATA_SIZE

Array = np.ndarray[Any, Any]
Belief = FittedLaw | Forecast
"""What a candidate's outcomes follow: a law, or a forecast."""
SURE = 0.8
"""Below this probability nothing is said to be best, or ahead."""
_GRID, _DRAW_GRID = 513, 129
_ZOOMS = 5
"""Each narrows a crossing 512 times: to one part in 10^13 of the range."""


class Scan:
    """One law at one value of the factor, on the range of interest.

    Attributes:
        law: The law.
        where: The factor's value, by column.
        sign: +1 for outcomes of which lower is better, -1 for the others.
        ends: The range's ends, natural logarithms.
        grid: The draws' grid of log data sizes, [grid].
        draws: The law's mean in every draw on that grid, [draws, grid], so that lower is better (a score is
            negated); None without draws.
    """

    def __init__(self, law: Belief, where: Mapping[str, Any], within: tuple[float, float]) -> None:
        self.law, self.where = law, where
        self.ends = math.log(within[0]), math.log(within[1])
        self.grid = np.linspace(*self.ends, _DRAW_GRID)
        self.sign = law.outcome.sign
        self.draws = None
        if law.drawn:
            self.draws = self.sign * law.mean_draws({**where, DATA_SIZE: np.exp(self.grid)})

    def __call__(self, log_size: Array) -> Array:
        """The fitted law's outcome at log data sizes, in any shape; lower is better."""
        return self.sign * self.law.centre({**self.where, DATA_SIZE: np.exp(log_size)})

    def outside(self, log_size: float) -> float:
        """How many times outside the law's data, over data size and factor; 1 inside."""
        asked = {**self.where, DATA_SIZE: math.exp(log_size)}
        return max(times_outside(self.law, asked).values(), default=1.0)


def times_outside(law: Belief, asked: Mapping[str, Any]) -> dict[str, float]:
    """How many times outside the law's fitted data a question lies, by column; 1 inside."""
    return {
        name: max(asked[name] / high, low / asked[name], 1.0)
        for name, (low, high) in law.ranges.items()
        if name in asked
    }


def roots(gap: Callable[[Array], Array], ends: tuple[float, float]) -> list[tuple[float, bool]]:
    """Every zero of the gap between the ends, and whether the gap rises there.

    Args:
        gap: The gap at places, in any shape.
        ends: The ends.
    """
    grid = np.linspace(*ends, _GRID)
    seen = gap(grid)
    at = np.flatnonzero(_flips(seen))
    low, high = grid[at], grid[at + 1]
    size = np.abs(seen)
    dips = np.flatnonzero((size[1:-1] < size[:-2]) & (size[1:-1] < size[2:])) + 1
    alone = [dip for dip in dips if not ((low <= grid[dip + 1]) & (high >= grid[dip - 1])).any()]
    if alone:  # two zeros between two points
        closer = np.linspace(grid[np.subtract(alone, 1)], grid[np.add(alone, 1)], _GRID, axis=1)
        rows, at = np.nonzero(_flips(gap(closer)))
        low, high = np.append(low, closer[rows, at]), np.append(high, closer[rows, at + 1])
    order = np.argsort(low)
    low, high = low[order], high[order]
    rises = gap(high) > 0
    for _ in range(_ZOOMS if low.size else 0):
        closer = np.linspace(low, high, _GRID, axis=1)
        at = _flips(gap(closer)).argmax(axis=1)
        low, high = (closer[np.arange(low.size), place] for place in (at, at + 1))
    return [(float(root), bool(up)) for root, up in zip(0.5 * (low + high), rises, strict=True)]


def _flips(seen: Array) -> Array:
    """Whether the gap changes its sign between a place and the next, along the last axis."""
    positive = seen > 0
    return positive[..., 1:] != positive[..., :-1]


def interval(gaps: Array, scan: Scan, root: float, rises: bool) -> tuple[float, float]:
    """The interval of one crossing, from the draws' crossings of the same direction.

    A draw without one counts as a crossing beyond the range: above it where the method that is ahead on less
    data is still ahead at the fitted crossing, below it otherwise.
    """
    grid, level = scan.grid, scan.law.level
    positive = gaps > 0
    turns = _flips(gaps) & (positive[:, 1:] == rises)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = grid[:-1] - gaps[:, :-1] * np.diff(grid) / np.diff(gaps, axis=1)
    distance = np.where(turns, np.abs(at - root), np.inf)
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(gaps))
    column = int(np.clip(np.searchsorted(grid, root), 0, grid.size - 1))
    absent = np.where(positive[:, column] == rises, -np.inf, np.inf)
    places = np.sort(np.where(turns.any(axis=1), at[rows, nearest], absent))
    tail = 0.5 * (1 - level) * (places.size - 1)
    return float(np.exp(places[math.floor(tail)])), float(np.exp(places[math.ceil(places.size - 1 - tail)]))
