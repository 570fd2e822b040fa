"""The noise of a run: how runs scatter that differ by their seed alone.

One answer for every command: the standard deviation of one run around its setting's mean, pooled over the
settings with several runs. The seeds' shared effect (nested subsets make all runs of a seed err together) is
a part of it; ``laws.bootstrap.seed_effect`` splits the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from finescale.records.settings import setting_columns


@dataclass(frozen=True)
class Noise:
    """How runs that differ by their seed alone scatter.

    Attributes:
        sd: Standard deviation of one run, in the loss's unit, pooled over settings; NaN where no setting has
            two runs.
        freedom: Degrees of freedom behind it.
        settings: Settings with two runs or more.
    """

    sd: float
    freedom: int
    settings: int

    @property
    def known(self) -> bool:
        """Whether runs of one setting differ: seeds that agree to the last digit do not tell."""
        return self.freedom > 0 and self.sd > 0


UNKNOWN = Noise(math.nan, 0, 0)


def seed_noise(settings: pl.DataFrame) -> Noise:
    """Pools the scatter of runs around their settings' means.

    Args:
        settings: A row a setting with ``runs`` and ``variance`` (of one run; null with one run).
    """
    repeated = settings.filter(pl.col("runs") > 1)
    freedom = int((repeated["runs"] - 1).sum()) if repeated.height else 0
    if not freedom:
        return UNKNOWN
    squares = float((repeated["variance"] * (repeated["runs"] - 1)).sum())
    return Noise(math.sqrt(squares / freedom), freedom, repeated.height)


def noise_of_runs(runs: pl.DataFrame, loss: str) -> Noise:
    """The noise of a table of runs.

    Args:
        runs: Finished runs of one task, of one method or several.
        loss: The loss column.
    """
    keys = setting_columns(runs)
    return seed_noise(
        runs.group_by(keys).agg(pl.len().cast(pl.Int64).alias("runs"), pl.col(loss).var().alias("variance"))
    )


def pooled(noises: Iterable[Noise]) -> Noise:
    """The noise of several methods together."""
    known = [noise for noise in noises if noise.known]
    freedom = sum(noise.freedom for noise in known)
    if not freedom:
        return UNKNOWN
    squares = sum(noise.sd**2 * noise.freedom for noise in known)
    return Noise(math.sqrt(squares / freedom), freedom, sum(noise.settings for noise in known))
