"""What ``finescale plan`` does: read a table or a study, plan, show; a study file and JSON on request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table as RichTable

from finescale.advice.commands import console
from finescale.advice.cost import Costs, costs
from finescale.advice.design import check_question, plan
from finescale.advice.design_plan import Plan
from finescale.advice.design_records import most_seen
from finescale.advice.design_settings import Choices, of_runs, of_study
from finescale.advice.design_study import continued, write_study
from finescale.advice.wording import capital, chance, count, listed, method_name, nats, number
from finescale.errors import UsageError
from finescale.laws.commands import Table, pairs, write_json
from finescale.records import DATA_SIZE, Records
from finescale.study_file import load_study
from finescale.study_spec import StudySpec

RESULTS = Path("results")
STUDY_FILES = (".yaml", ".yml")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for, besides the table.

    Attributes:
        target: ``--target``.
        budget: ``--budget``, FLOPs.
        task: ``--task``.
        methods: ``--method``.
        values: ``--values``: values of the target's factor that can be run.
        examples: ``--examples``: data sizes that can be run.
        tokens_per_example: ``--tokens-per-example``.
        out: ``--out``: the study file to write.
        json: ``--json``.
        command: The command line, for the study file's header.
    """

    target: str
    budget: float
    task: str | None = None
    methods: Sequence[str] = ()
    values: Sequence[str] = ()
    examples: Sequence[str] = ()
    tokens_per_example: float | None = None
    out: Path | None = None
    json: str | None = None
    command: str = "finescale plan"


def plan_command(table: Table, asked: Asked, **options: Any) -> None:
    """Plans, and shows or writes the plan.

    Args:
        table: A table of runs, a study file, or a study's folder.
        asked: The question.
        **options: Options of ``plan``.

    Raises:
        UsageError: A source, target or option that makes no sense.
        DataError: Nothing can or need be planned.
    """
    target = {
        name: _number(v, "--target") for name, v in pairs(asked.target.split(","), "--target", _FORM).items()
    }
    check = {"bend": 0.0, "check_share": 0.0, "seeds": 1, "noise": None} | options
    factor = check_question(
        target, asked.budget, check["bend"], check["check_share"], check["seeds"], check["noise"]
    )
    study, records = _source(table)
    if asked.out is not None and study is None:
        raise UsageError(
            "--out continues a study, and this is a table of runs",
            wanted="a study file or a study's folder",
            remedy="name the study, or write the plan with --json",
            where=table.path,
        )
    limits = {
        "methods": tuple(asked.methods),
        "values": _numbers(asked.values, "--values"),
        "examples": _numbers(asked.examples, "--examples"),
    }
    if records is not None:
        task, runs, base = most_seen(records, asked.task)
        choices = of_runs(runs, factor, base, **limits)
    else:
        assert study is not None
        choices = of_study(study, factor, **limits)
        task, runs = study.task_name, _rows(choices, factor)
    priced = costs(runs, tokens_per_example=asked.tokens_per_example)
    made = plan(records, target, asked.budget, choices=choices, costs=priced, task=task, **options)
    if asked.out is not None and study is not None:
        write_study(continued(study, made, asked.command), asked.out)
    if asked.json:
        write_json(made.to_dict(), asked.json)
    if asked.json != "-":
        show(made, priced, asked.out, console())


_FORM = "model_params=1.6e10,finetune_examples=1e6"


def show(made: Plan, priced: Costs, out: Path | None, to: Console) -> None:
    """Prints the runs, what is expected of them, and what to know."""

    def say(words: str, style: str | None = None) -> None:
        to.print(words, style=style, markup=False, highlight=False, soft_wrap=True)

    where = ", ".join(f"{name} {count(value)}" for name, value in made.target.items())
    total = sum(len(run.seeds) for run in made.runs)
    say(f"{made.task or 'plan'}: {total} runs for {number(made.cost)} FLOPs of {number(made.budget)}", "bold")
    say(f"target: {where}; {priced.basis.partition(', hours')[0]}")
    to.print(_runs_table(made))
    to.print(_outlook_table(made))
    if any(run.check for run in made.runs):
        say("Runs marked `check` lie nearest to the target: they would expose a law that fails there.")
    for note in made.notes:
        say(f"note: {note}")
    if out is not None:
        say(f"Written: {out}. Next: finescale run {out} --dry-run, then without --dry-run; then plan again.")
    else:
        say("Make the cheap runs first, then plan again with what they show.")


