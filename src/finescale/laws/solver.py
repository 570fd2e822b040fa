"""The default solver: profile the exponents, solve the linear part in every cell at once, polish by Newton.

Minimises sum_n w_n huber(r_n) with r = f - y, or r = log f - log y, over c >= 0 and theta in its box. Every
local minimum of the profile is polished, so no start has to be guessed; the same polish, warm-started,
refits all bootstrap draws side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finescale.laws.models import Model

Array = np.ndarray[Any, Any]
_TINY = 1e-300
_CHUNK = 150_000
"""Numbers of one [G, N] array that are worked on at a time: fits the processor's cache."""


_ZOOM = np.array([-0.12, -0.07, -0.03, -0.01, 0.01, 0.03, 0.07, 0.12])
_ZOOM_UP_TO = 2
_ZOOM_KEEP = 6
_ZOOM_POINTS = 150
_SAMPLE = 4_000
"""Larger tables are profiled on a sample of so many points; the polish sees all of them."""
_SHARES = (0.3, 0.08, 0.02)
"""Fractions of a Newton step that are tried where the whole step fails."""


@dataclass(frozen=True)
class Problem:
    """What is minimised.

    Attributes:
        model: The law on its points.
        y: Observed losses, [N] or [G, N].
        weights: Weights of the points, [N] or [G, N].
        log: Residuals of log losses.
        delta: Huber's delta, for all problems or [G, 1].
        lower: Lower bounds of c and theta, [P + K].
        upper: Upper bounds, [P + K].
        free: Which parameters are free, [P + K]; the others keep their starting value.
    """

    model: Model
    y: Array
    weights: Array
    log: bool
    delta: float | Array
    lower: Array
    upper: Array
    free: Array

    def part(self, which: slice | Array) -> Problem:
        """Some of the G problems."""
        y = self.y[which] if self.y.ndim == 2 else self.y
        weights = self.weights[which] if self.weights.ndim == 2 else self.weights
        delta = self.delta[which] if isinstance(self.delta, np.ndarray) else self.delta
        return replace(self, y=y, weights=weights, delta=delta)


@dataclass(frozen=True)
class Solution:
    """Solved problems side by side.

    Attributes:
        z: Linear coefficients and nonlinear parameters, [G, P + K].
        objective: Sum of Huber losses, [G].
        converged: Whether no further step was possible, [G].
        curvature: The Hessian of the objective at z, [G, P + K, P + K].
    """

    z: Array
    objective: Array
    converged: Array
    curvature: Array


def huber(r: Array, delta: float | Array) -> Array:
    """Huber's loss: r^2 / 2 within delta, delta (|r| - delta / 2) outside."""
    if np.all(np.isinf(delta)):
        return 0.5 * r * r
    size = np.abs(r)
    inside = np.minimum(size, delta)
    return inside * (size - 0.5 * inside)


def objective(problem: Problem, z: Array) -> Array:
    """The objective at z [G, P + K]: [G]."""
    P = problem.model.n_linear
    phi = problem.model.basis(z[:, P:])
    f = np.matmul(z[:, None, :P], phi)[:, 0]
    return _total(problem, f)


def _residual(problem: Problem, f: Array) -> Array:
    return np.log(np.maximum(f, _TINY) / problem.y) if problem.log else f - problem.y


def _total(problem: Problem, f: Array) -> Array:
    with np.errstate(all="ignore"):
        total = np.einsum(
            "gn,gn->g", np.broadcast_to(problem.weights, f.shape), huber(_residual(problem, f), problem.delta)
        )
    return np.where(np.isfinite(total), total, np.inf)


def residual(problem: Problem, z: Array) -> Array:
    """Residuals at z [G, P + K]: [G, N]."""
    P = problem.model.n_linear
    return _residual(problem, np.matmul(z[:, None, :P], problem.model.basis(z[:, P:]))[:, 0])


