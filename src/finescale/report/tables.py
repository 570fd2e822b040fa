"""The paper's Tables 2 and 6 (how well each law predicts) and 4 (the laws' parameters) from these records.

Where a task is one of the paper's, its own numbers stand beside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from finescale.laws.fitted import FittedLaw, Parameter
from finescale.laws.published import published, published_names
from finescale.records.outcome_words import amount, deviation_unit, difference_unit, law_words, lost_words
from finescale.records.outcomes import Outcome
from finescale.records.settings import PAPER_FACTORS
from finescale.report import paper
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, task_column
from finescale.report.evidence import Evidence, TaskEvidence
from finescale.wording import factor_name, interval, method_name

SUFFIX = {"model_params": "m", "pretrain_tokens": "p", "pet_size": "t"}
"""The paper's subscripts: model, pretraining, tuning parameters."""

_NOTHING = 1e-12
"""A parameter below is a zero that rounding left."""


def paper_tables(evidence: Evidence) -> list[Sheet]:
    """Tables 2 and 6, and 4, for all tasks of the records; empty ones are left out."""
    return [sheet for sheet in (table_2(evidence), table_4(evidence)) if sheet.rows]


def table_2(evidence: Evidence) -> Sheet:
    """Mean absolute deviation on held-out and fitted settings: the multiplicative law against its rivals."""
    laws, outcome = [law.name for law in evidence.joint_laws], evidence.records.outcome
    off = partial(amount, outcome, finer=1)
    rows = [row for task in evidence.tasks for row in _deviations(task, laws)]
    notes = []
    if rows and not any(task.settings["held_out"].any() for task in evidence.tasks):
        notes.append(
            "Nothing was held out: for this table alone the laws were fitted again without the largest value "
            "of each factor and of the data size (rule `largest`), as `finescale compare` does."
        )
    wins = [row for row in rows if row["better_held_out"]]
    if wins:
        count = sum(row["better_held_out"] == "multiplicative" for row in wins)
        notes.append(
            f"The multiplicative law predicts the held-out settings better in {count} of {len(wins)} rows."
        )
    return Sheet(
        "table-2-deviations",
        f"Tables 2 and 6. Mean absolute deviation of the joint laws, {deviation_unit(outcome)}",
        rows,
        (
            *task_column(evidence),
            SheetColumn("method", lambda row: method_name(row["method"]), numeric=False),
            SheetColumn("factor", lambda row: factor_name(row["factor"]), numeric=False),
            *[shown for law in laws for shown in _held_out(law, rows, off)],
            *[column(f"fitted: {law}", f"{law}_fitted", off) for law in laws],
            SheetColumn(
                "settings: held out + fitted", lambda row: f"{row['n_held_out']} + {row['n_fitted']}"
            ),
        ),
        tuple(notes),
    )


def _held_out(law: str, rows: list[Row], off: Callable[[float], str]) -> list[SheetColumn]:
    """A law's deviation on held-out settings, and the paper's own beside it where a row has one."""
    mine = column(f"held out: {law}", f"{law}_held_out", off)
    beside = any(f"paper_{law}" in row for row in rows)
    return [mine, *([column("paper", f"paper_{law}", off)] if beside else [])]


