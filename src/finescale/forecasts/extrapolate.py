"""One axis: paths over the log of a size, carried on below, between and beyond their points.

Between its first and last size a path is the pooled trend's smooth curve, and at a measured size the measured
mean weighs in. Beyond the last size it goes on from there by the members' average increment; before the first
by half the straight line. The data size is such an axis, and so is a factor (model size, pretraining tokens,
PET size) at each data size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from finescale.forecasts.alongside import PRIOR, alongside, others_share
from finescale.forecasts.backtest import Origins, origins
from finescale.forecasts.context import Beside, Context, Places
from finescale.forecasts.discrepancy import Discrepancy, Prior, fitted
from finescale.forecasts.members import Increment
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import Paths, Smoother, thinned, wander
from finescale.forecasts.weights import Weights, pooled, together

Array = np.ndarray[Any, Any]
_BACK, _BACK_DOUBT, _ASIDE = 0.5, 0.8, 1e-6
"""Before the first size: this share of the straight line through the first sizes, and the doubt about that as
a share of itself. Curves that keep to a law go on at the whole slope or a steeper one, scores and losses of
classes at none."""


@dataclass(frozen=True)
class Bundle:
    """Paths that are forecast together.

    Attributes:
        paths: The paths.
        units: Which unit each path is of, [P]: the methods on one model are a unit.
        ceiling: The largest z that a forecast may reach, [P].
        told: The share of the paths' noise that repeated runs tell: only that is known not to be the
            forecast's own error.
        places: Where the paths lie, for those that go across a factor.
        beside: The loss beside the paths of a score that is forecast through it.
        kin: Which method each path is of, whatever its model, [P]; None: short paths follow no others.
    """

    paths: Paths
    units: Array
    ceiling: Array
    told: float = 1.0
    places: Places | None = None
    beside: Beside | None = None
    kin: Array | None = None


@dataclass(frozen=True)
class Reached:
    """Where the paths are at some places, on the outcome's scale: centre and the two kinds of doubt.

    Attributes:
        centre: Medians, [P, H].
        seen: Standard deviation from the runs' noise (and from between the sizes), [P, H].
        beyond: Scale of the discrepancy beyond the data, [P, H].
    """

    centre: Array
    seen: Array
    beyond: Array


class Axis:
    """What the paths of one task teach about one axis.

    Attributes:
        weights: The members' weights.
        discrepancy: How wrong the forecast may be.
        misses: Each member's mean absolute error in the backtest, in the outcome's unit, [members].
        miss: That of their average; NaN where nothing could be tested.
    """

    def __init__(
        self,
        bundle: Bundle,
        members: Mapping[str, Increment],
        scale: OutcomeScale,
        prior: Prior,
        alike: float = 1.0,
    ) -> None:
        """Tests the members on the paths' earlier sizes, and weighs them.

        Args:
            bundle: The paths.
            members: The members.
            scale: The outcome's scale.
            prior: The prior of the discrepancy.
            alike: So many paths tell what one tells.
        """
        self.bundle, self._members, self._prior, paths = bundle, members, prior, bundle.paths
        thin = thinned(paths)
        self.pooled = wander(thin)
        typical = float(np.mean(paths.noise[paths.there]))
        u = paths.u[paths.there]
        sizes = (2.0 ** float(u.min()), 2.0 ** float(u.max()))
        self._context = Context(scale, self.pooled, max(self.pooled.nugget + typical, 1e-6), sizes)
        cuts = origins(thin)
        each = np.zeros((len(members), 0, 0)) if cuts is None else self._tested(cuts)
        self.weights: Weights = pooled(each, bundle.units, cuts, alike)
        self.misses, self.miss = np.full(len(members), np.nan), float("nan")
        self._others_share = PRIOR
        if cuts is None:
            self.discrepancy: Discrepancy = fitted(None, bundle.units, None, prior)
            return
        last = cuts.last[:, None]
        centre = np.tensordot(self.weights.share, each, axes=1)
        if bundle.kin is not None:  # by its own movement: a curve that others reach beyond ends alone
            self._others_share = others_share(centre, cuts, thin, (bundle.units, bundle.kin))
        places = np.round(cuts.at, 6)
        centre = together(centre, bundle.units[cuts.path], self.weights.own, places)
        told = replace(cuts, noise=bundle.told * cuts.noise)
        self.discrepancy = fitted(last + centre - cuts.z, bundle.units, told, prior, alike)
        off = np.abs(scale.from_z(last + each) - scale.from_z(cuts.z))
        self.misses = np.nanmean(off, axis=(1, 2))
        self.miss = float(np.nanmean(np.abs(scale.from_z(last + centre) - scale.from_z(cuts.z))))

    def _tested(self, cuts: Origins) -> Array:
        """Each member's increments at the backtest's targets, [members, B, T]."""
        most = self.bundle.ceiling[cuts.path][:, None] - _last(cuts.known)[:, None]
        context = self._of(self.bundle).take(cuts.path)
        moved = [move(cuts.known, cuts.u, context) for move in self._members.values()]
        return np.stack([np.minimum(each, most) for each in moved])

    def at(self, u: Array) -> Reached:
        """Every path at nodes u [H], log2 of the sizes: all that were measured are among them."""
        first, last = self.bundle.paths.ends
        away = np.maximum(u - last[:, None], 0.0) + np.maximum(first[:, None] - u, 0.0)
        centre, seen = self.carried(self.bundle, u)
        back = _backward(self.bundle.paths, np.broadcast_to(u, away.shape))
        beyond = np.hypot(self.discrepancy.at(away), _BACK_DOUBT * back)
        if self.bundle.kin is not None:
            kinds = (self.bundle.units, self.bundle.kin)
            share, step = self._others_share, self._prior.scale
            centre, doubt = alongside(centre, u, self.bundle.paths, kinds, share=share, step=step)
            centre = np.minimum(centre, self.bundle.ceiling[:, None])
            beyond = np.hypot(beyond, doubt)
        return Reached(centre, seen, beyond)

    def carried(self, bundle: Bundle, u: Array) -> tuple[Array, Array]:
        """Centre and standard deviation from noise, [P, H], of paths of the same kind at u [H]."""
        first, last = bundle.paths.ends
        wide = np.broadcast_to(u, (len(first), u.size))
        inside = np.clip(wide, first[:, None], last[:, None])
        if bundle is not self.bundle:  # others' own deviations are not those of what was not run
            inside = inside + _ASIDE
        level, variance = Smoother(bundle.paths, self.pooled).at(inside)
        moved = self._forward(bundle, np.maximum(wide, last[:, None])) + _backward(bundle.paths, wide)
        return np.minimum(level + moved, bundle.ceiling[:, None]), np.sqrt(variance)

    def _of(self, bundle: Bundle) -> Context:
        return replace(self._context, places=bundle.places, beside=bundle.beside)

    def onwards(self, bundle: Bundle, known: Paths, rows: Array, u: Array) -> Array:
        """The expected increments of paths from their last point to targets.

        Args:
            bundle: Paths of the axis's kind.
            known: Some of them, as far as they are known, [P, N].
            rows: Which of the bundle those are, [P].
            u: Targets, [P, H].
        """
        places = None if bundle.places is None else bundle.places.take(rows)
        return self._forward(Bundle(known, bundle.units[rows], bundle.ceiling[rows], places=places), u)

    def _forward(self, bundle: Bundle, u: Array) -> Array:
        paths = thinned(bundle.paths)
        most = bundle.ceiling[:, None] - _last(paths)[:, None]
        context = self._of(bundle)
        each = [np.minimum(move(paths, u, context), most) for move in self._members.values()]
        centre = np.tensordot(self.weights.share, np.stack(each), axes=1)
        place, several = np.round(paths.ends[1], 6), paths.count > 1
        return together(centre, bundle.units, self.weights.own, place, several)


def with_loss(own: Bundle, score: Paths, axis: Axis, theirs: Bundle) -> Bundle:
    """Paths of a score with the losses of the same points beside them.

    Args:
        own: The paths that are asked about.
        score: All paths of the score, to which the curve from loss to score is fitted.
        axis: What the losses teach: its paths are those of the score.
        theirs: The losses of the paths that are asked about.
    """
    beside = Beside(
        thinned(score),
        thinned(axis.bundle.paths),
        thinned(theirs.paths),
        np.arange(len(theirs.units)),
        partial(axis.onwards, theirs),
    )
    return replace(own, beside=beside)


def _last(paths: Paths) -> Array:
    return paths.z[np.arange(len(paths.z)), paths.count - 1]


def _backward(paths: Paths, u: Array) -> Array:
    before = np.minimum(u - paths.u[:, :1], 0.0)
    if paths.u.shape[1] < 2:
        return np.zeros_like(before)
    step = np.maximum(paths.u[:, 1] - paths.u[:, 0], 0.25)
    return _BACK * np.nan_to_num((paths.z[:, 1] - paths.z[:, 0]) / step)[:, None] * before
