"""Runs, failures and cost: how they ended, what they took, what was cut of their examples."""

from __future__ import annotations

from typing import Any

import polars as pl

from finescale.records.records import DATA_SIZE
from finescale.records.truncation import truncation_words
from finescale.report.drawing.markup import join, tag
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, plain, task_column
from finescale.report.evidence import Evidence, runs_in_words
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import tables
from finescale.wording import count, hours, method_name, number

_METHOD = SheetColumn("method", lambda row: method_name(row["method"]), numeric=False)


def _fill(content: Content) -> Made:
    evidence = content.evidence
    spent, failed = costs(evidence), troubles(evidence)
    parts = [tag("p", runs_in_words(evidence)), *tables([spent])]
    parts += [tag("p", words) for words in _cut(content)]
    parts += tables([failed]) or [tag("p", "No run failed or diverged.")]
    return Made(join(*parts), [failed, spent])


def _cut(content: Content) -> tuple[str, ...]:
    """What was cut of the examples, where the records say it."""
    frame = content.evidence.records.every_row
    if not any(name.endswith("_truncated") for name in frame.columns):
        return ()
    return truncation_words(frame) or ("No source and no target was cut to the tokens allowed.",)


def troubles(evidence: Evidence) -> Sheet:
    """Every run that did not end well, with its reason; a race's stopped candidates did."""
    frame = evidence.records.every_row
    rows: list[Row] = []
    if "status" in frame.columns:
        bad = frame.filter(~pl.col("status").fill_null("no status").is_in(["done", "stopped"]))
        names = (
            "run",
            "purpose",
            "task",
            "method",
            "model",
            DATA_SIZE,
            "seed",
            "learning_rate",
            "status",
            "error",
        )
        rows = [{name: run.get(name) for name in names} for run in bad.iter_rows(named=True)]
    shown = (
        plain("status", "status"),
        *task_column(evidence),
        _METHOD,
        plain("model", "model"),
        column("examples", DATA_SIZE, count),
        plain("seed", "seed"),
        plain("purpose", "purpose"),
        plain("reason", "error"),
        plain("run", "run"),
    )
    return Sheet("troubles", "Runs that are not done", rows, shown)


_PARTS = {
    "test_seconds": "test losses",
    "generation_seconds": "generation",
    "few_shot_seconds": "few-shot",
    "zero_shot_seconds": "zero-shot",
    "forgetting_seconds": "forgetting",
}
"""The parts of an evaluation whose time the records have."""


def costs(evidence: Evidence) -> Sheet:
    """Runs, compute and time by purpose and method."""
    frame = evidence.records.every_row
    purpose = pl.col("purpose").fill_null("study") if "purpose" in frame.columns else pl.lit("study")
    status = pl.col("status").fill_null("no status") if "status" in frame.columns else pl.lit("done")
    sums = [name for name in ("train_flops", "wall_seconds", *_PARTS) if name in frame.columns]
    raced = "status" in frame.columns and (frame["status"] == "stopped").any()
    ends = ("done", *(["stopped"] if raced else []), "diverged", "failed")
    rows: list[dict[str, Any]] = (
        frame.with_columns(purpose.alias("purpose"), status.alias("status"))
        .group_by("purpose", "method", maintain_order=True)
        .agg(
            pl.len().alias("runs"),
            *[(pl.col("status") == name).sum().alias(name) for name in ends],
            *[pl.col(name).sum() for name in sums],
            *[pl.col(name).median() for name in ("tokens_per_second",) if name in frame.columns],
        )
        .to_dicts()
    )
    total: dict[str, Any] = {"purpose": "all", "method": "all methods"}
    for name in ("runs", *ends, *sums):
        total[name] = sum(row[name] or 0 for row in rows)
    if len(rows) > 1:
        rows = [*rows, total]
    shown = [plain("purpose", "purpose"), _METHOD]
    shown += [column(name, name, str) for name in ("runs", *ends)]
    if "train_flops" in frame.columns:
        shown.append(column("training compute (FLOP)", "train_flops", lambda value: number(value, 3)))
    if "wall_seconds" in frame.columns:
        shown.append(column("time of the runs", "wall_seconds", hours))
    measured = [name for name in _PARTS if total.get(name)]
    shown += [column(f"of it: {_PARTS[name]}", name, hours) for name in measured]
    if "tokens_per_second" in frame.columns:
        shown.append(column("tokens per second (median)", "tokens_per_second", count))
    return Sheet("runs-and-cost", "Runs, compute and time", rows, shown)


SECTION = Section("runs", "Runs, failures and cost", _fill)
