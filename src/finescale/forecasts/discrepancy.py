r"""How wrong a forecast may be: a deviation that grows with the distance from the data.

At h doublings beyond the data the forecast's centre is off by $s\,h^{p}\,T$, T of Student's t. The scale s
is one for all paths of a task, drawn towards a stated prior: logs of root mean squares are averaged, since
scales differ between tables by factors (curves that follow a law are forecast ten times better than the
prior's). What is left for the data to say comes from the errors of the rolling backtest, of which late
origins count more; each path counts as often as it was cut. (A scale for each path was tried and made the
intervals worse.) The errors of two methods on the same task go together with the correlation ``rho``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.forecasts.backtest import Origins
from finescale.forecasts.trend import Paths

Array = np.ndarray[Any, Any]
GROWTH = 1.4
"""The exponent p along the data size: errors grow faster than the distance."""
PRIOR_PATHS = 2.5
"""What a prior is worth, in paths that were cut once."""
TOGETHER, TOGETHER_PATHS = 0.5, 10.0
"""Correlation of the errors of two methods on the same task and size, and what that prior is worth."""
_AGEING = 0.5
_LEAST = 1e-4


@dataclass(frozen=True)
class Prior:
    """What is believed of the scale before a table is seen, on logs (or log odds) per doubling.

    Attributes:
        scale: Root mean square error one doubling beyond the data.
        paths: How many paths it is worth.
        start: See ``Discrepancy``.
        together: Correlation of the errors of two methods on the same task.
        growth: See ``Discrepancy``.
    """

    scale: float
    paths: float = PRIOR_PATHS
    start: float = 0.0
    together: float = TOGETHER
    growth: float = GROWTH


@dataclass(frozen=True)
class Discrepancy:
    """The fitted discrepancy.

    Attributes:
        scale: Root mean square error at one doubling, on the outcome's scale.
        freedom: Degrees of freedom of T.
        rho: Correlation of the errors of two methods on the same task.
        start: No distance above 0 is shorter, in doublings: a model that was not run differs from its
            neighbours however near it is in size.
        growth: The exponent of the distance.
    """

    scale: float
    freedom: float
    rho: float
    start: float = 0.0
    growth: float = GROWTH

    def at(self, distance: Array) -> Array:
        """The scale of the deviation at distances in doublings, of their shape."""
        longer = np.where(distance > 1e-9, np.maximum(distance, self.start), 0.0)
        return self.scale * longer**self.growth


def fitted(
    error: Array | None, units: Array, cuts: Origins | None, prior: Prior, alike: float = 1.0
) -> Discrepancy:
    """The discrepancy.

    Args:
        error: Errors of the pooled centre in the backtest, [B, T]; None without a backtest.
        units: Which model each path is of, [P].
        cuts: The backtest, with the noise that is taken off the errors.
        prior: The prior.
        alike: So many paths tell what one tells.

    Returns:
        The discrepancy.
    """
    if cuts is None or error is None:
        return Discrepancy(prior.scale, prior.paths, prior.together, prior.start, prior.growth)
    longer = np.maximum(cuts.distance, max(0.25, prior.start))
    left = np.maximum(error**2 - cuts.noise, 0.0) / longer ** (2 * prior.growth)
    weight = np.where(np.isnan(left), 0.0, _AGEING ** cuts.age[:, None])
    left = np.where(np.isnan(left), 0.0, left)
    seen = np.sqrt(max(float((left * weight).sum() / weight.sum()), _LEAST**2))
    rho = _together(error / np.maximum(cuts.distance, 0.25), units, cuts, prior.together)
    tested = np.unique(cuts.path)
    sizes = np.unique(units[tested], return_counts=True)[1]
    paths = float((sizes / (1 + (sizes - 1) * prior.together)).sum()) / alike * _cuts_each(cuts)
    return Discrepancy(_drawn(seen, paths, prior), prior.paths + paths, rho, prior.start, prior.growth)


def interpolated(paths: Paths, units: Array, prior: Prior) -> Discrepancy:
    """How wrong it is to go straight from one value to the next, from every value between two others.

    It does not grow with the distance: a model that was not run differs from both neighbours however near.

    Args:
        paths: The paths.
        units: Which unit each path is of, [P]: the methods of one are told apart less well than they seem.
        prior: The prior.

    Returns:
        The discrepancy; its scale is that between two values.
    """
    cells: dict[tuple[int, float], list[float]] = {}
    left: dict[float, list[float]] = {}
    for row in range(len(paths.u)):
        u, z, noise = (table[row, : paths.count[row]] for table in (paths.u, paths.z, paths.noise))
        share = (u[1:-1] - u[:-2]) / (u[2:] - u[:-2])
        error = z[1:-1] - (1 - share) * z[:-2] - share * z[2:]
        known = noise[1:-1] + (1 - share) ** 2 * noise[:-2] + share**2 * noise[2:]
        for at, off, of_noise in zip(np.round(u[1:-1], 6).tolist(), error, known, strict=True):
            cells.setdefault((int(units[row]), at), []).append(float(off))
            left.setdefault(at, []).append(max(float(off**2 - of_noise), 0.0))
    if not left:
        return Discrepancy(prior.scale, prior.paths, prior.together)
    seen = float(np.sqrt(max(np.mean([np.mean(values) for values in left.values()]), _LEAST**2)))
    paths_seen = float(
        len(left)
    )  # what sets a model apart is one for all data sizes, nearly so for all methods
    rho = _shared(cells.values(), prior.together)
    return Discrepancy(_drawn(seen, paths_seen, prior), prior.paths + paths_seen, rho)


def _drawn(seen: float, worth: float, prior: Prior) -> float:
    """A scale that so many paths show, drawn towards the prior on logs."""
    logs = prior.paths * np.log(prior.scale) + worth * np.log(seen)
    return float(np.exp(logs / (prior.paths + worth)))


def _cuts_each(cuts: Origins) -> float:
    """How many cuts of a path count (Kish's number of equal weights), on average over the paths."""
    weight = _AGEING**cuts.age
    total, squares = (np.bincount(cuts.path, weights=values) for values in (weight, weight**2))
    cut = total > 0
    return float(np.mean(total[cut] ** 2 / squares[cut]))


def _together(error: Array, units: Array, cuts: Origins, prior: float) -> float:
    """The share of the errors' squares that the methods of a unit have in common, drawn to the prior."""
    cells: dict[tuple[int, float, float], list[float]] = {}
    for row, column in zip(*np.nonzero(~np.isnan(error)), strict=True):
        key = (
            int(units[cuts.path[row]]),
            round(float(cuts.at[row]), 6),
            round(float(cuts.u[row, column]), 6),
        )
        cells.setdefault(key, []).append(float(error[row, column]))
    return _shared(cells.values(), prior)


def _shared(cells: Iterable[list[float]], prior: float) -> float:
    """The share that the errors of a cell have in common, over all cells."""
    shared = whole = 0.0
    number = 0
    for values in cells:
        if len(values) > 1:
            v = np.array(values)
            shared += float(v.mean() ** 2 - v.var(ddof=1) / v.size)
            whole += float(np.mean(v**2))
            number += 1
    if not number or whole <= 0:
        return prior
    seen = float(np.clip(shared / whole, 0.0, 0.95))
    return (TOGETHER_PATHS * prior + number * seen) / (TOGETHER_PATHS + number)
