"""How the seeds' shared effect moves the fitted losses in every draw of a bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Shifts:
    """Moves of the seeds, and which share each seed has in a setting's mean loss.

    Attributes:
        moves: By how much each draw moves all runs of a seed, [draws, seeds].
        seed: The seed of each run, [runs].
        point: The fitted setting of each run, [runs].
        share: The run's share in its setting's mean, [runs].
    """

    moves: Array
    seed: Array
    point: Array
    share: Array

    def dense(self, points: int) -> Array:
        """By how much each draw moves each setting's loss, [draws, points]."""
        shares = np.zeros((points, self.moves.shape[1]))
        np.add.at(shares, (self.point, self.seed), self.share)
        return self.moves @ shares.T

    def along(self, slopes: Array, first: int) -> Array:
        """Sum over settings of slopes times moves, [draws, M].

        Args:
            slopes: For the settings from `first` on, [M, n].
            first: Index of the first of these settings.
        """
        here = np.flatnonzero((self.point >= first) & (self.point < first + slopes.shape[1]))
        point, seed, share = self.point[here] - first, self.seed[here], self.share[here]
        count = self.moves.shape[1]
        sums = [np.bincount(seed, weights=row[point] * share, minlength=count) for row in slopes]
        return self.moves @ np.stack(sums, axis=1)


def join_shifts(parts: list[tuple[Shifts | None, int]]) -> Shifts | None:
    """The shifts of several slices that are fitted together, each with its number of fitted settings."""
    kept: list[Shifts] = []
    point, seed = 0, 0
    for part, settings in parts:
        if part is not None:
            kept.append(Shifts(part.moves, part.seed + seed, part.point + point, part.share))
            seed += part.moves.shape[1]
        point += settings
    if not kept:
        return None
    return Shifts(
        np.concatenate([part.moves for part in kept], axis=1),
        *(np.concatenate([getattr(part, name) for part in kept]) for name in ("seed", "point", "share")),
    )
