"""Where the better method changes: Figure 5, every pair's critical points, and Table 5."""

from __future__ import annotations

import math

from finescale.advice.candidate import SIZE
from finescale.records.outcome_words import equal_reducible
from finescale.report.crossmap import figure_5
from finescale.report.decisions import Decision
from finescale.report.drawing.crosschart import crossover_svgs
from finescale.report.drawing.markup import Html, bullets, fold, join, tag
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, plain
from finescale.report.reducible import table_5
from finescale.report.section import Content, Made, Picture, Section
from finescale.report.sections.parts import figure_html, of_task, tables
from finescale.wording import capital, count, factor_name, method_name, method_title, number, slug


def _fill(content: Content) -> Made:
    parts: list[Html] = []
    needs: list[str] = []
    sheets: list[Sheet] = []
    pictures: list[Picture] = []
    answered = content.answered
    for task, made in answered.items():
        if isinstance(made, str) or not made.pairs:
            needs.append(of_task(content, task, "Crossovers need two methods or more."))
            continue
        if len(answered) > 1:
            parts.append(tag("h3", task))
        parts.append(bullets(*_at_base(made)))
        figure = figure_5(made)
        if figure is None:
            lacks = "Figure 5 needs runs at two model sizes or more, and bootstrap draws."
            needs.append(of_task(content, task, lacks))
        else:
            pictures.append(Picture(figure, crossover_svgs(figure)))
            parts.append(figure_html(pictures[-1]))
        sheets.append(crossover_sheet(made))
        parts.append(fold("Every pair at every model size", *tables(sheets[-1:])))
    if not content.decisions:
        needs.append("Crossovers need two methods or more.")
    equal = table_5(content.evidence)
    lacks = "Table 5 needs multiplicative laws of two methods over model size or pretraining tokens."
    parts += tables([equal])
    return Made(join(*parts), [*sheets, equal], pictures, needs if equal.rows else [*needs, lacks])


def _at_base(made: Decision) -> list[str]:
    """A sentence a pair: who is ahead up to where, at the base setting's model size."""
    base = made.found.base.get(SIZE)
    said = []
    for pair in made.pairs:
        point = next((point for point in pair.points if point.at in (None, base)), pair.points[-1])
        names = f"{method_title(pair.first)} and {method_name(pair.second)}"
        said.append(f"{names}, {point.words}.")
    return said


def crossover_sheet(decision: Decision) -> Sheet:
    """The critical points (Figure 5 in numbers): the crossovers of every pair, with their intervals."""
    rows: list[Row] = []
    for pair in decision.pairs:
        for point in pair.points:
            row = {"task": decision.task, "first": pair.first, "second": pair.second, "factor": pair.factor}
            row |= {"at": point.at, "ahead": point.ahead, "probability": point.probability}
            row |= {"H": pair.H, "gamma": pair.gamma, "equal_reducible_loss": point.equal_reducible}
            first = point.crossings[0] if point.crossings else None
            row |= {"crossings": len(point.crossings), "examples": first.examples if first else None}
            row |= {"low": first.low if first else None, "high": first.high if first else None}
            rows.append(row | {"times_outside": first.outside if first else None})
    shown: list[SheetColumn] = [
        SheetColumn(
            "pair", lambda r: f"{method_name(r['first'])} / {method_name(r['second'])}", numeric=False
        )
    ]
    if decision.found.factor:
        shown.append(column(factor_name(SIZE), "at", count))
    shown += [plain("who is ahead", "ahead"), column("draws that cross", "probability", _percent)]
    notes = [
        "In brackets: the 90% interval; outside: how many times outside the data of either method it lies."
    ]
    if any(math.isfinite(pair.H) for pair in decision.pairs):
        equal = equal_reducible(decision.found.outcome)
        shown.append(column(equal, "equal_reducible_loss", count))
        shown += [column("H", "H", number), column("gamma", "gamma", number)]
        notes.append(
            f"{capital(equal)} is H X^gamma (Eq. 3): the crossover only if both floors E were equal."
        )
    by = decision.found.law + ("" if decision.found.forecast else " law")
    title = f"Crossovers: at which data size the better method changes ({by})"
    return Sheet(f"crossovers-{slug(decision.task)}", title, rows, shown, tuple(notes))


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


SECTION = Section("crossovers", "Where the better method changes", _fill)
