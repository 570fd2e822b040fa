"""Forecasts as tables: for a terminal and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finescale.cells import Cells, as_text, bullets
from finescale.records.records import DATA_SIZE
from finescale.wording import count, factor_name, listed

if TYPE_CHECKING:
    from finescale.forecasts.forecast import Forecasts
    from finescale.forecasts.group import Forecast, Member


def weights(members: Sequence[Member]) -> str:
    """The members that count, with their weights: ``line 26%, power 19%``."""
    return ", ".join(f"{member.name} {member.weight:.0%}" for member in members if member.weight >= 0.005)


def label(forecast: Forecast) -> str:
    """A group in one line: which, what it moves along, and where that was measured."""
    low, high = forecast.ranges.get(DATA_SIZE, (0.0, 0.0))
    along = listed(["data size", *map(factor_name, forecast.factors)])
    return f"{forecast.label}: {forecast.outcome.name} along {along}, {count(low)} to {count(high)} examples"


def text(found: Forecasts) -> str:
    """What ``print`` writes."""
    if not found.groups:
        return "no forecasts"
    return as_text(_cells(found.groups), *_lines(found))


def html(found: Forecasts) -> str:
    """What a notebook shows; every text is escaped."""
    return (_cells(found.groups).html() if found.groups else "") + bullets(_lines(found))


def _cells(groups: Sequence[Forecast]) -> Cells:
    """One row a group: what it moves along and where it was measured."""
    words = {name: [str(group.by[name]) for group in groups] for name in groups[0].by}
    words["along"] = [listed(["data size", *map(factor_name, group.factors)]) for group in groups]
    numbers = {}
    for name in dict.fromkeys(name for group in groups for name in group.ranges):
        reach = [group.ranges.get(name) for group in groups]
        numbers[name] = [f"{count(one[0])} to {count(one[1])}" if one else "-" for one in reach]
    return Cells(f"forecasts of {groups[0].outcome.name}", words, numbers)


def _lines(found: Forecasts) -> list[str]:
    told = [
        f"members{' of ' + task if task else ''}: {weights(members)}"
        for task, members in found.members.items()
    ]
    return told + [f"note: {note}" for note in found.notes]
