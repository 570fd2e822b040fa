"""What a fit returns: a frozen law with intervals that predicts, summarises itself and becomes JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from finescale.errors import DataError, UsageError
from finescale.laws.formulas import get_law
from finescale.laws.law import Law
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import DATA_SIZE

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

Array = np.ndarray[Any, Any]
FAR = 10.0
"""Predictions further than that factor outside the data are flagged."""


@dataclass(frozen=True)
class Parameter:
    """A parameter's value and its interval; the interval is NaN where there are no draws.

    Example:
        >>> beta = lora.parameters["beta"]
        >>> beta.low < beta.value < beta.high
        True
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, repr=False)
class Prediction:
    """Predicted losses or scores; every array has the shape of the question.

    Attributes:
        at: What was asked for.
        value: Predicted mean.
        low: Lower end of the mean's interval; NaN without draws.
        high: Upper end of the mean's interval.
        run_low: Lower end of the interval for one new run.
        run_high: Upper end of the interval for one new run.
        status: What to know, e.g. extrapolation.
        outcome: What is predicted.

    Example:
        >>> predicted = lora.predict(model_params=4e5, finetune_examples=[1e3, 4e3])
        >>> predicted
        Prediction(2 values: 3.461 to 3.596 nats)
        >>> bool((predicted.low < predicted.value).all() and (predicted.value < predicted.high).all())
        True
    """

    at: Mapping[str, Array]
    value: Array
    low: Array
    high: Array
    run_low: Array
    run_high: Array
    status: tuple[str, ...] = ()
    outcome: Outcome = TEST_LOSS

    def __repr__(self) -> str:
        """One line: a single prediction with its interval, or how many there are."""
        value = np.ravel(self.value)
        unit = f" {self.outcome.unit}".rstrip()
        if value.size != 1:
            ends = f": {value.min():.4g} to {value.max():.4g}{unit}" if value.size else ""
            return f"Prediction({value.size} values{ends})"
        low, high = float(np.ravel(self.low)[0]), float(np.ravel(self.high)[0])
        interval = f" [{low:.4g}, {high:.4g}]" if np.isfinite(low) else ""
        return f"Prediction({value[0]:.4g}{interval}{unit})"

    def __str__(self) -> str:
        """The table of predictions, and what to know of them."""
        from finescale.laws.views import answer_cells, text  # noqa: PLC0415 - rich only where it is shown

        return text(*answer_cells(self))

    def _repr_html_(self) -> str:
        from finescale.laws.views import answer_cells, html  # noqa: PLC0415 - only in notebooks

        return html(*answer_cells(self))


