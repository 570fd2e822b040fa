r"""The pooled local trend: an integrated Wiener process through each path, with a noise pooled over all.

    z(u) = level + slope (u - u_0) + w(u) + nugget + noise / runs

u is the log2 of a size; w has the covariance $q\,m^2 (3M - m) / 6$ of $m = \min$, $M = \max$ of the two
distances from the first size: a slope that wanders as a random walk (a smoothing spline). Its variance q, the
nugget's (a setting's own deviation) and, where no setting was repeated, the noise's are one for all paths of
a task, by restricted likelihood on a grid. A path may have any number of sizes, one included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_SAME = 1e-9
_GRID_NUGGET, _GRID_WANDER = np.exp(np.linspace(-9, 0, 8)), np.exp(np.linspace(-9, 1, 9))
_ABSENT = 1e9
_SLOPES = 3.0
"""The slope's prior standard deviation over the root mean square step of the table."""


@dataclass(frozen=True)
class Paths:
    """Sequences along one axis, padded with NaN at the end.

    Attributes:
        u: log2 of the sizes, ascending, [P, N].
        z: The outcome there, [P, N].
        noise: Variance of each z as a mean of runs, [P, N].
    """

    u: Array
    z: Array
    noise: Array

    @property
    def there(self) -> Array:
        """Where there is a point, [P, N]."""
        return ~np.isnan(self.u)

    @property
    def count(self) -> Array:
        """Points of each path, [P]."""
        return self.there.sum(axis=1)

    @property
    def ends(self) -> tuple[Array, Array]:
        """The first and last u of each path, [P] each."""
        return self.u[:, 0], self.u[np.arange(len(self.u)), self.count - 1]

    def take(self, rows: Array) -> Paths:
        """Some of the paths."""
        return Paths(self.u[rows], self.z[rows], self.noise[rows])


@dataclass(frozen=True)
class Wander:
    """The pooled variances: of the slope's steps (q), of a setting's own deviation, of the prior slope."""

    q: float
    nugget: float
    slope: float


def thinned(paths: Paths, most: int = 40) -> Paths:
    """Paths of at most so many points: neighbours on the log axis are averaged."""
    if paths.u.shape[1] <= most:
        return paths
    rows = []
    for u, z, noise, count in zip(paths.u, paths.z, paths.noise, paths.count, strict=True):
        u, z, noise = u[:count], z[:count], noise[:count]  # noqa: PLW2901
        if count > most:
            bins = np.minimum(((u - u[0]) / (u[-1] - u[0]) * most).astype(int), most - 1)
            _, at, size = np.unique(bins, return_inverse=True, return_counts=True)
            u, z = np.bincount(at, u) / size, np.bincount(at, z) / size  # noqa: PLW2901
            noise = np.bincount(at, noise) / size**2  # noqa: PLW2901
        rows.append((u, z, noise))
    return stacked(rows)


def stacked(parts: Sequence[tuple[Array, Array, Array]]) -> Paths:
    """Paths of u, z and noise, padded with NaN."""
    longest = max(u.size for u, _, _ in parts)
    made = [np.full((len(parts), longest), np.nan) for _ in range(3)]
    for row, part in enumerate(parts):
        for array, values in zip(made, part, strict=True):
            array[row, : values.size] = values
    return Paths(*made)


def root_mean_step(paths: Paths) -> float:
    """Root mean square of the steps from size to size, per doubling; 0 without any."""
    steps = np.diff(paths.z, axis=1) / np.maximum(np.diff(paths.u, axis=1), 0.25)
    steps = steps[~np.isnan(steps)]
    return float(np.sqrt(np.mean(steps**2))) if steps.size else 0.0


def wander(paths: Paths) -> Wander:
    """The variances that make the paths likeliest; for paths too short to tell, a step's share."""
    step = root_mean_step(paths)
    slope = max(_SLOPES * step, 0.05) ** 2
    long = np.flatnonzero(paths.count >= 3)
    spread = _spread(paths)
    if not long.size or spread <= 0:
        return Wander(q=(0.5 * step) ** 2 + 1e-8, nugget=1e-8, slope=slope)
    some = paths.take(long)
    unit = spread**2
    found = [
        (_unlikely(some, Wander(q * unit, nugget * unit, slope)), q * unit, nugget * unit)
        for nugget in _GRID_NUGGET
        for q in _GRID_WANDER
    ]
    _, q, nugget = min(found)
    return Wander(q, nugget, slope)


