"""Laws as members: their parameters are averaged over a grid by how well they fit (no single best fit).

At each point of the grid of nonlinear parameters the coefficients are least squares at 0 or above, on z to
first order; what the law says is averaged with the weights of a normal likelihood. So the parameters'
uncertainty is in the mean at two points and at two hundred.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from finescale.forecasts.context import Context
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import Paths
from finescale.laws.law import Law, Range
from finescale.records.records import DATA_SIZE

Array = np.ndarray[Any, Any]
_PER_AXIS = {1: 41, 2: 16, 3: 8, 4: 5}
_REACH = 8.0
"""A law's break is looked for up to twice this many times beyond the largest size."""
_WARM = 1.0
"""Errors of a law's fit count against a parameter by this many times the noise: no law is exact."""
_NO_PART = 20.0
"""Parameters whose log of a weight is so far below the largest take no part: a share of 2e-9."""
_NEAR = 8.0
"""Exponents of surfaces are looked for mostly below one over this."""
_EXPONENTS = 21


class LawMember:
    """A law over the size."""

    def __init__(self, law: Law) -> None:
        """Makes a member of a law of one variable."""
        self.law = law

    def __call__(self, paths: Paths, u: Array, context: Context) -> Array:
        """The increments, [P, H]."""
        there, name = paths.there, self.law.variables[0]
        last = paths.ends[1][:, None]
        targets = np.concatenate([last, np.where(np.isnan(u), last, u)], axis=1)
        known = {name: np.where(there, paths.u, last)}
        theta = _grid(self.law, context.sizes)
        mean = averaged(self.law, theta, (known, paths.z, there), {name: targets}, context)
        moved = np.where((paths.count > 1)[:, None], mean[:, 1:] - mean[:, :1], 0.0)  # one point has no slope
        return np.where(np.isnan(u), np.nan, moved)


class SurfaceMember:
    """A law over a factor and the data size: fitted to all data sizes of a slice at once."""

    def __init__(self, law: Law) -> None:
        """Makes a member of a law of two variables: X, or a factor by name, and D."""
        self.law = law

    def __call__(self, paths: Paths, u: Array, context: Context) -> Array:
        """The increments across the factor, [P, H]; 0 where the law is of another factor."""
        places = context.places
        moved = np.where(np.isnan(u), np.nan, 0.0)
        if places is None or not self.applies(places.factor):
            return moved
        last = paths.ends[1]
        tables = np.stack([places.slice, np.unique(np.round(last, 6), return_inverse=True)[1]])
        number = np.unique(tables, axis=1, return_inverse=True)[1].ravel()
        theta = _surface_grid(self.law)
        for table in range(int(number.max(initial=-1)) + 1):
            rows = np.flatnonzero(number == table)
            fitted = rows[places.measured[rows]]
            if not fitted.size or paths.count[fitted].max() < 2:
                continue
            there = paths.there[fitted]
            known = self._named(paths.u[fitted][there], np.repeat(places.size[fitted], there.sum(axis=1)))
            targets = np.concatenate(
                [last[rows, None], np.where(np.isnan(u[rows]), last[rows, None], u[rows])], axis=1
            )
            asked = self._named(targets.ravel(), np.repeat(places.size[rows], targets.shape[1]))
            z = paths.z[fitted][there][None]
            mean = averaged(
                self.law, theta, (known, z, np.ones_like(z, bool)), asked, context, alike=fitted.size
            )
            mean = mean.reshape(targets.shape)
            moved[rows] = np.where(np.isnan(u[rows]), np.nan, mean[:, 1:] - mean[:, :1])
        return moved

    def applies(self, factor: str) -> bool:
        """Whether the law is of this factor."""
        return is_surface(self.law) and set(self.law.variables) <= {"X", factor, "D", DATA_SIZE}

    def _named(self, x: Array, d: Array) -> dict[str, Array]:
        return {name: (d if name in ("D", DATA_SIZE) else x)[None] for name in self.law.variables}


def is_curve(law: Law) -> bool:
    """Whether a law is one of a single size."""
    return law.per_curve and len(law.variables) == 1


def is_surface(law: Law) -> bool:
    """Whether a law is one of a factor and the data size."""
    data = [name for name in law.variables if name in ("D", DATA_SIZE)]
    return len(law.variables) == 2 and len(data) == 1


def averaged(
    law: Law,
    theta: Array,
    seen: tuple[Mapping[str, Array], Array, Array],
    asked: Mapping[str, Array],
    context: Context,
    *,
    alike: float = 1.0,
) -> Array:
    """What a law says of z at sizes, averaged over its parameters.

    Args:
        law: The law.
        theta: Its nonlinear parameters, [G, parameters].
        seen: log2 of the variables at the points, [P, N] each; z there; where there is a point.
        asked: log2 of the variables that are asked for, [P, K] each.
        context: The table.
        alike: So many points tell what one tells.

    Returns:
        Means, [P, K]; 0 where no parameters fit.
    """
    at, z, there = seen
    scale = context.scale
    z = np.where(there, z, 0.0)
    loss = np.where(there, scale.z_to_loss(z), 0.0)
    weight = np.where(there, scale.slope(z), 0.0)
    fitted = _basis(law, theta, at) * weight  # [p, G, P, N]
    size = np.maximum(np.abs(fitted).max(axis=-1, keepdims=True), 1e-300)
    c, rest = _least_squares(fitted / size, loss * weight)
    c = c / size[..., 0]
    fit = np.where(np.isfinite(rest), -0.5 * rest / (_WARM * context.noise * alike), -np.inf)
    some = (fit > fit.max(axis=0) - _NO_PART).any(axis=1)
    mean, found = _mean(law, theta[some], (c[:, some], fit[some]), asked, scale)
    return mean if found else _mean(law, theta, (c, fit), asked, scale)[0]


