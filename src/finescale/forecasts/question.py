"""A question put to one group's forecast, and the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finescale.errors import UsageError
from finescale.forecasts.student import quantile
from finescale.laws.fitted import FAR
from finescale.records.records import DATA_SIZE, FACTORS

if TYPE_CHECKING:
    from finescale.forecasts.grid import Surface
    from finescale.forecasts.group import Forecast, Member

Array = np.ndarray[Any, Any]
_SAME = 1e-6


@dataclass(frozen=True)
class Predicted:
    """Predicted outcomes; every array has the shape of the question.

    Attributes:
        by: The group.
        at: What was asked for.
        value: Medians.
        low: Lower end of the interval of the mean.
        high: Upper end.
        run_low: Lower end of the interval of one new run.
        run_high: Upper end.
        measured: Mean of the runs at that very setting, which weighs in ``value``; NaN where there is none.
        runs: How many runs that are.
        members: The members' weights and errors: those across the factor where a value was not run.
        status: What to know, e.g. how far outside the data.

    Example:
        >>> told = forecasts[0].predict(finetune_examples=2048)
        >>> bool(told.low < told.value < told.high)
        True
    """

    by: Mapping[str, Any]
    at: Mapping[str, Array]
    value: Array
    low: Array
    high: Array
    run_low: Array
    run_high: Array
    measured: Array
    runs: Array
    members: tuple[Member, ...]
    status: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A question with its place on a surface.

    Attributes:
        surface: The surface that answers.
        factor: Its factor, "" without one.
        examples: Data sizes.
        value: Values of the factor.
        z: Centre, seen, beyond and shared there.
    """

    surface: Surface
    factor: str
    examples: Array
    value: Array
    z: tuple[Array, Array, Array, Array]


def asked_for(group: Forecast, at: Mapping[str, Any]) -> Asked:
    """Places a question.

    Raises:
        UsageError: A size that is missing, unknown or not positive; two factors away from the base.
    """
    known = {DATA_SIZE, *group.factors, *group.base, *FACTORS}
    for name in at:
        if name not in known:
            raise UsageError(
                f"the forecast does not know `{name}`", wanted="some of " + ", ".join(sorted(known))
            )
    if DATA_SIZE not in at:
        raise UsageError(
            f"a forecast needs {DATA_SIZE}", wanted=f"e.g. {DATA_SIZE}=1e5", got=", ".join(at) or "nothing"
        )
    sizes = {name: _positive(name, value) for name, value in at.items() if not isinstance(value, str)}
    factor = _which(group, sizes)
    surface = group.surfaces[factor]
    value = sizes.get(factor, np.asarray(1.0))
    if factor and factor not in sizes:
        value = np.asarray(float(group.base[factor]))
    examples, value = np.broadcast_arrays(sizes[DATA_SIZE], value)
    return Asked(surface, factor, examples, value, surface.at(examples, value))


def _positive(name: str, value: Any) -> Array:
    number = np.asarray(value, dtype=float)
    if not np.all(number > 0) or not np.all(np.isfinite(number)):
        raise UsageError(f"{name} must be a positive number", got=str(value))
    return number


def _which(group: Forecast, sizes: Mapping[str, Array]) -> str:
    """The factor that is asked for, away from its base."""
    moved = [name for name in sizes if name != DATA_SIZE and not _stays(group, name, sizes[name])]
    refused = [name for name in moved if name not in group.factors]
    if refused:
        name = refused[0]
        raise UsageError(
            f"the forecast of {group.label} says nothing on {name} = {np.ravel(sizes[name])[0]:g}",
            wanted="a value that was run"
            + (f", or another of {', '.join(group.factors)}" if group.factors else ""),
            remedy=f"leave out {name}, or run several values of it",
        )
    if len(moved) > 1:
        raise UsageError(
            "the forecast moves one factor at a time",
            wanted="one of " + ", ".join(group.factors),
            got=", ".join(moved),
        )
    if moved:
        return moved[0]
    given = [name for name in sizes if name in group.factors]
    return given[0] if given else next(iter(group.surfaces))


def _stays(group: Forecast, name: str, value: Array) -> bool:
    base = group.base.get(name)
    if not isinstance(base, int | float):
        return False
    return bool(np.all(np.abs(value / base - 1) < 1e-9))


def quantiles(group: Forecast) -> tuple[float, float]:
    """Student's quantiles at the intervals' upper end: of the noise, and of the discrepancy."""
    tail = 0.5 * (1 + group.level)
    return quantile(tail, group.noise_freedom), quantile(tail, group.freedom)


def half_widths(group: Forecast, seen: Array, beyond: Array) -> tuple[Array, Array]:
    """Half widths of the intervals of the mean and of a new run, on the outcome's scale."""
    noise, wrong = quantiles(group)
    mean = np.sqrt((noise * seen) ** 2 + (wrong * beyond) ** 2)
    return mean, np.sqrt(mean**2 + (noise * group.noise) ** 2)


def answered(group: Forecast, at: Mapping[str, Any]) -> Predicted:
    """The answer of one group.

    Raises:
        UsageError: As ``asked_for``.
    """
    asked = asked_for(group, at)
    centre, seen, beyond, _ = asked.z
    mean, run = half_widths(group, seen, beyond)
    scale = group.scale
    ends = [scale.from_z(centre + side) for side in (-mean, mean, -run, run)]
    low, high = np.minimum(ends[0], ends[1]), np.maximum(ends[0], ends[1])
    run_low, run_high = np.minimum(ends[2], ends[3]), np.maximum(ends[2], ends[3])
    table = group.measured[asked.factor]
    keys = zip(np.ravel(np.log2(asked.value)), np.ravel(np.log2(asked.examples)), strict=True)
    found = [table.get((round(float(x), 6), round(float(u), 6)), (np.nan, 0)) for x, u in keys]
    shape = centre.shape
    shown = {DATA_SIZE: asked.examples} | ({asked.factor: asked.value} if asked.factor else {})
    return Predicted(
        group.by,
        shown,
        scale.from_z(centre),
        low,
        high,
        run_low,
        run_high,
        np.array([mean for mean, _ in found]).reshape(shape),
        np.array([runs for _, runs in found]).reshape(shape),
        _members(group, asked, table),
        (*_far(asked, shown), *group.status),
    )


def _members(group: Forecast, asked: Asked, table: Mapping[tuple[float, float], Any]) -> tuple[Member, ...]:
    """The members that answer: across the factor where one of its values was not run."""
    run = {x for x, _ in table}
    if all(round(float(x), 6) in run for x in np.ravel(np.log2(asked.value))):
        return group.members
    return group.across.get(asked.factor, group.members)


def _far(asked: Asked, shown: Mapping[str, Array]) -> list[str]:
    said = []
    for name, value in shown.items():
        low, high = asked.surface.measured[name]
        times = max(float(np.max(value)) / high, low / float(np.min(value)))
        if times > 1 + 1e-6:
            far = f": more than {FAR:g}x, do not rely on it" if times > FAR * (1 + 1e-9) else ""
            said.append(f"{name} lies {times:.3g}x outside the data{far}")
    return said
