"""The members of a forecast: what could happen beyond the last size, one function each.

A member sees paths (z over log2 of the size) and says how z moves on: its increment from the last size to
each target. Laws of the zoo are members, and so is a law of one's own once it is registered (``fs.law``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from finescale.errors import UsageError, nearest
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import Paths, Smoother, Wander
from finescale.laws.formulas import LAWS, contenders
from finescale.laws.law import Law

Array = np.ndarray[Any, Any]
SIMPLE = ("no change", "line", "trend")
"""The members that are no laws: nothing changes; a straight line; the pooled local trend."""
_ZOO = frozenset(LAWS)
_PER_AXIS = {1: 41, 2: 16, 3: 8, 4: 5}
_REACH = 8.0
"""A law's break is looked for up to twice this many times beyond the largest size."""
_WARM = 1.0
"""Errors of a law's fit count against a parameter by this many times the noise: no law is exact."""


@dataclass(frozen=True)
class Context:
    """What the members know of the whole table.

    Attributes:
        scale: The outcome's scale.
        pooled: The trend's pooled variances.
        noise: A typical variance of a setting's z around a law.
        sizes: Smallest and largest size.
    """

    scale: OutcomeScale
    pooled: Wander
    noise: float
    sizes: tuple[float, float]


Increment = Callable[[Paths, Array, Context], Array]
"""Paths, targets [P, H] and the context to increments of z from the last size, [P, H]."""


def members_of(names: Sequence[str | Law] | None) -> dict[str, Increment]:
    """The members by name; None: the simple ones, the zoo's, and every law that a user has registered.

    Raises:
        UsageError: A name that is no member.
    """
    own = [name for name, law in LAWS.items() if name not in _ZOO and _is_curve(law)]
    laws = dict.fromkeys((*contenders("curve"), *own))
    chosen = [*SIMPLE, *laws] if names is None else list(names)
    found: dict[str, Increment] = {}
    for item in chosen:
        name = item.name if isinstance(item, Law) else item
        if name in SIMPLE or name == "loglinear":
            found[name] = {"no change": _no_change, "trend": _trend}.get(name, _line)
            continue
        law = item if isinstance(item, Law) else LAWS.get(name)
        if law is None or not _is_curve(law):
            known = [*SIMPLE, *(n for n, made in LAWS.items() if _is_curve(made))]
            raise UsageError(
                f"no member is called `{name}`", wanted=", ".join(known), remedy=nearest(name, known)
            )
        found[name] = LawMember(law)
    return found


def across_members(chosen: Mapping[str, Increment]) -> dict[str, Increment]:
    """The members across a factor: models are few and scatter, so the line goes through all of them."""
    return {name: _straight if move is _line else move for name, move in chosen.items()}


def _is_curve(law: Law) -> bool:
    return law.per_curve and len(law.variables) == 1


def _last(paths: Paths) -> tuple[Array, Array]:
    rows, at = np.arange(len(paths.u)), paths.count - 1
    return paths.u[rows, at], paths.z[rows, at]


def _no_change(paths: Paths, u: Array, context: Context) -> Array:
    return np.zeros_like(u)


def _line(paths: Paths, u: Array, context: Context) -> Array:
    """The straight line through the last doubling of the size, or the last two points."""
    last, _ = _last(paths)
    rank = np.arange(paths.u.shape[1])[None]
    used = paths.there & ((paths.u >= last[:, None] - 1 - 1e-9) | (rank >= paths.count[:, None] - 2))
    return _through(paths, u, used)


def _through(paths: Paths, u: Array, used: Array) -> Array:
    """The increments of the least-squares line through the points that are used."""
    last, _ = _last(paths)
    count = np.maximum(used.sum(axis=1), 1)[:, None]
    x, y = np.where(used, paths.u, 0.0), np.where(used, paths.z, 0.0)
    dx = np.where(used, x - x.sum(axis=1, keepdims=True) / count, 0.0)
    dy = np.where(used, y - y.sum(axis=1, keepdims=True) / count, 0.0)
    wide = (dx**2).sum(axis=1)
    slope = np.where(wide > 0, (dx * dy).sum(axis=1) / np.where(wide > 0, wide, 1.0), 0.0)
    return slope[:, None] * (u - last[:, None])


