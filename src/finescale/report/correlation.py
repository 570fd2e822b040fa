"""Table 7: how well the test loss tells generation quality, by task, method and factor."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from finescale.records.outcomes import known_score
from finescale.records.records import DATA_SIZE, untuned
from finescale.records.scores import metric_name
from finescale.records.settings import PAPER_FACTORS, at_base
from finescale.report import paper
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, task_column
from finescale.report.evidence import Evidence, TaskEvidence, settings_of
from finescale.wording import factor_name, method_name, number

Array = np.ndarray[Any, Any]
_FEWEST = 4
_SURE = 0.05
"""A correlation of the wrong sign is a headline where its p-value is below this."""


def correlations(evidence: Evidence) -> Sheet:
    """Pearson's and Spearman's correlation of test loss and generation score over each factor's settings.

    A point is a setting, means over seeds on both sides; a factor's settings keep the others at the base
    setting, as in Figures 7-9. The score is the one of those figures.
    """
    rows: list[Row] = []
    scores = evidence.scores
    for task in evidence.tasks:
        metric = None if scores is None else scores.main_metric(task.task, "test", 0)
        rows += [] if metric is None else _of_kind(evidence, task, ("test", 0, metric))
    metrics = list(dict.fromkeys(metric_name(row["metric"]) for row in rows))
    shown = [*task_column(evidence), *_SHOWN]
    if any("paper_r" in row for row in rows):
        shown.insert(-3, column("paper: r", "paper_r", lambda value: f"{value:.3f}"))
    notes = (
        "Negative: a lower loss comes with a higher score. p is for no correlation at all, if settings were "
        "independent; settings of one model or seed are not.",
    )
    title = f"Table 7. Correlation of test loss and {' or '.join(metrics)}"
    return Sheet("table-7-correlations", title, rows, shown, notes if rows else ())


def wrong_signs(sheet: Sheet) -> list[str]:
    """Where loss and score clearly disagree in Table 7, in a sentence each."""
    said = []
    for row in sheet.rows:
        known = known_score(str(row["metric"]))
        if known is None or row["r"] is None or row["p"] is None or row["p"] > _SURE:
            continue
        if (row["r"] > 0) == (known[0] == "higher"):
            name = metric_name(str(row["metric"]))
            said.append(
                f"Loss and {name} disagree over {factor_name(row['factor'])} ({row['task']}, "
                f"{method_name(row['method'])}): a lower loss comes with a worse {name} (r {row['r']:.2f})."
            )
    return said


def every_correlation(evidence: Evidence) -> Sheet:
    """The same for every kind of score: each metric after each number of shots, and zero-shot."""
    scores = evidence.scores
    rows = [
        row
        for task in evidence.tasks
        if scores is not None
        for kind in scores.kinds(task.task)
        for row in _of_kind(evidence, task, kind)
    ]
    shown = [*task_column(evidence), SheetColumn("score", _kind_words, numeric=False), *_SHOWN]
    return Sheet("correlations-of-every-score", "Correlation of test loss and every score", rows, shown)


def _of_kind(evidence: Evidence, task: TaskEvidence, kind: tuple[str, int, str]) -> list[Row]:
    """A row for each factor and method with enough settings."""
    scores, (split, shots, metric) = evidence.scores, kind
    assert scores is not None
    runs = scores.of_runs(task.task, split, shots, metric).filter(~untuned() & (pl.col(DATA_SIZE) > 0))
    if "run_loss" not in runs.columns:
        return []
    settings = settings_of(runs, "score").rename({"loss": "score"}).drop("runs", "variance", "low", "high")
    losses = settings_of(runs, "run_loss")
    keys = [name for name in settings.columns if name in losses.columns and name not in _NOT_A_KEY]
    both = settings.join(losses.select(*keys, "loss"), on=keys, nulls_equal=True)
    rows: list[Row] = []
    for factor in PAPER_FACTORS:
        for method in task.methods:
            if factor not in both.columns:
                continue
            mine = at_base(both, task.base, method, free=factor).filter(pl.col(factor) > 0)
            if mine.height < _FEWEST or mine[factor].n_unique() < 2:
                continue
            loss, score = mine["loss"].to_numpy(), mine["score"].to_numpy()
            r = pearson(loss, score)
            row = {"task": task.task, "split": split, "shots": shots, "metric": metric}
            row |= {"factor": factor, "method": method, "r": _known(r)}
            row |= {"p": _known(p_value(r, loss.size)), "rho": _known(spearman(loss, score))}
            printed = paper.correlation(task.task, method, factor)
            row |= {"settings": loss.size} | ({} if printed is None else {"paper_r": printed})
            rows.append(row)
    return rows


_NOT_A_KEY = ("score", "held_out", "trainable_params", "finetune_tokens")


def pearson(x: Array, y: Array) -> float:
    """Pearson's correlation; NaN where one side does not vary."""
    a, b = x - x.mean(), y - y.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else math.nan


def spearman(x: Array, y: Array) -> float:
    """Spearman's rank correlation; equal values share their mean rank."""
    ranks = [pl.Series(values).rank("average").to_numpy() for values in (x, y)]
    return pearson(ranks[0], ranks[1])


def p_value(r: float, points: int) -> float:
    """The two-sided p-value of a Pearson correlation (Student's t with ``points`` - 2 degrees of freedom)."""
    from scipy.special import stdtr  # noqa: PLC0415 - scipy only where a p-value is asked for

    if math.isnan(r) or points < 3:
        return math.nan
    if abs(r) >= 1:
        return 0.0
    freedom = points - 2
    return float(2 * stdtr(freedom, -abs(r) * math.sqrt(freedom / (1 - r * r))))


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _p_words(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else number(value, 2)


def _kind_words(row: Row) -> str:
    where = "zero-shot" if row["split"] == "zero_shot" else f"{row['shots']}-shot" if row["shots"] else ""
    return f"{metric_name(row['metric'])}, {where}" if where else metric_name(row["metric"])


_SHOWN = (
    SheetColumn("factor", lambda row: factor_name(row["factor"]), numeric=False),
    SheetColumn("method", lambda row: method_name(row["method"]), numeric=False),
    column("Pearson's r", "r", lambda value: f"{value:.3f}"),
    column("p", "p", _p_words),
    column("Spearman's rho", "rho", lambda value: f"{value:.3f}"),
    column("settings", "settings", str),
)