def _mean(
    law: Law, theta: Array, fitted: tuple[Array, Array], asked: Mapping[str, Array], scale: OutcomeScale
) -> tuple[Array, bool]:
    """The mean over parameters by coefficients and logs of weights, [P, K]; whether every path has some."""
    c, fit = fitted
    with np.errstate(all="ignore"):
        value = (c[..., None] * _basis(law, theta, asked)).sum(axis=0)  # [G, P, K]
        told = scale.to_z(scale.from_loss(value))
    usable = np.isfinite(told).all(axis=-1) & np.isfinite(fit)
    fit = np.where(usable, fit, -np.inf)
    fit = fit - np.max(fit, axis=0, initial=-1e300)
    share = np.exp(np.maximum(fit, -700.0)) * usable
    total = np.maximum(share.sum(axis=0), 1e-300)
    told = np.where(usable[..., None], told, 0.0)
    return np.einsum("gp,gph->ph", share / total, told), bool(usable.any(axis=0).all())


def _grid(law: Law, sizes: tuple[float, float]) -> Array:
    """Nonlinear parameters of a curve, [G, parameters]."""
    if law.starts is not None:
        reach = np.array([sizes[0], _REACH * sizes[1]])  # a break may lie beyond the data
        return law.starts({law.variables[0]: reach}).reshape(-1, len(law.nonlinear))
    steps = _PER_AXIS.get(len(law.nonlinear), 3)
    return _crossed(law, [_spaced(r, steps) for r in law.nonlinear.values()])


def _surface_grid(law: Law) -> Array:
    """Nonlinear parameters of a surface, [G, parameters]: exponents are denser near 0, where they lie."""
    steps = min(_EXPONENTS, round(_EXPONENTS ** (2 / max(len(law.nonlinear), 1))))
    axes = []
    for r in law.nonlinear.values():
        bent = not r.log and r.low < 0 < r.high
        low, high = math.asinh(_NEAR * r.low), math.asinh(_NEAR * r.high)
        axes.append(np.sinh(np.linspace(low, high, steps)) / _NEAR if bent else _spaced(r, steps))
    return _crossed(law, axes)


def _spaced(of: Range, steps: int) -> Array:
    return np.geomspace(of.low, of.high, steps) if of.log else np.linspace(of.low, of.high, steps)


def _crossed(law: Law, axes: list[Array]) -> Array:
    if not law.nonlinear:
        return np.zeros((1, 0))
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)


def _basis(law: Law, theta: Array, at: Mapping[str, Array]) -> Array:
    """What each linear coefficient multiplies, [coefficients, G, *shape], at log2 of the variables."""
    shape = next(iter(at.values())).shape
    wide = (len(theta), *(1,) * len(shape))
    values = {name: theta[:, i].reshape(wide) for i, name in enumerate(law.nonlinear)}
    if law.monomials is not None:  # products of powers: one power each
        return np.stack(
            [_power(law.monomials[name], values, at, (len(theta), *shape)) for name in law.linear]
        )
    sizes = {name: np.exp2(np.clip(u, -200.0, 200.0))[None] for name, u in at.items()}
    parts = []
    with np.errstate(all="ignore"):
        for name in law.linear:
            ones = {other: 1.0 if other == name else 0.0 for other in law.linear}
            made = law.function(**sizes, **values, **ones)
            full = np.broadcast_to(made, (len(theta), *shape))
            parts.append(np.nan_to_num(full, nan=0.0, posinf=1e150, neginf=-1e150))
    return np.stack(parts)


def _power(
    exponents: Mapping[str, str], values: Mapping[str, Array], at: Mapping[str, Array], shape: tuple[int, ...]
) -> Array:
    """The product of the variables to minus their exponents, of the shape."""
    total = np.zeros(shape)
    for exponent, variable in exponents.items():
        total -= values[exponent] * at[variable]
    return np.exp2(np.clip(total, -1000.0, 500.0))


def _least_squares(basis: Array, y: Array) -> tuple[Array, Array]:
    """Coefficients at 0 or above of y [P, N] on the basis [p, G, P, N]: [p, G, P]; what is left: [G, P]."""
    p = len(basis)
    gram = np.einsum("agpn,bgpn->gpab", basis, basis, optimize=True)
    rhs = np.einsum("agpn,pn->gpa", basis, y, optimize=True)
    whole = (y**2).sum(axis=-1)
    best = np.broadcast_to(whole, gram.shape[:2]).copy()
    found = np.zeros((*gram.shape[:2], p))
    for size in range(1, p + 1):
        for some in combinations(range(p), size):
            part, to = gram[..., some, :][..., some], rhs[..., some]
            ridge = 1e-10 * np.einsum("gpaa->gp", part)[..., None, None] + 1e-30
            c = np.linalg.solve(part + ridge * np.eye(size), to[..., None])[..., 0]
            left = (
                whole - 2 * (c * to).sum(axis=-1) + np.einsum("gpa,gpab,gpb->gp", c, part, c, optimize=True)
            )
            better = (c >= 0).all(axis=-1) & (left < best)
            best = np.where(better, left, best)
            trial = np.zeros_like(found)
            trial[..., some] = c
            found = np.where(better[..., None], trial, found)
    return np.moveaxis(found, -1, 0), np.maximum(best, 0.0)
