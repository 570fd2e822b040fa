"""The solver's model of a law on data: linear coefficients c times basis functions phi(theta).

Shapes: G problems side by side (grid cells or bootstrap draws), N points, P linear coefficients, K nonlinear
parameters. The prediction is f[G, N] = sum over p of c[G, p] * phi[G, p, N].
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from finescale.laws.law import Law

Array = np.ndarray[Any, Any]
_STEP = 1e-5
"""Central differences move a parameter by this share of its size (or of 1)."""


class Model(abc.ABC):
    """What the solver needs of a law on data.

    Attributes:
        n_linear: P.
        n_nonlinear: K.
        n_points: N.
    """

    n_linear: int
    n_nonlinear: int
    n_points: int

    @abc.abstractmethod
    def basis(self, theta: Array) -> Array:
        """The basis phi [G, P, N] at theta [G, K]."""

    @np.errstate(all="ignore")
    def predictions(self, z: Array) -> Array:
        """The predicted losses at z [G, P + K]: [G, N]."""
        P = self.n_linear
        return np.matmul(z[:, None, :P], self.basis(z[:, P:]))[:, 0]

    @abc.abstractmethod
    def jacobian(self, theta: Array, c: Array) -> Array:
        """The basis (slopes df / dc), and below it the slopes df / dtheta: [G, P + K, N]."""

    @abc.abstractmethod
    def curvature(self, theta: Array, c: Array, phi: Array, g: Array) -> Array:
        """Sum over n of g[G, n] times the second derivatives of f_n: [G, P + K, P + K]."""

    @abc.abstractmethod
    def take(self, rows: slice | Array) -> Model:
        """The same model on some of the points."""


class MonomialModel(Model):
    """Sums of products of powers: phi_p = mask_p * exp(-sum_k theta_k s[p, k, n]), s the (centred) logs."""

    def __init__(self, logs: Array, mask: Array) -> None:
        """Keeps the logs.

        Args:
            logs: s, [P, K, N].
            mask: 1 where coefficient p acts on point n, [P, N].
        """
        self.logs, self.mask = logs, mask
        self.n_linear, self.n_nonlinear, self.n_points = logs.shape
        self._constant = [not part.any() for part in logs]
        self._moving = [p for p, constant in enumerate(self._constant) if not constant]
        self._acting = [[p for p in self._moving if logs[p, k].any()] for k in range(self.n_nonlinear)]
        self._masked = bool((mask != 1).any())

    @cached_property
    def _flat(self) -> list[Array]:
        """The logs, P times [N, K]."""
        return [np.ascontiguousarray(part.T) for part in self.logs]

    @cached_property
    def _squares(self) -> list[Array]:
        """Products of the logs, P times [N, K * K]."""
        squares = self.logs[:, :, None, :] * self.logs[:, None, :, :]
        return [np.ascontiguousarray(part.reshape(-1, self.n_points).T) for part in squares]

    def basis(self, theta: Array) -> Array:
        """The basis phi [G, P, N] at theta [G, K]."""
        phi = np.empty((theta.shape[0], self.n_linear, self.n_points))
        self._fill(theta, phi)
        return phi

    def _fill(self, theta: Array, phi: Array) -> None:
        for p in range(self.n_linear):
            if self._constant[p]:
                phi[:, p] = self.mask[p]
                continue
            np.exp(-theta @ self.logs[p], out=phi[:, p])
            if self._masked:
                phi[:, p] *= self.mask[p]

    def jacobian(self, theta: Array, c: Array) -> Array:
        """The basis (slopes df / dc), and below it the slopes df / dtheta: [G, P + K, N]."""
        P = self.n_linear
        result = np.empty((theta.shape[0], P + self.n_nonlinear, self.n_points))
        self._fill(theta, result[:, :P])
        for k, acting in enumerate(self._acting):
            slope = result[:, P + k]
            if not acting:
                slope[...] = 0.0
            for at, p in enumerate(acting):
                part = result[:, p] * self.logs[p, k]
                part *= -c[:, p, None]
                slope[...] = part if at == 0 else slope + part
        return result

    def curvature(self, theta: Array, c: Array, phi: Array, g: Array) -> Array:
        """Sum over n of g[G, n] times the second derivatives of f_n: [G, P + K, P + K]."""
        P, K = self.n_linear, self.n_nonlinear
        result = np.zeros((theta.shape[0], P + K, P + K))
        for p in self._moving:
            weighted = g * phi[:, p]
            cross = -(weighted @ self._flat[p])
            result[:, p, P:] = cross
            result[:, P:, p] = cross
            result[:, P:, P:] += (c[:, p, None] * (weighted @ self._squares[p])).reshape(-1, K, K)
        return result

    def take(self, rows: slice | Array) -> MonomialModel:
        """The same model on some of the points."""
        return MonomialModel(self.logs[:, :, rows], self.mask[:, rows])


class LinearModel(Model):
    """A law that is linear in all its parameters: the linearisation of another one around its optimum."""

    def __init__(self, slopes: Array) -> None:
        """Keeps the slopes, [P, N]."""
        self.slopes = slopes
        self.n_linear, self.n_points = slopes.shape
        self.n_nonlinear = 0

    def basis(self, theta: Array) -> Array:
        """The slopes, [G, P, N]: one and the same memory for all G."""
        return np.broadcast_to(self.slopes, (theta.shape[0], *self.slopes.shape))

    def jacobian(self, theta: Array, c: Array) -> Array:
        """The slopes, [G, P, N]."""
        return self.basis(theta)

    def curvature(self, theta: Array, c: Array, phi: Array, g: Array) -> Array:
        """Nothing: [1, 1, 1]."""
        return np.zeros((1, 1, 1))

    def take(self, rows: slice | Array) -> LinearModel:
        """The same model on some of the points."""
        return LinearModel(self.slopes[:, rows])


@dataclass(frozen=True)
class Segment:
    """Points that share one set of parameters.

    Attributes:
        rows: Which points, [n].
        variables: The law's variables at these points, each [n].
        linear: The index among all linear coefficients of each of the law's.
        nonlinear: The index among all nonlinear parameters of each of the law's.
    """

    rows: Array
    variables: Mapping[str, Array]
    linear: tuple[int, ...]
    nonlinear: tuple[int, ...]


class FunctionModel(Model):
    """Any law: the basis is found by setting one linear coefficient to 1, derivatives by complex steps.

    A parameter with a logarithmic range is searched in its logarithm. A function that cannot take complex
    numbers gets central differences.
    """

    def __init__(
        self, law: Law, segments: Sequence[Segment], n_points: int, n_linear: int, n_nonlinear: int
    ) -> None:
        """Keeps the law and its points."""
        self.law, self.segments = law, tuple(segments)
        self.n_points, self.n_linear, self.n_nonlinear = n_points, n_linear, n_nonlinear
        self._complex = self._takes_complex()

    def _parts(self, segment: Segment, theta: Array) -> Array:
        """The law's own basis functions at one segment, [G, its P, n]."""
        values: dict[str, Array] = {name: column[None, :] for name, column in segment.variables.items()}
        for (name, limits), k in zip(self.law.nonlinear.items(), segment.nonlinear, strict=True):
            values[name] = np.exp(theta[:, k, None]) if limits.log else theta[:, k, None]
        shape = (theta.shape[0], segment.rows.size)
        parts = []
        for name in self.law.linear:
            coefficients = {other: float(other == name) for other in self.law.linear}
            parts.append(np.broadcast_to(self.law.function(**values, **coefficients), shape))
        return np.stack(parts, axis=1)

    def _takes_complex(self) -> bool:
        middle = np.array(
            [[0.5 * (r.low + r.high) if not r.log else 0.0 for r in self.law.nonlinear.values()]]
        )
        segment = self.segments[0]
        local = Segment(segment.rows, segment.variables, segment.linear, tuple(range(middle.shape[1])))
        try:
            with np.errstate(all="ignore"):
                real = self._parts(local, middle)
                imaginary = self._parts(local, middle + 1e-30j * np.ones_like(middle))
                step = 1e-6
                ahead, behind = self._parts(local, middle + step), self._parts(local, middle - step)
        except (TypeError, ValueError):
            return False
        if not np.iscomplexobj(imaginary):
            return False
        slope = (ahead - behind) / (2 * step)
        near = np.isclose(
            imaginary.imag / 1e-30, slope, rtol=1e-3, atol=1e-6 * np.abs(slope).max(initial=1e-12)
        )
        return bool(np.all(near | ~np.isfinite(slope)) and np.allclose(imaginary.real, real, equal_nan=True))

    def basis(self, theta: Array) -> Array:
        """The basis phi [G, P, N] at theta [G, K]."""
        return self._evaluated(theta, instead=1e150)

    @np.errstate(all="ignore")
    def _evaluated(self, theta: Array, instead: float) -> Array:
        """The basis at real or complex theta [G, K], with a number where the law has none: [G, P, N]."""
        phi = np.zeros((theta.shape[0], self.n_linear, self.n_points), dtype=theta.dtype)
        for segment in self.segments:
            parts = self._parts(segment, theta)
            for position, p in enumerate(segment.linear):
                phi[:, p, segment.rows] = parts[:, position]
        phi[~np.isfinite(phi)] = instead
        return phi

    def _basis_slopes(self, theta: Array) -> Array:
        """Slopes of the basis, d phi / d theta_k: [K, G, P, N]; all from one call of the law."""
        G, K = theta.shape
        unit = np.eye(K)[:, None, :]
        if self._complex:
            moved = (theta + 1e-30j * unit).reshape(-1, K)
            slopes = self._evaluated(moved, instead=0.0).imag / 1e-30
            return slopes.reshape(K, G, self.n_linear, self.n_points)
        step = _STEP * np.maximum(1.0, np.abs(theta))
        moved = np.stack([theta + step * unit, theta - step * unit]).reshape(-1, K)
        ahead, behind = self._evaluated(moved, instead=0.0).reshape(2, K, G, self.n_linear, self.n_points)
        return (ahead - behind) / (2 * step.T[:, :, None, None])

    def jacobian(self, theta: Array, c: Array) -> Array:
        """The basis (slopes df / dc), and below it the slopes df / dtheta: [G, P + K, N]."""
        slopes = np.einsum("gp,kgpn->gkn", c, self._basis_slopes(theta))
        return np.concatenate([self.basis(theta), slopes], axis=1)

    def curvature(self, theta: Array, c: Array, phi: Array, g: Array) -> Array:
        """Sum over n of g[G, n] times the second derivatives of f_n: [G, P + K, P + K]."""
        (G, K), P = theta.shape, self.n_linear
        result = np.zeros((G, P + K, P + K))
        step = _STEP * np.maximum(1.0, np.abs(theta))
        shifted = step * np.eye(K)[:, None, :]
        around = np.stack([theta + shifted, theta - shifted]).reshape(-1, K)
        slopes = self._basis_slopes(np.concatenate([theta, around]))  # [K, G + 2 K G, P, N]
        cross = np.einsum("gn,kgpn->gpk", g, slopes[:, :G])
        ahead, behind = np.moveaxis(slopes[:, G:].reshape(K, 2, K, G, P, -1), 1, 0)
        second = np.einsum("gn,gp,jkgpn->gkj", g, c, ahead - behind) / (2 * step[:, :, None])
        result[:, :P, P:] = cross
        result[:, P:, :P] = np.swapaxes(cross, 1, 2)
        result[:, P:, P:] = 0.5 * (second + np.swapaxes(second, 1, 2))
        return result

    def take(self, rows: slice | Array) -> FunctionModel:
        """The same model on some of the points."""
        position = np.full(self.n_points, -1)
        kept_rows = np.arange(self.n_points)[rows]
        position[kept_rows] = np.arange(kept_rows.size)
        segments = []
        for segment in self.segments:
            kept = position[segment.rows] >= 0
            variables = {name: column[kept] for name, column in segment.variables.items()}
            segments.append(
                Segment(position[segment.rows[kept]], variables, segment.linear, segment.nonlinear)
            )
        return FunctionModel(
            self.law, segments, n_points=kept_rows.size, n_linear=self.n_linear, n_nonlinear=self.n_nonlinear
        )
