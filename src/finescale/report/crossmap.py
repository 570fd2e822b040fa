"""Figure 5: the map of the best method over model size and data size, and each pair's crossover.

A cell of the map belongs to the method with the lowest predicted loss; where its probability of being best is
below the advice's limit, or fitted laws (--law) were off by more than its lead or could not be tested, the
cell says "cannot tell": the uncertain zone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from finescale.advice.candidate import SIZE
from finescale.advice.crossovers import Crossovers, crossovers
from finescale.advice.scan import SURE
from finescale.laws.fitted import FAR
from finescale.records.outcome_words import equal_reducible, noun
from finescale.records.records import DATA_SIZE
from finescale.report.decisions import Decision
from finescale.report.drawing import palette
from finescale.report.figures import EXAMPLES, Figure, Panel, Series
from finescale.wording import method_name, method_title, slug

Array = np.ndarray[Any, Any]
UNTOLD = "cannot tell"
_ACROSS, _UP, _ALONG = 30, 48, 25
_CROSSES = 60
"""At most so many crosses above one another; settings closer together share one."""


@dataclass(frozen=True)
class MapPanel(Panel):
    """The map.

    Attributes:
        cells: ``series``, ``x``, ``x2``, ``y``, ``y2``: cells of one verdict, joined along the data size.
        runs: ``x``, ``y``: settings with runs.
        frame: ``x``, ``x2``, ``y``, ``y2``: the fitted data.
    """

    cells: tuple[Mapping[str, Any], ...] = ()
    runs: tuple[Mapping[str, Any], ...] = ()
    frame: tuple[Mapping[str, Any], ...] = ()

    @property
    def sizes(self) -> tuple[float, float]:
        """The smallest and the largest model size."""
        return self.cells[0]["x"], self.cells[-1]["x2"]


@dataclass(frozen=True)
class CriticalPanel(Panel):
    """One pair's crossover along the model size.

    Attributes:
        within: The range of interest, in examples.
        reducible: ``x``, ``y``: equal reducible loss.
    """

    within: tuple[float, float] = (1.0, 2.0)
    reducible: tuple[Mapping[str, Any], ...] = ()
    sizes: tuple[float, float] = (1.0, 2.0)


def figure_5(decision: Decision) -> Figure | None:
    """The map and the pairs' crossovers; None without model sizes, draws, or a rival."""
    found = decision.found
    if (
        found.factor is None
        or len(found.members) < 2
        or not all(law.drawn and SIZE in law.ranges for law in found.laws)
    ):
        return None
    ends = [law.ranges[SIZE] for law in found.laws]
    low, high = min(e[0] for e in ends) / FAR, max(e[1] for e in ends) * FAR
    pairs = crossovers(found.laws, list(np.geomspace(low, high, _ALONG)))
    panels = [_map(decision, (low, high)), *filter(None, map(_critical, pairs))]
    never = [p for p in pairs if not any(point.crossings for point in p.points)]
    best = f"{'lowest' if found.outcome.lower else 'highest'} predicted {noun(found.outcome)}"
    missed = "" if found.forecast else " or the laws were off by more than its lead"
    caption = (
        f"First: the method with the {best}, ten times beyond the runs (frame; crosses are "
        f"settings with runs); grey where its probability is below {SURE:.0%}{missed}. Then, for each pair, "
        "the data size at which they cross, with its 90% band."
    )
    if any(math.isfinite(pair.H) for pair in pairs):
        caption += f" Dotted: {equal_reducible(found.outcome)} (Eq. 3), which is not the crossover."
    for pair in never:
        caption += f" {method_title(pair.first)} and {method_name(pair.second)} do not cross here."
    title = "Figure 5. Which method is best, and where they cross"
    title += "" if found.task == "unnamed" else f" ({found.task})"
    name = f"figure-5-{slug(found.task)}"
    return Figure(name, 5, title, caption, tuple(panels), best, up=EXAMPLES)


