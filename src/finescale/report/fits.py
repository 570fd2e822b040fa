"""Every fit behind the figures and tables, for a reader who repeats them."""

from __future__ import annotations

import math

from finescale.advice.wording import factor_name, method_name, nats, number
from finescale.laws.fitted import FittedLaw
from finescale.report.evidence import Evidence
from finescale.report.sheet import Row, Sheet, column, named_task, plain

FITS = "fits"


def fits_sheet(evidence: Evidence) -> Sheet:
    """Every fit behind the figures and tables: what it was fitted to and what came out, at full precision."""
    rows: list[Row] = []
    for task, law in all_laws(evidence):
        row = {"task": task, "method": str(law.by.get("method", "")), "law": law.law}
        row |= {"factor": law.factors[0] if law.factors else None, "model_params": law.by.get("model_params")}
        row |= {"settings": law.n_fitted, "held_out": law.n_held_out, "objective": law.objective}
        row |= {"delta_e": law.delta_e, "delta_h": None if math.isnan(law.delta_h) else law.delta_h}
        row |= {name: parameter.value for name, parameter in law.parameters.items()}
        rows.append(row | {"draws": law.run_deviation.size, "status": "; ".join(law.status)})
    names = [name for name in ("A", "B", "alpha", "beta", "E") if any(name in row for row in rows)]
    shown = (
        *named_task(evidence),
        column("method", "method", method_name),
        plain("law", "law"),
        column("factor", "factor", factor_name),
        column("model", "model_params", number),
        column("settings", "settings", str),
        column("held out", "held_out", str),
        column("Huber sum", "objective", lambda value: number(value, 6)),
        column("off on fitted (nats)", "delta_e", lambda value: nats(value, 4)),
        *[column(name, name, lambda value: number(value, 6)) for name in names],
    )
    notes = ("The CSV file has every parameter at full precision.",) if rows else ()
    return Sheet(FITS, "Every fit, to compare a repetition with", rows, shown, notes)


def all_laws(evidence: Evidence) -> list[tuple[str, FittedLaw]]:
    """Every fitted law with its task."""
    return [
        (task.task, law)
        for task in evidence.tasks
        for fits in (*task.laws.values(), *task.curves.values())
        for law in fits
    ]