def derivatives(problem: Problem, z: Array) -> tuple[Array, Array, Array, Array]:
    """Objective [G], gradient [G, M], Hessian [G, M, M] and its majoriser (the IRLS matrix) [G, M, M]."""
    model, P = problem.model, problem.model.n_linear
    c, theta = z[:, :P], z[:, P:]
    phi = model.basis(theta)
    f = np.matmul(c[:, None], phi)[:, 0]
    r = _residual(problem, f)
    size = np.abs(r)
    inside = size <= problem.delta
    w = np.broadcast_to(problem.weights, f.shape)
    ratio = np.minimum(1.0, problem.delta / np.maximum(size, _TINY))  # Huber's slope over r
    value = np.einsum("gn,gn->g", w, huber(r, problem.delta))
    J = np.concatenate([phi, model.slopes(theta, c, phi)], axis=1)
    slope = w * ratio * r
    major, second = w * ratio, w * inside
    if problem.log:
        inverse = 1.0 / np.maximum(f, _TINY)
        second = (second - slope) * inverse * inverse
        major = major * inverse * inverse
        slope = slope * inverse
    gradient = np.matmul(J, slope[:, :, None])[:, :, 0]
    Jt = np.swapaxes(J, 1, 2)
    hessian = np.matmul(J * second[:, None, :], Jt) + model.curvature(theta, c, phi, slope)
    majoriser = np.matmul(J * major[:, None, :], Jt)
    return value, gradient, hessian, majoriser


def polish(
    problem: Problem, z: Array, *, steps: int = 200, tolerance: float = 1e-15, smooth: bool = True
) -> Solution:
    """Damped Newton steps on the true objective from given starts, all problems side by side.

    Args:
        problem: What is minimised.
        z: Starts, [G, P + K].
        steps: At most so many steps.
        tolerance: Stop where the predicted relative decrease is below this.
        smooth: Begin with a larger delta where few residuals are within delta.

    Returns:
        The solutions, in the order of the starts.
    """
    size = max(1, _CHUNK // max(1, problem.model.n_points))
    parts = [
        _polish(problem.part(slice(at, at + size)), z[at : at + size], steps, tolerance, smooth)
        for at in range(0, len(z), size)
    ]
    return Solution(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("z", "objective", "converged", "curvature")
        )
    )


def _polish(problem: Problem, z: Array, steps: int, tolerance: float, smooth: bool) -> Solution:
    z = np.clip(z, problem.lower, problem.upper)
    target = problem.delta
    delta = _first_delta(problem, z) if smooth else np.full((len(z), 1), problem.delta)
    problem = replace(problem, delta=delta)
    value, gradient, hessian, major = derivatives(problem, z)
    damping = np.zeros(len(z))
    done = np.zeros(len(z), dtype=bool)
    P = problem.model.n_linear
    for _ in range(steps):
        active = np.flatnonzero(~done)
        if not active.size:
            break
        here = problem.part(active)
        state = (z[active], gradient[active], hessian[active], major[active], damping[active])
        step, predicted = _newton_step(here, *state)
        exponents = np.abs(step[:, P:]).max(axis=1, initial=0.0)
        step *= np.minimum(1.0, 1.0 / np.maximum(exponents, _TINY))[:, None]
        trial = np.clip(z[active] + step, problem.lower, problem.upper)
        reached = objective(here, trial)
        failed = np.flatnonzero(reached >= value[active])
        if failed.size:
            _shorten(here.part(failed), z[active][failed], step[failed], trial, reached, failed)
        better = reached < value[active]
        stage = delta[active, 0] > target
        enough = np.where(stage, 1e-3, tolerance) * np.maximum(value[active], 1e-30)
        small = (predicted <= enough) & (predicted >= 0)
        moved, stuck = active[better], active[~better]
        z[moved] = trial[better]
        damping[moved] = np.where(damping[moved] < 1e-4, 0.0, damping[moved] / 8)
        damping[stuck] = np.maximum(damping[stuck] * 8, 1e-3)
        small |= damping[active] > 1e9
        sharpen = active[small & stage]
        done[active[small & ~stage]] = True
        delta[sharpen] = np.maximum(target, delta[sharpen] / 4)
        damping[sharpen] = 0.0
        changed = np.union1d(moved, sharpen)
        if changed.size:
            new = derivatives(problem.part(changed), z[changed])
            value[changed], gradient[changed], hessian[changed], major[changed] = new
    if (delta > target).any():
        value = objective(replace(problem, delta=target), z)
    return Solution(z, value, done, hessian)


