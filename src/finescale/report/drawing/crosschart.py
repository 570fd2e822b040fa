"""Drawing Figure 5: the map of the best method, and the crossovers along the model size."""

from __future__ import annotations

import math

from finescale.report.crossmap import CriticalPanel, MapPanel
from finescale.report.drawing import palette
from finescale.report.drawing.vegalite import Spec, category, compile_chart, layer, picture, quantity
from finescale.report.figures import Figure
from finescale.wording import count

_SIZES, _DATA = "model parameters (log scale)", "finetuning examples (log scale)"
_CROSSOVER = "crossover, finetuning examples (log scale)"


def crossover_svgs(figure: Figure) -> list[str]:
    """Every panel of Figure 5 as SVG, in light colours."""
    made = []
    for panel in figure.panels:
        if isinstance(panel, MapPanel):
            made.append(_map(panel, figure.legend))
        elif isinstance(panel, CriticalPanel):
            made.append(_critical(panel))
    return made


def _map(panel: MapPanel, legend: str) -> str:
    ends = min(cell["y"] for cell in panel.cells), max(cell["y2"] for cell in panel.cells)
    x = quantity("x", scale=_log(panel.sizes), axis=_axis(panel.sizes), title=_SIZES)
    y = quantity("y", scale=_log(ends), axis=_axis(ends), title=_DATA)
    labels = [series.label for series in panel.series]
    colour = category(
        "series",
        scale={"domain": labels, "range": [series.colour for series in panel.series]},
        legend={"title": legend, "columns": 2, "symbolSize": 80, "symbolOpacity": 1},
        sort=labels,
    )
    place = {"x": x, "y": y}
    area = {**place, "x2": {"field": "x2"}, "y2": {"field": "y2"}}
    cross = {"shape": "cross", "size": 14, "filled": True, "color": palette.INK, "opacity": 0.75}
    layers = [
        layer("cells", "rect", {"opacity": 0.75, "clip": True}, {**area, "color": colour}),
        layer("frame", "rect", {"fill": None, "stroke": palette.INK, "strokeWidth": 1.2}, area),
        layer("runs", "point", cross, place),
    ]
    rows = {"cells": panel.cells, "frame": panel.frame, "runs": panel.runs}
    return picture(compile_chart(layers), panel.title, rows)


def _critical(panel: CriticalPanel) -> str:
    x = {"x": quantity("x", scale=_log(panel.sizes), axis=_axis(panel.sizes), title=_SIZES)}

    def y(field: str) -> Spec:
        return quantity(field, scale=_log(panel.within), axis=_axis(panel.within), title=_CROSSOVER)

    (series,) = panel.series
    band = {**x, "y": y("low"), "y2": {"field": "high"}}
    line = {**x, "y": y("y")}
    dotted = {"color": palette.SOFT, "strokeDash": [1, 3], "strokeWidth": 1.6, "clip": True}
    layers = [
        layer("curve", "area", {"opacity": 0.18, "color": series.colour, "clip": True}, band),
        layer("curve", "line", {"color": series.colour, "strokeWidth": 1.8, "clip": True}, line),
        layer("reducible", "line", dotted, line),
    ]
    rows = {"curve": panel.curve, "reducible": panel.reducible}
    return picture(compile_chart(layers), panel.title, rows)


def _log(ends: tuple[float, float]) -> Spec:
    return {"type": "log", "domain": list(ends), "nice": False}


def _axis(ends: tuple[float, float]) -> Spec:
    """A tick for every power of ten; more where there are few of them."""
    low, high = math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1]))
    steps = (1,) if high - low > 3 else (1, 3)
    values = [k * 10.0**power for power in range(low, high + 1) for k in steps]
    values = [value for value in values if ends[0] <= value <= ends[1]]
    labels = " : ".join(f"datum.value == {value:g} ? '{count(value)}'" for value in values)
    return {"values": values, "labelExpr": f"{labels} : ''" if labels else "''", "grid": False}
