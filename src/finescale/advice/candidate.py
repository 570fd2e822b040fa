"""A candidate: one way to finetune, what is believed of it, and how far that has been wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from finescale.advice.scan import Belief, times_outside
from finescale.forecasts.group import Forecast
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import DATA_SIZE

SIZE = "model_params"
SAME_SIZE = 0.05
"""Models whose parameter counts differ by less are the model that is asked for."""


@dataclass(frozen=True)
class Misses:
    """How far a law has been off (mean absolute deviations); NaN where it could not be tested.

    Attributes:
        inside: On the settings that it was fitted to.
        data: On hidden, larger data sizes (the backtest).
        size: On the hidden largest model.
    """

    inside: float
    data: float
    size: float

    def expected(self, outside: Mapping[str, float]) -> float:
        """What to expect of a question so many times outside the data, by column; NaN: untested."""
        parts = [self.inside]
        parts += [self.data] if outside.get(DATA_SIZE, 1.0) > 1 + 1e-9 else []
        parts += [self.size] if outside.get(SIZE, 1.0) > 1 + 1e-9 else []
        return math.nan if any(map(math.isnan, parts)) else max(parts)


@dataclass(frozen=True)
class Candidate:
    """One way to finetune.

    Attributes:
        name: The method; with the model (``lora on gpt2``) where every model has a law of its own.
        method: The method.
        law: Its forecast, or its law.
        misses: How far the law has been off.
        tuned: Whether its learning rate was chosen by a sweep; None where the records do not say.
        size: Parameters of the model where the law is that of one model; None where it is not known.
        model: Name of that model; None where it is not known.
        pet_size: The PET size (rank, prompt length) of its runs; None where it has none.
    """

    name: str
    method: str
    law: Belief
    misses: Misses
    tuned: bool | None
    size: float | None = None
    model: str | None = None
    pet_size: float | None = None

    def knows(self, model_params: float | None) -> bool:
        """Whether it says something of a model of this size; run on one model, it does of that one only."""
        if self.law.factors or model_params is None or self.size is None:
            return True
        return abs(self.size / model_params - 1) < SAME_SIZE

    def asked(self, model_params: float | None, examples: Any) -> dict[str, Any]:
        """The law's question."""
        return {SIZE: model_params, DATA_SIZE: examples} if self.law.factors else {DATA_SIZE: examples}

    def outside(self, model_params: float | None, examples: float) -> dict[str, float]:
        """How many times outside the law's data a question lies, by column; 1 inside."""
        return times_outside(self.law, self.asked(model_params, examples))


@dataclass(frozen=True)
class Candidates:
    """Everything that can be chosen for one task.

    Attributes:
        task: The task.
        law: The law's name.
        factor: ``model_params`` where one law holds over model sizes, else None.
        members: The candidates.
        sizes: Model sizes with runs, ascending.
        base: The base setting, at which the other factors stay.
        runs: The finished tuned runs at the base setting (any model size).
        notes: What to know, in sentences.
        doubts: What must be known of the table before there is advice, in clauses.
        outcome: What is compared.
    """

    task: str
    law: str
    factor: str | None
    members: tuple[Candidate, ...]
    sizes: tuple[float, ...]
    base: Mapping[str, Any]
    runs: pl.DataFrame
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    outcome: Outcome = TEST_LOSS

    @property
    def forecast(self) -> bool:
        """Whether the candidates are forecast, rather than predicted by fitted laws."""
        return all(isinstance(member.law, Forecast) for member in self.members)

    @property
    def laws(self) -> list[Belief]:
        """The candidates' laws."""
        return [member.law for member in self.members]


def rates_tuned(runs: pl.DataFrame) -> bool | None:
    """Whether a sweep chose the learning rates of all runs; None where the records do not say."""
    values = runs["lr_tuned"].drop_nulls() if "lr_tuned" in runs.columns else pl.Series([], dtype=pl.Boolean)
    return bool(values.all()) if values.len() else None
