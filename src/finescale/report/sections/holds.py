"""Does the law hold: bends and misfits, and the laws of one variable against one another."""

from __future__ import annotations

from dataclasses import replace

from finescale.records.settings import PAPER_FACTORS
from finescale.report.drawing.markup import Html, bullets, join, paragraphs, tag
from finescale.report.drawing.sheet import Sheet
from finescale.report.evidence import TaskEvidence
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import tables
from finescale.report.shape import bend_words, curve_laws, misfit_words, steps_words
from finescale.wording import slug

_HOLDS = (
    "No sign in these records that the multiplicative law fails: it misses no more than the noise "
    "between seeds explains, and no curve bends {way}."
)


def _fill(content: Content) -> Made:
    parts: list[Html] = []
    for task in content.evidence.tasks:
        words = bend_words(task) + [text for factor in PAPER_FACTORS for text in misfit_words(task, factor)]
        mine = [tag("p", "Not everywhere:"), bullets(*words)] if words else []
        if not words and task.laws:
            mine.append(tag("p", _HOLDS.format(way="downwards" if task.outcome.lower else "upwards")))
        mine += [paragraphs(steps) for steps in [steps_words(task)] if steps]
        parts += [tag("h3", task.task)] if mine and len(content.evidence.tasks) > 1 else []
        parts += mine
    sheets = [_of_one_task(curve_laws(task), task, content) for task in content.evidence.tasks]
    parts += tables(sheets)
    return Made(join(*parts), sheets, needs=[] if parts else ["It needs fitted laws."])


def _of_one_task(sheet: Sheet, task: TaskEvidence, content: Content) -> Sheet:
    """A task's table; where there are several tasks its name and title say which."""
    if len(content.evidence.tasks) == 1:
        return sheet
    return replace(sheet, name=f"{sheet.name}-{slug(task.task)}", title=f"{sheet.title} ({task.task})")


SECTION = Section("holds", "Does the law hold?", _fill)
