"""Marks of several series at one place: side by side, so that none hides another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SIDE_BY_SIDE = "Marks that would cover one another stand side by side."
_HIDES, _WIDE = 4.5, 7.0
"""Marks nearer than so many pixels cover one another; how wide one is."""
_PASSES = 8
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reach:
    """What an axis shows.

    Attributes:
        low: Its low end.
        high: Its high end.
        log: Whether it is logarithmic.
        pixels: How long it is.
    """

    low: float
    high: float
    log: bool
    pixels: float

    def place(self, values: Array) -> Array:
        """Values to pixels from the low end."""
        scale = np.log if self.log else np.asarray
        low, high = (float(scale(end)) for end in (self.low, self.high))
        return (scale(values) - low) / (high - low) * self.pixels

    def value(self, places: Array) -> Array:
        """Pixels from the low end to values."""
        share = places / self.pixels
        if self.log:
            return np.exp(math.log(self.low) * (1 - share) + math.log(self.high) * share)
        return self.low * (1 - share) + self.high * share


def side_by_side(points: Sequence[Mapping[str, Any]], across: Reach, up: Reach) -> list[dict[str, Any]]:
    """The points with ``beside``: where along the x axis each is drawn; its ``x`` where nothing is near.

    Args:
        points: Rows with ``series``, ``x`` and ``y``, in the order in which they are drawn.
        across: The x axis.
        up: The y axis.
    """
    true = np.array([point["x"] for point in points], dtype=float)
    if not true.size:
        return []
    x, y = across.place(true), up.place(np.array([point["y"] for point in points], dtype=float))
    _, series = np.unique([point["series"] for point in points], return_inverse=True)
    start = x.copy()
    for _ in range(_PASSES):
        near = (np.abs(x[:, None] - x) < _HIDES) & (np.abs(y[:, None] - y) < _HIDES)
        near &= series[:, None] != series
        if not near.any():
            break
        for group in _groups(near):
            # in the order of where they are; of those at one place, in that of the drawing
            order = group[np.argsort(x[group].round(3), kind="stable")]
            x[order] = x[order].mean() + _WIDE * (np.arange(order.size) - (order.size - 1) / 2)
    beside = np.where(x == start, true, across.value(x))
    return [{**point, "beside": float(place)} for point, place in zip(points, beside, strict=True)]


def _groups(near: Array) -> list[Array]:
    """The connected groups of two or more, of a symmetric matrix of neighbours."""
    left = set(np.flatnonzero(near.any(axis=1)).tolist())
    groups = []
    while left:
        todo, group = [min(left)], set()
        while todo:
            one = todo.pop()
            group.add(one)
            todo += [int(k) for k in np.flatnonzero(near[one]) if k not in group]
        left -= group
        groups.append(np.array(sorted(group)))
    return groups
