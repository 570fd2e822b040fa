"""Drawing Figure 5: the map of the best method, and the crossovers along the model size."""

from __future__ import annotations

import math

import altair as alt

from finescale.report.crossmap import CriticalPanel, MapPanel
from finescale.report.drawing import palette
from finescale.report.drawing.charts import render, rows_of
from finescale.report.figures import Figure
from finescale.wording import count


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
    x = alt.X("x:Q", scale=_log(panel.sizes), axis=_axis(panel.sizes), title="model parameters (log scale)")
    ends = min(cell["y"] for cell in panel.cells), max(cell["y2"] for cell in panel.cells)
    y = alt.Y("y:Q", scale=_log(ends), axis=_axis(ends), title="finetuning examples (log scale)")
    colour = alt.Color(
        "series:N",
        scale=alt.Scale(domain=[s.label for s in panel.series], range=[s.colour for s in panel.series]),
        legend=alt.Legend(title=legend, columns=2, symbolSize=80, symbolOpacity=1),
        sort=[s.label for s in panel.series],
    )
    layers = [
        rows_of("cells")
        .mark_rect(opacity=0.75, clip=True)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q", color=colour),
        rows_of("frame")
        .mark_rect(fill=None, stroke=palette.INK, strokeWidth=1.2)
        .encode(x=x, x2="x2:Q", y=y, y2="y2:Q"),
        rows_of("runs")
        .mark_point(shape="cross", size=14, filled=True, color=palette.INK, opacity=0.75)
        .encode(x=x, y=y),
    ]
    data = {"cells": panel.cells, "frame": panel.frame, "runs": panel.runs}
    return render(alt.layer(*layers), panel.title, data)


def _critical(panel: CriticalPanel) -> str:
    x = alt.X("x:Q", scale=_log(panel.sizes), axis=_axis(panel.sizes), title="model parameters (log scale)")
    title = "crossover, finetuning examples (log scale)"

    def y(name: str) -> alt.Y:
        return alt.Y(name, scale=_log(panel.within), axis=_axis(panel.within), title=title)

    (series,) = panel.series
    curve = rows_of("curve")
    layers = [
        curve.mark_area(opacity=0.18, color=series.colour, clip=True).encode(x=x, y=y("low:Q"), y2="high:Q"),
        curve.mark_line(color=series.colour, strokeWidth=1.8, clip=True).encode(x=x, y=y("y:Q")),
        rows_of("reducible")
        .mark_line(color=palette.SOFT, strokeDash=[1, 3], strokeWidth=1.6, clip=True)
        .encode(x=x, y=y("y:Q")),
    ]
    data = {"curve": panel.curve, "reducible": panel.reducible}
    return render(alt.layer(*layers), panel.title, data)


def _log(ends: tuple[float, float]) -> alt.Scale:
    return alt.Scale(type="log", domain=list(ends), nice=False)


def _axis(ends: tuple[float, float]) -> alt.Axis:
    """A tick for every power of ten; more where there are few of them."""
    low, high = math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1]))
    steps = (1,) if high - low > 3 else (1, 3)
    values = [k * 10.0**power for power in range(low, high + 1) for k in steps]
    values = [value for value in values if ends[0] <= value <= ends[1]]
    labels = " : ".join(f"datum.value == {value:g} ? '{count(value)}'" for value in values)
    return alt.Axis(values=values, labelExpr=f"{labels} : ''" if labels else "''", grid=False)
