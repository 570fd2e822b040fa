"""Where other methods on the same model were measured further: a short curve moves on as they did there.

A method with one size says nothing of its slope, and one that ends at 100 examples little of what comes up to
10,000, while the others' measured movement over just that range says much. On public tables (methods cut at
every size, the others whole) it misses by a half to two thirds of what the method's own last steps do, once
three sizes are known too, and a best weight of .8 to 1.1; only where methods differ in slope at all sizes
(the nano study) it is worse. So the weight is learned from the table, towards a prior.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from finescale.forecasts.backtest import Origins
from finescale.forecasts.trend import Paths

Array = np.ndarray[Any, Any]
ALONE = 0.9
"""The weight of the others' movement for a curve of one size: .84 to .96 on seven tables."""
PRIOR, SPREAD, ALIKE_CELLS = 0.85, 0.3, 4.0
"""For longer curves: a normal prior; so many cells of the test, which overlap, tell what one tells."""
_SAME = 1e-6


def others_share(own: Array, cuts: Origins | None, paths: Paths, units: Array) -> float:
    """The weight of the others' movement for curves of several sizes.

    Args:
        own: Expected increments of the cut paths themselves, [B, T].
        cuts: Every cut of every path.
        paths: The whole paths, of whose sizes the cuts are.
        units: Which model (and other factors) each path is of, [P].

    Returns:
        The weight, 0 to 1.
    """
    if cuts is None:
        return PRIOR
    theirs = _measured_movement(cuts, paths, units)
    last = cuts.known.z[np.arange(len(cuts.path)), cuts.known.count - 1]
    distance = np.maximum(cuts.distance, 0.25)
    x, y = (theirs - own) / distance, (cuts.z - last[:, None] - own) / distance
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    square = float(x @ x)
    if x.size < 2 or square <= 1e-300:
        return PRIOR
    seen = float(x @ y) / square
    doubt = ALIKE_CELLS * float(np.mean((y - seen * x) ** 2)) / square
    weight = SPREAD**2 / (SPREAD**2 + doubt)
    return float(np.clip(weight * seen + (1 - weight) * PRIOR, 0.0, 1.0))


def alongside(centre: Array, d: Array, paths: Paths, units: Array, share: float) -> Array:
    """Curves beyond their own sizes, where others of their unit were measured there.

    Args:
        centre: The curves by their own points, [P, D].
        d: The nodes; every size of a path is one, [D].
        paths: The points.
        units: Which unit each path is of, [P].
        share: The weight of the others' movement for a curve of several sizes.

    Returns:
        The curves, [P, D].
    """
    made = centre.copy()
    several = paths.count > 1
    first, last = paths.ends
    weight = np.where(several, share, ALONE)
    for rows in _of_units(units):
        for row in rows[np.argsort(-last[rows], kind="stable")].tolist():  # who reaches furthest goes first
            others = rows[several[rows] & (last[rows] > last[row] + _SAME)]
            _follow(made, row, others, beyond=d - float(last[row]), weight=float(weight[row]))
        for row in rows[np.argsort(first[rows], kind="stable")].tolist():
            others = rows[several[rows] & (first[rows] < first[row] - _SAME)]
            _follow(made, row, others, beyond=float(first[row]) - d, weight=float(weight[row]))
    return made


def _follow(made: Array, row: int, others: Array, *, beyond: Array, weight: float) -> None:
    """One curve on one side of its own sizes, in place; nodes by how far beyond these they lie."""
    if others.size:
        at, away = int(np.argmin(np.abs(beyond))), beyond > _SAME
        theirs = (made[others] - made[others, at][:, None]).mean(axis=0)
        own = made[row] - made[row, at]
        made[row, away] = (made[row, at] + (1 - weight) * own + weight * theirs)[away]


def _of_units(units: Array) -> Iterator[Array]:
    """The rows of each unit of several paths."""
    for unit in np.unique(units):
        rows = np.flatnonzero(units == unit)
        if rows.size > 1:
            yield rows


def _measured_movement(cuts: Origins, paths: Paths, units: Array) -> Array:
    """How the others of a unit moved from each cut to its targets, where they were measured, [B, T]."""
    found = np.full(cuts.u.shape, np.nan)
    for rows in _of_units(units):
        sizes = np.unique(paths.u[rows][paths.there[rows]])
        levels = np.stack([_level(paths, row, sizes) for row in rows])
        for cut in np.flatnonzero(np.isin(cuts.path, rows)):
            asked = np.flatnonzero(np.isfinite(cuts.u[cut]))
            at, start = np.searchsorted(sizes, cuts.u[cut, asked]), np.searchsorted(sizes, cuts.at[cut])
            moved = levels[rows != cuts.path[cut]]
            moved = moved[:, at] - moved[:, [start]]
            count = np.isfinite(moved).sum(axis=0)
            found[cut, asked] = np.where(count > 0, np.nansum(moved, axis=0) / np.maximum(count, 1), np.nan)
    return found


def _level(paths: Paths, row: int, sizes: Array) -> Array:
    """A path at sizes; NaN where it was not measured, and everywhere for one point."""
    u, z = paths.u[row, : paths.count[row]], paths.z[row, : paths.count[row]]
    if u.size < 2:
        return np.full(sizes.size, np.nan)
    return np.interp(sizes, u, z, left=np.nan, right=np.nan)