def _map(decision: Decision, sizes: tuple[float, float]) -> MapPanel:
    found = decision.found
    ranges = [law.ranges[DATA_SIZE] for law in found.laws]
    reach = min(r[0] for r in ranges), max(r[1] for r in ranges)
    x = np.geomspace(*sizes, _ACROSS + 1)
    y = np.geomspace(reach[0] / FAR, reach[1] * FAR, _UP + 1)
    names = [method_title(member.name) for member in found.members]
    cells: list[Mapping[str, Any]] = []
    for left, right in pairwise(x):
        verdict = _column(decision, math.sqrt(left * right), np.sqrt(y[:-1] * y[1:]))
        edges = [0, *(np.flatnonzero(np.diff(verdict)) + 1), _UP]
        for low, high in pairwise(edges):
            index = int(verdict[low])
            label = UNTOLD if index < 0 else names[index]
            cells.append({"series": label, "x": left, "x2": right, "y": y[low], "y2": y[high]})
    series = [
        Series(name, palette.SERIES[index % len(palette.SERIES)][0], "square")
        for index, name in enumerate(names)
        if any(cell["series"] == name for cell in cells)
    ]
    if any(cell["series"] == UNTOLD for cell in cells):
        series.append(Series(UNTOLD, palette.GRID, "square"))
    seen = found.runs.select(pl.col(SIZE).alias("x"), pl.col(DATA_SIZE).alias("y")).unique()
    fitted = [law.ranges[SIZE] for law in found.laws]
    frame = {"x": min(r[0] for r in fitted), "x2": max(r[1] for r in fitted), "y": reach[0], "y2": reach[1]}
    place = (pl.col("y").log() * _CROSSES / math.log(reach[1] / reach[0])).round().alias("place")
    seen = seen.drop_nulls().sort("x", "y").with_columns(place)
    runs = tuple(seen.unique(["x", "place"], keep="first", maintain_order=True).drop("place").to_dicts())
    return MapPanel("Best method", tuple(series), (), (), (), cells=tuple(cells), runs=runs, frame=(frame,))


def _column(decision: Decision, size: float, data: Array) -> Array:
    """The index of the best candidate at one model size for every data size, [data]; -1: not told."""
    losses, draws, off = [], [], []
    sign = decision.found.outcome.sign
    for member in decision.found.members:
        asked = member.asked(size, data)
        losses.append(sign * member.law.centre(asked))
        draws.append(sign * member.law.mean_draws(asked))
        low, high = member.law.ranges[DATA_SIZE]
        at_edge = member.outside(size, low)
        inside, beyond = (member.misses.expected({**at_edge, DATA_SIZE: far}) for far in (1.0, 2.0))
        off.append(np.where((data < low) | (data > high), beyond, inside))
    order = np.argsort(np.stack(losses), axis=0)  # [candidates, data]
    best, second = order[0], order[1]
    columns = np.arange(data.size)
    wins = np.mean(np.stack(draws).argmin(axis=0) == best, axis=0)
    lead = np.stack(losses)[second, columns] - np.stack(losses)[best, columns]
    if decision.found.forecast:  # its own error is in its draws
        return np.where((wins >= SURE) & (lead > 0), best, -1)
    missed = np.maximum(np.stack(off)[best, columns], np.stack(off)[second, columns])
    return np.where((wins >= SURE) & (missed <= lead), best, -1)


def _critical(pair: Crossovers) -> CriticalPanel | None:
    """The crossovers of one pair; None where its laws do not cross at any size."""
    low, high = pair.within
    curve: list[Mapping[str, Any]] = []
    for point in pair.points:
        for crossing in point.crossings[:1]:
            curve.append(
                {
                    "series": "crossover",
                    "x": point.at,
                    "y": crossing.examples,
                    "low": max(crossing.low, low),
                    "high": min(crossing.high, high),
                    "beyond": False,
                }
            )
    if len(curve) < 2:
        return None
    reducible = tuple(
        {"x": point.at, "y": point.equal_reducible}
        for point in pair.points
        if low <= point.equal_reducible <= high
    )
    names = [method_title(pair.first), method_name(pair.second)]
    series = (Series("crossover", palette.SERIES[3][0], "circle"),)
    sizes = float(pair.points[0].at or 1), float(pair.points[-1].at or 1)
    return CriticalPanel(
        " / ".join(names),
        series,
        (),
        tuple(curve),
        (),
        within=pair.within,
        reducible=reducible,
        sizes=sizes,
    )
