"""The laws in pictures: Figures 1-4 with what they hide in words, and Figure 10."""

from __future__ import annotations

from finescale.records.settings import PAPER_FACTORS
from finescale.report.base_models import figure_10
from finescale.report.drawing.markup import Html, join, note, tag
from finescale.report.figures import NUMBERS, factor_figure, figure_1
from finescale.report.section import Content, Made, Picture, Section
from finescale.report.sections.parts import draw, figure_html, of_task
from finescale.report.shape import bend_words, misfit_words
from finescale.wording import factor_name


def _fill(content: Content) -> Made:
    parts: list[Html] = []
    needs: list[str] = []
    pictures: list[Picture] = []
    for task in content.evidence.tasks:
        drawn = [(draw(figure_1(task)), bend_words(task))]
        drawn += [(draw(factor_figure(task, factor)), misfit_words(task, factor)) for factor in PAPER_FACTORS]
        if len(content.evidence.tasks) > 1 and any(made for made, _ in drawn):
            parts.append(tag("h3", task.task))
        for made, words in drawn:
            pictures += made
            parts += [figure_html(picture) for picture in made]
            parts += [note(text) for text in words] if made else []
        for factor, (made, _) in zip(PAPER_FACTORS, drawn[1:], strict=True):
            if not made:
                lacks = f"Figure {NUMBERS[factor]} needs runs at two values of {factor_name(factor)} or more."
                needs.append(of_task(content, task.task, lacks))
    if not content.evidence.tasks:
        needs.append("Figures 1-4 need finished runs.")
    base = draw(figure_10(content.evidence))
    parts += [figure_html(picture) for picture in base]
    if not base:
        needs.append("Figure 10 needs untuned models of two sizes, or with two checkpoints.")
    return Made(join(*parts), pictures=[*pictures, *base], needs=needs)


SECTION = Section("figures", "The laws in pictures", _fill)
