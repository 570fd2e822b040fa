"""The default solver: profile the exponents, solve the linear part in every cell at once, polish by Newton.

Minimises sum_n w_n huber(r_n) with r = f - y, or r = log f - log y, over c >= 0 and theta in its box. Every
local minimum of the profile is polished, so no start has to be guessed. Curves that were measured at the same
points are solved side by side. Laws with many exponents are searched by L-BFGS besides: their profile has
more valleys than a grid has cells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from finescale.laws.solver.models import FunctionModel, MonomialModel
from finescale.laws.solver.newton import polish
from finescale.laws.solver.problem import Problem, Solution, deviation, residual, total

Array = np.ndarray[Any, Any]
_TINY = 1e-300
_AT_ONCE = 600_000
"""Numbers of one [cells, N] array of the profile that are worked on at a time."""
_STEPS_ASIDE = np.array([-0.3, -0.1, -0.03, -0.01, 0.01, 0.03, 0.1, 0.3])
"""Where the profile is looked at again along each axis from the best theta, in shares of 1 + |theta|."""
_ROUNDS_FOR_ALL, _HOPELESS = 3, 4.0
"""After so many rounds, cells whose objective is so many times the best are left as they are."""
_SAMPLE = 4_000
"""Larger tables are profiled on samples of about so many points; the polish sees all of them."""
_STRATA = 12
"""Cells along each variable of which a sample holds points, if there are any."""
_MOST_STRATA = 500_000
_FEW = 10_000
"""Where cells times points are no more, every cell of a law that bends is polished: with few settings the
objective is nearly a sum of absolute values, and the profile does not show its narrow valleys."""
_MANY, _STARTS = 4, 64
"""For a law with so many exponents (`broken`) no grid is fine enough: L-BFGS starts from so many cells."""
_MAY_BE_BEST, _NOTHING = 1.5, 1e-15
_SAME = 1e-6
"""Minima whose predictions lie closer together, in nats, are one minimum."""


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
    if problem.model.n_points > 2 * _SAMPLE:
        return _solve_large(problem, grid, start, keep)
    alone = replace(problem, y=problem.y[None], weights=problem.weights[None])
    return solve_curves(alone, grid, start=start, keep=keep)[0]


def _solve_large(problem: Problem, grid: Array, start: Array | None, keep: int) -> Solution:
    """Finds the minima on some of the points, and polishes all that may be the best on all points.

    A second sample, half as large, is asked whether it knows of a better minimum than those of the first.
    """
    rng = np.random.default_rng(0)
    stratum = _strata(problem)
    first = solve(_thinned(problem, stratum, _SAMPLE, rng), grid, start=start, keep=keep)
    found = polish(problem, distinct(problem, first))
    second = _thinned(problem, stratum, _SAMPLE // 2, rng)
    again = solve(second, grid, start=start, keep=keep)
    known = polish(second, found.z).objective.min()
    if again.objective[0] < known * (1 - 1e-9):
        found = _sorted([found, polish(problem, distinct(problem, again))])
    return _sorted([found])


def distinct(problem: Problem, found: Solution) -> Array:
    """The minima that may be the best, best first, one of those that predict the same: [some, M]."""
    z = found.z[found.objective <= _MAY_BE_BEST * found.objective[0] + _NOTHING]
    missed = residual(problem, z)
    apart: list[int] = []
    for at in range(len(z)):
        if all(np.abs(missed[at] - missed[other]).max() > _SAME for other in apart):
            apart.append(at)
    return z[apart]


def _strata(problem: Problem) -> Array:
    """Which points lie near one another, [N]: numbers of the cells of a grid over the variables.

    The logs of the basis functions, each with one exponent at 1, stand for the logs of the variables.
    """
    P, K = problem.model.n_linear, problem.model.n_nonlinear
    probes = np.clip(np.eye(K), problem.lower[P:], problem.upper[P:])
    logs = [
        np.log(np.maximum(part.model.basis(probes), _TINY)).astype(np.float32) for part in problem.chunks()
    ]
    place = np.concatenate(logs, axis=2).reshape(-1, problem.model.n_points)
    stratum = np.zeros(problem.model.n_points, dtype=np.int64)
    for values in place:
        low, spread = float(values.min()), float(np.ptp(values))
        if spread > 1e-6:
            stratum = stratum * _STRATA + (_STRATA * 0.999 * (values - low) / spread).astype(np.int64)
            if stratum.max() > _MOST_STRATA:
                stratum = np.unique(stratum, return_inverse=True)[1]
    return stratum


def _thinned(problem: Problem, stratum: Array, sample: int, rng: np.random.Generator) -> Problem:
    """The problem on about so many points: half of them at random, half from all strata alike.

    A point's weight is that of the points of its stratum that it stands for.
    """
    count = np.bincount(stratum)
    strata, count = np.count_nonzero(count), np.maximum(count, 1)
    share = np.minimum(1.0, 0.5 * sample * (1 / problem.y.size + 1 / (strata * count)))
    rows = np.flatnonzero(rng.random(problem.y.size) < share[stratum])
    taken = np.bincount(stratum[rows], minlength=count.size)
    some = problem.some(rows)
    return replace(some, weights=some.weights * (count / np.maximum(taken, 1))[stratum[rows]])


def solve_curves(
    problem: Problem, grid: Array, *, start: Array | None = None, keep: int = 12
) -> list[Solution]:
    """Solves several problems with the same model at once: curves measured at the same points.

    Args:
        problem: y and weights of shape [curves, N].
        grid: As for ``solve``, for every curve.
        start: As for ``solve``.
        keep: As for ``solve``.

    Returns:
        For each curve what ``solve`` returns.
    """
    P = problem.model.n_linear
    most = max(1, _AT_ONCE // (grid[..., 0].size * problem.model.n_points))
    solved: list[Solution] = []
    for at in range(0, len(problem.y), most):
        part = problem.part(slice(at, at + most))
        grids = np.broadcast_to(
            np.clip(grid, problem.lower[P:], problem.upper[P:]), (len(part.y), *grid.shape)
        )
        found = _minima(part, grids, start, keep=None if _bends(part, grid) else keep)
        if problem.free[P:].any():
            near = np.stack([_around(part, one) for one in found])
            more = _minima(part, near, start, lines=True)
            found = [_sorted([one, other]) for one, other in zip(found, more, strict=True)]
        if isinstance(part.model, FunctionModel) and len(part.model.law.nonlinear) >= _MANY:
            found = [_searched(part, one, grids[one], found[one], start) for one in range(len(found))]
        solved += found
    return solved


def _bends(problem: Problem, grid: Array) -> bool:
    """Whether the law has two or three exponents, is no sum of powers, and has few settings."""
    model, cells = problem.model, grid[..., 0].size
    several = 1 < model.n_nonlinear < _MANY and not isinstance(model, MonomialModel)
    return several and cells * model.n_points <= _FEW


def _searched(problem: Problem, curve: int, grid: Array, found: Solution, start: Array | None) -> Solution:
    """The minima of one of the curves, and those that L-BFGS finds from starts all over the grid."""
    from finescale.laws.solver.lbfgs import solve_lbfgs  # noqa: PLC0415 - scipy only where it is needed

    alone = replace(problem, y=problem.y[curve], weights=problem.weights[curve])
    more = solve_lbfgs(alone, grid, start, starts=_STARTS)
    return _sorted([found, more, polish(alone, more.z)])


def _sorted(parts: list[Solution]) -> Solution:
    """Minima of one problem, best first."""
    names = ("z", "objective", "converged", "curvature")
    everything = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    order = np.argsort(everything[1], kind="stable")
    return Solution(*(part[order] for part in everything))


def _minima(
    problem: Problem, grids: Array, start: Array | None, keep: int | None = None, *, lines: bool = False
) -> list[Solution]:
    """Profiles each curve over its grid [curves, axis 1, ..., K] and polishes the profiles' local minima.

    Args:
        problem: y and weights of shape [curves, N].
        grids: Cells.
        start: Values of the fixed parameters, [P + K].
        keep: At most so many of a curve are polished; None: every cell.
        lines: Along axis 1 lie lines that have nothing to do with one another.
    """
    P, K = problem.model.n_linear, problem.model.n_nonlinear
    cells = grids.reshape(len(grids), -1, K)
    if start is not None:
        cells = np.where(problem.free[P:], cells, start[P:])
    c, values = solve_linear(problem, cells, None if start is None else start[:P])
    starts: list[Array] = []
    for curve, profile in enumerate(values):
        shaped = profile.reshape(grids.shape[1:-1])
        if lines:
            chosen = lowest_of_lines(shaped)
        elif keep is None:
            chosen = np.flatnonzero(np.isfinite(profile))
        else:
            chosen = local_minima(shaped)[:keep]
        chosen = chosen if chosen.size else np.array([int(np.argmin(profile))])
        starts.append(np.concatenate([c[curve, chosen], cells[curve, chosen]], axis=1))
    curve = np.repeat(np.arange(len(starts)), [len(part) for part in starts])
    found = polish(problem.part(curve), np.concatenate(starts), smooth=not lines)
    return [
        _sorted([Solution(*(getattr(found, name)[curve == one] for name in Solution.__dataclass_fields__))])
        for one in range(len(starts))
    ]


def _around(problem: Problem, found: Solution) -> Array:
    """Lines through the best exponents so far, [lines, cells, K]: minima hide between the coarse cells.

    The lines are the main axes of the profile's curvature; the first follows the valley in which exponents
    and coefficients make up for one another.
    """
    P, z, hessian = problem.model.n_linear, found.z[0], found.curvature[0]
    inside = problem.free & (z > problem.lower) & np.isfinite(hessian).all(axis=0)
    c, theta = np.flatnonzero(inside[:P]), P + np.flatnonzero(problem.free[P:])
    unit = 1 + np.abs(z[P:])
    axes = np.eye(theta.size)
    if inside[theta].all():
        cross = hessian[np.ix_(theta, c)]
        curvature = hessian[np.ix_(theta, theta)] - cross @ np.linalg.pinv(hessian[np.ix_(c, c)]) @ cross.T
        scale = unit[theta - P]
        axes = np.linalg.eigh(curvature * scale * scale[:, None])[1]
    lines = np.repeat(z[None, None, P:], theta.size, axis=0).repeat(_STEPS_ASIDE.size, axis=1)
    lines[..., theta - P] += _STEPS_ASIDE[None, :, None] * axes.T[:, None] * unit[theta - P]
    return np.clip(lines, problem.lower[P:], problem.upper[P:])


def lowest_of_lines(values: Array) -> Array:
    """Flat indices of the cells of [lines, cells] that no neighbour on their line undercuts."""
    count = values.shape[1]
    return np.concatenate([line * count + local_minima(row) for line, row in enumerate(values)])


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
    problem: Problem, cells: Array, c: Array | None = None, *, rounds: int = 12
) -> tuple[Array, Array]:
    """Coefficients c >= 0 for given theta, by reweighted least squares in all cells of all curves at once.

    Args:
        problem: What is minimised, with y and weights of shape [curves, N].
        cells: Theta of every cell, [curves, cells, K].
        c: Fixed coefficients are read from here, [P].
        rounds: Reweighting rounds.

    Returns:
        c [curves, cells, P] and the objective [curves, cells].
    """
    curves, count, K = cells.shape
    P = problem.model.n_linear
    theta = cells.reshape(-1, K)
    problem = problem.part(np.repeat(np.arange(curves), count))
    free = problem.free[:P]
    phi = problem.model.basis(theta)
    size = np.maximum(np.abs(phi).max(axis=2), _TINY)
    phi = phi / size[:, :, None]
    fixed = np.zeros((len(theta), P)) if c is None else np.where(free, 0.0, c)[None, :] * size
    target = problem.y - np.matmul(fixed[:, None], phi)[:, 0]
    used = np.flatnonzero(free)
    base = problem.weights / (problem.y * problem.y if problem.log else 1.0)
    pairs = [(i, j) for i in range(used.size) for j in range(i, used.size)]
    products = np.stack([phi[:, used[i]] * phi[:, used[j]] for i, j in pairs], axis=1) if pairs else None
    weights = base
    best, best_value = fixed.copy(), np.full(len(theta), np.inf)
    here = np.arange(len(theta))
    result = fixed
    for number in range(rounds if products is not None else 1):
        if products is not None:
            result = result.copy()
            result[:, used] = _nonnegative(products, phi[:, used], weights, target, pairs)
        r = deviation(problem, np.matmul(result[:, None], phi)[:, 0])
        value = total(problem, r)
        better = value < best_value[here]
        best[here[better]], best_value[here[better]] = result[better], value[better]
        if products is None or (np.isinf(problem.delta) and not problem.log):
            break
        least = 1e-3 * min(problem.delta, 1.0)
        weights = base * np.minimum(1.0, problem.delta / np.maximum(np.abs(r), least))
        if number == _ROUNDS_FOR_ALL:
            lowest = np.repeat(best_value.reshape(curves, count).min(axis=1), count)
            kept = np.flatnonzero(best_value <= _HOPELESS * lowest)
            here, problem = here[kept], problem.part(kept)
            phi, products, result = phi[kept], products[kept], result[kept]
            target, base, weights = target[kept], base[kept], weights[kept]
    return (best / size).reshape(curves, count, P), best_value.reshape(curves, count)


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
