"""Which settings a plan may choose from: of a table of runs, of a study, or as stated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from finescale.errors import DataError, UsageError
from finescale.ladder import LADDER
from finescale.records.records import DATA_SIZE
from finescale.spec.parts import ModelStar, PetStar, PretrainStar
from finescale.spec.study import Study

STEP = 2.0
"""Data sizes between the smallest and the largest are offered at this ratio."""


@dataclass(frozen=True)
class Choices:
    """The settings that can be run.

    Attributes:
        sizes: For each method: values of the factor, and data sizes.
        base: Values of the other factors (``base_setting``).
        models: Model sizes to names, as far as they are known.
    """

    sizes: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]]
    base: Mapping[str, float]
    models: Mapping[float, str] = field(default_factory=dict)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods."""
        return tuple(self.sizes)

    def params(self, factor: str, value: float) -> float | None:
        """Parameters of the model of a setting."""
        return value if factor.startswith("model_params") else self.base.get("model_params")

    def model(self, factor: str, value: float) -> str | None:
        """Name of the model of a setting."""
        size = self.params(factor, value)
        return None if size is None else self.models.get(size)


def of_runs(
    runs: pl.DataFrame,
    factor: str,
    base: Mapping[str, float],
    *,
    methods: Sequence[str] = (),
    values: Sequence[float] = (),
    examples: Sequence[float] = (),
) -> Choices:
    """The settings of a table: every value of the factor, data sizes from the smallest to the largest.

    Args:
        runs: Tuned runs of one task, with ``method``.
        factor: The factor.
        base: Values of the other factors.
        methods: The methods; default: all of the table.
        values: Values of the factor instead of the table's.
        examples: Data sizes instead of the table's.

    Raises:
        UsageError: A method, factor or value that is not there.
        DataError: No value to choose from.
    """
    if factor not in runs.columns and not values:
        raise UsageError(
            f"no column `{factor}`", got=", ".join(runs.columns), remedy=f"--column {factor}=THEIRS"
        )
    have = runs["method"].unique(maintain_order=True).to_list()
    sizes: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    for method in methods or have:
        part = runs.filter(pl.col("method") == method)
        if not part.height:
            raise UsageError(f"no run of the method `{method}`", wanted="one of " + ", ".join(have))
        seen = part[factor].drop_nulls().to_list() if factor in part.columns else []
        some = [value for value in part[DATA_SIZE].drop_nulls().to_list() if value > 0]
        if not (values or seen) or not (examples or some):
            if methods:
                raise DataError(f"{method}: no setting with {factor} and finetune_examples to choose from")
            continue  # full tuning has no PET size
        sizes[method] = _sorted(values or seen), _sorted(examples or between(min(some), max(some)))
    if not sizes:
        raise DataError(f"no method has a {factor} to choose from")
    names: dict[float, str] = {}
    if {"model", "model_params"} <= set(runs.columns):
        named = runs.select("model_params", "model").drop_nulls().unique(maintain_order=True)
        names = {float(size): str(name) for size, name in named.iter_rows()}
    return Choices(sizes, base, names)


def of_study(
    study: Study,
    factor: str,
    *,
    methods: Sequence[str] = (),
    values: Sequence[float] = (),
    examples: Sequence[float] = (),
) -> Choices:
    """The settings of a study that has not run: the values in its grids and its data sizes.

    Raises:
        UsageError: A method that the study does not have, or a factor that it does not vary.
    """
    unknown = [method for method in methods if method not in study.methods()]
    if unknown:
        raise UsageError(
            f"the study has no method `{unknown[0]}`", wanted="one of " + ", ".join(study.methods())
        )
    names = {size: name for name in _models(study) if (size := _params(study, name, factor))}
    base: dict[str, float] = {}
    if own := _params(study, study.base.model, "model_params"):
        base["model_params"] = own
    sizes: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {}
    for method in methods or study.methods():
        stated = tuple(names) if factor.startswith("model_params") else _values(study, factor, method)
        found = values or stated
        some = [size for star in study.grids for size in star.finetune_examples.of(method) or ()]
        if found and some:
            sizes[method] = _sorted(found), _sorted(examples or between(min(some), max(some)))
    if not sizes:
        raise UsageError(
            f"the study says nothing of {factor}", wanted="a factor that its grids vary", remedy="--values"
        )
    if not factor.startswith("model_params"):
        names = {base["model_params"]: study.base.model} if base else {}
    return Choices(sizes, base, names)


def between(low: float, high: float) -> tuple[float, ...]:
    """Data sizes from the smallest to the largest, at most a factor of two apart, whole numbers."""
    steps = max(1, math.ceil(math.log(high / low) / math.log(STEP) - 1e-9))
    return tuple(float(round(size)) for size in np.geomspace(low, high, steps + 1))


def _sorted(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(sorted({float(value) for value in values}))


def _models(study: Study) -> list[str]:
    stars = [star.values for star in study.grids if isinstance(star, ModelStar)]
    return list(dict.fromkeys([study.base.model, *(name for values in stars for name in values)]))


def _params(study: Study, name: str, factor: str) -> float | None:
    """Parameters of a model of the study, as far as they are stated."""
    bare = factor == "model_params_nonembedding"
    if name in study.models:
        own = study.models[name]
        found = own.nonembedding_params if bare else own.params
        return None if found is None else float(found)
    shape = LADDER.get(name)
    return None if shape is None else float(shape.nonembedding_params if bare else shape.params)


def _values(study: Study, factor: str, method: str) -> tuple[float, ...]:
    """Pretraining tokens or PET sizes in the study's grids; ``last`` has no number here."""
    found: list[float] = []
    for star in study.grids:
        if factor == "pretrain_tokens" and isinstance(star, PretrainStar):
            found += [float(value) for value in star.values if value != "last"]
        if factor == "pet_size" and isinstance(star, PetStar):
            found += [float(value) for value in star.values.of(method) or ()]
    return tuple(found)