def _straight(paths: Paths, u: Array, context: Context) -> Array:
    """The straight line through all points."""
    return _through(paths, u, paths.there)


def _trend(paths: Paths, u: Array, context: Context) -> Array:
    last, _ = _last(paths)
    smooth = Smoother(paths, context.pooled)
    mean = smooth.at(np.concatenate([last[:, None] + 1e-6, u], axis=1))[0]
    return mean[:, 1:] - mean[:, :1]


class LawMember:
    """A law over the size: its parameters averaged over a grid by how well they fit (no single best fit).

    At each point of the grid of nonlinear parameters the coefficients are least squares at 0 or above, on z
    to first order; the increments are averaged with the weights of a normal likelihood. So the parameters'
    uncertainty is in the mean at two points a path and at two hundred.
    """

    def __init__(self, law: Law) -> None:
        """Makes a member of a law of one variable."""
        self.law = law

    def __call__(self, paths: Paths, u: Array, context: Context) -> Array:
        """The increments, [P, H]."""
        scale, there = context.scale, paths.there
        theta = self._grid(context.sizes)
        last, _ = _last(paths)
        asked_for = np.where(np.isnan(u), last[:, None], u)
        targets = np.concatenate([last[:, None], asked_for], axis=1)
        z = np.where(there, paths.z, 0.0)
        loss = np.where(there, scale.z_to_loss(z), 0.0)
        weight = np.where(there, scale.slope(z), 0.0)
        fitted = self._basis(theta, np.where(there, paths.u, last[:, None])) * weight  # [p, G, P, N]
        size = np.maximum(np.abs(fitted).max(axis=-1, keepdims=True), 1e-300)
        c, rest = _least_squares(fitted / size, loss * weight)
        asked = self._basis(theta, targets) / size
        with np.errstate(all="ignore"):
            told = scale.to_z(scale.from_loss((c[..., None] * asked).sum(axis=0)))  # [G, P, H + 1]
        usable = np.isfinite(told).all(axis=-1) & np.isfinite(rest)
        fit = np.where(usable, -0.5 * rest / (_WARM * context.noise), -np.inf)
        fit = fit - np.max(fit, axis=0, initial=-1e300)
        share = np.exp(np.maximum(fit, -700.0)) * usable
        total = np.maximum(share.sum(axis=0), 1e-300)
        told = np.where(usable[..., None], told, 0.0)
        mean = np.einsum("gp,gph->ph", share / total, told)
        moved = np.where((paths.count > 1)[:, None], mean[:, 1:] - mean[:, :1], 0.0)  # one point has no slope
        return np.where(np.isnan(u), np.nan, moved)

    def _grid(self, sizes: tuple[float, float]) -> Array:
        """Nonlinear parameters, [G, parameters]."""
        law = self.law
        if law.starts is not None:
            reach = np.array([sizes[0], _REACH * sizes[1]])  # a break may lie beyond the data
            return law.starts({law.variables[0]: reach}).reshape(-1, len(law.nonlinear))
        if not law.nonlinear:
            return np.zeros((1, 0))
        steps = _PER_AXIS.get(len(law.nonlinear), 3)
        axes = [
            np.geomspace(r.low, r.high, steps) if r.log else np.linspace(r.low, r.high, steps)
            for r in law.nonlinear.values()
        ]
        return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=-1)

    def _basis(self, theta: Array, u: Array) -> Array:
        """What each linear coefficient multiplies, [coefficients, G, *u.shape]."""
        wide = (len(theta), *(1,) * u.ndim)
        values = {name: theta[:, i].reshape(wide) for i, name in enumerate(self.law.nonlinear)}
        sizes: Mapping[str, Array] = {self.law.variables[0]: np.exp2(np.clip(u, -200.0, 200.0))[None]}
        full = (len(theta), *u.shape)
        parts = []
        with np.errstate(all="ignore"):
            for name in self.law.linear:
                ones = {other: 1.0 if other == name else 0.0 for other in self.law.linear}
                made = self.law.function(**sizes, **values, **ones)
                parts.append(np.nan_to_num(np.broadcast_to(made, full), nan=0.0, posinf=1e150, neginf=-1e150))
        return np.stack(parts)


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
