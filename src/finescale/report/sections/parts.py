"""What several sections are made of: a figure, tables that have rows, the line that says what is missing."""

from __future__ import annotations

from collections.abc import Iterable

from finescale.report.drawing import palette
from finescale.report.drawing.charts import panel_svgs, with_prefix, without_labels
from finescale.report.drawing.markup import Html, table, tag
from finescale.report.drawing.sheet import Sheet
from finescale.report.figures import Figure
from finescale.report.section import Content, Picture


def missing(text: str) -> Html:
    """The line in place of an answer: why there is none."""
    return tag("p", text, class_="missing")


def of_task(content: Content, task: str, words: str) -> str:
    """A sentence about a task, which says so where there are several."""
    return f"{task}: {words}" if len(content.evidence.tasks) > 1 else words


def tables(sheets: Iterable[Sheet]) -> list[Html]:
    """The tables that have rows."""
    return [table(sheet) for sheet in sheets if sheet.rows]


def draw(figure: Figure | None) -> list[Picture]:
    """The figure with its panels, where there is one."""
    return [] if figure is None else [Picture(figure, panel_svgs(figure))]


def figure_html(picture: Picture) -> Html:
    """A figure on the page: its panels in the page's own colours, each an image with a label."""
    figure, pictures = picture.figure, []
    for index, (panel, svg) in enumerate(zip(figure.panels, picture.panels, strict=True)):
        inner = with_prefix(without_labels(palette.with_variables(svg)), f"{figure.name}-{index}-")
        what = f"{figure.title}: {panel.title}"
        label = tag("svg", role="img", aria_label=what)[4 : -len("></svg>")]
        pictures.append(tag("div", Html(inner.replace("<svg", f"<svg{label}", 1)), class_="panel"))
    return tag(
        "figure",
        tag("h3", figure.title),
        tag("div", *pictures, class_="panels two" if len(pictures) in (2, 4) else "panels"),
        tag("figcaption", figure.caption),
    )
