"""A short curve moves on as others did: the other methods on its model, and its method on other models.

A curve of one size says nothing of its slope, and one that ends at 100 examples little of what comes up to
10,000, while the measured movement of others over just that range says much: the other methods on the same
model, and the same method on other models, half each (docs/log.md, 2026-11-30, has by how much on public
tables). A curve of several sizes does so only as far as the table shows that it pays. Beyond the others' own
ends it is their forecast that is followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finescale.forecasts.backtest import Origins
from finescale.forecasts.trend import Paths
from finescale.forecasts.weights import ALIKE_CELLS, shrunk

Array = np.ndarray[Any, Any]
ALONE, DOUBT = 1.0, 0.7
"""A curve of one size: the weight of the others' movement, and the share of it by which that may be wrong.

The best weight was .84 to 1.05 on eight tables; less than 1 would set it behind the others wherever losses
fall. The error was .2 to .45 of the movement there, but methods with slopes of their own differ by all of it.
"""
PRIOR, SPREAD = 0.0, 0.5
"""Curves of several sizes have a slope of their own, and keep it unless the table shows otherwise."""
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
    distance = np.maximum(cuts.distance, 0.25)
    x, y = (theirs - own) / distance, (cuts.z - cuts.last[:, None] - own) / distance
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    square = float(x @ x)
    if x.size < 2 or square <= 1e-300:
        return PRIOR
    seen = float(x @ y) / square
    doubt = ALIKE_CELLS * float(np.mean((y - seen * x) ** 2)) / square
    return shrunk(seen, doubt, PRIOR, SPREAD)


def alongside(
    centre: Array, d: Array, paths: Paths, kinds: Kinds, *, share: float, step: float
) -> tuple[Array, Array]:
    """Curves beyond their own sizes, as others go on from there.

    A curve of several sizes follows those that reach further and were measured at its end. One of one size
    has nothing else to go by: it follows all that were measured around it, or else all.

    Args:
        centre: The curves by their own points, [P, D].
        d: The nodes; every size of a path is one, [D].
        paths: The points.
        kinds: Which paths move alike.
        share: The weight of the others' movement for a curve of several sizes.
        step: A curve of one size may move by so much a doubling though the others stand still.

    Returns:
        The curves, and the scale of the doubt about what those of one size took over, [P, D] each.
    """
    made, doubt = centre.copy(), np.zeros_like(centre)
    several = paths.count > 1
    first, last = paths.ends
    weight = np.where(several, share, ALONE)
    for ends, sign in ((last, 1.0), (first, -1.0)):
        reach = sign * ends
        for row in np.lexsort((-reach, ~several)).tolist():  # who is followed goes before who follows
            end = ends[row]
            there = (first <= end + _SAME) & (last >= end - _SAME)
            able = several & (reach > reach[row] + _SAME) & there if several[row] else several
            found = [np.flatnonzero(able & (labels == labels[row])) for labels in kinds]
            near = [rows[there[rows]] if there[rows].any() else rows for rows in found]
            others = [rows for rows in near if rows.size]
            if not others:
                continue
            beyond = sign * (d - float(end))
            taken = _follow(made, row, others, beyond=beyond, weight=float(weight[row]))
            if not several[row]:
                doubt[row] += DOUBT * np.maximum(np.abs(taken), step * np.maximum(beyond, 0.0))
    return made, doubt


def _follow(made: Array, row: int, others: Sequence[Array], *, beyond: Array, weight: float) -> Array:
    """One curve on one side of its own sizes, in place; nodes by how far beyond these they lie.

    Returns:
        The others' movement there, [D]; 0 elsewhere.
    """
    away, at = beyond > _SAME, int(np.argmin(np.abs(beyond)))
    # the median: one diverged run is no movement of all
    theirs = np.mean([np.median(made[rows] - made[rows, at][:, None], axis=0) for rows in others], axis=0)
    own = made[row] - made[row, at]
    made[row, away] = (made[row, at] + (1 - weight) * own + weight * theirs)[away]
    return np.where(away, theirs, 0.0)


def _measured_movement(cuts: Origins, paths: Paths, kinds: Kinds) -> Array:
    """How the others moved from each cut to its targets, where they were measured, [B, T]."""
    found = np.stack([_movement_of(cuts, paths, labels) for labels in kinds])
    count = np.isfinite(found).sum(axis=0)
    return np.where(count > 0, np.nansum(found, axis=0) / np.maximum(count, 1), np.nan)


def _movement_of(cuts: Origins, paths: Paths, labels: Array) -> Array:
    """The median movement of the others with a cut's label, [B, T]."""
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
            some = np.isfinite(moved).any(axis=0)
            found[cut, asked[some]] = np.nanmedian(moved[:, some], axis=0)
    return found


def _level(paths: Paths, row: int, sizes: Array) -> Array:
    """A path at sizes; NaN where it was not measured, and everywhere for one point."""
    u, z = paths.u[row, : paths.count[row]], paths.z[row, : paths.count[row]]
    if u.size < 2:
        return np.full(sizes.size, np.nan)
    return np.interp(sizes, u, z, left=np.nan, right=np.nan)
