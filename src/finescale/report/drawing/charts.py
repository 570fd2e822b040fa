"""From a figure to pictures: each panel a chart, drawn as SVG; panels side by side for the files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import vl_convert

from finescale.report.drawing import palette
from finescale.report.drawing.marks import Reach, side_by_side
from finescale.report.drawing.vegalite import (
    FONT,
    HEIGHT,
    WIDTH,
    Rows,
    Spec,
    category,
    compile_chart,
    layer,
    picture,
    quantity,
)
from finescale.report.figures import Figure, Panel
from finescale.wording import count

Axis = Callable[[str], Spec]
"""An axis for a field."""
_GAP = 16
_ACROSS = 3


def panel_svgs(figure: Figure) -> list[str]:
    """Every panel of a figure as SVG in light colours; panels of one x axis have the same scales."""
    up = _y_reach(figure)
    y = _y_axis(up, figure.up)
    axes: dict[str, list[Panel]] = {}
    for panel in figure.panels:
        axes.setdefault(panel.across, []).append(panel)
    across = {title: _x_reach(panels, log=figure.log[0]) for title, panels in axes.items()}
    x = {title: _x_axis(across[title], panels, title) for title, panels in axes.items()}
    made: dict[tuple[Any, ...], Spec] = {}
    pictures = []
    for panel in figure.panels:
        look = (panel.series, panel.across)  # panels that look alike differ by title and rows alone
        if look not in made:
            made[look] = compile_chart(_layers(panel, figure, x[panel.across], y))
        points = side_by_side(panel.points, across[panel.across], up)
        pictures.append(picture(made[look], panel.title, _rows(panel, points)))
    return pictures


def sheet_svg(figure: Figure, panels: Sequence[str]) -> str:
    """The panels and the title in one SVG, for the files."""
    sizes = [_size(panel) for panel in panels]
    across = 2 if len(panels) == 4 else min(_ACROSS, len(panels))
    wide = max(width for width, _ in sizes)
    body, top = [], 34.0
    for start in range(0, len(panels), across):
        row = range(start, min(start + across, len(panels)))
        for index in row:
            left = (index - start) * (wide + _GAP)
            moved = with_prefix(panels[index], f"p{index}-").replace(
                "<svg ", f'<svg x="{left}" y="{top}" ', 1
            )
            body.append(moved)
        top += max(sizes[index][1] for index in row) + _GAP
    width = across * (wide + _GAP) - _GAP
    title = figure.title.replace("&", "&amp;").replace("<", "&lt;")
    words = f'x="6" y="20" font-size="14" font-weight="600" font-family="{FONT}" fill="{palette.INK}"'
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return (
        f'<svg {spaces} width="{width:g}" height="{top:g}" viewBox="0 0 {width:g} {top:g}">'
        f'<rect width="100%" height="100%" fill="{palette.CARD}"/>'
        f"<text {words}>{title}</text>{''.join(body)}</svg>"
    )


def png(svg: str) -> bytes:
    """The picture as PNG at twice its size."""
    return vl_convert.svg_to_png(svg, scale=2)


def pdf(svg: str) -> bytes:
    """The picture as PDF."""
    return vl_convert.svg_to_pdf(svg)


def with_prefix(svg: str, prefix: str) -> str:
    """The picture with identifiers of its own, so that several can stand in one document."""
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}\1)", svg)
    return re.sub(r'href="#([^"]+)"', rf'href="#{prefix}\1"', svg)


def without_labels(svg: str) -> str:
    """The picture without roles and labels of its parts: on the page it is one image with one label."""
    return re.sub(r"<[^>]+>", lambda part: re.sub(r' (?:role|aria-[a-z]+)="[^"]*"', "", part[0]), svg)


def _size(svg: str) -> tuple[float, float]:
    found = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    assert found is not None, "a chart without a size"
    return float(found[1]), float(found[2])


def _x_reach(panels: Sequence[Panel], *, log: bool) -> Reach:
    values = sorted({point["x"] for panel in panels for point in panel.points})
    if not log:
        pad = 0.06 * (values[-1] - values[0]) or 0.1
        return Reach(values[0] - pad, values[-1] + pad, False, WIDTH)
    low, high = math.log(values[0]), math.log(values[-1])
    pad = 0.04 * (high - low) or 0.5
    return Reach(math.exp(low - pad), math.exp(high + pad), True, WIDTH)


def _x_axis(reach: Reach, panels: Sequence[Panel], title: str) -> Axis:
    domain = [reach.low, reach.high]
    if not reach.log:
        scale, axis = {"domain": domain, "nice": False, "zero": False}, _plain_axis(*domain)
        return lambda field: quantity(field, scale=scale, axis=axis, title=title)
    values = sorted({point["x"] for panel in panels for point in panel.points})
    ticks: list[float] = []
    for value in values:
        if not ticks or math.log(value / ticks[-1]) >= math.log(values[-1] / values[0]) / 5.5:
            ticks.append(value)
    labels = " : ".join(f"datum.value == {value!r} ? '{count(value)}'" for value in ticks)
    axis = {"values": ticks, "labelExpr": f"{labels} : ''", "labelFlush": False}
    scale = {"type": "log", "domain": domain, "nice": False}
    return lambda field: quantity(field, scale=scale, axis=axis, title=title)


def _y_reach(figure: Figure) -> Reach:
    points = [point for panel in figure.panels for point in panel.points]
    seen = [value for point in points for value in (point["low"], point["high"])]
    low, high = min(seen), max(seen)
    reach = max(high - low, 1e-3 * abs(high))
    lines = [line["y"] for panel in figure.panels for line in (*panel.untuned, *panel.curve)]
    near = [y for y in lines if low - reach <= y <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.06 * max(high - low, 1e-3 * abs(high)) or 0.1
    least, most = figure.bounds
    floor = max(least, 1e-6) if figure.log[1] else least
    return Reach(max(low - pad, floor), min(high + pad, most), figure.log[1], HEIGHT)


def _y_axis(reach: Reach, title: str) -> Axis:
    kind = {"type": "log"} if reach.log else {"zero": False}
    scale = {"domain": [reach.low, reach.high], "nice": False, **kind}
    axis = _plain_axis(reach.low, reach.high)
    return lambda field: quantity(field, scale=scale, axis=axis, title=title)


def _plain_axis(low: float, high: float) -> Spec:
    """An axis with round numbers."""
    ticks = _ticks(low, high)
    digits = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9)) if len(ticks) > 1 else 2
    return {"values": ticks, "format": f".{digits}f"}


def _ticks(low: float, high: float) -> list[float]:
    step = (high - low) / 5
    power = 10 ** math.floor(math.log10(step))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= step * 0.8)
    first = math.ceil(low / step)
    return [round(index * step, 10) for index in range(first, math.floor(high / step) + 1)]


def _layers(panel: Panel, figure: Figure, across: Axis, up: Axis) -> list[Spec]:
    labels = [series.label for series in panel.series]
    key = {"title": figure.legend, "columns": 4, "symbolSize": 60, "symbolOpacity": 1, "symbolLimit": 0}

    def told_by(looks: list[str]) -> Spec:
        return category("series", scale={"domain": labels, "range": looks}, legend=key, sort=labels)

    colour, shape = told_by([s.colour for s in panel.series]), told_by([s.shape for s in panel.series])
    mean, reach = {"y": up("y"), "color": colour}, {"y": up("low"), "y2": {"field": "high"}, "color": colour}
    x, beside = {"x": across("x")}, {"x": across("beside")}
    parts = {"detail": category("part"), "order": quantity("at")}
    rule = {"strokeDash": [1, 3], "strokeWidth": 1.4, "clip": True}
    solid = {"strokeWidth": 1.6, "opacity": 1.0} if figure.law else {"strokeWidth": 1.0, "opacity": 0.6}
    dashed = {"strokeWidth": 1.6, "strokeDash": [5, 3]}
    point = {"size": 34, "opacity": 1}
    hollow = {"filled": False, "fill": palette.CARD, "strokeWidth": 1.5}
    return [
        layer("plain", "rule", {**rule, "color": palette.SOFT}, {"y": up("y")}),
        layer("bare", "rule", rule, mean),
        layer("curve", "area", {"opacity": 0.16, "clip": True, "line": False}, {**x, **reach}),
        layer("solid", "line", {**solid, "clip": True}, {**x, **mean, **parts}),
        layer("dashed", "line", {**dashed, "clip": True}, {**x, **mean, **parts}),
        layer("points", "rule", {"strokeWidth": 1.2}, {**beside, **reach}),
        layer("fitted", "point", {**point, "filled": True}, {**beside, **mean, "shape": shape}),
        layer("hidden", "point", {**point, **hollow}, {**beside, **mean, "shape": shape}),
    ]


def _rows(panel: Panel, points: Rows) -> dict[str, Rows]:
    """The rows of each layer, by name; the points with the places at which they are drawn."""
    labels = [series.label for series in panel.series]
    lines = _runs_of(panel.curve)
    return {
        "plain": [rule for rule in panel.untuned if rule["series"] not in labels],
        "bare": [rule for rule in panel.untuned if rule["series"] in labels],
        "curve": panel.curve,
        "solid": lines[False],
        "dashed": lines[True],
        "points": points,
        "fitted": [point for point in points if not point["held_out"]],
        "hidden": [point for point in points if point["held_out"]],
    }


def _runs_of(curve: Rows) -> dict[bool, list[dict[str, Any]]]:
    """The solid and the dashed parts, in the rows' order; a dashed part starts at the solid one's end."""
    parts: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    before: Mapping[str, Any] | None = None
    part = 0
    for at, row in enumerate(curve):
        joined = before is not None and before["series"] == row["series"]
        if joined and before is not None and before["beyond"] != row["beyond"]:
            part += 1
            parts[row["beyond"]].append({**before, "part": part, "at": at - 1})
        elif not joined:
            part += 1
        parts[row["beyond"]].append({**row, "part": part, "at": at})
        before = row
    return parts
