"""What a comparison rests on: learning rates, data per trained parameter, failures, cost."""

from __future__ import annotations

from typing import Any

import polars as pl

from finescale.records.records import DATA_SIZE
from finescale.records.settings import setting_columns
from finescale.report.drawing.sheet import Row, Sheet, Shown, column, named_task, plain
from finescale.report.evidence import METHOD_ORDER, Evidence
from finescale.wording import capital, count, hours, listed, method_name, nats, number, ratio

_METHOD = Shown("method", lambda row: method_name(row["method"]), numeric=False)
_CANDIDATE = ("optimizer", "learning_rate", "batch_size")
"""What a sweep chooses, together."""
PAPER_MOST = {"full": 1.0, "lora": 2.0, "prompt": 25.0}
"""Target tokens per trained parameter that the paper's 1B model reaches at most, at about 50 an example."""


def learning_rates(evidence: Evidence) -> Sheet:
    """Every candidate of the sweep with its dev loss, and which one the study used."""
    frame = _with_candidates(evidence.records.every_row)
    used = _used(frame)
    rows: list[Row] = []
    notes: list[str] = []
    if "learning_rate" in frame.columns:
        sweep = _sweep_runs(frame)
        sweep = sweep.with_columns(
            [pl.lit(None).alias(name) for name in ("dev_loss", "status") if name not in sweep.columns]
        )
        places = {name: place for place, name in enumerate(METHOD_ORDER)}
        order = pl.col("method").replace_strict(places, default=len(places))
        ordered = sweep.sort("task", order, "method", *_CANDIDATE)
        for (task, method), part in ordered.group_by("task", "method", maintain_order=True):
            chosen = used.get((task, method), {})
            tried = _candidates(part, chosen)
            rows += tried
            notes += _edge(str(task), str(method), tried)
        rows += _without_sweep(used, {(row["task"], row["method"]) for row in rows})
    for method in untuned_rates(evidence):
        notes.append(f"{capital(method_name(method))}: the learning rate was not tuned (no sweep chose it).")
    fixed = _one_batch_size(rows)
    if fixed:
        who = listed([method_name(method) for method in fixed])
        notes.append(f"The batch size was not tuned for {who}: one size was used and no other was tried.")
    if any(row["dev_loss"] is not None for row in rows):
        notes.append(
            "The sweep runs at one small setting; the chosen rate is then used for every model and data size."
        )
    shown = (
        *named_task(evidence),
        _METHOD,
        plain("optimiser", "optimizer"),
        column("learning rate", "learning_rate", lambda value: f"{value:g}"),
        *(
            [column("batch size", "batch_size", count)]
            if len({row["batch_size"] for row in rows}) > 1
            else []
        ),
        column("dev loss (nats)", "dev_loss", lambda value: nats(value, 4)),
        plain("outcome", "outcome"),
    )
    return Sheet(
        "learning-rates", "Learning rates: what was tried and what was used", rows, shown, tuple(notes)
    )


def untuned_rates(evidence: Evidence, task: str | None = None) -> list[str]:
    """Methods with study runs whose learning rate no sweep chose (none where the records do not know)."""
    frame = evidence.records.frame
    if "lr_tuned" not in frame.columns:
        return []
    bad = frame.filter(~pl.col("lr_tuned") & (pl.col("method") != "none"))
    if task is not None:
        bad = bad.filter(pl.col("task") == task)
    return bad["method"].unique(maintain_order=True).to_list()


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
        outcome = "chosen" if key in chosen else "tried" if done else str(run["status"])
        rows.append(
            {name: run[name] for name in ("task", "method", *_CANDIDATE)}
            | {"dev_loss": run["dev_loss"], "outcome": outcome, "runs": chosen.get(key, 0)}
        )
    return rows


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


def _edge(task: str, method: str, tried: list[dict[str, Any]]) -> list[str]:
    """Whether the chosen rate is the lowest or highest that was tried with its optimiser and batch size."""
    words = []
    for row in tried:
        alike = [name for name in _CANDIDATE if name != "learning_rate"]
        rates = [other["learning_rate"] for other in tried if all(other[name] == row[name] for name in alike)]
        if row["outcome"] != "chosen" or len(rates) < 2:
            continue
        for name, edge in (("lowest", min(rates)), ("highest", max(rates))):
            if row["learning_rate"] == edge:
                words.append(
                    f"{capital(method_name(method))} ({task}): the chosen rate {edge:g} is the {name} "
                    "that was tried "
                    "with its optimiser; a better one may lie beyond."
                )
    return words


