"""Resampling: which weight a setting gets in draw i, and how the seeds' shared effect moves its loss.

A setting (its seeds together) gets an exponential weight in every draw (the Bayesian bootstrap: no resample
degenerates, however few settings there are). Nested data subsets make all runs of one seed err together; that
effect does not average out over settings, so its variance is estimated from the seeds' differences and every
draw moves all losses of a seed by a draw from it (Student's t, as few seeds tell little about a variance).
All random numbers are keyed by the setting's or seed's name: draw i is one and the same resample in every fit
that sees the same runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gamma
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl

from finescale.laws.shifts import Shifts
from finescale.laws.slices import Slice
from finescale.records.settings import setting_columns

Array = np.ndarray[Any, Any]
BLOCKS = 1_000
"""Larger tables are resampled by that many blocks of settings."""


@dataclass(frozen=True)
class SeedEffect:
    """How runs of one setting differ.

    Attributes:
        run_variance: Variance of a run around its setting's mean and its seed's effect; NaN without repeated
            runs.
        run_freedom: Degrees of freedom behind it.
        seed_sum: Sum of squared seed effects; 0 where it cannot be known.
        seed_noise: What the noise of the runs alone adds to the estimated variance of the seed effects.
        seeds: The seeds' names whose effects were estimated.
    """

    run_variance: float
    run_freedom: int
    seed_sum: float
    seed_noise: float
    seeds: tuple[str, ...]

    def variances(self, key: tuple[int, int], draws: int) -> Array:
        """Draws of the seed effect's variance beyond the runs' noise, [draws]: scaled inverse chi-squared."""
        freedom = len(self.seeds) - 1
        if freedom < 1 or self.seed_sum <= 0:
            return np.zeros(draws)
        excess = max(0.0, self.seed_sum - freedom * self.seed_noise)
        return excess / np.random.default_rng(key).chisquare(freedom, size=draws)


def seed_effect(runs: pl.DataFrame, *, log: bool) -> SeedEffect:
    """Estimates the seeds' shared effect from runs of the same settings, by least squares on both.

    Args:
        runs: ``point``, ``loss``, ``seed``; held-out settings may be among them.
        log: Work on log losses.

    Returns:
        The variance components. Without seed names or repeated settings, only what can be known.
    """
    unknown = SeedEffect(float("nan"), 0, 0.0, 0.0, ())
    if not runs.height or runs.height == runs["point"].n_unique():
        return unknown
    loss = pl.col("loss").log() if log else pl.col("loss")
    table = runs.with_columns(loss.alias("loss"), pl.len().over("point").alias("size")).filter(
        pl.col("size") > 1
    )
    table = table.with_columns((pl.col("loss") - pl.col("loss").mean().over("point")).alias("deviation"))
    deviation = table["deviation"].to_numpy()
    freedom = table.height - table["point"].n_unique()
    named = table.filter(pl.col("seed").is_not_null())
    names = tuple(sorted(named["seed"].unique().to_list()))
    if named.height < table.height or not 1 < len(names) <= 200 or table["point"].n_unique() < 4:
        return SeedEffect(float(deviation @ deviation / freedom), freedom, 0.0, 0.0, ())
    code = np.searchsorted(np.array(names), table["seed"].to_numpy())
    point = np.unique(table["point"].to_numpy(), return_inverse=True)[1]
    k = len(names)
    counts = np.zeros((point.max() + 1, k))
    np.add.at(counts, (point, code), 1.0)
    laplacian = np.diag(counts.sum(axis=0)) - counts.T @ (counts / counts.sum(axis=1, keepdims=True))
    inverse = np.linalg.pinv(laplacian, rcond=1e-9)
    effects = inverse @ np.bincount(code, weights=deviation, minlength=k)
    left = freedom - (k - 1)
    if left < 1:
        return SeedEffect(float(deviation @ deviation / freedom), freedom, 0.0, 0.0, ())
    fitted = effects[code] - (counts @ effects / counts.sum(axis=1))[point]
    variance = float(np.sum((deviation - fitted) ** 2) / left)
    effects = effects - effects.mean()
    return SeedEffect(
        variance, left, float(effects @ effects), variance * float(np.trace(inverse)) / (k - 1), names
    )


def setting_keys(piece: Slice, points: pl.DataFrame) -> list[str]:
    """A name for each setting that is the same wherever the setting is fitted."""
    names = setting_columns(points)
    names += [name for name in piece.columns.values() if name not in names]
    text = pl.concat_str([pl.col(name).cast(pl.String).fill_null("") for name in names], separator="|")
    return points.select(text).to_series().to_list()


def setting_weights(keys: list[str], seed: int, draws: int, spread: float = 1.0) -> Array:
    """Exponential weights of mean 1, [draws, settings].

    Args:
        keys: The settings' names.
        seed: The bootstrap's seed.
        draws: Number of resamples.
        spread: The variance of a weight; settings / (settings - parameters) makes up for the residuals'
            shrinkage.
    """
    table = np.empty((draws, len(keys)))
    for at, key in enumerate(keys):
        table[:, at] = np.random.default_rng((seed, crc32(key.encode()))).exponential(size=draws)
    power = _power(spread)
    return table**power / gamma(1 + power)


def block_weights(seed: int, draws: int) -> Array:
    """For large tables: exponential weights of blocks of settings, [draws, blocks]."""
    return np.random.default_rng(seed).exponential(size=(draws, BLOCKS))


def _power(spread: float) -> float:
    """The power of an exponential variable whose variance over squared mean is `spread`."""
    low, high = 1.0, 4.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if gamma(1 + 2 * middle) / gamma(1 + middle) ** 2 - 1 < spread:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def seed_shifts(effect: SeedEffect, piece: Slice, seed: int, draws: int) -> Shifts | None:
    """How the seeds' effect moves a slice's fitted settings; None without such an effect."""
    if not effect.seeds:
        return None
    task = str(piece.by.get("task", ""))
    scale = np.sqrt(effect.variances((seed, crc32(f"seed variance|{task}".encode())), draws))
    if not scale.any():
        return None
    moves = [
        scale * np.random.default_rng((seed, crc32(f"seed|{task}|{name}".encode()))).standard_normal(draws)
        for name in effect.seeds
    ]
    fitted = ~piece.points["held_out"].to_numpy()
    known = piece.runs.filter(pl.col("seed").is_in(list(effect.seeds)))
    point = known["point"].to_numpy()
    kept = fitted[point]
    names = known["seed"].to_numpy()[kept]
    return Shifts(
        moves=np.stack(moves, axis=1),
        seed=np.searchsorted(np.array(effect.seeds), names),
        point=(np.cumsum(fitted) - 1)[point[kept]],
        share=1.0 / np.maximum(piece.points["runs"].to_numpy(), 1)[point[kept]],
    )


def run_deviations(
    effect: SeedEffect, residuals: Array, parameters: int, *, runs: float, key: tuple[int, int], draws: int
) -> Array:
    """How far a new run lies from the law's mean in each draw, [draws].

    Args:
        effect: Variance components of the runs.
        residuals: Residuals of the fitted settings.
        parameters: Number of free parameters behind these residuals.
        runs: Mean number of runs behind a setting.
        key: Random key.
        draws: Number of draws.
    """
    rng = np.random.default_rng(key)
    count = residuals.size
    inflate = np.sqrt(count / max(1, count - parameters))
    shape = rng.choice(residuals, size=draws) * inflate
    freedom = max(1, count - parameters)
    shape *= np.sqrt(freedom / rng.chisquare(freedom, size=draws)) if freedom < 30 else 1.0
    noise = 0.0
    if effect.run_freedom > 0 and np.isfinite(effect.run_variance):
        noise = rng.standard_normal(draws) * np.sqrt(effect.run_variance * (1 - 1 / max(runs, 1.0)))
    seed = rng.standard_normal(draws) * np.sqrt(effect.variances((key[0], key[1] + 1), draws))
    return shape + noise + seed
