"""Forecasts as plain numbers: the grid that the report's page reads with the same interpolation as Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from finescale.forecasts.forecast import Forecasts
    from finescale.forecasts.grid import Surface
    from finescale.forecasts.group import Forecast, Member

_DIGITS = 8
_PAGE_DRAWS = 400


def to_dict(found: Forecasts) -> dict[str, Any]:
    """Everything that ``predict`` and ``draws`` need.

    For a group: z = centre + seen * variates[0] + beyond * (sqrt(1 - shared) * variates[1] + sqrt(shared) *
    variates[2]), all four linear between the nodes log2 D and log2 X; intervals have the half width
    sqrt((normal * seen)^2 + (student * beyond)^2), a new run's sqrt of that squared + (normal * noise)^2.
    ``normal`` is the quantile of the noise, ``student`` that of the discrepancy: both are Student's t.
    """
    return {
        "schema": 1,
        "groups": [_group(group) for group in found],
        "notes": list(found.notes),
    }


def _group(group: Forecast) -> dict[str, Any]:
    outcome = group.outcome
    normal, student = group.quantiles
    return {
        "by": dict(group.by),
        "law": "forecast",
        "factors": list(group.factors),
        "members": _members(group.members),
        "across": {factor: _members(found) for factor, found in group.across.items()},
        "outcome": {
            "column": outcome.column,
            "name": outcome.name,
            "scale": outcome.scale,
            "sign": outcome.sign,
            "low": _plain(outcome.low),
            "high": _plain(outcome.high),
            "unit": outcome.unit,
        },
        "level": group.level,
        "normal": normal,
        "student": student,
        "noise": group.noise,
        "surfaces": {name: _surface(surface) for name, surface in group.surfaces.items()},
        "base": dict(group.base),
        "variates": [_rounded(row[:_PAGE_DRAWS], 4) for row in group.variates],
        "status": list(group.status),
    }


def _members(members: Sequence[Member]) -> list[dict[str, Any]]:
    return [{"name": m.name, "weight": m.weight, "error": _plain(m.error)} for m in members]


def _surface(surface: Surface) -> dict[str, Any]:
    return {
        "d": _rounded(surface.d, 12),
        "x": _rounded(surface.x, 12),
        "centre": [_rounded(row) for row in surface.centre],
        "seen": [_rounded(row) for row in surface.seen],
        "beyond": [_rounded(row) for row in surface.beyond],
        "shared": [_rounded(row) for row in surface.shared],
        "measured": {name: list(ends) for name, ends in surface.measured.items()},
    }


def _rounded(row: Any, digits: int = _DIGITS) -> list[float]:
    return [float(value) for value in np.round(row, digits)]


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