def tokens_per_parameter(evidence: Evidence) -> Sheet:
    """Target tokens for each trained parameter at the base setting, by method and data size."""
    rows: list[Row] = []
    for task in evidence.tasks:
        if not {"finetune_tokens", "trainable_params"} <= set(task.settings.columns):
            continue
        for method in task.methods:
            part = task.at_base(method)
            for size, tokens, trained in part.select(
                DATA_SIZE, "finetune_tokens", "trainable_params"
            ).iter_rows():
                if tokens and trained:
                    row = {"task": task.task, "method": method, DATA_SIZE: size, "finetune_tokens": tokens}
                    rows.append(row | {"trainable_params": trained, "tokens_per_parameter": tokens / trained})
    notes = []
    for task in evidence.tasks:
        for method in task.methods:
            mine = [row for row in rows if row["task"] == task.task and row["method"] == method]
            over = [row for row in mine if row["tokens_per_parameter"] > PAPER_MOST.get(method, 1.0)]
            if over:
                notes.append(_left_regime(task.task, method, over, len(over) == len(mine)))
    shown = (
        *named_task(evidence),
        _METHOD,
        column("examples", DATA_SIZE, count),
        column("target tokens", "finetune_tokens", count),
        column("trained parameters", "trainable_params", count),
        column("target tokens per trained parameter", "tokens_per_parameter", ratio),
    )
    title = "Target tokens per trained parameter, at the base setting"
    return Sheet("tokens-per-parameter", title, rows, shown, tuple(notes))


def _left_regime(task: str, method: str, over: list[Row], everywhere: bool) -> str:
    where = "at every data size" if everywhere else f"from {count(over[0][DATA_SIZE])} examples on"
    most = PAPER_MOST.get(method, 1.0)
    return (
        f"{capital(method_name(method))} ({task}) leaves the data-limited regime {where}: more than "
        f"{most:g} target "
        "tokens per trained parameter, which is about what the paper's runs reach at most. There the trained "
        "parameters are scarce, not the data, and a method can saturate: do not carry its exponents or "
        "crossovers "
        "over to large models."
    )


def troubles(evidence: Evidence) -> Sheet:
    """Every run that is not done, with its reason."""
    frame = evidence.records.every_row
    rows: list[Row] = []
    if "status" in frame.columns:
        bad = frame.filter(pl.col("status").fill_null("no status") != "done")
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
        *named_task(evidence),
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
    rows: list[dict[str, Any]] = (
        frame.with_columns(purpose.alias("purpose"), status.alias("status"))
        .group_by("purpose", "method", maintain_order=True)
        .agg(
            pl.len().alias("runs"),
            *[(pl.col("status") == name).sum().alias(name) for name in ("done", "diverged", "failed")],
            *[pl.col(name).sum() for name in sums],
            *[pl.col(name).median() for name in ("tokens_per_second",) if name in frame.columns],
        )
        .to_dicts()
    )
    total: dict[str, Any] = {"purpose": "all", "method": "all methods"}
    for name in ("runs", "done", "diverged", "failed", *sums):
        total[name] = sum(row[name] or 0 for row in rows)
    if len(rows) > 1:
        rows = [*rows, total]
    shown = [plain("purpose", "purpose"), _METHOD]
    shown += [column(name, name, str) for name in ("runs", "done", "diverged", "failed")]
    if "train_flops" in frame.columns:
        shown.append(column("training compute (FLOP)", "train_flops", lambda value: number(value, 3)))
    if "wall_seconds" in frame.columns:
        shown.append(column("time of the runs", "wall_seconds", hours))
    measured = [name for name in _PARTS if total.get(name)]
    shown += [column(f"of it: {_PARTS[name]}", name, hours) for name in measured]
    if "tokens_per_second" in frame.columns:
        shown.append(column("tokens per second (median)", "tokens_per_second", count))
    return Sheet("runs-and-cost", "Runs, compute and time", rows, shown)


def summary_words(evidence: Evidence) -> str:
    """How many runs, and how they ended, in one sentence."""
    frame = evidence.records.every_row
    if "status" not in frame.columns:
        return f"{frame.height} runs."
    counts = frame["status"].fill_null("no status").value_counts(sort=True)
    return f"{frame.height} runs: {listed([f'{many} {name}' for name, many in counts.iter_rows()])}."