def _deviations(task: TaskEvidence, names: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    for method in task.methods:
        for factor in PAPER_FACTORS:
            laws = {name: task.tested_law(name, method, factor) for name in names}
            known = {name: law for name, law in laws.items() if law is not None}
            if not known:
                continue
            row: dict[str, Any] = {"task": task.task, "method": method, "factor": factor}
            for name in laws:
                row[f"{name}_held_out"] = _finite(known[name].delta_h) if name in known else None
                row[f"{name}_fitted"] = _finite(known[name].delta_e) if name in known else None
                printed = paper.held_out_deviation(task.task, method, factor, name)
                beside = printed is not None and task.outcome.per_token  # the paper's are of that
                row |= {f"paper_{name}": printed} if beside else {}
            first = next(iter(known.values()))
            held = {name: row[f"{name}_held_out"] for name in laws if row[f"{name}_held_out"] is not None}
            better = lowest(held) if len(held) > 1 else None
            rows.append(
                row | {"n_held_out": first.n_held_out, "n_fitted": first.n_fitted, "better_held_out": better}
            )
    return rows


def lowest(deviations: Mapping[str, float]) -> str | None:
    """The law with the smallest deviation; None where several share it."""
    least = [name for name, value in deviations.items() if value == min(deviations.values())]
    return least[0] if len(least) == 1 else None


def table_4(evidence: Evidence) -> Sheet:
    """The multiplicative law's parameters with intervals, one row a task and method."""
    outcome = evidence.records.outcome
    rows = [row for task in evidence.tasks for row in _parameters(task)]
    present = [factor for factor in PAPER_FACTORS if any(f"A_{SUFFIX[factor]}" in row for row in rows)]
    names = [f"{letter}_{SUFFIX[factor]}" for factor in present for letter in ("A", "alpha")]
    headings = {name: name for name in names} | {"E": f"E ({_floor_unit(outcome)})", "beta": "beta"}
    level = next((f"{100 * law.level:g}%" for law in _all_laws(evidence) if law.draws), "")
    title = "Table 4. Parameters of the multiplicative law L = A·X^-α·D^-β + E"
    notes = [law_words(outcome).strip()] if law_words(outcome) else []
    notes += [f"In brackets: {level} intervals from the bootstrap."] if level else []
    if present:
        meant = ", ".join(f"{SUFFIX[factor]}: {factor_name(factor)}" for factor in present)
        notes.append(
            f"X is {meant}. beta and E come from the joint step and are one for all factors of a method."
        )
    if any(row["source"] == "paper" for row in rows):
        notes.append("Rows of the paper are its Table 4, two digits as printed.")
    return Sheet(
        "table-4-parameters",
        title,
        rows,
        (
            *task_column(evidence),
            SheetColumn("method", _who, numeric=False),
            *[_interval(heading, name) for name, heading in headings.items()],
        ),
        tuple(notes),
    )


def _floor_unit(outcome: Outcome) -> str:
    """What E is counted in: the loss's unit, or the score's distance from its best value."""
    return difference_unit(outcome) if outcome.kind == "loss" else lost_words(outcome)


def _who(row: Row) -> str:
    return method_name(row["method"]) + (" (paper)" if row["source"] == "paper" else "")


def _parameters(task: TaskEvidence) -> list[Row]:
    rows: list[Row] = []
    for method in task.methods:
        row: dict[str, Any] = {"task": task.task, "method": method}
        for factor in PAPER_FACTORS:
            law = task.law("multiplicative", method, factor)
            if law is None:
                continue
            suffix = SUFFIX[factor]
            row |= _named(f"A_{suffix}", law.parameters["A"]) | _named(
                f"alpha_{suffix}", law.parameters["alpha"]
            )
            if "beta" not in row:
                row |= _named("beta", law.parameters["beta"]) | _named("E", law.parameters["E"])
        if "beta" in row:
            rows.append(row | {"source": "records"})
            rows += _published(task.task, method) if task.outcome.per_token else []
    return rows


def _published(task: str, method: str) -> list[Row]:
    """The paper's own row of a task and method, where it has one."""
    row: dict[str, Any] = {"task": task, "method": method, "source": "paper"}
    for factor in PAPER_FACTORS:
        if (task, method, factor) not in published_names():
            continue
        law = published(task, method, factor=factor)
        row |= {f"A_{SUFFIX[factor]}": law.value("A"), f"alpha_{SUFFIX[factor]}": law.value("alpha")}
        row |= {"beta": law.value("beta"), "E": law.value("E")}
    return [row] if "beta" in row else []


def _named(name: str, parameter: Parameter) -> dict[str, float | None]:
    return {
        name: parameter.value,
        f"{name}_low": _finite(parameter.low),
        f"{name}_high": _finite(parameter.high),
    }


def _interval(heading: str, name: str) -> SheetColumn:
    def cell(row: Mapping[str, Any]) -> str:
        ends = [row.get(key) for key in (name, f"{name}_low", f"{name}_high")]
        value, low, high = (None if end is None else end if abs(end) > _NOTHING else 0.0 for end in ends)
        return interval(value, low, high)

    return SheetColumn(heading, cell)


def _all_laws(evidence: Evidence) -> list[FittedLaw]:
    return [law for task in evidence.tasks for fits in task.laws.values() for law in fits]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
