"""What several sections are made of: a figure, the tables of a name, the line that says what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from finescale.report.content import Content
from finescale.report.drawing import palette
from finescale.report.drawing.charts import prefixed, silent
from finescale.report.drawing.markup import Html, table, tag
from finescale.report.figures import Figure


def missing(text: str) -> Html:
    """The line in place of a section without data: what would fill it."""
    return tag("p", text, class_="missing")


def named(content: Content, start: str) -> list[Html]:
    """The tables whose names start so."""
    return [table(sheet) for sheet in content.sheets if sheet.name.startswith(start)]


def figure_html(figure: Figure, panels: Sequence[str]) -> Html:
    """A figure on the page: its panels in the page's own colours, each an image with a label."""
    pictures = []
    for index, (panel, svg) in enumerate(zip(figure.panels, panels, strict=True)):
        inner = prefixed(silent(palette.themed(svg)), f"{figure.name}-{index}-")
        what = f"{figure.title}: {panel.title}"
        label = tag("svg", role="img", aria_label=what)[4 : -len("></svg>")]
        pictures.append(tag("div", Html(inner.replace("<svg", f"<svg{label}", 1)), class_="panel"))
    return tag(
        "figure",
        tag("h3", figure.title),
        tag("div", *pictures, class_="panels two" if len(pictures) in (2, 4) else "panels"),
        tag("figcaption", figure.caption),
    )
