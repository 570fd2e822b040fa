"""The table behind the answer: observed means and laws' means at the base setting."""

from __future__ import annotations

import math
from collections.abc import Mapping

from finescale.report.drawing.sheet import Sheet, Shown, column
from finescale.report.evidence import TaskEvidence
from finescale.report.findings import Answer, law_at_base
from finescale.wording import count, method_name, nats, slug


def verdict_sheet(item: Answer, task: TaskEvidence) -> Sheet:
    """Observed means and laws' means at the base setting, by data size."""
    laws = {method: law_at_base(task, method) for method in task.methods}
    rows = []
    for verdict in item.verdicts:
        row: dict[str, object] = {"task": item.task, "finetune_examples": verdict.examples}
        for method in task.methods:
            loss, runs = verdict.observed.get(method, (None, None))
            row |= {method: loss, f"{method}_runs": runs}
            found = laws[method]
            if found is not None:
                predicted = found[0].predict({**found[1], "finetune_examples": verdict.examples})
                row[f"{method}_law"] = float(predicted.value)
                row[f"{method}_law_low"], row[f"{method}_law_high"] = (
                    float(predicted.low),
                    float(predicted.high),
                )
        row |= {"lead": verdict.lead.value, "lead_low": verdict.lead.low, "lead_high": verdict.lead.high}
        rows.append(row | {"best": " / ".join(method_name(method) for method in verdict.tied)})
    shown: list[Shown] = [
        column("examples", "finetune_examples", count),
        Shown("best", lambda row: str(row["best"]), numeric=False),
        Shown("lead of the best", lambda row: _with_interval(row, "lead", "lead_low", "lead_high")),
    ]
    shown += [column(f"{method_name(m)}: mean", m, lambda value: nats(value, 4)) for m in task.methods]
    shown += [_law_cell(m) for m in task.methods if laws[m] is not None]
    title = "At the base setting: observed means and the laws' means, nats per target token"
    notes = (
        "Lead: to the runner-up, with its 90% interval from the noise between seeds. Several names: "
        "not told apart.",
    )
    return Sheet(f"answer-{slug(item.task)}", title, rows, shown, notes)


def _law_cell(method: str) -> Shown:
    names = (f"{method}_law", f"{method}_law_low", f"{method}_law_high")
    return Shown(f"{method_name(method)}: law", lambda row: _with_interval(row, *names))


def _with_interval(row: Mapping[str, object], name: str, low: str, high: str) -> str:
    value, a, b = (row.get(key) for key in (name, low, high))
    if not isinstance(value, float):
        return "-"
    if not isinstance(a, float) or not isinstance(b, float) or math.isnan(a):
        return nats(value)
    return f"{nats(value)} [{nats(a)}, {nats(b)}]"