def _shorten(  # noqa: PLR0917
    problem: Problem, z: Array, step: Array, trial: Array, reached: Array, rows: Array
) -> None:
    """Tries fractions of failed steps and writes the best into trial and reached."""
    for share in _SHARES:
        shorter = np.clip(z + share * step, problem.lower, problem.upper)
        value = objective(problem, shorter)
        better = value < reached[rows]
        trial[rows[better]], reached[rows[better]] = shorter[better], value[better]


def _first_delta(problem: Problem, z: Array) -> Array:
    """Delta to begin with, [G, 1]: so large that the quadratic part holds three points for each parameter.

    With residuals far above delta the objective is almost a sum of absolute values, where Newton's steps
    zigzag; the polish then sharpens delta by and by.
    """
    count = min(problem.model.n_points, 3 * int(problem.free.sum())) - 1
    size = np.abs(residual(problem, z))
    nearest = np.partition(size, count, axis=1)[:, count : count + 1]
    return (
        np.maximum(problem.delta, np.where(nearest > 0, nearest, 0.0))
        if np.all(np.isfinite(problem.delta))
        else np.full((len(z), 1), np.inf)
    )


def one_step(problem: Problem, z: Array, weights: Array, blocks: Array, shifts: Array | None) -> Array:
    """One Newton step from the optimum for every resample: what a bootstrap of a large table comes to.

    Args:
        problem: The problem, with y and weights of shape [N].
        z: The optimum, once for each resample, [G, P + K].
        weights: Weights of the blocks in each resample, [G, blocks].
        blocks: The block of each point, [N].
        shifts: By how much each resample moves each loss, [G, N], or None.

    Returns:
        The resamples' z, [G, P + K].
    """
    P = problem.model.n_linear
    c, theta = z[:1, :P], z[:1, P:]
    phi = problem.model.basis(theta)
    f = np.matmul(c[:, None], phi)[:, 0]
    r = _residual(problem, f)
    J = np.concatenate([phi, problem.model.slopes(theta, c, phi)], axis=1)[0]
    if problem.log:
        J = J / np.maximum(f, _TINY)
    slope = (problem.weights * np.clip(r, -problem.delta, problem.delta))[0]
    inside = (problem.weights * (np.abs(r) <= problem.delta))[0]
    _, _, hessian, _ = derivatives(problem, z[:1])
    scores = np.stack(
        [np.bincount(blocks, weights=row * slope, minlength=weights.shape[1]) for row in J], axis=1
    )
    gradient = (weights - 1.0) @ scores
    if shifts is not None:
        gradient = gradient - shifts @ (J * inside).T
    free = problem.free
    inner = hessian[0][np.ix_(free, free)]
    unit = 1.0 / np.sqrt(np.maximum(np.diag(inner), _TINY))
    step = np.zeros_like(z)
    step[:, free] = (
        -(np.linalg.pinv(inner * unit * unit[:, None], rcond=1e-12) @ (gradient[:, free] * unit).T).T * unit
    )
    return np.clip(z + step, problem.lower, problem.upper)