class Smoother:
    """The trend of every path, given the pooled variances."""

    def __init__(self, paths: Paths, pooled: Wander) -> None:
        """Conditions the trend on the points of each path."""
        self.paths, self.pooled = paths, pooled
        there = paths.there
        self._x = np.where(there, paths.u - paths.u[:, :1], 0.0)
        self._there = there
        N = self._x.shape[1]
        K = pooled.q * _covariance(self._x[:, :, None], self._x[:, None, :])
        K = np.where(there[:, :, None] & there[:, None, :], K, 0.0)
        own = np.where(there, pooled.nugget + paths.noise + 1e-12, _ABSENT)
        K[:, np.arange(N), np.arange(N)] += own
        self._inverse = np.linalg.inv(K)
        self._log_det = np.linalg.slogdet(K)[1] - (~there).sum(axis=1) * np.log(_ABSENT)
        self._basis = np.stack([np.ones_like(self._x), self._x], axis=-1) * there[:, :, None]
        precision = np.array([[1e-6, 0.0], [0.0, 1 / pooled.slope]])
        A = np.swapaxes(self._basis, 1, 2) @ self._inverse @ self._basis + precision
        self._A, self._spare = A, np.linalg.inv(A)
        self._middle = np.where(there, paths.z, 0.0).sum(axis=1) / paths.count
        z = np.where(there, paths.z - self._middle[:, None], 0.0)
        rhs = np.einsum("pni,pnm,pm->pi", self._basis, self._inverse, z, optimize=True)
        self._beta = np.einsum("pij,pj->pi", self._spare, rhs)
        self._rest = (z - np.einsum("pni,pi->pn", self._basis, self._beta)) * there
        self._weighted = np.einsum("pnm,pm->pn", self._inverse, self._rest)
        self._precision = precision

    @property
    def unlikely(self) -> float:
        """Twice the negative log of the restricted likelihood, summed over the paths."""
        fit = np.einsum("pn,pn->p", self._rest, self._weighted)
        prior = np.einsum("pi,ij,pj->p", self._beta, self._precision, self._beta)
        return float((fit + prior + self._log_det + np.linalg.slogdet(self._A)[1]).sum())

    def at(self, u: Array) -> tuple[Array, Array]:
        """The setting's mean at u [P, H] and its variance; at a measured size with its own deviation."""
        t = u - self.paths.u[:, :1]
        ahead = np.maximum(t, 0.0)
        k = self.pooled.q * _covariance(ahead[:, :, None], self._x[:, None, :])
        same = np.abs(t[:, :, None] - self._x[:, None, :]) < _SAME
        k = np.where(self._there[:, None, :], k + self.pooled.nugget * same, 0.0)
        basis = np.stack([np.ones_like(t), t], axis=-1)
        mean = np.einsum("phi,pi->ph", basis, self._beta) + np.einsum("phn,pn->ph", k, self._weighted)
        kK = k @ self._inverse
        spare = basis - kK @ self._basis
        variance = self.pooled.q * _covariance(ahead, ahead) + self.pooled.nugget
        variance = variance - np.einsum("phn,phn->ph", kK, k)
        variance = variance + np.einsum("phi,pij,phj->ph", spare, self._spare, spare, optimize=True)
        return mean + self._middle[:, None], np.maximum(variance, 0.0)


def _covariance(a: Array, b: Array) -> Array:
    m, M = np.minimum(a, b), np.maximum(a, b)
    return m * m * (3 * M - m) / 6


def _spread(paths: Paths) -> float:
    counts = np.maximum(paths.count, 1)
    mean = np.where(paths.there, paths.z, 0.0).sum(axis=1) / counts
    away = np.where(paths.there, paths.z - mean[:, None], 0.0)
    return float(np.sqrt((away**2).sum() / max(paths.there.sum() - len(counts), 1)))


def _unlikely(paths: Paths, pooled: Wander) -> float:
    return Smoother(paths, pooled).unlikely
