"""Newton's method for a bootstrap: many resamples of one problem, all from its optimum."""

from __future__ import annotations

from typing import Any

import numpy as np

from finescale.laws.shifts import Shifts
from finescale.laws.solver.newton import polish
from finescale.laws.solver.problem import (
    Problem,
    Solution,
    deviation,
    linearise,
    objective,
    scores,
    total,
)

Array = np.ndarray[Any, Any]
_TINY = 1e-300
_LINEAR_STEPS = 20
_LINEAR_FROM = 100
"""Resamples of fewer points go too far from the optimum for linearised residuals to help."""
_TRIED, _LOOKED_AT = 8, 32
"""Optima of resamples, far from one another at so many points, that are tried for all resamples."""


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
    near, nowhere = linearise(problem, z[0]), np.zeros_like(z)
    step = polish(near, nowhere, steps=_LINEAR_STEPS, tolerance=1e-3).z
    found = polish(problem, z + step, steps=steps, tolerance=tolerance, smooth=False)
    astray = np.flatnonzero(~(found.objective <= objective(near, nowhere)))
    if astray.size:  # the linearised residuals led uphill
        again = polish(problem.part(astray), z[astray], steps=steps, tolerance=tolerance)
        for name in Solution.__dataclass_fields__:
            getattr(found, name)[astray] = getattr(again, name)
    return found


def exchange(problem: Problem, z: Array, value: Array, *, steps: int, tolerance: float) -> Array:
    """Refits the resamples that the optimum of another serves better than their own, a worse minimum.

    Args:
        problem: The resamples: y or weights of shape [G, N].
        z: What they were fitted with, [G, P + K].
        value: Their objectives, [G].
        steps: As for ``polish``.
        tolerance: As for ``polish``.

    Returns:
        Their z, [G, P + K].
    """
    if not problem.free.all():
        return z
    rows = np.linspace(0, problem.model.n_points - 1, _LOOKED_AT).astype(int)
    looked = problem.some(np.unique(rows)).model.predictions(z)
    tried, distance = [0], np.abs(looked - looked[0]).max(axis=1)
    while len(tried) < min(_TRIED, len(z)) and distance.max() > 0:
        tried.append(int(distance.argmax()))
        distance = np.minimum(distance, np.abs(looked - looked[tried[-1]]).max(axis=1))
    values = [total(problem, deviation(problem, f[None])) for f in problem.model.predictions(z[tried])]
    worse = np.flatnonzero(np.min(values, axis=0) < value * (1 - 1e-6))
    if worse.size:
        starts = z[np.array(tried)[np.argmin(values, axis=0)[worse]]]
        again = polish(problem.part(worse), starts, steps=steps, tolerance=tolerance)
        better = again.objective < value[worse]
        z = z.copy()
        z[worse[better]] = again.z[better]
    return z


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
