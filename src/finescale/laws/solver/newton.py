"""Newton's method with Marquardt's damping in a box, many problems side by side: starts and refits.

The model of the objective at z, with gradient g, Hessian H (Huber's generalised one: a residual beyond
delta has no curvature) and step p over the parameters that are not blocked, is

    m(p) = F + g'p + p'(H + lambda M) p / 2,

M being the matrix of iteratively reweighted least squares, J'WJ, which is never negative
(``majoriser``). With lambda = 0 the step is Newton's; a step that does not lower F multiplies lambda by
8 (from 1e-3), one that does divides it (Levenberg 1944, Marquardt 1963). Then come, in this order:

- *The box.* A parameter at a bound that g pushes against is blocked (Bertsekas 1982, SIAM J. Control
  Optim. 20); one that the step would carry over a bound goes to the bound, and the others' step is found
  anew.
- *Saddles.* Damped models get the absolute values of their curvatures (Greenstadt 1967; Nocedal & Wright
  2006, section 3.4). Where the step promises nothing, z is a minimum only if H is positive definite over
  the parameters that are not blocked, and g is 0 there; else the search goes on downhill. Without this
  check an indefinite H can hold a parameter at a bound from which g points inwards: the step is 0, and
  no minimum.
- *Curved valleys.* A step that fails is tried again with the coefficients that fit best at its
  exponents, as in variable projection (Golub & Pereyra 1973, SIAM J. Numer. Anal. 10), then at fractions
  of its length.
- *Delta.* Far above delta F is nearly a sum of absolute values, on which Newton's steps zigzag. The
  first delta therefore holds some residuals for each parameter, and is divided by 4 whenever a stage has
  settled (Madsen & Nielsen 1993, SIAM J. Optim. 3, a finite smoothing algorithm for l1 estimation).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finescale.laws.solver.problem import (
    Problem,
    Solution,
    derivatives,
    majoriser,
    objective,
    project,
    residual,
)

Array = np.ndarray[Any, Any]
_TINY = 1e-300
_CHUNK = 90_000
"""Numbers of one [G, N] array that are worked on at a time: some such arrays fit the processor's cache."""
_WEAK = 1e-8
_STAGE_TOLERANCE = 1e-3
"""Relative decrease at which delta is sharpened; at the last delta the caller's tolerance holds."""
_MOST_DAMPING = 1e9
_SADDLE = 1e-9
"""Curvatures that are negative by less, where the largest is about 1, are rounding."""
_LENGTHS = np.array([1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4])
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


@dataclass
class _Iterates:
    """The problems that are under way, g of all G, and where each of them stands.

    Attributes:
        index: Which of all problems these are, [g].
        problem: What is minimised; its delta, [g, 1], is that of the problem's stage.
        z: The iterates, [g, M].
        value: The objective there, [g].
        gradient: [g, M].
        hessian: [g, M, M].
        damping: Marquardt's factor, [g]; 0 is Newton's own step.
    """

    index: Array
    problem: Problem
    z: Array
    value: Array
    gradient: Array
    hessian: Array
    damping: Array

    @property
    def delta(self) -> Array:
        """Huber's delta of each problem's stage, [g, 1]."""
        return np.asarray(self.problem.delta)

    def part(self, which: Array) -> _Iterates:
        """Some of them."""
        arrays = (self.z, self.value, self.gradient, self.hessian, self.damping)
        return _Iterates(self.index[which], self.problem.part(which), *(array[which] for array in arrays))

    def differentiate(self, which: Array) -> None:
        """Computes value, gradient and Hessian again where z or delta has changed."""
        again = derivatives(self.problem.part(which), self.z[which])
        self.value[which], self.gradient[which], self.hessian[which] = again


def _polish(problem: Problem, z: Array, steps: int, tolerance: float, smooth: bool) -> Solution:
    """``polish`` for so few problems that their arrays fit the processor's cache."""
    z = np.clip(z, problem.lower, problem.upper)
    delta = _first_delta(problem, z) if smooth else np.full((len(z), 1), problem.delta)
    staged = replace(problem, delta=delta)
    at = _Iterates(np.arange(len(z)), staged, z, *derivatives(staged, z), damping=np.zeros(len(z)))
    going = _differentiable(at)
    found = Solution(z.copy(), at.value.copy(), np.zeros(len(z), bool), at.hessian.copy())
    blunt = np.zeros(len(z), bool)
    for number in range(steps + 1):
        if number == steps or not going.all():
            found.z[at.index], found.objective[at.index] = at.z, at.value
            found.curvature[at.index], found.converged[at.index] = at.hessian, ~going
            blunt[at.index] = at.delta[:, 0] > problem.delta
            at = at.part(going)
        if number == steps or not at.index.size:
            break
        going = _advance(at, float(problem.delta), tolerance)
    if blunt.any():
        found.objective[:] = objective(problem, found.z)
    return found


