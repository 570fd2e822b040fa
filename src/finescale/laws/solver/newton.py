"""Damped Newton steps on the true objective, all problems side by side: starts, and bootstrap refits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from finescale.laws.shifts import Shifts
from finescale.laws.solver.problem import (
    Problem,
    Solution,
    derivatives,
    linearised,
    majoriser,
    objective,
    projected,
    residual,
    scores,
)

Array = np.ndarray[Any, Any]
_TINY = 1e-300
_CHUNK = 90_000
"""Numbers of one [G, N] array that are worked on at a time: some such arrays fit the processor's cache."""
_LINEAR_STEPS = 20
_LINEAR_FROM = 100
"""Resamples of fewer points go too far from the optimum for linearised residuals to help."""
_WEAK = 1e-8
_SHARES = np.array([0.3, 0.08, 0.02])[:, None, None]
"""Fractions of a Newton step that are tried where the whole step fails."""


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
    everything, target = problem, problem.delta
    z = np.clip(z, problem.lower, problem.upper)
    delta = _first_delta(problem, z) if smooth else np.full((len(z), 1), target)
    problem = replace(problem, delta=delta)
    value, gradient, hessian = derivatives(problem, z)
    damping, left = np.zeros(len(z)), _finite(gradient, hessian)
    found = Solution(z.copy(), value.copy(), np.zeros(len(z), bool), hessian.copy())
    deltas, rows = delta.copy(), np.arange(len(z))
    P = problem.model.n_linear
    for number in range(steps + 1):
        if number == steps or not left.all():  # from here on, all arrays have the rows that are left
            found.z[rows], found.objective[rows], found.curvature[rows] = z, value, hessian
            found.converged[rows], deltas[rows] = ~left, delta
            rows, problem, damping = rows[left], problem.part(left), damping[left]
            z, value, gradient, hessian = z[left], value[left], gradient[left], hessian[left]
        if number == steps or not rows.size:
            break
        delta = problem.delta
        assert isinstance(delta, np.ndarray)
        step, predicted = _newton_step(problem, z, gradient, hessian.copy(), damping)
        exponents = np.abs(step[:, P:]).max(axis=1, initial=0.0)
        step *= np.minimum(1.0, 1.0 / np.maximum(exponents, _TINY))[:, None]
        trial = np.minimum(np.maximum(z + step, problem.lower), problem.upper)
        stage = delta[:, 0] > target
        enough = np.where(stage, 1e-3, tolerance) * np.maximum(value, 1e-30)
        small = (predicted <= enough) & (predicted >= 0)
        last = small & ~stage  # no derivatives are needed after these
        reached = objective(problem, trial)
        failed = np.flatnonzero(~(reached < value))
        if failed.size:
            places = _instead(problem.part(failed), z[failed], step[failed], value[failed])
            trial[failed], reached[failed] = places
        better = reached < value
        z, value = np.where(better[:, None], trial, z), np.where(better, reached, value)
        moved = np.flatnonzero(better & ~last)
        if moved.size:
            _, gradient[moved], hessian[moved] = derivatives(problem.part(moved), z[moved])
        eased = np.where(damping < 1e-4, 0.0, damping / 8)
        damping = np.where(better, eased, np.maximum(damping * 8, 1e-3))
        small |= damping > 1e9
        left = ~(small & ~stage) & (~better | _finite(gradient, hessian))
        sharpen = np.flatnonzero(small & stage)
        if sharpen.size:
            delta[sharpen] = np.maximum(target, delta[sharpen] / 4)
            damping[sharpen] = 0.0
            again = derivatives(problem.part(sharpen), z[sharpen])
            value[sharpen], gradient[sharpen], hessian[sharpen] = again
    if (deltas > target).any():
        found.objective[:] = objective(everything, found.z)
    return found


def _finite(gradient: Array, hessian: Array) -> Array:
    """Where a Newton step can be taken at all, [G]."""
    return np.asarray(np.isfinite(gradient).all(axis=1) & np.isfinite(hessian).all(axis=(1, 2)))


def _instead(problem: Problem, z: Array, step: Array, value: Array) -> tuple[Array, Array]:
    """Where the whole step of the exponents leads with coefficients that fit there, or its first fraction.

    Most steps that fail leave a curved valley, where coefficients and exponents make up for one another.

    Returns:
        The first place that improves on the value, or z, [G, M]; and the value there, [G].
    """
    P = problem.model.n_linear
    result, reached = z.copy(), value.copy()
    left = np.arange(len(z))
    if problem.model.n_nonlinear and problem.free[:P].all():
        result = np.clip(z + step, problem.lower, problem.upper)
        result[:, :P] = projected(problem, z, result[:, P:])
        reached = objective(problem, result)
        left = np.flatnonzero(~(reached < value))
        result[left], reached[left] = z[left], value[left]
    if left.size:
        places = np.clip(z[left] + _SHARES * step[left], problem.lower, problem.upper)
        part = problem.part(np.tile(left, len(places)))
        values = objective(part, places.reshape(-1, z.shape[1])).reshape(len(places), -1)
        better = values < value[left]
        first, some = better.argmax(axis=0), np.flatnonzero(better.any(axis=0))
        result[left[some]], reached[left[some]] = places[first[some], some], values[first[some], some]
    return result, reached


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


