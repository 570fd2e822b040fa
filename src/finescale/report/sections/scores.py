"""What finetuning does beyond its loss: generation, zero-shot, few-shot, forgetting, and Table 7."""

from __future__ import annotations

from typing import Any

import polars as pl

from finescale.records.records import DATA_SIZE, untuned
from finescale.records.scores import SPLITS, metric_name
from finescale.records.settings import at_base
from finescale.report.correlation import correlations, every_correlation, wrong_signs
from finescale.report.drawing.markup import fold, join, tag
from finescale.report.drawing.sheet import Sheet, SheetColumn, column
from finescale.report.evidence import Evidence, TaskEvidence, settings_of
from finescale.report.figures import untuned_at
from finescale.report.score_figures import (
    KINDS,
    ScoreFigure,
    forgetting_figure,
    forgetting_rows,
    score_figure,
)
from finescale.report.section import Content, Made, Picture, Section
from finescale.report.sections.parts import draw, figure_html, of_task, tables
from finescale.wording import count, factor_name, listed, method_name, nats, slug

_NEEDS = (
    "Figures 6-9 and 11-14 and Table 7 need scores: an `evaluation:` block in the study file, or a table of "
    "scores (--scores FILE)."
)
_FORGETTING = (
    "Forgetting needs the loss on pretraining text before and after finetuning "
    "(pretrain_loss_before, pretrain_loss_after), and the untuned models."
)
_TABLE_7 = "Table 7 needs generation scores at two values of a factor or more."


def _fill(content: Content) -> Made:
    evidence, scores = content.evidence, content.evidence.scores
    table_7, every = correlations(evidence), every_correlation(evidence)
    sheets: list[Sheet] = []
    pictures: list[Picture] = []
    needs = [] if scores is not None else [_NEEDS]
    parts = [tag("p", words, class_="headline") for words in wrong_signs(table_7)]
    for task in evidence.tasks:
        drawn = {kind: draw(score_figure(task, scores, kind)) for kind in KINDS} if scores is not None else {}
        made = [picture for found in drawn.values() for picture in found]
        mine = [figure_html(picture) for picture in made]
        lacks = _absent([kind for kind, found in drawn.items() if not found])
        sheet = scores_at_base(evidence, task)
        sheets.append(sheet)
        if scores is not None and sheet.rows:
            mine.append(fold("Scores at the base setting", *tables([sheet])))
        forgotten = draw(forgetting_figure(task, evidence.records))
        mine += [figure_html(picture) for picture in forgotten]
        lacks += [] if forgotten else [_FORGETTING]
        parts += [tag("h3", task.task)] if mine and len(evidence.tasks) > 1 else []
        parts += mine
        needs += [of_task(content, task.task, words) for words in lacks]
        pictures += [*made, *forgotten]
    if scores is not None:
        parts += tables([table_7])
        needs += [] if table_7.rows else [_TABLE_7]
        parts += [fold("Correlations of every score", *tables([every]))] if every.rows else []
        parts += [tag("p", words, class_="small") for words in scores.notes]
    return Made(join(*parts), [table_7, every, *sheets], pictures, needs)


def _absent(kinds: list[ScoreFigure]) -> list[str]:
    """What would fill the figures that are not there, one sentence a kind of score."""
    sentences = []
    for what in dict.fromkeys(map(_what, kinds)):
        mine = [kind for kind in kinds if _what(kind) == what]
        numbers = listed([str(kind.number) for kind in mine])
        figures = f"Figures {numbers} need" if len(mine) > 1 else f"Figure {numbers} needs"
        factors = listed([factor_name(kind.factor) for kind in mine], "or")
        sentences.append(f"{figures} {what} scores at two values of {factors}.")
    return sentences


def _what(kind: ScoreFigure) -> str:
    shots = {0: "generation", 1: "one-shot", 5: "five-shot"}
    return "zero-shot" if kind.split == "zero_shot" else shots[kind.shots]


def scores_at_base(evidence: Evidence, task: TaskEvidence) -> Sheet:
    """Means over seeds of every kind of score at the base setting, and what was forgotten there."""
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    shown: list[SheetColumn] = [
        SheetColumn("method", lambda row: method_name(row["method"]), numeric=False),
        column("examples", DATA_SIZE, count),
    ]
    for key, heading, values in _kinds(evidence, task):
        bare = untuned_at(values.filter(untuned()), task.base, {})
        tuned = values.filter(~untuned() & (pl.col(DATA_SIZE) > 0))
        parts = [("none", bare)] + [(m, at_base(tuned, task.base, m)) for m in task.methods]
        for method, part in parts:
            for size, mean, low, high, runs in part.select(
                DATA_SIZE, "loss", "low", "high", "runs"
            ).iter_rows():
                row = rows.setdefault((method, size or 0.0), {"method": method, DATA_SIZE: size or 0.0})
                row |= {key: mean, f"{key}_lowest": low, f"{key}_highest": high, f"{key}_runs": runs}
        shown.append(column(heading, key, nats))
    order = ("none", *task.methods)
    ordered = sorted(rows.values(), key=lambda row: (order.index(row["method"]), row[DATA_SIZE]))
    title = "Scores at the base setting, means over seeds"
    notes = ("The CSV file has the lowest and the highest seed and the number of runs, too.",)
    return Sheet(f"scores-{slug(task.task)}", title, ordered, shown, notes if ordered else ())


def _kinds(evidence: Evidence, task: TaskEvidence) -> list[tuple[str, str, pl.DataFrame]]:
    """Every kind of score that there is: its key, its heading, its settings."""
    found: list[tuple[str, str, pl.DataFrame]] = []
    scores = evidence.scores
    if scores is not None:
        mine = scores.frame.filter(pl.col("task") == task.task)
        for split in SPLITS:
            for shots in sorted(mine.filter(pl.col("split") == split)["shots"].unique().to_list()):
                metric = scores.main_metric(task.task, split, shots)
                if metric is None:
                    continue
                rows = scores.of_runs(task.task, split, shots, metric)
                words = "zero-shot" if split == "zero_shot" else f"{shots}-shot" if shots else "generation"
                key = f"{split}_{shots}_{metric}"
                found.append((key, f"{words}: {metric_name(metric)}", settings_of(rows, "score")))
    forgotten = forgetting_rows(task, evidence.records)
    if forgotten.height:
        found.append(("forgotten", "forgotten (nats)", settings_of(forgotten, "forgotten")))
    return found


SECTION = Section("scores", "Generation, zero-shot, few-shot, forgetting", _fill)
