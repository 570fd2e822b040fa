"""What is minimised: weighted Huber losses of a law's residuals, their derivatives, many problems at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from finescale.laws.solver.models import LinearModel, Model

Array = np.ndarray[Any, Any]
_TINY = 1e-300
_POINTS = 50_000
"""Points of a large table that are worked on at a time."""
_SLOPES = 24_000
"""Slopes [G, M, N] that are worked on at a time: the system takes larger arrays back after each use."""


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
        return Problem(self.model, y, weights, self.log, delta, self.lower, self.upper, self.free)

    def some(self, rows: slice | Array) -> Problem:
        """The same problems on some of the points."""
        model, y, weights = self.model.take(rows), self.y[..., rows], self.weights[..., rows]
        return replace(self, model=model, y=y, weights=weights)

    def blocks(self, z: Array) -> Iterator[tuple[Problem, Array]]:
        """Some problems and their z [G, M] after others: what is computed on them stays small."""
        most = max(1, _SLOPES // (z.shape[1] * self.model.n_points))
        if len(z) <= most:
            yield self, z
            return
        for at in range(0, len(z), most):
            yield self.part(slice(at, at + most)), z[at : at + most]

    def chunks(self) -> Iterator[Problem]:
        """The same problems on some points after another: what is computed on them stays small."""
        if self.model.n_points <= _POINTS:
            yield self
            return
        for at in range(0, self.model.n_points, _POINTS):
            yield self.some(slice(at, at + _POINTS))


@dataclass(frozen=True)
class Solution:
    """Solved problems side by side.

    Attributes:
        z: Linear coefficients and nonlinear parameters, [G, P + K].
        objective: Sum of Huber losses, [G].
        converged: Whether no further step was possible, [G].
        curvature: The Hessian of the objective at z, or one tiny last step before, [G, P + K, P + K].
    """

    z: Array
    objective: Array
    converged: Array
    curvature: Array


def huber(r: Array, delta: float | Array) -> Array:
    """Huber's loss: r^2 / 2 within delta, delta (|r| - delta / 2) outside."""
    slope = np.clip(r, -delta, delta)
    return slope * (r - 0.5 * slope)


def deviation(problem: Problem, f: Array) -> Array:
    """Residuals of predicted losses f [G, N]: f - y, or log f - log y."""
    return np.log(np.maximum(f, _TINY) / problem.y) if problem.log else f - problem.y


