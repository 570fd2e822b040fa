"""What is believed of one group: a method on a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from finescale.forecasts.grid import Surface
from finescale.forecasts.question import Predicted, answered, asked_for, half_widths, quantiles
from finescale.forecasts.scale import OutcomeScale
from finescale.records.outcomes import Outcome

Array = np.ndarray[Any, Any]
LEVEL = 0.9


@dataclass(frozen=True)
class Member:
    """A member's part in the forecasts of one task.

    Attributes:
        name: Its name.
        weight: Its weight; a task's weights add to 1.
        error: Its mean absolute error on hidden sizes, in the outcome's unit; NaN where none could be hidden.
    """

    name: str
    weight: float
    error: float


@dataclass(frozen=True)
class Forecast:
    """What is believed of one group (a method on a task).

    Attributes:
        by: The group.
        surfaces: One surface a factor that varies (its name; "" where none does).
        base: The base setting: where the factors are that a question does not name.
        members: The members' weights and errors, those of its task.
        outcome: What is forecast.
        noise: Standard deviation of one run on the outcome's scale.
        noise_freedom: Degrees of freedom behind that, those of its prior among them.
        freedom: Degrees of freedom of the discrepancy.
        measured: Measured settings of each surface: log2 of factor and data size, to mean and number of runs.
        curves: How many curves of its task the members were weighed on.
        variates: [3, draws]: noise; the discrepancy, the group's own and the task's.
        across: For each factor the members across it, which carry the forecast to values that were not run.
        level: Coverage that the intervals aim at.
        status: What to know.

    Example:
        >>> group = forecasts[0]
        >>> group.by["method"], group.outcome.name
        ('full', 'test loss')
    """

    by: Mapping[str, Any]
    surfaces: Mapping[str, Surface]
    base: Mapping[str, Any]
    members: tuple[Member, ...]
    outcome: Outcome
    noise: float
    noise_freedom: float
    freedom: float
    measured: Mapping[str, Mapping[tuple[float, float], tuple[float, int]]] = field(repr=False)
    variates: Array = field(repr=False)
    curves: int = 1
    across: Mapping[str, tuple[Member, ...]] = field(default_factory=dict)
    status: tuple[str, ...] = ()
    level: float = LEVEL

    law = "forecast"

    def __repr__(self) -> str:
        """One line: the group, what it moves along, where that was measured."""
        from finescale.forecasts.views import label  # noqa: PLC0415 - it knows this class

        return f"Forecast({label(self)})"

    @property
    def label(self) -> str:
        """The group in words."""
        return ", ".join(str(value) for value in self.by.values()) or "all runs"

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors that the forecast moves along, beside the data size."""
        return tuple(name for name in self.surfaces if name)

    @property
    def scale(self) -> OutcomeScale:
        """The outcome's scale."""
        return OutcomeScale(self.outcome)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Smallest and largest measured value of each column."""
        found: dict[str, tuple[float, float]] = {}
        for surface in self.surfaces.values():
            for name, (low, high) in surface.measured.items():
                old = found.get(name, (low, high))
                found[name] = (min(low, old[0]), max(high, old[1]))
        return found

    def predict(self, at: Mapping[str, Any] | None = None, /, **sizes: Any) -> Predicted:
        """The outcome at sizes, which may be arrays that broadcast.

        Raises:
            UsageError: A size that is missing, unknown or not positive.
        """
        return answered(self, {**(at or {}), **sizes})

    def centre(self, at: Mapping[str, Any] | None = None, /, **sizes: Any) -> Array:
        """The medians alone, without intervals.

        Raises:
            UsageError: As ``predict``.
        """
        return self.scale.from_z(asked_for(self, {**(at or {}), **sizes}).z[0])

    @property
    def drawn(self) -> bool:
        """Whether there are draws."""
        return self.variates.shape[-1] > 0

    def mean_draws(self, at: Mapping[str, Any] | None = None, /, **sizes: Any) -> Array:
        """Draws of the mean outcome, [draws, shape of the question]; draw i is one with the other groups' i.

        Raises:
            UsageError: As ``predict``.
        """
        centre, seen, beyond, shared = asked_for(self, {**(at or {}), **sizes}).z
        shape = (-1, *(1,) * centre.ndim)
        noise, own, common = (row.reshape(shape) for row in self.variates)
        wrong = np.sqrt(1 - shared) * own + np.sqrt(shared) * common
        return self.scale.from_z(centre + seen * noise + beyond * wrong)

    @property
    def quantiles(self) -> tuple[float, float]:
        """Student's quantiles at the intervals' upper end: of the noise, and of the discrepancy."""
        return quantiles(self)

    def half_widths(self, seen: Array, beyond: Array) -> tuple[Array, Array]:
        """Half the width of the interval of the mean, and of a new run, on the outcome's scale."""
        return half_widths(self, seen, beyond)
