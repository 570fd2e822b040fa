"""Which methods' PET sizes (rank, prompt length) are candidates of their own: those that matter here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from finescale.records.noise import Noise, noise_of_runs
from finescale.records.records import DATA_SIZE
from finescale.records.settings import ANY, at_base

PET = "pet_size"
_APART = 4.0
"""PET sizes differ where their mean square is so many times that of what they and the data size leave
unexplained: about the 5% point of F with the few sizes that tables have."""


def candidate_pet_sizes(
    frame: pl.DataFrame, base: Mapping[str, Any], asked: Mapping[str, Any], outcome: str, size: str
) -> list[str]:
    """The methods whose PET sizes are candidates.

    A method's PET sizes can be compared where they were run on the same models and data sizes; they count as
    candidates where they differ by more than noise: than what the data sizes leave unexplained, or, at one
    data size, than repeated runs of the task. A PET size that was asked for (``--base``) is the only one.

    Args:
        frame: The task's finished runs of tuned models, with ``method``.
        base: The base setting.
        asked: What was asked of it.
        outcome: The outcome's column.
        size: The column of the model size.
    """
    if PET not in frame.columns or any(name.partition(".")[0] == PET for name in asked):
        return []
    found = []
    noise = noise_of_runs(frame, outcome)
    for method in frame["method"].unique(maintain_order=True):
        rows = at_base(frame, {**base, PET: ANY, f"{PET}.{method}": ANY}, method, free=size)
        rows = rows.filter(pl.col(PET).is_not_null())
        places = [name for name in ("model", size, DATA_SIZE) if name in rows.columns]
        means = rows.group_by([*places, PET]).agg(
            pl.col(outcome).mean().alias("mean"), pl.len().alias("runs")
        )
        sizes = means[PET].n_unique()
        shared = means.filter(pl.len().over(places) == sizes) if places else means
        if sizes > 1 and shared.height == means.height and _differ(shared, places, noise):
            found.append(str(method))
    return found


def _differ(means: pl.DataFrame, places: Sequence[str], noise: Noise) -> bool:
    """Whether the PET sizes' means differ, by an analysis of variance without interaction."""
    if means[DATA_SIZE].n_unique() < 2:
        return _differ_at_one(means, noise)
    z = means.sort([PET, *places])["mean"].to_numpy().reshape(means[PET].n_unique(), -1)
    effect = z.mean(axis=1, keepdims=True) - z.mean()
    left = z - z.mean(axis=0) - effect
    sizes, cells = z.shape
    between = cells * float((effect**2).sum()) / (sizes - 1)
    within = float((left**2).sum()) / ((sizes - 1) * (cells - 1))
    return bool(between > _APART * within and between > np.finfo(float).eps)


def _differ_at_one(means: pl.DataFrame, noise: Noise) -> bool:
    """Whether the means differ at one data size, and on one model, by the noise of repeated runs."""
    sizes = means[PET].n_unique()
    if not noise.known or means.height > sizes:
        return False
    z, runs = means["mean"].to_numpy(), means["runs"].to_numpy()
    between = float((runs * (z - np.average(z, weights=runs)) ** 2).sum()) / (sizes - 1)
    return between > _APART * noise.sd**2
