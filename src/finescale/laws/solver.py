"""The default solver: profile the exponents, solve the linear part in every cell at once, polish by Newton.

Minimises sum_n w_n huber(r_n) with r = f - y, or r = log f - log y, over c >= 0 and theta in its box. Every
local minimum of the profile is polished, so no start has to be guessed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from finescale.laws.newton import polish
from finescale.laws.problem import Problem, Solution, deviation, total

Array = np.ndarray[Any, Any]
_TINY = 1e-300
_CELLS_AT_ONCE = 600_000
"""Numbers of one [cells, N] array of the profile that are worked on at a time."""
_ZOOM = np.array([-0.12, -0.07, -0.03, -0.01, 0.01, 0.03, 0.07, 0.12])
_ZOOM_UP_TO = 2
_ZOOM_KEEP = 6
_ZOOM_POINTS = 150
_ROUNDS_FOR_ALL, _HOPELESS = 3, 4.0
"""After so many rounds, cells whose objective is so many times the best are left as they are."""
_SAMPLE = 4_000
"""Larger tables are profiled on a sample of so many points; the polish sees all of them."""


def solve(problem: Problem, grid: Array, *, start: Array | None = None, keep: int = 12) -> Solution:
    """Profiles theta over a grid and polishes every local minimum of the profile.

    Args:
        problem: What is minimised, with y and weights of shape [N].
        grid: Nonlinear parameters [axis 1, ..., K]; a list of cells [cells, K] is one axis.
        start: Values of the fixed parameters, [P + K].
        keep: At most so many local minima are polished.

    Returns:
        The distinct minima, best first.
    """
    P = problem.model.n_linear
    if problem.model.n_points > 2 * _SAMPLE:
        rows = np.random.default_rng(0).choice(problem.model.n_points, _SAMPLE, replace=False)
        found = solve(problem.some(rows), grid, start=start, keep=keep)
        near = found.objective <= 1.02 * found.objective[0]
        return polish(problem, found.z[near][:2])
    coarse = _minima(problem, np.clip(grid, problem.lower[P:], problem.upper[P:]), start, keep)
    found = [coarse]
    if 0 < problem.free[P:].sum() <= _ZOOM_UP_TO and problem.model.n_points <= _ZOOM_POINTS:
        found.append(_minima(problem, _around(problem, coarse.z[0, P:]), start, _ZOOM_KEEP, smooth=False))
    names = ("z", "objective", "converged", "curvature")
    everything = [np.concatenate([getattr(part, name) for part in found]) for name in names]
    order = np.argsort(everything[1], kind="stable")
    return Solution(*(part[order] for part in everything))


def _minima(
    problem: Problem, grid: Array, start: Array | None, keep: int, *, smooth: bool = True
) -> Solution:
    """Profiles over a grid and polishes the profile's local minima."""
    P, K = problem.model.n_linear, problem.model.n_nonlinear
    cells = grid.reshape(-1, K)
    if start is not None:
        cells = np.where(problem.free[P:], cells, start[P:])
    size = max(1, _CELLS_AT_ONCE // max(1, problem.model.n_points))
    solved = [
        solve_linear(problem, cells[at : at + size], None if start is None else start[:P])
        for at in range(0, len(cells), size)
    ]
    c = np.concatenate([part[0] for part in solved])
    values = np.concatenate([part[1] for part in solved])
    chosen = local_minima(values.reshape(grid.shape[:-1]))[:keep]
    if not chosen.size:
        chosen = np.array([int(np.argmin(values))])
    return polish(problem, np.concatenate([c[chosen], cells[chosen]], axis=1), smooth=smooth)


def _around(problem: Problem, theta: Array) -> Array:
    """A fine grid around the best exponents so far: close minima hide between the cells of the coarse one."""
    P = problem.model.n_linear
    axes = [
        value + _ZOOM * (1 + abs(value)) if free else np.array([value])
        for value, free in zip(theta, problem.free[P:], strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    return np.clip(grid, problem.lower[P:], problem.upper[P:])


def local_minima(values: Array) -> Array:
    """Flat indices of the cells that no neighbour along an axis or diagonal undercuts, best first."""
    padded = np.pad(values, 1, constant_values=np.inf)
    smallest = padded
    for axis in range(values.ndim):
        length = smallest.shape[axis]
        cut = [np.take(smallest, range(at, length - 2 + at), axis=axis) for at in range(3)]
        smallest = np.minimum(np.minimum(cut[0], cut[1]), cut[2])
    found = np.flatnonzero((values <= smallest).ravel() & np.isfinite(values).ravel())
    return found[np.argsort(values.ravel()[found], kind="stable")]


def solve_linear(
    problem: Problem, theta: Array, c: Array | None = None, *, rounds: int = 12
) -> tuple[Array, Array]:
    """Coefficients c >= 0 for given theta [G, K], by reweighted least squares in all cells at once.

    Args:
        problem: What is minimised; y and weights are the same for every cell.
        theta: The cells, [G, K].
        c: Fixed coefficients are read from here, [P].
        rounds: Reweighting rounds.

    Returns:
        c [G, P] and the objective [G].
    """
    P = problem.model.n_linear
    free = problem.free[:P]
    phi = problem.model.basis(theta)
    size = np.maximum(np.abs(phi).max(axis=2), _TINY)
    phi = phi / size[:, :, None]
    y = np.broadcast_to(problem.y, (1, problem.model.n_points))
    fixed = np.zeros((len(theta), P)) if c is None else np.where(free, 0.0, c)[None, :] * size
    target = y - np.matmul(fixed[:, None], phi)[:, 0]
    used = np.flatnonzero(free)
    base = problem.weights / (y * y if problem.log else 1.0)
    pairs = [(i, j) for i in range(used.size) for j in range(i, used.size)]
    products = np.stack([phi[:, used[i]] * phi[:, used[j]] for i, j in pairs], axis=1) if pairs else None
    weights = np.broadcast_to(base, target.shape)
    best, best_value = fixed.copy(), np.full(len(theta), np.inf)
    here = np.arange(len(theta))
    result = fixed
    for number in range(rounds if products is not None else 1):
        if products is not None:
            result = result.copy()
            result[:, used] = _nonnegative(products, phi[:, used], weights, target, pairs)
        f = np.matmul(result[:, None], phi)[:, 0]
        r = deviation(problem, f)
        value = total(problem, r)
        better = value < best_value[here]
        best[here[better]], best_value[here[better]] = result[better], value[better]
        if products is None or (np.isinf(problem.delta) and not problem.log):
            break
        least = 1e-3 * min(problem.delta, 1.0)
        weights = base * np.minimum(1.0, problem.delta / np.maximum(np.abs(r), least))
        if number == _ROUNDS_FOR_ALL:
            kept = np.flatnonzero(best_value[here] <= _HOPELESS * best_value.min())
            here, phi, products = here[kept], phi[kept], products[kept]
            target, weights, result = target[kept], weights[kept], result[kept]
    return best / size, best_value


def _nonnegative(
    products: Array, phi: Array, weights: Array, target: Array, pairs: list[tuple[int, int]]
) -> Array:
    """Weighted least squares with c >= 0 in all cells; the most negative one is dropped, and again."""
    G, P = phi.shape[:2]
    sums = np.matmul(products, weights[:, :, None])[:, :, 0]
    right = np.matmul(phi, (weights * target)[:, :, None])[:, :, 0]
    matrix = np.empty((G, P, P))
    for at, (i, j) in enumerate(pairs):
        matrix[:, i, j] = matrix[:, j, i] = sums[:, at]
    index = np.arange(P)
    matrix[:, index, index] += 1e-13 * np.trace(matrix, axis1=1, axis2=2)[:, None] + _TINY
    c = np.linalg.solve(matrix, right[:, :, None])[:, :, 0]
    dropped = np.zeros((G, P), dtype=bool)
    for _ in range(P):
        bad = np.flatnonzero((c < 0).any(axis=1))
        if not bad.size:
            break
        dropped[bad, np.argmin(c[bad], axis=1)] = True
        out = dropped[bad]
        reduced = np.where(out[:, :, None] | out[:, None, :], 0.0, matrix[bad])
        reduced[:, index, index] += out
        c[bad] = np.linalg.solve(reduced, np.where(out, 0.0, right[bad])[:, :, None])[:, :, 0]
        c[dropped] = 0.0
    return np.maximum(c, 0.0)
