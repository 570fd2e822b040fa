"""The rolling origin: every path cut at its earlier sizes, what came next compared with what was expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.forecasts.trend import Paths

Array = np.ndarray[Any, Any]
AHEAD = 4.5
"""So many doublings ahead of an origin are asked, at most."""
MOST_ORIGINS, MOST_TARGETS = 12, 6
_APART = 0.45
"""Origins and targets lie at least so many doublings apart."""
_FEWEST = 3


@dataclass(frozen=True)
class Origins:
    """Every cut of every path.

    Attributes:
        path: Which path was cut, [B].
        known: The paths up to their cuts.
        at: u of the last known size, [B].
        u: u of the targets, [B, T]; NaN at the end.
        z: What was seen there, [B, T].
        noise: Its variance, [B, T].
        age: How many cuts of its path came later, [B].
    """

    path: Array
    known: Paths
    at: Array
    u: Array
    z: Array
    noise: Array
    age: Array

    @property
    def last(self) -> Array:
        """The outcome at the last known size, [B]."""
        return self.known.z[np.arange(len(self.path)), self.known.count - 1]

    @property
    def distance(self) -> Array:
        """Doublings from the origin to each target, [B, T]."""
        return self.u - self.at[:, None]


def origins(paths: Paths) -> Origins | None:
    """Cuts every path; None where no path has a size to hide.

    A path is cut with at least three sizes known, or two where all are short.
    """
    longest = int(paths.count.max(initial=0))
    fewest = _FEWEST if longest > _FEWEST else longest - 1
    if fewest < 1:
        return None
    N = paths.u.shape[1]
    rows: list[tuple[int, int, list[int], int]] = []
    for index, count in enumerate(paths.count):
        u = paths.u[index]
        cuts = _apart(u, range(count - 1, fewest - 1, -1), MOST_ORIGINS)
        for age, cut in enumerate(cuts):
            ahead = [at for at in range(cut, count) if u[at] - u[cut - 1] <= AHEAD] or [cut]
            rows.append((index, cut, _apart(u, ahead, MOST_TARGETS), age))
    if not rows:
        return None
    targets = max(len(row[2]) for row in rows)
    known = Paths(*(np.full((len(rows), N), np.nan) for _ in range(3)))
    u, z, noise = (np.full((len(rows), targets), np.nan) for _ in range(3))
    for place, (index, cut, ahead, _) in enumerate(rows):
        for to, of in ((known.u, paths.u), (known.z, paths.z), (known.noise, paths.noise)):
            to[place, :cut] = of[index, :cut]
        for to, of in ((u, paths.u), (z, paths.z), (noise, paths.noise)):
            to[place, : len(ahead)] = of[index, ahead]
    path, age = np.array([row[0] for row in rows]), np.array([row[3] for row in rows])
    longest = int(known.count.max())
    known = Paths(known.u[:, :longest], known.z[:, :longest], known.noise[:, :longest])
    return Origins(path, known, known.ends[1], u, z, noise, age)


def _apart(u: Array, places: Any, most: int) -> list[int]:
    """The first places, and then those that lie far enough from the one before."""
    kept: list[int] = []
    for at in places:
        if not kept or abs(u[at] - u[kept[-1]]) >= _APART:
            kept.append(at)
    return kept[:most]
