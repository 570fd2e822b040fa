"""Every fit behind the figures and tables, for a reader who repeats them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from finescale.laws.fitted import FittedLaw
from finescale.report.drawing.sheet import Row, Sheet, Shown, column, named_task, plain
from finescale.report.evidence import Evidence
from finescale.wording import count, factor_name, method_name, number

FITS = "fits"


def fits_sheet(evidence: Evidence) -> Sheet:
    """Every fit behind the figures and tables: what it was fitted to and what came out, at full precision."""
    rows: list[Row] = []
    names: dict[str, Sequence[str]] = {}
    for task, law in all_laws(evidence):
        names[law.law] = law.formula.parameters if law.formula else [*law.parameters]
        row = {"task": task, "method": str(law.by.get("method", "")), "law": law.law}
        row |= {"factor": law.factors[0] if law.factors else None, "model_params": law.by.get("model_params")}
        row |= {"settings": law.n_fitted, "held_out": law.n_held_out, "objective": law.objective}
        row |= {"delta_e": law.delta_e, "delta_h": None if math.isnan(law.delta_h) else law.delta_h}
        row |= {name: law.value(name) for name in law.parameters}
        rows.append(row | {"draws": law.run_deviation.size, "status": "; ".join(law.status)})
    shown = (
        *named_task(evidence),
        Shown("method", lambda row: method_name(row["method"]), numeric=False),
        plain("law", "law"),
        Shown("over, or model", _over, numeric=False),
        Shown("settings + held out", lambda row: f"{row['settings']} + {row['held_out']}"),
        column("Huber sum", "objective", lambda value: number(value, 6)),
        Shown("parameters", lambda row: _parameters(row, names[row["law"]]), numeric=False),
    )
    notes = ("The CSV file has every parameter at full precision.",) if rows else ()
    return Sheet(FITS, "Every fit, to compare a repetition with", rows, shown, notes)


def _over(row: Row) -> str:
    """The law's factor; for a law of the data size alone, the model's size."""
    return factor_name(row["factor"]) if row["factor"] else count(row["model_params"])


def _parameters(row: Row, names: Sequence[str]) -> str:
    return ", ".join(f"{name} {number(row[name], 6)}" for name in names)


def all_laws(evidence: Evidence) -> list[tuple[str, FittedLaw]]:
    """Every fitted law with its task."""
    return [
        (task.task, law)
        for task in evidence.tasks
        for fits in (*task.laws.values(), *task.curves.values())
        for law in fits
    ]