@dataclass(frozen=True, repr=False)
class FittedLaw:
    """A law fitted to one group of runs.

    Attributes:
        by: The group, e.g. ``{"task": "wmt14-en-de", "method": "lora"}``.
        factors: The factors that the law was fitted over; several where they share parameters.
        law: The law's name.
        base: The values at which the other factors were kept.
        parameters: Values and intervals; a parameter of one factor among several is called NAME.factor.
        draws: Bootstrap draws of every parameter, [draws]; draw i is one resample across methods and factors
            of a task.
        run_deviation: In each draw, how far a new run lies from the law's mean (nats, or log nats), [draws].
        objective: The minimised objective.
        n_fitted: Settings (or runs, where seeds are not averaged) in the fit.
        n_held_out: Settings kept out.
        delta_e: Mean absolute deviation on fitted settings, in the outcome's unit.
        delta_h: Mean absolute deviation on held-out settings; NaN without any.
        status: Soft trouble in words; empty if there is none.
        columns: The law's variables and their columns, for each factor ("" for a law without one).
        ranges: Smallest and largest fitted value of each column.
        residual: ``raw`` or ``log``.
        huber_delta: Huber's delta.
        loss: The fitted column, a loss or a score.
        level: Coverage that the intervals aim at.
        shared: Parameters that are shared with other factors or groups.
        formula: The law itself.
        points: Settings with their predictions (columns as in ``Slice.points`` and ``predicted``,
            ``factor``), scores as scores; None after reading from JSON.
        outcome: What is predicted; a score's law is one of its distance from the best value.

    Example:
        >>> lora
        FittedLaw(multiplicative of mini-en-de, lora over model_params: A 16.6, E 0, ...; 15 settings)
        >>> lora.formula.text
        'A * X ** -alpha * D ** -beta + E'
        >>> lora.status[0]
        'E at 0: no floor is visible'
    """

    by: Mapping[str, Any]
    factors: tuple[str, ...]
    law: str
    base: Mapping[str, Any]
    parameters: Mapping[str, Parameter]
    draws: Mapping[str, Array]
    run_deviation: Array
    objective: float
    n_fitted: int
    n_held_out: int
    delta_e: float
    delta_h: float
    status: tuple[str, ...]
    columns: Mapping[str, Mapping[str, str]]
    ranges: Mapping[str, tuple[float, float]]
    residual: str = "raw"
    huber_delta: float = 1e-3
    loss: str = "test_loss"
    level: float = 0.9
    shared: tuple[str, ...] = ()
    formula: Law | None = field(default=None, compare=False)
    points: pl.DataFrame | None = field(default=None, compare=False)
    outcome: Outcome = TEST_LOSS

    @property
    def label(self) -> str:
        """The group in words."""
        return ", ".join(str(value) for value in self.by.values()) or "all runs"

    @property
    def equation(self) -> str:
        """The law's equation in LaTeX."""
        return self.formula.equation if self.formula else ""

    def value(self, name: str) -> float:
        """A parameter's value."""
        return self.parameters[name].value

    def for_factor(self, factor: str) -> FittedLaw:
        """The same law of one factor alone, with plain parameter names.

        Raises:
            UsageError: The law was not fitted over this factor.
        """
        if factor not in self.factors:
            raise UsageError(f"no law over `{factor}`", wanted="one of " + ", ".join(self.factors))
        if len(self.columns) < 2:
            return self
        names = {name: self._name(name, factor) for name in self._formula.parameters}
        points = None if self.points is None else self.points.filter(self.points["factor"] == factor)
        return replace(
            self,
            factors=(factor,),
            parameters={name: self.parameters[own] for name, own in names.items()},
            draws={name: self.draws[own] for name, own in names.items() if own in self.draws},
            columns={factor: self.columns[factor]},
            points=points,
        )

    def predict(self, at: Mapping[str, Any] | None = None, /, **sizes: Any) -> Prediction:
        """Predicts losses.

        Args:
            at: Values or arrays (they broadcast) by column, e.g. ``{"model_params": 7e9,
                "finetune_examples": 1e5}``.
            **sizes: The same as keywords.

        Returns:
            Means, intervals of the mean and of a new run.

        Raises:
            UsageError: A variable that is missing, unknown or not positive.
        """
        asked = {**(at or {}), **sizes}
        values, factor = self._arguments(asked)
        centre = np.asarray(self._evaluate(values, factor, {n: p.value for n, p in self.parameters.items()}))
        status = tuple(self._far(asked))
        nothing = np.full(centre.shape, np.nan)
        shown = {name: np.broadcast_to(np.asarray(value), centre.shape) for name, value in asked.items()}
        if not self.draws:
            return Prediction(shown, centre, nothing, nothing, nothing, nothing, status, self.outcome)
        mean = self.mean_draws(asked)
        tail = 100 * (1 - self.level) / 2
        ends = [tail, 100 - tail]
        low, high = map(np.asarray, np.percentile(mean, ends, axis=0))
        run_low, run_high = map(np.asarray, np.percentile(self.add_run(mean), ends, axis=0))
        return Prediction(shown, centre, low, high, run_low, run_high, status, self.outcome)

    def centre(self, at: Mapping[str, Any] | None = None, /, **sizes: Any) -> Array:
        """The fitted law's mean alone, without intervals.

        Raises:
            UsageError: As ``predict``.
        """
        values, factor = self._arguments({**(at or {}), **sizes})
        return np.asarray(self._evaluate(values, factor, {n: p.value for n, p in self.parameters.items()}))

    @property
    def drawn(self) -> bool:
        """Whether there are draws."""
        return bool(self.draws)

    def mean_draws(self, at: Mapping[str, Any] | None = None, /, **sizes: Any) -> Array:
        """The law's mean in every bootstrap draw, [draws, shape of the question].

        Raises:
            UsageError: As ``predict``.
            DataError: The fit has no draws.
        """
        if not self.draws:
            raise DataError("this law has no bootstrap draws", remedy="fit with bootstrap=1000")
        values, factor = self._arguments({**(at or {}), **sizes})
        depth = max((np.ndim(value) for value in values.values()), default=0)
        draws = {name: draw.reshape(-1, *(1,) * depth) for name, draw in self.draws.items()}
        return np.asarray(self._evaluate(values, factor, draws))

    def add_run(self, mean: Array) -> Array:
        """What one new run would show in each draw, given the means [draws, ...] of ``mean_draws``."""
        deviation = self.run_deviation.reshape(-1, *(1,) * (mean.ndim - 1))
        lost = self.outcome.lost(mean)
        return self.in_bounds(lost * np.exp(deviation) if self.residual == "log" else lost + deviation)

    def in_bounds(self, lost: Any) -> Array:
        """What the formula gives, as it is predicted: a loss, or a score that keeps to its bounds."""
        if self.outcome.kind == "loss":
            return lost
        return np.clip(self.outcome.from_lost(lost), self.outcome.low, self.outcome.high)

    def summary(self) -> Table:
        """The parameters and their intervals as a rich table."""
        from finescale.laws.views import law_cells  # noqa: PLC0415 - rich only where something is shown

        return law_cells([self]).table()

    def __repr__(self) -> str:
        """One line: the law, its group and its parameters."""
        over = f" over {', '.join(self.factors)}" if self.factors else ""
        values = ", ".join(f"{name} {one.value:.3g}" for name, one in self.parameters.items())
        return f"FittedLaw({self.law} of {self.label}{over}: {values}; {self.n_fitted} settings)"

    def __str__(self) -> str:
        """The table of ``summary`` and the soft troubles."""
        from finescale.laws.views import law_cells, text, trouble_lines  # noqa: PLC0415

        return text(law_cells([self]), trouble_lines([self]))

    def _repr_html_(self) -> str:
        from finescale.laws.views import html, law_cells, trouble_lines  # noqa: PLC0415 - only in notebooks

        return html(law_cells([self]), trouble_lines([self]))

    def to_dict(self) -> dict[str, Any]:
        """The fit as plain numbers and text at full precision (the Fit JSON, schema 1)."""
        from finescale.laws.json import law_to_dict  # noqa: PLC0415

        return law_to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], laws: Sequence[Law] = ()) -> FittedLaw:
        """Reads what ``to_dict`` wrote.

        Args:
            data: The dictionary.
            laws: Laws of one's own that the fit may name.

        Raises:
            UsageError: Another schema, a missing field, an unknown law, a law with another formula than the
                one that the fit was made with.
        """
        from finescale.laws.json import law_fields  # noqa: PLC0415 - pydantic only where something is read

        return law_from_fields(law_fields(data, laws))

    @property
    def _formula(self) -> Law:
        return self.formula or get_law(self.law, self.factors)

    def _name(self, parameter: str, factor: str) -> str:
        """What this law calls a parameter of the formula for this factor."""
        return parameter if parameter in self.parameters else f"{parameter}.{factor}"

    def _arguments(self, asked: Mapping[str, Any]) -> tuple[dict[str, Array], str]:
        factor = self._which(asked)
        values: dict[str, Array] = {}
        for variable, column in self.columns[factor].items():
            if column not in asked:
                raise UsageError(
                    f"the law needs {column}",
                    wanted=", ".join(self.columns[factor].values()),
                    got=", ".join(asked),
                )
            value = np.asarray(asked[column], dtype=float)
            if not np.all(value > 0) or not np.all(np.isfinite(value)):
                raise UsageError(f"{column} must be a positive number", got=str(asked[column]))
            values[variable] = value
        known = {
            *self.base,
            *self.by,
            *(name for columns in self.columns.values() for name in columns.values()),
        }
        for name in asked:
            if name not in known:
                raise UsageError(
                    f"the law does not know `{name}`", wanted="some of " + ", ".join(sorted(known))
                )
        return values, factor

    def _which(self, asked: Mapping[str, Any]) -> str:
        """The factor whose law answers: the one that is asked for, away from the base."""
        if len(self.columns) == 1:
            return next(iter(self.columns))
        given = [factor for factor in self.factors if factor in asked]
        moved = [
            f
            for f in given
            if f not in self.base or not np.allclose(np.asarray(asked[f], float), self.base[f])
        ]
        if len(moved) > 1 or not given:
            raise UsageError(
                "the laws vary one factor at a time",
                wanted="one of " + ", ".join(self.factors),
                got=", ".join(moved) or "none",
                remedy='fit law="joint" to move several factors together',
            )
        return (moved or given)[0]

    def _evaluate(self, values: Mapping[str, Array], factor: str, numbers: Mapping[str, Any]) -> Any:
        arguments = {name: numbers[self._name(name, factor)] for name in self._formula.parameters}
        with np.errstate(all="ignore"):
            return self.in_bounds(self._formula.function(**values, **arguments))

    def _far(self, asked: Mapping[str, Any]) -> Iterator[str]:
        for name, (low, high) in self.ranges.items():
            if name not in asked:
                continue
            value = np.asarray(asked[name], dtype=float)
            if not value.size:
                continue
            factor = max(float(np.max(value)) / high, low / float(np.min(value)))
            if factor > 1.0 + 1e-9:
                text = f"{name} lies {factor:.3g}x outside the fitted data"
                yield text + (f": more than {FAR:g}x, do not rely on it" if factor > FAR else "")


def law_from_fields(fields: dict[str, Any]) -> FittedLaw:
    """A law from the fields that ``json.law_fields`` has read."""
    parameters = {name: Parameter(*ends) for name, ends in fields["parameters"].items()}
    return FittedLaw(**{**fields, "parameters": parameters})


__all__ = ["DATA_SIZE", "FittedLaw", "Parameter", "Prediction"]
