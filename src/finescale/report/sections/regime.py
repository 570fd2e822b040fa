"""Data per trained parameter: where a method leaves the data-limited regime."""

from __future__ import annotations

from dataclasses import replace

from finescale.records.records import DATA_SIZE
from finescale.report.drawing.markup import Html, fold, join, note, table
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, task_column
from finescale.report.evidence import Evidence
from finescale.report.section import Content, Made, Section
from finescale.wording import count, method_name, method_title, ratio

_METHOD = SheetColumn("method", lambda row: method_name(row["method"]), numeric=False)
PAPER_MOST = {"full": 1.0, "lora": 2.0, "prompt": 25.0}
"""Target tokens per trained parameter that the paper's 1B model reaches at most, at about 50 an example."""


def _fill(content: Content) -> Made:
    sheet = tokens_per_parameter(content.evidence)
    if not sheet.rows:
        return Made(Html(""), needs=["It needs the columns finetune_tokens and trainable_params."])
    words = [note(text) for text in sheet.notes]
    bare = replace(sheet, notes=())
    return Made(join(*words, fold("By method and data size", table(bare))), [sheet])


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
        *task_column(evidence),
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
        f"{method_title(method)} ({task}) leaves the data-limited regime {where}: more than "
        f"{most:g} target "
        "tokens per trained parameter, which is about what the paper's runs reach at most. There the trained "
        "parameters are scarce, not the data, and a method can saturate: do not carry its exponents or "
        "crossovers "
        "over to large models."
    )


SECTION = Section("regime", "Data per trained parameter", _fill)
