"""The members of a forecast: what could happen beyond the last size, one function each.

A member sees paths (z over log2 of the size) and says how z moves on: its increment from the last size to
each target. Laws of the zoo are members, and so is a law of one's own once it is registered (``fs.law``).
Across a factor (model size, say) laws over factor and data size are members too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finescale.errors import UsageError, nearest
from finescale.forecasts.context import Context
from finescale.forecasts.law_members import LawMember, SurfaceMember, is_curve, is_surface
from finescale.forecasts.trend import Paths, Smoother
from finescale.laws.formulas import LAWS, contenders
from finescale.laws.law import Law

Array = np.ndarray[Any, Any]
SIMPLE = ("no change", "line", "trend")
"""The members that are no laws: nothing changes; a straight line; the pooled local trend."""
_ZOO = frozenset(LAWS)

Increment = Callable[[Paths, Array, Context], Array]
"""Paths, targets [P, H] and the context to increments of z from the last size, [P, H]."""


def members_of(names: Sequence[str | Law] | None) -> dict[str, Increment]:
    """The members over the data size, by name.

    Args:
        names: Names of members, and laws; None: the simple ones, the zoo's, and every law that a user has
            registered. Laws of two variables are members across their factor: with none of one variable
            beside them, the data size has all of its own.

    Raises:
        UsageError: A name that is no member.
    """
    own = [name for name, law in LAWS.items() if name not in _ZOO and is_curve(law)]
    usual = [*SIMPLE, *dict.fromkeys((*contenders("curve"), *own))]
    chosen = usual if names is None else [item for item in names if not _named_surface(item)] or usual
    found: dict[str, Increment] = {}
    for item in chosen:
        name = item.name if isinstance(item, Law) else item
        if name in SIMPLE or name == "loglinear":
            found[name] = {"no change": _no_change, "trend": _trend}.get(name, _line)
            continue
        law = item if isinstance(item, Law) else LAWS.get(name)
        if law is None or not is_curve(law):
            known = [*SIMPLE, *(n for n, made in LAWS.items() if is_curve(made) or is_surface(made))]
            raise UsageError(
                f"no member is called `{name}`", wanted=", ".join(known), remedy=nearest(name, known)
            )
        found[name] = LawMember(law)
    return found


def across_members(names: Sequence[str | Law] | None) -> dict[str, Increment]:
    """The members across a factor: those over the data size, and the laws over factor and data size.

    Models are few and scatter, so the line goes through all of them.

    Args:
        names: As ``members_of``.

    Raises:
        UsageError: As ``members_of``.
    """
    surfaces = [_named_surface(item) for item in (names or ())]
    if names is None:
        own = [name for name, law in LAWS.items() if name not in _ZOO and is_surface(law)]
        surfaces = [LAWS[name] for name in dict.fromkeys((*contenders("surface"), *own))]
    found: dict[str, Increment] = {law.name: SurfaceMember(law) for law in surfaces if law is not None}
    if names is None or len(found) < len(names):
        curves = members_of(names)
        return {name: _straight if move is _line else move for name, move in curves.items()} | found
    return found


def _named_surface(item: str | Law) -> Law | None:
    """The law of two variables that is meant; None for every other member."""
    law = LAWS.get(item) if isinstance(item, str) else item
    return law if law is not None and is_surface(law) else None


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
