"""From a task's curves to one surface a group and factor: along the data size, and across the factor.

Across a factor the same mechanism works a second time: at every data size the curves' forecasts are points
over the log of the factor, and what lies between and beyond them is an axis of its own, pooled over the
methods and data sizes of the task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.forecasts.context import Places
from finescale.forecasts.curves import Curves
from finescale.forecasts.discrepancy import Discrepancy, Prior, interpolated
from finescale.forecasts.extrapolate import Axis, Bundle, Reached, with_loss
from finescale.forecasts.factor_slices import FactorSlice
from finescale.forecasts.grid import BELOW, Surface, data_nodes, factor_nodes
from finescale.forecasts.members import Increment
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.student import quantile
from finescale.forecasts.trend import stacked
from finescale.records.records import DATA_SIZE

Array = np.ndarray[Any, Any]
_SAME = 1e-9
_TAIL = 0.95


@dataclass(frozen=True)
class Learned:
    """What the task's curves say at the grid's data sizes.

    Attributes:
        curves: The curves.
        axis: The axis of the data size.
        d: Its nodes, [D].
        reached: Every curve there.
    """

    curves: Curves
    axis: Axis
    d: Array
    reached: Reached


@dataclass(frozen=True)
class Across:
    """What a task's curves say across one factor.

    Attributes:
        surfaces: One a slice.
        axis: What was learned across the factor.
        carried: Each slice's points at every node of the data size.
    """

    surfaces: list[Surface]
    axis: Axis
    carried: list[Bundle]


def learned(
    curves: Curves,
    members: Mapping[str, Increment],
    scale: OutcomeScale,
    prior: Prior,
    loss: Learned | None = None,
) -> Learned:
    """Learns the data size's axis and carries every curve along it.

    Args:
        curves: The curves.
        members: The members.
        scale: The outcome's scale.
        prior: Of the discrepancy.
        loss: The losses of the same runs, for members that go through them.
    """
    bundle = Bundle(curves.paths, curves.units, curves.ceiling(scale), curves.noise.told, kin=curves.kin)
    if loss is not None:
        bundle = with_loss(bundle, bundle.paths, loss.axis, loss.axis.bundle)
    axis = Axis(bundle, members, scale, prior)
    d = data_nodes(bundle.paths.u[bundle.paths.there])
    reached = axis.at(d)
    first, several = bundle.paths.ends[0], bundle.paths.count > 1
    for row, curve in enumerate(curves.curves):
        if np.isfinite(curve.untuned):
            beside = several & ((bundle.units == bundle.units[row]) | (curves.kin == curves.kin[row]))
            start = min(first[row], first[beside].min(initial=np.inf))
            _towards_untuned(reached, row, curve.untuned, d, start)
    return Learned(curves, axis, d, reached)


def _towards_untuned(reached: Reached, row: int, untuned: float, d: Array, first: float) -> None:
    """Below a size, its own smallest or that of the curves it follows, one goes to the untuned outcome."""
    below = d < first - _SAME
    share = np.minimum((first - d[below]) / BELOW, 1.0)
    start = reached.centre[row, np.searchsorted(d, first - _SAME)]
    reached.centre[row, below] = start + share * (untuned - start)
    reached.beyond[row, below] *= 1 - share


def across(  # noqa: PLR0917
    known: Learned,
    slices: Sequence[FactorSlice],
    members: Mapping[str, Increment],
    scale: OutcomeScale,
    priors: tuple[Prior, Prior],
    loss: Across | None = None,
) -> Across:
    """Surfaces over one factor, for all groups of a task that vary in it.

    Args:
        known: The curves along the data size.
        slices: The slices of this factor.
        members: The members.
        scale: The outcome's scale.
        priors: Of the discrepancy beyond the factor's values, and between two of them.
        loss: The losses of the same runs across the factor, for members that go through them.
    """
    parts, units, ceiling, owners = [], [], [], []
    measured: list[Array] = []
    for number, piece in enumerate(slices):
        curves = [known.curves.curves[i] for i in piece.curves]
        measured.append(np.zeros(known.d.size, dtype=bool))
        for node, u in enumerate(known.d):
            inside = np.array([c.u[0] - _SAME <= u <= c.u[-1] + _SAME for c in curves])
            run = any(np.abs(c.u - u).min() < _SAME for c in curves)
            if run and np.unique(piece.x[inside]).size > 1:
                measured[number][node] = True
                rows = piece.curves[inside]
                parts.append(_points(known, piece.x[inside], rows, node))
                units.append(node)
                ceiling.append(float(known.axis.bundle.ceiling[rows].max()))
                owners.append(number)
    if not parts:  # sizes that no two values of the factor share
        for number, piece in enumerate(slices):
            parts.append(_points(known, piece.x, piece.curves, 0))
            units.append(0)
            ceiling.append(float(known.axis.bundle.ceiling[piece.curves].max()))
            owners.append(number)
    alike = len(parts) / len(set(owners))
    places = Places(
        str(slices[0].factor), np.array(owners), known.d[np.array(units)], np.ones(len(owners), dtype=bool)
    )
    bundle = Bundle(stacked(parts), np.array(units), np.array(ceiling), places=places)
    if loss is not None:
        bundle = with_loss(bundle, bundle.paths, loss.axis, loss.axis.bundle)
    axis = Axis(bundle, members, scale, priors[0], alike)
    inside = interpolated(axis.bundle.paths, bundle.units, priors[1])
    carried = [_carried(known, piece, run) for piece, run in zip(slices, measured, strict=True)]
    asked = carried
    if loss is not None:
        others = zip(carried, loss.carried, strict=True)
        asked = [with_loss(own, bundle.paths, loss.axis, theirs) for own, theirs in others]
    made = [_surface(known, piece, axis, inside, own) for piece, own in zip(slices, asked, strict=True)]
    return Across(made, axis, carried)


def _points(known: Learned, x: Array, curves: Array, node: int) -> tuple[Array, Array, Array]:
    """The curves at one data size as points over the factor: log2 values, z, variances."""
    return _merged(x, known.reached.centre[curves, node], known.reached.seen[curves, node])


def _merged(x: Array, z: Array, seen: Array) -> tuple[Array, Array, Array]:
    """Points over the factor; models of one size are averaged, and what they differ by is noise."""
    values, at, count = np.unique(np.round(x, 9), return_inverse=True, return_counts=True)
    mean = np.bincount(at, z) / count
    between = np.bincount(at, (z - mean[at]) ** 2) / np.maximum(count - 1, 1) / count
    return values, mean, np.bincount(at, seen**2) / count**2 + between


def _carried(known: Learned, piece: FactorSlice, measured: Array) -> Bundle:
    """One group's points over the factor at every node of the data size: what an axis carries on.

    Laws over factor and data size are fitted at the nodes that were measured, [D].
    """
    columns = [_points(known, piece.x, piece.curves, node) for node in range(known.d.size)]
    count = len(columns)
    ceiling = np.full(count, known.axis.bundle.ceiling[piece.curves].max())
    places = Places(str(piece.factor), np.zeros(count, int), known.d, measured)
    return Bundle(stacked(columns), np.arange(count), ceiling, places=places)


def _surface(known: Learned, piece: FactorSlice, axis: Axis, inside: Discrepancy, own: Bundle) -> Surface:
    """One group's surface: the curves at their own values, the axis between and beyond them."""
    x = factor_nodes(piece.x)
    reached, paths, count = known.reached, own.paths, known.d.size
    centre, seen = axis.carried(own, x)
    values = paths.u[0]
    beyond = np.stack([np.interp(x, piece.x, reached.beyond[piece.curves, node]) for node in range(count)])
    for place, value in enumerate(values):
        node = int(np.argmin(np.abs(x - value)))
        centre[:, node] = paths.z[:, place]
        seen[:, node] = np.sqrt(paths.noise[:, place])
    away = np.maximum(x - values[-1], 0.0) + np.maximum(values[0] - x, 0.0)
    run = np.abs(x[:, None] - values[None]).min(axis=1) < _SAME
    within = np.where(run, 0.0, _in_tails_of(known.axis, inside) * inside.scale)
    aside = np.where(away > 0, _in_tails_of(known.axis, axis.discrepancy) * axis.discrepancy.at(away), within)
    rho = np.where(away > 0, axis.discrepancy.rho, inside.rho)
    curves = [known.curves.curves[i] for i in piece.curves]
    ranges = {
        DATA_SIZE: (2 ** min(c.u[0] for c in curves), 2 ** max(c.u[-1] for c in curves)),
        str(piece.factor): (2 ** float(piece.x[0]), 2 ** float(piece.x[-1])),
    }
    both = beyond**2 + aside**2
    parts = known.axis.discrepancy.rho * beyond**2 + rho * aside**2
    shared = np.where(both > 0, parts / np.where(both > 0, both, 1.0), rho)
    return Surface(piece.factor, known.d, x, centre.T, seen.T, np.sqrt(both).T, shared.T, ranges)


def _in_tails_of(axis: Axis, other: Discrepancy) -> float:
    """What makes another discrepancy's intervals right when it is drawn with this axis's tails."""
    return float(quantile(_TAIL, other.freedom) / quantile(_TAIL, axis.discrepancy.freedom))


def alone(known: Learned, piece: FactorSlice) -> Surface:
    """The surface of one curve."""
    row = int(piece.curves[0])
    curve, reached = known.curves.curves[row], known.reached
    ranges = {DATA_SIZE: (float(2 ** curve.u[0]), float(2 ** curve.u[-1]))}
    tables = (reached.centre[row : row + 1], reached.seen[row : row + 1], reached.beyond[row : row + 1])
    shared = np.full_like(tables[0], known.axis.discrepancy.rho)
    return Surface(None, known.d, np.zeros(1), *tables, shared, ranges)