@np.errstate(all="ignore")
def residual(problem: Problem, z: Array) -> Array:
    """Residuals at z [G, P + K]: [G, N]."""
    P = problem.model.n_linear
    parts = [deviation(part, _combine(z[:, :P], part.model.basis(z[:, P:]))) for part in problem.chunks()]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def objective(problem: Problem, z: Array) -> Array:
    """The objective at z [G, P + K]: [G]."""
    parts = [total(part, residual(part, here)) for part, here in problem.blocks(z)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


@np.errstate(all="ignore")
def total(problem: Problem, r: Array) -> Array:
    """The objective of residuals r [G, N]: [G]; infinite where it is no number."""
    slope = r.clip(-problem.delta, problem.delta)
    value = np.einsum("gn,gn->g", problem.weights * slope, r - 0.5 * slope)
    return np.where(np.isfinite(value), value, np.inf)


@np.errstate(all="ignore")
def slopes(problem: Problem, z: Array) -> tuple[float, Array]:
    """Objective and gradient [M] at one z [M], for solvers that need no Hessian."""
    value, gradient = 0.0, np.zeros(z.size)
    for part in problem.chunks():
        J, r, f = _slopes_and_residuals(part, z[None])
        psi = np.clip(r[0], -part.delta, part.delta)
        weighted = part.weights * psi
        value += float(weighted @ (r[0] - 0.5 * psi))
        gradient += J[0] @ (weighted / f[0] if part.log else weighted)
    return value, gradient


def derivatives(problem: Problem, z: Array) -> tuple[Array, Array, Array]:
    """Objective [G] (infinite where it is no number), gradient [G, M] and Hessian [G, M, M] at z [G, M]."""
    parts = [_derivatives(part, here) for part, here in problem.blocks(z)]
    if len(parts) == 1:
        return parts[0]
    value, gradient, hessian = zip(*parts, strict=True)
    return np.concatenate(value), np.concatenate(gradient), np.concatenate(hessian)


@np.errstate(all="ignore")
def _derivatives(problem: Problem, z: Array) -> tuple[Array, Array, Array]:
    G, M = z.shape
    value, gradient, hessian = np.zeros(G), np.zeros((G, M)), np.zeros((G, M, M))
    for part in problem.chunks():
        J, r, f = _slopes_and_residuals(part, z)
        P = part.model.n_linear
        psi = r.clip(-part.delta, part.delta)
        slope = part.weights * psi
        value += np.einsum("gn,gn->g", slope, r - 0.5 * psi)
        second = part.weights * (psi == r)
        if part.log:
            inverse = 1.0 / f
            slope *= inverse
            second *= inverse
            second -= slope
            second *= inverse
        gradient += slope @ J[0].T if _same(J) else np.matmul(J, slope[:, :, None])[:, :, 0]
        hessian += _gram(J, second)
        hessian += part.model.curvature(z[:, P:], z[:, :P], J[:, :P], slope)
    return np.where(np.isfinite(value), value, np.inf), gradient, hessian


@np.errstate(all="ignore")
def majoriser(problem: Problem, z: Array) -> Array:
    """The matrix of iteratively reweighted least squares at z, [G, M, M]; never negative."""
    return np.concatenate([_majoriser(part, here) for part, here in problem.blocks(z)])


def _majoriser(problem: Problem, z: Array) -> Array:
    result = np.zeros((*z.shape, z.shape[1]))
    for part in problem.chunks():
        J, r, f = _slopes_and_residuals(part, z)
        weight = _huber_weights(part, r)
        if part.log:
            weight = weight / (f * f)
        result += _gram(J, weight)
    return result


@np.errstate(all="ignore")
def project(problem: Problem, z: Array, theta: Array) -> Array:
    """The coefficients [G, P] that fit best at theta [G, K]: one round of reweighted least squares from z."""
    P = problem.model.n_linear
    matrix, right = np.zeros((len(z), P, P)), np.zeros((len(z), P))
    for part in problem.chunks():
        r = deviation(part, _combine(z[:, :P], part.model.basis(z[:, P:])))
        phi, weight = part.model.basis(theta), _huber_weights(part, r)
        if part.log:
            weight = weight / (part.y * part.y)
        matrix += _gram(phi, weight)
        right += np.matmul(phi, (weight * part.y)[:, :, None])[:, :, 0]
    unit = 1.0 / np.sqrt(np.einsum("gii->gi", matrix) + _TINY)
    matrix *= unit[:, :, None] * unit[:, None, :]
    np.einsum("gii->gi", matrix)[...] += 1e-10
    c = np.linalg.solve(matrix, (right * unit)[:, :, None])[:, :, 0] * unit
    return np.clip(c, problem.lower[:P], problem.upper[:P])


def _huber_weights(problem: Problem, r: Array) -> Array:
    """Weights [G, N] under which squared residuals stand for Huber's loss at residuals r [G, N]."""
    return problem.weights * np.minimum(1.0, problem.delta / np.maximum(np.abs(r), _TINY))


def scores(problem: Problem, z: Array) -> Iterator[tuple[Array, Array]]:
    """What each point adds to the gradient, and by how much its own residual moves that, at one z [M].

    Yields:
        Chunks of points: both [M, n].
    """
    for part in problem.chunks():
        J, r, f = _slopes_and_residuals(part, z[None])
        slopes = J[0] / f if part.log else J[0]
        psi = np.clip(r[0], -part.delta, part.delta)
        yield slopes * (part.weights * psi), slopes * (part.weights * (psi == r[0]))


def _slopes_and_residuals(problem: Problem, z: Array) -> tuple[Array, Array, Array]:
    """Slopes of the predictions [G, M, N], residuals [G, N] and predictions [G, N] at z."""
    P = problem.model.n_linear
    J = problem.model.jacobian(z[:, P:], z[:, :P])
    f = _combine(z[:, :P], J[:, :P])
    if problem.log:
        f = np.maximum(f, _TINY)
    return J, deviation(problem, f), f


def linearise(problem: Problem, z: Array) -> Problem:
    """The problem with residuals linearised around one z [M]; its parameters are the steps from there."""
    J, r, f = _slopes_and_residuals(problem, z[None])
    model = LinearModel(J[0] / f if problem.log else J[0])
    lower, upper = problem.lower - z, problem.upper - z
    return replace(problem, model=model, y=-r if len(r) > 1 else -r[0], log=False, lower=lower, upper=upper)


def _same(J: Array) -> bool:
    """Whether all G problems share one matrix (``LinearModel``)."""
    return len(J) > 1 and J.strides[0] == 0


def _combine(c: Array, basis: Array) -> Array:
    """Sums over P of c [G, P] times basis [G, P, N]: [G, N]."""
    return c @ basis[0] if _same(basis) else np.matmul(c[:, None], basis)[:, 0]


def _gram(J: Array, weight: Array) -> Array:
    """Sums over N of weight [G, N] times products of the rows of J [G, M, N]: [G, M, M]."""
    if _same(J):
        products = (J[0][:, None] * J[0]).reshape(-1, J.shape[2])
        return (weight @ products.T).reshape(-1, J.shape[1], J.shape[1])
    return np.matmul(J * weight[:, None, :], np.swapaxes(J, 1, 2))
