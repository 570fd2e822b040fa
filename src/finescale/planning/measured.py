"""What a plan reads from records: the task and its base setting, measured settings, the noise of a run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from finescale.errors import DataError, UsageError
from finescale.planning.scale import LOSSES, PlanScale
from finescale.records.noise import noise_of_runs
from finescale.records.records import DATA_SIZE, Records, untuned
from finescale.records.settings import at_base, base_setting, fill_groups

NOISE = 0.005
"""Standard deviation of a run where the records do not tell, nats (of a score: a share of its range)."""
_FEWEST = 3
"""Repeated runs from which the records' own noise is believed."""


def most_seen(records: Records, task: str | None) -> tuple[str, pl.DataFrame, dict[str, float]]:
    """The task that is planned for, its tuned runs, and its base setting.

    Raises:
        UsageError: No data sizes; no such task, or several and none named.
        DataError: No finished run.
    """
    if DATA_SIZE not in records.frame.columns:
        raise UsageError(
            f"no column `{DATA_SIZE}`: a plan chooses data sizes between those that were run",
            got="columns " + ", ".join(records.frame.columns[:20]),
            remedy=f"--column {DATA_SIZE}=THEIRS, or one value for all rows: --set {DATA_SIZE}=VALUE",
            where=records.source,
        )
    frame = fill_groups(records.frame).filter(~untuned())
    tasks = frame["task"].unique(maintain_order=True).to_list()
    if not tasks:
        raise DataError("no finished run to plan from", where=records.source)
    if task is None and len(tasks) > 1:
        raise UsageError("which task?", wanted="one of " + ", ".join(tasks), remedy=f"--task {tasks[0]}")
    chosen = task or tasks[0]
    if chosen not in tasks:
        raise UsageError(f"no run of the task `{chosen}`", wanted="one of " + ", ".join(tasks))
    runs = frame.filter(pl.col("task") == chosen)
    return chosen, runs, dict(base_setting(runs).values)


def priced_runs(runs: pl.DataFrame, base: Mapping[str, Any], factor: str) -> pl.DataFrame:
    """The runs that say what a run costs, as for advice: each method's at the base setting, or else all."""
    parts = []
    for (method,), own in runs.group_by("method", maintain_order=True):
        there = at_base(own, base, str(method), free=factor)
        parts.append(there if there.height else own)
    return pl.concat(parts)


def measured_settings(
    records: Records | None, task: str, factor: str, method: str, base: Mapping[str, Any]
) -> pl.DataFrame:
    """The method's settings at the base: factor, data size, ``runs``, ``mean``, ``seeds``."""
    empty = {factor: [], DATA_SIZE: [], "runs": [], "mean": []}
    nothing = pl.DataFrame(empty, schema=dict.fromkeys(empty, pl.Float64)).with_columns(
        pl.Series("seeds", [], dtype=pl.List(pl.Int64))
    )
    if records is None or factor not in records.frame.columns:
        return nothing
    rows = fill_groups(records.frame).filter(~untuned() & pl.col(factor).is_not_null())
    rows = at_base(rows.filter(pl.col("task") == task), base, method, free=factor)
    if not rows.height:
        return nothing
    loss = pl.col(records.loss)
    seeds = pl.col("seed") if "seed" in rows.columns else pl.lit(None)
    return (
        rows.with_columns(seeds.cast(pl.Int64, strict=False).alias("seed"))
        .group_by(factor, DATA_SIZE, maintain_order=True)
        .agg(
            pl.len().cast(pl.Float64).alias("runs"),
            loss.mean().alias("mean"),
            pl.col("seed").drop_nulls().alias("seeds"),
        )
    )


def run_noise(
    records: Records | None,
    task: str,
    methods: Collection[str],
    stated: float | None,
    scale: PlanScale = LOSSES,
) -> tuple[float, list[str]]:
    """A run's standard deviation: stated, from the task's settings with several runs, or the default.

    Args:
        records: The runs.
        task: The task.
        methods: The methods that are planned for; their noise is pooled.
        stated: The user's own figure.
        scale: What the records' losses are of.
    """
    if stated is not None:
        return stated, [f"Noise of a run: {scale.tell_gap(stated)}, as stated."]
    if records is not None:
        runs = fill_groups(records.frame).filter(~untuned() & pl.col("method").is_in(list(methods)))
        noise = noise_of_runs(runs.filter(pl.col("task") == task), records.loss)
        if noise.freedom >= _FEWEST and noise.sd > 0:
            told = scale.tell_gap(noise.sd)
            return noise.sd, [f"Noise of a run: {told}, from {noise.freedom} repeated runs."]
    return NOISE, [f"Noise of a run: {scale.tell_gap(NOISE)}, assumed: too few settings have several runs."]
