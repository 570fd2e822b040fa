"""A short curve moves on as others did: the other methods on its model, and its method on other models.

A curve of one size says nothing of its slope, and one that ends at 100 examples little of what comes up to
10,000, while the measured movement of others over just that range says much: the other methods on the same
model, and the same method on other models. With curves of public tables cut at every size, the others whole,
the mean of the two kinds misses by a sixth to a half of what the last steps of the curve itself miss by, and
its best weight is .8 to 1. The weight is learned from the table, towards a prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finescale.forecasts.backtest import Origins
from finescale.forecasts.trend import Paths

Array = np.ndarray[Any, Any]
ALONE = 0.9
"""The weight of the others' movement for a curve of one size: .84 to 1.05 on eight tables."""
PRIOR, SPREAD, ALIKE_CELLS = 0.85, 0.3, 4.0
"""For longer curves: a normal prior; so many cells of the test, which overlap, tell what one tells."""
_SAME = 1e-6


Kinds = tuple[Array, ...]
"""Labels of the paths, [P] each: those that agree in one move alike (one model, or one method)."""


def others_share(own: Array, cuts: Origins | None, paths: Paths, kinds: Kinds) -> float:
    """The weight of the others' movement for curves of several sizes.

    Args:
        own: Expected increments of the cut paths themselves, [B, T].
        cuts: Every cut of every path.
        paths: The whole paths, of whose sizes the cuts are.
        kinds: Which paths move alike.

    Returns:
        The weight, 0 to 1.
    """
    if cuts is None:
        return PRIOR
    theirs = _measured_movement(cuts, paths, kinds)
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


def alongside(centre: Array, d: Array, paths: Paths, kinds: Kinds, share: float) -> Array:
    """Curves beyond their own sizes, where others were measured there.

    Args:
        centre: The curves by their own points, [P, D].
        d: The nodes; every size of a path is one, [D].
        paths: The points.
        kinds: Which paths move alike.
        share: The weight of the others' movement for a curve of several sizes.

    Returns:
        The curves, [P, D].
    """
    made = centre.copy()
    several = paths.count > 1
    weight = np.where(several, share, ALONE)
    for ends, sign in ((paths.ends[1], 1.0), (paths.ends[0], -1.0)):
        reach = sign * ends
        for row in np.argsort(-reach, kind="stable").tolist():  # who reaches furthest goes first
            further = several & (reach > reach[row] + _SAME)
            if not further.any():
                continue
            found = [np.flatnonzero(further & (labels == labels[row])) for labels in kinds]
            others = [rows for rows in found if rows.size]
            _follow(made, row, others, beyond=sign * (d - float(ends[row])), weight=float(weight[row]))
    return made


def _follow(made: Array, row: int, others: Sequence[Array], *, beyond: Array, weight: float) -> None:
    """One curve on one side of its own sizes, in place; nodes by how far beyond these they lie."""
    if others:
        at, away = int(np.argmin(np.abs(beyond))), beyond > _SAME
        theirs = np.mean([(made[rows] - made[rows, at][:, None]).mean(axis=0) for rows in others], axis=0)
        own = made[row] - made[row, at]
        made[row, away] = (made[row, at] + (1 - weight) * own + weight * theirs)[away]


def _measured_movement(cuts: Origins, paths: Paths, kinds: Kinds) -> Array:
    """How the others moved from each cut to its targets, where they were measured, [B, T]."""
    found = np.stack([_movement_of(cuts, paths, labels) for labels in kinds])
    count = np.isfinite(found).sum(axis=0)
    return np.where(count > 0, np.nansum(found, axis=0) / np.maximum(count, 1), np.nan)


def _movement_of(cuts: Origins, paths: Paths, labels: Array) -> Array:
    """The mean movement of the others with a cut's label, [B, T]."""
    found = np.full(cuts.u.shape, np.nan)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        if rows.size < 2:
            continue
        sizes = np.unique(paths.u[rows][paths.there[rows]])
        levels = np.stack([_level(paths, row, sizes) for row in rows.tolist()])
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