def _runs_table(made: Plan) -> RichTable:
    shown = RichTable(title="runs, the cheapest first", title_justify="left", header_style="bold")
    names = list(made.runs[0].sizes)
    models = any(run.model for run in made.runs)
    for heading in ["method", *(["model"] if models else [])]:
        shown.add_column(heading)
    for heading in [*names, "seeds", "FLOPs each"]:
        shown.add_column(heading, justify="right")
    shown.add_column("")
    for run in made.runs:
        cells = [method_name(run.method), *([run.model or "-"] if models else [])]
        cells += [count(run.sizes[name]) for name in names]
        cells += [", ".join(map(str, run.seeds)), number(run.cost), "check" if run.check else ""]
        shown.add_row(*cells)
    return shown


def _outlook_table(made: Plan) -> RichTable:
    title = "mean loss at the target, nats per target token, with 90% intervals"
    shown = RichTable(title=title, title_justify="left", header_style="bold")
    shown.add_column("method")
    for heading in ("settings so far", "loss now", "interval now", "+- expected after", "best with"):
        shown.add_column(heading, justify="right")
    for one in made.outlooks:
        known = one.settings > 0
        cells = [capital(method_name(one.method)), str(one.settings), nats(one.loss) if known else "-"]
        cells += [f"{nats(one.low)} to {nats(one.high)}" if known else "unknown", nats(one.after)]
        shown.add_row(*cells, chance(one.best) if known and len(made.outlooks) > 1 else "-")
    return shown


def _source(table: Table) -> tuple[StudySpec | None, Records | None]:
    """The study and its records; a table has no study, a study that has not run has no records."""
    path = Path(table.path)
    if path.suffix.lower() in STUDY_FILES:
        study = _finetuning(path)
        records = RESULTS / study.name / "records.parquet"
    elif path.is_dir():
        study = _finetuning(path / "study.yaml") if (path / "study.yaml").exists() else None
        records = path / "records.parquet"
        if study is None and not records.exists():
            raise UsageError(
                "neither study.yaml nor records.parquet in this folder",
                wanted="a study's folder, a study file, or a table of runs",
                where=str(path),
            )
    else:
        return None, table.read()
    read = Table(str(records), table.loss, table.columns)
    return study, read.read() if records.exists() else None


def _finetuning(path: Path) -> StudySpec:
    study = load_study(path)
    if not isinstance(study, StudySpec):
        raise UsageError(
            "a pretraining study has no finetuning runs to plan", wanted="kind: finetune", where=str(path)
        )
    return study


def _rows(choices: Choices, factor: str) -> pl.DataFrame:
    """The settings of a study that has not run, as rows whose costs can be told."""
    rows: list[Mapping[str, Any]] = []
    for method, (values, examples) in choices.sizes.items():
        for value in values:
            size = choices.params(factor, value)
            rows.append({"method": method, "model_params": size, DATA_SIZE: float(np.max(examples))})
    return pl.DataFrame(rows, schema={"method": pl.String, "model_params": pl.Float64, DATA_SIZE: pl.Float64})


def _numbers(options: Sequence[str], flag: str) -> tuple[float, ...]:
    words = [word.strip() for option in options for word in option.split(",") if word.strip()]
    found = tuple(_number(word, flag) for word in words)
    if any(not 0 < value < float("inf") for value in found):
        raise UsageError(f"{flag} {listed(words)}", wanted="numbers above 0", got=listed(words))
    return found


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError("not a number", wanted="e.g. 7e9", got=text, where=where) from None
