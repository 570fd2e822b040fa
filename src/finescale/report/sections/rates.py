"""Learning rates: every candidate of the sweep, what was used, and what was not tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from finescale.records.rate_edges import rate_edges
from finescale.records.rate_moves import RateCheck, rate_checks
from finescale.records.settings import setting_columns
from finescale.report.drawing.markup import join
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, plain, task_column
from finescale.report.evidence import METHOD_ORDER, Evidence, untuned_rates
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import tables
from finescale.wording import count, listed, method_name, method_title, nats

_METHOD = SheetColumn("method", lambda row: method_name(row["method"]), numeric=False)
_CANDIDATE = ("optimizer", "learning_rate", "batch_size")
"""What a sweep chooses, together."""


def _fill(content: Content) -> Made:
    sheet = learning_rates(content.evidence)
    needs = [] if sheet.rows else ["They need a column learning_rate."]
    sheets = [sheet, corners] if (corners := rate_corners(content.evidence)).rows else [sheet]
    return Made(join(*tables(sheets)), sheets, needs=needs)


def learning_rates(evidence: Evidence) -> Sheet:
    """Every candidate of the sweep with its dev loss, and which one the study used."""
    frame = _with_candidates(evidence.records.every_row)
    used = _used(frame)
    checks = rate_checks(evidence.records)
    for check in checks:  # of a retuned study the sweep's choice alone, not the rates between the corners
        key = check.task, check.method
        kept = used.get(key, {})
        used[key] = {item: many for item, many in kept.items() if item[1] == check.chosen} or kept
    rows: list[Row] = []
    notes: list[str] = []
    if "learning_rate" in frame.columns:
        sweep = _sweep_runs(_without_corners(frame, checks))
        sweep = sweep.with_columns(
            [pl.lit(None).alias(name) for name in ("dev_loss", "status") if name not in sweep.columns]
        )
        places = {name: place for place, name in enumerate(METHOD_ORDER)}
        order = pl.col("method").replace_strict(places, default=len(places))
        ordered = sweep.sort("task", order, "method", *_CANDIDATE)
        for (task, method), part in ordered.group_by("task", "method", maintain_order=True):
            chosen = used.get((task, method), {})
            rows += _candidates(part, chosen)
        rows += _without_sweep(used, {(row["task"], row["method"]) for row in rows})
    several = len(evidence.tasks) > 1
    notes += [f"{e.task}: {e.words}" if several else e.words for e in rate_edges(evidence.records)]
    notes += [check.words for check in checks if check.moved]
    for method in untuned_rates(evidence):
        notes.append(f"{method_title(method)}: the learning rate was not tuned (no sweep chose it).")
    fixed = _one_batch_size(rows)
    if fixed:
        who = listed([method_name(method) for method in fixed])
        notes.append(f"The batch size was not tuned for {who}: one size was used and no other was tried.")
    if any(str(row["outcome"]).startswith("stopped") for row in rows):
        notes.append(
            "The sweep was a race: a candidate that would win with less than 5% was stopped; its dev loss is"
            " the one of that moment."
        )
    swept = any(row["dev_loss"] is not None for row in rows)
    if swept and not checks:
        notes.append(
            "The sweep runs at one small setting; the chosen rate is then used for every model and data size."
        )
    shown = (
        *task_column(evidence),
        _METHOD,
        plain("optimiser", "optimizer"),
        column("learning rate", "learning_rate", lambda value: f"{value:g}"),
        *(
            [column("batch size", "batch_size", count)]
            if len({row["batch_size"] for row in rows}) > 1
            else []
        ),
        *([column("dev loss (nats)", "dev_loss", lambda value: nats(value, 4))] if swept else []),
        plain("outcome", "outcome"),
    )
    return Sheet(
        "learning-rates", "Learning rates: what was tried and what was used", rows, shown, tuple(notes)
    )


def rate_corners(evidence: Evidence) -> Sheet:
    """The rates that were tried at the study's corners, and where the best one lies there."""
    checks = rate_checks(evidence.records)
    rows: list[Row] = [
        {"task": check.task, "method": check.method, "model": check.model, "examples": check.examples}
        | {"learning_rate": rate, "dev_loss": loss}
        | {"outcome": "best" if rate == check.best else "the sweep's" if rate == check.chosen else "tried"}
        for check in checks
        for rate, loss in check.tried
    ]
    still = [check for check in checks if not check.moved]
    notes = [check.words for check in checks if check.moved]
    if still:
        held = listed(
            [f"{method_name(c.method)} at {count(c.examples)} examples on {c.model}" for c in still]
        )
        notes.append(f"The best rate lies within a step of the sweep's for {held}.")
    shown = (
        *task_column(evidence),
        _METHOD,
        plain("model", "model"),
        column("examples", "examples", count),
        column("learning rate", "learning_rate", lambda value: f"{value:g}"),
        column("dev loss (nats)", "dev_loss", lambda value: nats(value, 4)),
        plain("outcome", "outcome"),
    )
    return Sheet("rate-corners", "Learning rates checked at the study's corners", rows, shown, tuple(notes))


