"""Scores at the base setting as a table: a row a method and data size, a column a kind of score."""

from __future__ import annotations

from typing import Any

import polars as pl

from finescale.records.records import DATA_SIZE, untuned
from finescale.records.scores import SPLITS, metric_name
from finescale.records.settings import at_base
from finescale.report.drawing.sheet import Sheet, Shown, column
from finescale.report.evidence import Evidence, TaskEvidence, settings_of
from finescale.report.figures import untuned_at
from finescale.report.score_figures import forgetting_rows
from finescale.wording import count, method_name, nats, slug


def scores_name(task: str) -> str:
    """The name of a task's table of scores."""
    return f"scores-{slug(task)}"


def scores_at_base(evidence: Evidence, task: TaskEvidence) -> Sheet:
    """Means over seeds of every kind of score at the base setting, and what was forgotten there."""
    rows: dict[tuple[str, float], dict[str, Any]] = {}
    shown: list[Shown] = [
        Shown("method", lambda row: method_name(row["method"]), numeric=False),
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
    return Sheet(scores_name(task.task), title, ordered, shown, notes if ordered else ())


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
