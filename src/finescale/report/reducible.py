"""Table 5: H and gamma of Eq. 3, from the multiplicative laws of every pair of methods."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np

from finescale.laws.fitted import FittedLaw
from finescale.laws.published import equal_reducible_loss
from finescale.records.outcome_words import equal_reducible, law_words
from finescale.report import paper
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, task_column
from finescale.report.evidence import Evidence, TaskEvidence
from finescale.wording import capital, factor_name, interval, method_name, number

_FACTORS = ("model_params", "pretrain_tokens")
"""The factors of the paper's Table 5."""


def table_5(evidence: Evidence) -> Sheet:
    """H and gamma with their intervals: D_f = H X^gamma is where two laws have equal reducible loss."""
    rows = [row for task in evidence.tasks for row in _of_task(task)]
    shown = [
        *task_column(evidence),
        SheetColumn("factor", lambda row: factor_name(row["factor"]), numeric=False),
        SheetColumn(
            "pair", lambda r: f"{method_name(r['first'])} / {method_name(r['second'])}", numeric=False
        ),
        SheetColumn("H (examples)", lambda row: _words(row, "H")),
        SheetColumn("gamma", lambda row: _words(row, "gamma")),
    ]
    if any("paper_H" in row for row in rows):
        shown += [column("paper: H", "paper_H", number), column("paper: gamma", "paper_gamma", number)]
    outcome = evidence.records.outcome
    notes = (
        "D = H X^gamma (Eq. 3) is the crossover only where both floors E are equal; the crossovers "
        "themselves are above. In brackets: intervals from the joint bootstrap draws." + law_words(outcome),
    )
    title = f"Table 5. {capital(equal_reducible(outcome))} of two multiplicative laws"
    return Sheet("table-5-equal-reducible-loss", title, rows, shown, notes if rows else ())


def _of_task(task: TaskEvidence) -> list[Row]:
    rows: list[Row] = []
    for factor in _FACTORS:
        for first, second in combinations(task.methods, 2):
            laws = [task.law("multiplicative", method, factor) for method in (first, second)]
            if laws[0] is None or laws[1] is None:
                continue
            H, gamma = equal_reducible_loss(laws[0], laws[1])
            row: dict[str, Any] = {"task": task.task, "factor": factor, "first": first, "second": second}
            row |= {"H": _known(H), "gamma": _known(gamma)} | _intervals(laws[0], laws[1])
            of_loss = task.outcome.kind == "loss"  # H and gamma are the same in any unit of a loss
            printed = paper.equal_reducible(task.task, first, second, factor) if of_loss else None
            rows.append(row | ({"paper_H": printed[0], "paper_gamma": printed[1]} if printed else {}))
    return rows


def _intervals(first: FittedLaw, second: FittedLaw) -> dict[str, float | None]:
    """The ends of both intervals, draw by draw; H in logs, as it moves by orders of magnitude."""
    ends: dict[str, float | None] = {}
    if not first.draws or not second.draws:
        return ends
    with np.errstate(all="ignore"):
        gap = first.draws["beta"] - second.draws["beta"]
        log_H = np.log(first.draws["A"] / second.draws["A"]) / gap
        gamma = (second.draws["alpha"] - first.draws["alpha"]) / gap
    tail = 50 * (1 - first.level)
    for name, draws in (("H", log_H), ("gamma", gamma)):
        finite = draws[np.isfinite(draws)]
        if not finite.size:
            continue
        low, high = np.percentile(finite, [tail, 100 - tail])
        with np.errstate(over="ignore"):
            ends |= {
                f"{name}_{end}": _known(float(np.exp(value) if name == "H" else value))
                for end, value in (("low", low), ("high", high))
            }
    return ends


def _words(row: Row, name: str) -> str:
    low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
    if low is not None and high is None:
        return f"{number(row[name], 2)} [{number(low, 2)}, beyond 1e308]"
    return interval(row[name], low, high, 2)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