@np.errstate(all="ignore")
def _newton_step(
    problem: Problem, z: Array, gradient: Array, hessian: Array, damping: Array
) -> tuple[Array, Array]:
    """The damped step inside the box, and the decrease that the quadratic model predicts.

    Parameters held at a bound stay there; one that the step would carry over a bound goes to the bound, and
    the step of the others is found anew.
    """
    edge = 1e-12 * (1 + np.abs(z))
    down, up = problem.lower - z, problem.upper - z
    blocked = np.where(gradient > 0, down >= -edge, (up <= edge) & (gradient < 0)) | ~problem.free
    diagonal = np.abs(np.einsum("gii->gi", hessian))
    largest = diagonal.max(axis=1, keepdims=True)
    weak = (diagonal < _WEAK * largest).any(axis=1)  # hardly a residual is within delta
    damped = damping > 0  # steps failed there
    troubled = np.flatnonzero(damped | weak)
    if troubled.size:
        major = majoriser(problem.part(troubled), z[troubled])
        hessian[troubled] += damping[troubled, None, None] * major
        diagonal[troubled] = np.einsum("gii->gi", major)
        largest[troubled] = diagonal[troubled].max(axis=1, keepdims=True)
    unit = 1.0 / np.sqrt(np.maximum(diagonal, 1e-12 * largest + _TINY))
    H = hessian * (unit[:, :, None] * unit[:, None, :])
    np.einsum("gii->gi", H)[...] += (1e-14 + 1e-6 * damping)[:, None]
    if damped.any():
        troubled = np.flatnonzero(damped & np.isfinite(H).all(axis=(1, 2)))
        if troubled.size:  # make the model convex, keeping the curvatures' sizes
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
    right, inner = -g, H
    if fixed.any():
        right = np.where(fixed, at, right - np.einsum("gij,gj->gi", H, at))
        inner = np.where(fixed[:, :, None] | fixed[:, None, :], 0.0, H)
        np.einsum("gii->gi", inner)[...] += fixed
    try:
        return np.linalg.solve(inner, right[:, :, None])[:, :, 0]
    except np.linalg.LinAlgError:
        inner = inner + 1e-8 * np.eye(g.shape[1])
        return np.linalg.solve(inner, right[:, :, None])[:, :, 0]


def refit(problem: Problem, z: Array, *, steps: int, tolerance: float) -> Solution:
    """Polishes resamples of one problem, all from its optimum.

    The residuals hardly bend over a resample's way, so the resamples are solved with linearised residuals
    first, where one matrix serves them all.

    Args:
        problem: The resamples: y or weights of shape [G, N].
        z: The optimum, with each resample's own values of the fixed parameters, [G, P + K].
        steps: As for ``polish``.
        tolerance: As for ``polish``.
    """
    if problem.model.n_points < _LINEAR_FROM or not (z == z[0]).all():
        return polish(problem, z, steps=steps, tolerance=tolerance)
    near, nowhere = linearised(problem, z[0]), np.zeros_like(z)
    step = polish(near, nowhere, steps=_LINEAR_STEPS, tolerance=1e-3).z
    found = polish(problem, z + step, steps=steps, tolerance=tolerance, smooth=False)
    astray = np.flatnonzero(~(found.objective <= objective(near, nowhere)))
    if astray.size:  # the linearised residuals led uphill
        again = polish(problem.part(astray), z[astray], steps=steps, tolerance=tolerance)
        for name in Solution.__dataclass_fields__:
            getattr(found, name)[astray] = getattr(again, name)
    return found


def one_step(problem: Problem, solution: Solution, z: Array, blocks: Array, shifts: Shifts | None) -> Array:
    """One Newton step from the optimum for every resample: what a bootstrap of a large table comes to.

    Args:
        problem: The problem, with y and weights of shape [N].
        solution: Its optimum.
        z: The optimum, once for each resample, with its own values of the fixed parameters, [G, P + K].
        blocks: Weights of the blocks in each resample, [G, blocks]; point n is in block n modulo blocks.
        shifts: How each resample moves the losses, or None.

    Returns:
        The resamples' z, [G, P + K].
    """
    count, at = blocks.shape[1], 0
    by_block = np.zeros((z.shape[1], count))
    moves = np.zeros_like(z)
    for score, change in scores(problem, solution.z[0]):
        block = np.arange(at, at + score.shape[1]) % count
        by_block += np.stack([np.bincount(block, weights=row, minlength=count) for row in score])
        if shifts is not None:
            moves += shifts.along(change, at)
        at += score.shape[1]
    gradient = (blocks - 1.0) @ by_block.T - moves
    free = problem.free
    inner = solution.curvature[0][np.ix_(free, free)]
    unit = 1.0 / np.sqrt(np.maximum(np.diag(inner), _TINY))
    inverse = np.linalg.pinv(inner * unit * unit[:, None], rcond=1e-12)
    step = np.zeros_like(z)
    step[:, free] = -((gradient[:, free] * unit) @ inverse) * unit
    return np.clip(z + step, problem.lower, problem.upper)
