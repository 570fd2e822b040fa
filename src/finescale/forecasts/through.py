"""A score through the loss: it moves as the loss is expected to, along a monotone curve from loss to score.

The curve is a sigmoid in the log of the loss between a worst score and a best one (a line, where a score has
no two bounds), averaged over its parameters by how well they fit, so that it is as steep as they are sure of.
There are two such members: one curve for all paths of a task, and one for each path. Only the movement along
it counts - a path goes on from its own last score - and the backtest says how far it leads astray.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from finescale.forecasts.context import Beside, Context
from finescale.forecasts.law_members import averaged
from finescale.forecasts.members import Increment
from finescale.forecasts.trend import Paths
from finescale.laws.law import Law, Range

Array = np.ndarray[Any, Any]
_STEPS, _MIDDLES = 12, 14
_STEEPNESS = (0.7, 25.0)
"""The sigmoid's steepness over the range of the losses that were seen: nearly straight, to nearly a jump."""
_ASIDE = 0.6
"""Its middle may lie by this share of that range outside it."""
_LEAST = 0.003
"""Losses that differ by less than so many doublings tell no curve."""


def _lost(D: Array, A: Array, E: Array, k: Array, d: Array) -> Array:
    """What is lost of a score at 1 / loss: it falls with the loss, as A and E are 0 or above."""
    return E + A / (1 + (D / d) ** k)


CURVE = Law("through", _lost, ("D",), ("A", "E"), {"k": Range(0.02, 1e4, log=True), "d": Range(1e-30, 1e30)})
"""The curve from the loss to what is lost of a bounded score; D is 1 / loss."""


def through_members(loss: str) -> dict[str, Increment]:
    """The members that go through the loss.

    Args:
        loss: The loss's name, for theirs.
    """
    return {
        f"through {loss}": ThroughLoss(one_curve=True),
        f"through {loss}, each its own curve": ThroughLoss(one_curve=False),
    }


class ThroughLoss:
    """The score moves as the loss's own forecast says, along the curve from loss to score."""

    def __init__(self, *, one_curve: bool) -> None:
        """Makes a member: of one curve for all paths, or of one for each."""
        self.one_curve = one_curve

    def __call__(self, paths: Paths, u: Array, context: Context) -> Array:
        """The increments of the score, [P, H]; 0 where there is no loss beside it."""
        nothing = np.where(np.isnan(u), np.nan, 0.0)
        beside = context.beside
        if beside is None:
            return nothing
        last = paths.ends[1]
        known = _until(beside.own, last, paths.u.shape[1])
        start = known.z[np.arange(len(last)), known.count - 1][:, None]
        moved = beside.onwards(known, beside.rows, np.where(np.isnan(u), last[:, None], u))
        asked = np.concatenate([start, start + moved], axis=1)
        if self.one_curve:
            told = _one_curve(beside, last, asked, context)
        else:
            told = _score_at(known.z, paths.z, known.there & paths.there, asked, context)
        return np.where(np.isnan(u), np.nan, told[:, 1:] - told[:, :1])


def _one_curve(beside: Beside, last: Array, asked: Array, context: Context) -> Array:
    """The scores by one curve for all paths; in the backtest it is fitted to what came before the cut."""
    told = np.empty_like(asked)
    ends = np.round(last, 6) if beside.cut else np.full(len(last), np.inf)
    for end in np.unique(ends):
        rows = np.flatnonzero(ends == end)
        seen = beside.every.there & (beside.every.u <= end + 1e-6)
        loss, score = beside.every.z[seen][None], beside.score.z[seen][None]
        found = _score_at(loss, score, np.ones_like(loss, bool), asked[rows].reshape(1, -1), context)
        told[rows] = found.reshape(rows.size, -1)
    return told


def _until(paths: Paths, last: Array, most: int) -> Paths:
    """The paths up to their last known size, with at most so many points."""
    kept = paths.there & (paths.u <= last[:, None] + 1e-6)
    return Paths(*(np.where(kept, table, np.nan)[:, :most] for table in (paths.u, paths.z, paths.noise)))


def _score_at(loss: Array, score: Array, there: Array, asked: Array, context: Context) -> Array:
    """The score's z at losses, by curves through points.

    Args:
        loss: z of the loss at the points, [P, N].
        score: z of the score there, [P, N].
        there: Where there is a point.
        asked: z of the losses that are asked for, [P, K].
        context: The table.

    Returns:
        z, [P, K]; the same at every loss where the points tell no curve.
    """
    x = np.where(there, loss, np.nan)
    low, high = np.nanmin(x), np.nanmax(x)
    span = max((high - low) / math.log(2), _LEAST)
    if context.scale.kind != "logit":
        return _line(np.where(there, loss, 0.0), np.where(there, score, 0.0), there, asked)
    steep, middle = np.meshgrid(
        np.geomspace(*_STEEPNESS, _STEPS) / span, np.linspace(-_ASIDE, 1 + _ASIDE, _MIDDLES), indexing="ij"
    )
    theta = np.stack([steep, 2.0 ** (middle * span)], axis=-1).reshape(-1, 2)

    def of_loss(z: Array) -> dict[str, Array]:  # log2 of the worst loss over this one
        return {"D": (high - z) / math.log(2)}

    told = averaged(
        CURVE, theta, (of_loss(np.where(there, loss, high)), score, there), of_loss(asked), context
    )
    wide = np.ptp(np.where(there, loss, loss[:, :1]), axis=1) > _LEAST * math.log(2)
    return np.where(wide[:, None], told, 0.0)


def _line(loss: Array, score: Array, there: Array, asked: Array) -> Array:
    """The least-squares line, which does not fall where the loss rises (lower is better in both)."""
    count = np.maximum(there.sum(axis=1), 1)[:, None]
    middle = loss.sum(axis=1, keepdims=True) / count
    dx = np.where(there, loss - middle, 0.0)
    dy = np.where(there, score - score.sum(axis=1, keepdims=True) / count, 0.0)
    wide = (dx**2).sum(axis=1)
    slope = np.where(wide > 0, (dx * dy).sum(axis=1) / np.where(wide > 0, wide, 1.0), 0.0)
    return np.maximum(slope, 0.0)[:, None] * (asked - middle)
