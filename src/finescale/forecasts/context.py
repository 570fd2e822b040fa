"""What the members of a forecast know beside the paths: the whole table, places, the loss beside a score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import Paths, Wander

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Places:
    """Where paths across a factor lie.

    Attributes:
        factor: The factor.
        slice: Which slice each is of: a group at its base setting, [P].
        size: log2 of the data size of each, [P].
        measured: Whether that size was run; laws are fitted to those, [P].
    """

    factor: str
    slice: Array
    size: Array
    measured: Array

    def take(self, rows: Array) -> Places:
        """Those of some of the paths."""
        return Places(self.factor, self.slice[rows], self.size[rows], self.measured[rows])


@dataclass(frozen=True)
class Beside:
    """The loss beside the paths of a score: what was measured, and how it is expected to go on.

    Attributes:
        score: All paths of the score that the curve from loss to score is fitted to.
        every: The loss at the same points.
        own: The loss of the paths that are asked about, at the points of those, [P, N].
        rows: Which paths of the loss those are, [P].
        onwards: Known paths of the loss, their rows and targets [P, H] to the loss's expected increments.
        cut: Whether the paths that are asked about are cut, in the backtest.
    """

    score: Paths
    every: Paths
    own: Paths
    rows: Array
    onwards: Callable[[Paths, Array, Array], Array]
    cut: bool = False

    def take(self, rows: Array) -> Beside:
        """For paths that are cut somewhere: the curve is fitted to what came up to the cut."""
        return replace(self, own=self.own.take(rows), rows=self.rows[rows], cut=True)


@dataclass(frozen=True)
class Context:
    """What the members know of the whole table.

    Attributes:
        scale: The outcome's scale.
        pooled: The trend's pooled variances.
        noise: A typical variance of a setting's z around a law.
        sizes: Smallest and largest size.
        places: Where the paths lie that go across a factor; None for those over the data size.
        beside: The loss beside them, where a score is forecast through it.
    """

    scale: OutcomeScale
    pooled: Wander
    noise: float
    sizes: tuple[float, float]
    places: Places | None = None
    beside: Beside | None = None

    def take(self, rows: Array) -> Context:
        """For paths that are cut somewhere."""
        places = None if self.places is None else self.places.take(rows)
        return replace(self, places=places, beside=None if self.beside is None else self.beside.take(rows))