def _newton_step(  # noqa: PLR0917
    problem: Problem, z: Array, gradient: Array, hessian: Array, major: Array, damping: Array
) -> tuple[Array, Array]:
    """The damped step inside the box, and the decrease that the quadratic model predicts.

    Parameters held at a bound stay there; one that the step would carry over a bound goes to the bound, and
    the step of the others is found anew.
    """
    edge = 1e-12 * (1 + np.abs(z))
    down, up = problem.lower - z, problem.upper - z
    blocked = ((down >= -edge) & (gradient > 0)) | ((up <= edge) & (gradient < 0)) | ~problem.free
    diagonal = np.einsum("gii->gi", major)
    unit = 1.0 / np.sqrt(np.maximum(diagonal, 1e-12 * diagonal.max(axis=1, keepdims=True) + _TINY))
    H = (hessian + damping[:, None, None] * major) * unit[:, :, None] * unit[:, None, :]
    index = np.arange(z.shape[1])
    H[:, index, index] += 1e-14 + 1e-6 * damping[:, None]
    troubled = np.flatnonzero((damping > 0) & np.isfinite(H).all(axis=(1, 2)))
    if troubled.size:  # steps failed here: make the model convex, keeping the curvatures' sizes
        size, axes = np.linalg.eigh(H[troubled])
        size = np.maximum(np.abs(size), 1e-12 * np.abs(size).max(axis=1, keepdims=True))
        H[troubled] = np.matmul(axes * size[:, None, :], np.swapaxes(axes, 1, 2))
    g = gradient * unit
    d = _solve_free(H, g, blocked, np.zeros_like(z))
    down, up = down / unit, up / unit
    bad = np.flatnonzero(((d < down) | (d > up)).any(axis=1) & np.isfinite(d).all(axis=1))
    fixed, at = blocked.copy(), np.zeros_like(z)
    for _ in range(z.shape[1]):
        if not bad.size:
            break
        over = ((d[bad] < down[bad]) | (d[bad] > up[bad])) & ~fixed[bad]
        at[bad] = np.where(over, np.clip(d[bad], down[bad], up[bad]), at[bad])
        fixed[bad] |= over
        d[bad] = _solve_free(H[bad], g[bad], fixed[bad], at[bad])
        bad = bad[((d[bad] < down[bad]) | (d[bad] > up[bad])).any(axis=1)]
    predicted = -np.einsum("gi,gi->g", d, g) - 0.5 * np.einsum("gi,gij,gj->g", d, H, d)
    return d * unit, predicted


def _solve_free(H: Array, g: Array, fixed: Array, at: Array) -> Array:
    """Minimises the quadratic model over the parameters that are not fixed at the given places."""
    right = -g - np.einsum("gij,gj->gi", H, at) if at.any() else -g
    inner = np.where(fixed[:, :, None] | fixed[:, None, :], 0.0, H)
    index = np.arange(g.shape[1])
    inner[:, index, index] += fixed
    right = np.where(fixed, at, right)
    try:
        return np.linalg.solve(inner, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        inner[:, index, index] += 1e-8
        return np.linalg.solve(inner, right[:, :, None])[:, :, 0]


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
    result = fixed.copy()
    best, best_value = result.copy(), np.full(len(theta), np.inf)
    for _ in range(rounds if products is not None else 1):
        if products is not None:
            result[:, used] = _nonnegative(products, phi[:, used], weights, target, pairs)
        f = np.matmul(result[:, None], phi)[:, 0]
        value = _total(problem, f)
        better = value < best_value
        best[better], best_value[better] = result[better], value[better]
        if np.isinf(problem.delta) and not problem.log:
            break
        residual = np.abs(_residual(problem, f))
        weights = base * np.minimum(1.0, problem.delta / np.maximum(residual, 1e-3 * min(problem.delta, 1.0)))
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
        few = replace(
            problem, model=problem.model.take(rows), y=problem.y[rows], weights=problem.weights[rows]
        )
        found = solve(few, grid, start=start, keep=keep)
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
    size = max(1, 4 * _CHUNK // max(1, problem.model.n_points))
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
