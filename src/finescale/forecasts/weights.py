"""How much each member counts: weights from the pooled backtest, shrunk towards equal ones.

The forecast's centre is the weighted mean of the members on the outcome's scale (a quantile pool: the mean of
logs, or of log odds). The weights minimise the mean square of the pooled errors per doubling, plus a pull
towards equal weights that is worth ``PULL`` paths: few paths, nearly equal weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.forecasts.backtest import Origins

Array = np.ndarray[Any, Any]
PULL = 1.5
"""The pull towards equal weights, in paths: chosen on the tables of benchmarks/forecasts.py."""
OWN_SPREAD, ALIKE_CELLS = 0.5, 4.0
"""What two methods differ by at the last size is believed until the backtest shows that a method's own
movement can be told: the share of it that is believed has a normal prior around 0 with this standard
deviation, and so many of the backtest's cells, which overlap, tell what one tells."""
_STEPS = 400


@dataclass(frozen=True)
class Weights:
    """The members' weights.

    Attributes:
        share: By member, [members]; they add to 1.
        error: Root mean square error of each in the backtest, per doubling of the size, on the outcome's
            scale, [members]; NaN where nothing could be tested.
        own: How much of a method's own movement, apart from that of all methods on the same model, is
            believed.
    """

    share: Array
    error: Array
    own: float


def pooled(increments: Array, units: Array, cuts: Origins | None, alike: float = 1.0) -> Weights:
    """The weights.

    Args:
        increments: Each member's increments at the backtest's targets, [members, B, T].
        units: For each path, which model (and other factors) it is of, [P].
        cuts: The backtest; None: equal weights.
        alike: So many paths tell what one tells.

    Returns:
        The weights.
    """
    K = len(increments)
    equal = np.full(K, 1 / K)
    if cuts is None:
        return Weights(equal, np.full(K, np.nan), 0.0)
    moved = cuts.z - cuts.last[:, None]
    distance = np.maximum(cuts.distance, 0.25)
    error = (increments - moved) / distance
    seen = ~np.isnan(moved)
    flat = error[:, seen]
    share = _on_the_simplex(flat, len(np.unique(cuts.path)) / alike)
    centre = np.tensordot(share, increments, axes=1)
    own = _own_share(centre / distance, moved / distance, units, cuts)
    return Weights(share, np.sqrt(np.mean(flat**2, axis=1)), own)


def together(
    centre: Array, units: Array, own: float, place: Array | None = None, several: Array | None = None
) -> Array:
    """Increments [P, H] drawn towards their mean over the paths of one unit (at one place): ``own`` stays.

    Only paths of several points, [P], have a movement of their own: the others take the mean.
    """
    labels = units if place is None else np.unique(np.stack([units, place]), axis=1, return_inverse=True)[1]
    labels = np.asarray(labels).ravel()
    moves = np.ones(len(centre), dtype=bool) if several is None else several
    there = ~np.isnan(centre) & moves[:, None]
    held = np.where(there, centre, 0.0)
    number = int(labels.max(initial=-1)) + 1
    total, count = np.zeros((number, centre.shape[1])), np.zeros((number, centre.shape[1]))
    np.add.at(total, labels, held)
    np.add.at(count, labels, there)
    mean, count = (total / np.maximum(count, 1))[labels], count[labels]
    kept = np.where(moves[:, None], np.where(count > 1, own, 1.0), 0.0)
    return np.where(count > 0, mean + kept * (centre - mean), centre)


def _on_the_simplex(error: Array, paths: float) -> Array:
    """Shares at 0 or above, adding to 1, with the smallest pooled square error and pull."""
    K = len(error)
    S = error @ error.T / max(error.shape[1], 1)
    typical = float(np.exp(np.mean(np.log(np.maximum(np.diag(S), 1e-300)))))
    S = S / typical  # not the mean: one hopeless member would make all others look alike
    A, b = paths * S + PULL * K * np.eye(K), np.full(K, PULL)
    share, step = np.full(K, 1 / K), 1 / np.linalg.eigvalsh(A)[-1]
    for _ in range(_STEPS):
        share = _nearest_share(share - step * (A @ share - b))
    return share


def _nearest_share(v: Array) -> Array:
    ordered = np.sort(v)[::-1]
    over = (np.cumsum(ordered) - 1) / np.arange(1, v.size + 1)
    return np.maximum(v - over[np.flatnonzero(ordered > over)[-1]], 0.0)


def _own_share(centre: Array, moved: Array, units: Array, cuts: Origins) -> float:
    """The slope of the methods' own movements on the expected ones, drawn towards 0."""
    unit = units[cuts.path]
    keys: dict[tuple[int, float, float], list[tuple[float, float]]] = {}
    for row, column in zip(*np.nonzero(~np.isnan(moved)), strict=True):
        key = (int(unit[row]), round(float(cuts.at[row]), 6), round(float(cuts.u[row, column]), 6))
        keys.setdefault(key, []).append((float(centre[row, column]), float(moved[row, column])))
    product = square = whole = 0.0
    freedom = 0
    for pairs in keys.values():
        if len(pairs) > 1:
            apart = np.array(pairs) - np.mean(pairs, axis=0)
            product += float((apart[:, 0] * apart[:, 1]).sum())
            square += float((apart[:, 0] ** 2).sum())
            whole += float((apart[:, 1] ** 2).sum())
            freedom += len(pairs) - 1
    if freedom < 2 or square <= 1e-300:
        return 0.0
    seen = product / square
    doubt = ALIKE_CELLS * max(whole - seen * product, 0.0) / (freedom - 1) / square
    return shrunk(seen, doubt, 0.0, OWN_SPREAD)


def shrunk(seen: float, doubt: float, prior: float, spread: float) -> float:
    """A share, 0 to 1, from the slope that is seen and its variance, and a normal prior."""
    return float(np.clip((spread**2 * seen + doubt * prior) / (spread**2 + doubt), 0.0, 1.0))
