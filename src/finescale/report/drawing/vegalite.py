"""Vega-Lite specifications as plain data, and their pictures as SVG, in the report's look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import vl_convert

from finescale.report.drawing import palette

WIDTH, HEIGHT = 286, 220
FONT = "system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
Spec = dict[str, Any]
"""A part of a specification, or all of it (https://vega.github.io/vega-lite/docs/)."""
Rows = Sequence[Mapping[str, Any]]

_CONFIG = {
    "background": "transparent",
    "font": FONT,
    "padding": 4,
    "view": {"stroke": None},
    "axis": {
        "labelColor": palette.SOFT,
        "titleColor": palette.SOFT,
        "gridColor": palette.GRID,
        "domainColor": palette.GRID,
        "tickColor": palette.GRID,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    },
    "legend": {
        "orient": "bottom",
        "direction": "horizontal",
        "labelColor": palette.INK,
        "titleColor": palette.SOFT,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleOrient": "left",
        "labelLimit": 140,
        "columnPadding": 12,
    },
}
_TITLE = {"anchor": "start", "fontSize": 13, "fontWeight": 600, "color": palette.INK, "offset": 8}


def layer(rows: str, mark: str, look: Mapping[str, Any], encoding: Mapping[str, Spec]) -> Spec:
    """A layer of a chart.

    Args:
        rows: The name of its rows, which ``picture`` is given.
        mark: What is drawn: ``line``, ``point``, ...
        look: The mark's properties.
        encoding: By channel: a field and how it is shown.
    """
    return {"data": {"name": rows}, "mark": {"type": mark, **look}, "encoding": dict(encoding)}


def quantity(field: str, **properties: Any) -> Spec:
    """A number: its field, and ``scale``, ``axis``, ``title``."""
    return {"field": field, "type": "quantitative", **properties}


def category(field: str, **properties: Any) -> Spec:
    """A name: its field, and ``scale``, ``legend``, ``sort``."""
    return {"field": field, "type": "nominal", **properties}


def compile_chart(layers: Sequence[Spec]) -> Spec:
    """The layers as one chart in the report's look, compiled to Vega: what pictures that look alike share."""
    chart = {"width": WIDTH, "height": HEIGHT, "config": _CONFIG, "title": {"text": " ", **_TITLE}}
    return vl_convert.vegalite_to_vega({**chart, "layer": list(layers)})


def picture(chart: Spec, title: str, rows: Mapping[str, Rows]) -> str:
    """A compiled chart with its title and rows, as SVG.

    Args:
        chart: As ``compile_chart`` made it.
        title: Its title.
        rows: The layers' rows, by name.
    """
    filled = [
        {**data, "values": [dict(row) for row in rows[data["name"]]]} if data["name"] in rows else data
        for data in chart["data"]
    ]
    return vl_convert.vega_to_svg({**chart, "title": {**chart["title"], "text": title}, "data": filled})
