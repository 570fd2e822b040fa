"""From records to the curves of a forecast: for each task, one curve a method and model, means over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finescale.errors import DataError, UsageError
from finescale.forecasts.noise import RunNoise, run_noise
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import Paths, stacked
from finescale.records.records import DATA_SIZE, FACTORS, untuned

Array = np.ndarray[Any, Any]
Key = tuple[Any, ...]
_Z = "_z"
_METHOD = ("method", "pet_size")


@dataclass(frozen=True)
class Curve:
    """One curve over the data size.

    Attributes:
        by: The group, e.g. ``{"task": "en-de", "method": "lora"}``.
        place: The model and the factors' values, e.g. ``{"model_params": 1e9, "pet_size": 4}``; those that
            are null in the records are absent.
        u: log2 of the data sizes, [N].
        z: Mean outcome on the scale, [N].
        runs: Runs at each, [N].
        untuned: The untuned model's z; NaN where it was not measured.
    """

    by: Mapping[str, Any]
    place: Mapping[str, Any]
    u: Array
    z: Array
    runs: Array
    untuned: float


@dataclass(frozen=True)
class Curves:
    """All curves of one task.

    Attributes:
        task: The task; "" where the groups know none.
        curves: The curves.
        noise: The noise of one run on the scale.
        columns: The factors (and model) that the table names.
    """

    task: str
    curves: tuple[Curve, ...]
    noise: RunNoise
    columns: tuple[str, ...]

    @property
    def paths(self) -> Paths:
        """The curves as padded arrays."""
        return stacked([(c.u, c.z, self.noise.at(c.z) / c.runs) for c in self.curves])

    @property
    def units(self) -> Array:
        """Which model and factors (but PET size) each curve is of: methods on one unit err together."""
        return self._labels(lambda name: name not in _METHOD)

    @property
    def kin(self) -> Array:
        """Which method and PET size each curve is of, whatever its model."""
        return self._labels(lambda name: name in _METHOD)

    def _labels(self, kept: Callable[[str], bool]) -> Array:
        """One number for all curves that agree in some columns."""
        names: dict[Key, int] = {}
        keys = [
            tuple(sorted((name, str(value)) for name, value in {**c.by, **c.place}.items() if kept(name)))
            for c in self.curves
        ]
        return np.array([names.setdefault(key, len(names)) for key in keys])

    def ceiling(self, scale: OutcomeScale) -> Array:
        """The largest z a forecast may reach: the worst seen or untuned, and the range of what was seen."""
        seen = np.concatenate([scale.z_to_loss(c.z) for c in self.curves])
        span = float(seen.max() - seen.min())
        most = [max(float(c.z.max()), c.untuned if np.isfinite(c.untuned) else -np.inf) for c in self.curves]
        top = scale.z_to_loss(np.array(most)) + max(span, 0.05 * float(np.abs(seen).max()))
        return scale.to_z(scale.from_loss(top))


def curves_of(frame: pl.DataFrame, by: Sequence[str], scale: OutcomeScale, source: str) -> list[Curves]:
    """The curves of every task.

    Args:
        frame: Runs, untuned ones too.
        by: The columns that make a group.
        scale: The outcome's scale; its column is read.
        source: Where the records came from, for errors.

    Returns:
        One element a task, in the order of the table.

    Raises:
        UsageError: No data size.
        DataError: No run of a tuned model.
    """
    column = scale.outcome.column
    if DATA_SIZE not in frame.columns:
        raise UsageError(
            f"a forecast needs {DATA_SIZE}", remedy=f"map it: --column {DATA_SIZE}=THEIRS", where=source
        )
    frame = frame.filter(pl.col(column).is_not_null() & pl.col(column).is_finite())
    bare = pl.col(DATA_SIZE) == 0
    if "method" in frame.columns:
        bare = untuned()
    frame = frame.with_columns(bare.fill_null(value=False).alias("_untuned"))
    z = scale.to_z(frame[column].to_numpy())
    frame = frame.with_columns(pl.Series(_Z, z))
    tuned = frame.filter(~pl.col("_untuned") & (pl.col(DATA_SIZE) > 0))
    if not tuned.height:
        raise DataError(
            "no finished run of a tuned model: there is nothing to forecast from",
            wanted=f"runs with {column} and {DATA_SIZE} above 0",
            where=source,
        )
    still = frame.filter(pl.col("_untuned"))
    if "task" not in by:
        return [_of_task("", tuned, still, by, scale)]
    return [
        _of_task(str(task), rows, still.filter(pl.col("task") == task), by, scale)
        for (task,), rows in tuned.group_by("task", maintain_order=True)
    ]


def _of_task(
    task: str, rows: pl.DataFrame, still: pl.DataFrame, by: Sequence[str], scale: OutcomeScale
) -> Curves:
    group = list(by)
    columns = [name for name in ("model", *FACTORS) if name in rows.columns and name not in group]
    if {"model_params", "model_params_nonembedding"} <= set(columns):
        columns.remove("model_params_nonembedding")
    keys = [*group, *columns]
    means = (
        rows.group_by([*keys, DATA_SIZE], maintain_order=True)
        .agg(
            pl.col(_Z).mean().alias("z"),
            pl.len().alias("runs"),
            ((pl.col(_Z) - pl.col(_Z).mean()) ** 2).sum().alias("scatter"),
        )
        .sort(DATA_SIZE, maintain_order=True)
    )
    curves = []
    for key, part in means.group_by(keys, maintain_order=True):
        values = dict(zip(keys, key, strict=True))
        place = {name: values[name] for name in columns if values[name] is not None}
        own = {name: values[name] for name in group}
        curves.append(
            Curve(
                own,
                place,
                np.log2(part[DATA_SIZE].to_numpy()),
                part["z"].to_numpy(),
                part["runs"].to_numpy().astype(float),
                _untuned_z(still, {**own, **place}),
            )
        )
    bare = stacked([(c.u, c.z, np.zeros_like(c.z)) for c in curves])
    noise = run_noise(bare, float(means["scatter"].sum()), int((means["runs"] - 1).sum()), scale)
    return Curves(task, tuple(curves), noise, tuple(columns))


def _untuned_z(still: pl.DataFrame, at: Mapping[str, Any]) -> float:
    """The untuned model's mean z, whatever method its row names."""
    for name, value in at.items():
        if name not in ("method", "pet_size") and name in still.columns and value is not None:
            still = still.filter(pl.col(name) == value)
    return float(still[_Z].mean()) if still.height else np.nan  # type: ignore[arg-type]