def _without_corners(frame: pl.DataFrame, checks: Sequence[RateCheck]) -> pl.DataFrame:
    """The records without what was tried at the corners."""
    for check in checks:
        there = (pl.col("model") == check.model) & (pl.col("finetune_examples") == check.examples)
        there &= (pl.col("task") == check.task) & (pl.col("method") == check.method)
        frame = frame.filter(~(there & (pl.col("purpose") == "sweep")).fill_null(False))
    return frame


def _sweep_runs(frame: pl.DataFrame) -> pl.DataFrame:
    """The sweep's rows, and study rows at a sweep's setting: a chosen candidate may be a star's run too."""
    if "purpose" not in frame.columns:
        return frame.clear()
    setting = [*setting_columns(frame), *(name for name in ("revision", "seed") if name in frame.columns)]
    sweep = frame.filter(pl.col("purpose") == "sweep")
    rows = frame.join(sweep.select(setting).unique(), on=setting, how="semi", nulls_equal=True)
    candidate = ["task", "method", *_CANDIDATE]
    return rows.sort("purpose", descending=True).unique(candidate, keep="first", maintain_order=True)


def _with_candidates(frame: pl.DataFrame) -> pl.DataFrame:
    """The records with every column that a sweep chooses; unknown ones are null."""
    if "learning_rate" not in frame.columns:
        return frame
    missing = [name for name in ("optimizer", "batch_size") if name not in frame.columns]
    return frame.with_columns(pl.lit(None).alias(name) for name in missing)


def _used(frame: pl.DataFrame) -> dict[tuple[Any, Any], dict[tuple[Any, ...], int]]:
    """What study runs used, by task and method: (optimiser, rate, batch size) to number of runs."""
    if "learning_rate" not in frame.columns:
        return {}
    runs = frame.filter((pl.col("method") != "none") & pl.col("learning_rate").is_not_null())
    if "purpose" in runs.columns:
        runs = runs.filter(pl.col("purpose").fill_null("study") != "sweep")
    used: dict[tuple[Any, Any], dict[tuple[Any, ...], int]] = {}
    groups = runs.group_by("task", "method", *_CANDIDATE, maintain_order=True).len()
    for task, method, *candidate, many in groups.iter_rows():
        used.setdefault((task, method), {})[tuple(candidate)] = many
    return used


def _candidates(part: pl.DataFrame, chosen: dict[tuple[Any, ...], int]) -> list[dict[str, Any]]:
    rows = []
    for run in part.iter_rows(named=True):
        key = tuple(run[name] for name in _CANDIDATE)
        done = run["status"] in (None, "done")
        outcome = "chosen" if key in chosen else "tried" if done else _ended(run)
        rows.append(
            {name: run[name] for name in ("task", "method", *_CANDIDATE)}
            | {"dev_loss": run["dev_loss"], "outcome": outcome, "runs": chosen.get(key, 0)}
        )
    return rows


def _ended(run: Mapping[str, Any]) -> str:
    """How a candidate ended that is not done; of one that lost a race also when."""
    steps = run.get("steps") if run["status"] == "stopped" else None
    return str(run["status"]) if steps is None else f"stopped after {count(steps)} steps"


def _without_sweep(used: dict[tuple[Any, Any], dict[tuple[Any, ...], int]], swept: set[Any]) -> list[Row]:
    return [
        {"task": key[0], "method": key[1], **dict(zip(_CANDIDATE, candidate, strict=True)), "dev_loss": None}
        | {"outcome": "used, no sweep", "runs": many}
        for key, candidates in used.items()
        if key not in swept
        for candidate, many in candidates.items()
    ]


def _one_batch_size(rows: list[Row]) -> list[str]:
    """Methods with a known batch size of which no other was tried."""
    sizes: dict[str, set[Any]] = {}
    for row in rows:
        sizes.setdefault(row["method"], set()).add(row["batch_size"])
    return [method for method, tried in sizes.items() if len(tried) == 1 and None not in tried]


SECTION = Section("rates", "Learning rates", _fill)