def _advance(at: _Iterates, target: float, tolerance: float) -> Array:
    """One step of every problem, in place: its iterate, its damping, its stage.

    Returns:
        Which problems have further steps to make, [g].
    """
    sharp = at.delta[:, 0] <= target
    step, predicted = _newton_step(at.problem, at.z, at.gradient, at.hessian.copy(), at.damping)
    exponents = np.abs(step[:, at.problem.model.n_linear :]).max(axis=1, initial=0.0)
    step *= np.minimum(1.0, 1.0 / np.maximum(exponents, _TINY))[:, None]
    trial = np.minimum(np.maximum(at.z + step, at.problem.lower), at.problem.upper)
    enough = np.where(sharp, tolerance, _STAGE_TOLERANCE) * np.maximum(at.value, 1e-30)
    small = (predicted <= enough) & (predicted >= 0)
    reached = objective(at.problem, trial)
    failed = np.flatnonzero(~(reached < at.value))
    if failed.size:
        places = _instead(at.problem.part(failed), at.z[failed], step[failed], at.value[failed])
        trial[failed], reached[failed] = places
    stalled = np.flatnonzero(small & sharp)
    stalled = stalled[~_minimal(at.part(stalled), enough[stalled])] if stalled.size else stalled
    if stalled.size:
        trial[stalled], reached[stalled] = _downhill(at.part(stalled))
        small[stalled] = ~(reached[stalled] < at.value[stalled] - enough[stalled])
    better = reached < at.value
    at.z, at.value = np.where(better[:, None], trial, at.z), np.where(better, reached, at.value)
    moved = np.flatnonzero(better & ~(small & sharp))  # the last step needs no derivatives
    if moved.size:
        value = at.value[moved]
        at.differentiate(moved)
        at.value[moved] = value
    eased = np.where(at.damping < 1e-4, 0.0, at.damping / 8)
    at.damping = np.where(better, eased, np.maximum(at.damping * 8, 1e-3))
    small |= at.damping > _MOST_DAMPING
    sharpen = np.flatnonzero(small & ~sharp)
    if sharpen.size:
        at.delta[sharpen] = np.maximum(target, at.delta[sharpen] / 4)
        at.damping[sharpen] = 0.0
        at.differentiate(sharpen)
    return ~(small & sharp) & (~better | _differentiable(at))


def _differentiable(at: _Iterates) -> Array:
    """Where a Newton step can be taken at all, [g]."""
    finite = np.isfinite(at.gradient).all(axis=1) & np.isfinite(at.hessian).all(axis=(1, 2))
    return np.asarray(finite)


def _blocked(problem: Problem, z: Array, gradient: Array) -> Array:
    """Parameters that no descent moves, [g, M]: fixed, or at a bound that the descent pushes against."""
    edge = 1e-12 * (1 + np.abs(z))
    down, up = problem.lower - z >= -edge, problem.upper - z <= edge
    return np.where(gradient > 0, down, up & (gradient < 0)) | ~problem.free


def _scales(hessian: Array) -> Array:
    """The length of each parameter over which the objective bends by about 1, [g, M].

    Where every residual is beyond Huber's delta the diagonal may be 0 and what lies beside it not.
    """
    diagonal = np.abs(np.einsum("gii->gi", hessian))
    largest = np.abs(hessian).max(axis=(1, 2))[:, None]
    return 1.0 / np.sqrt(np.maximum(diagonal, 1e-12 * largest + _TINY))


def _free_part(at: _Iterates) -> tuple[Array, Array, Array]:
    """Scales [g, M], and in these units gradient and Hessian of the parameters that are not blocked."""
    blocked, unit = _blocked(at.problem, at.z, at.gradient), _scales(at.hessian)
    H = at.hessian * unit[:, :, None] * unit[:, None]
    H = np.where(blocked[:, :, None] | blocked[:, None, :], 0.0, H)
    np.einsum("gii->gi", H)[...] += blocked
    return unit, np.where(blocked, 0.0, at.gradient * unit), H


def _minimal(at: _Iterates, enough: Array) -> Array:
    """Whether z is a minimum as far as first and second derivatives tell, [g].

    A Newton step is small, too, at a saddle, and where the indefinite model sends a parameter against the
    bound at which it stands though the gradient points inwards.
    """
    _, g, H = _free_part(at)
    M = g.shape[1]
    flat = np.einsum("gi,gi->g", g, g) <= 2 * M * enough  # no more can be gained: no curvature is above M
    np.einsum("gii->gi", H)[...] += _SADDLE
    try:
        np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        return flat & (np.linalg.eigvalsh(H)[:, 0] > 0)
    return flat


def _downhill(at: _Iterates) -> tuple[Array, Array]:
    """The lowest place along directions that lead down from a point that is no minimum.

    These are the step of the model with absolute curvatures, both senses of the most negative curvature, and
    the steepest descent, which no bound can turn uphill.

    Returns:
        The places [g, M] and the objective there [g].
    """
    unit, g, H = _free_part(at)
    size, axes = np.linalg.eigh(H)
    convex = np.maximum(np.abs(size), 1e-12 * np.abs(size).max(axis=1, keepdims=True))
    newton = -np.matmul(axes, (np.matmul(g[:, None], axes)[:, 0] / convex)[:, :, None])[:, :, 0]
    reach = np.sqrt(2 * at.value / convex[:, 0])[:, None]
    bent = axes[:, :, 0] * reach
    steepest = -g * np.minimum(1.0, reach / np.maximum(np.abs(g).max(axis=1, keepdims=True), _TINY))
    directions = np.stack([newton, bent, -bent, steepest]) * unit
    exponents = np.abs(directions[..., at.problem.model.n_linear :]).max(axis=2, initial=0.0)
    directions *= np.minimum(1.0, 1.0 / np.maximum(exponents, _TINY))[..., None]
    places = at.z + _LENGTHS[:, None, None, None] * directions
    places = np.clip(places, at.problem.lower, at.problem.upper).reshape(-1, *at.z.shape)
    rows = np.arange(len(at.z))
    values = objective(at.problem.part(np.tile(rows, len(places))), places.reshape(-1, at.z.shape[1]))
    values = values.reshape(len(places), -1)
    lowest = values.argmin(axis=0)
    return places[lowest, rows], values[lowest, rows]


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
        result[:, :P] = project(problem, z, result[:, P:])
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
    blocked = _blocked(problem, z, gradient)
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
    down, up = (problem.lower - z) / unit, (problem.upper - z) / unit
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
