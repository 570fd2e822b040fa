"""What a study will take on this machine, from a few steps of each kind of run.

A probe takes at most a tenth of the study or a minute, whichever is more: it is as long as a first guess
allows, with room for a guess that is wrong by half.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from finescale.executors.local import Executor, Job, Result
from finescale.runs.evaluation_cost import BATCH_PROMPTS, evaluation_cost
from finescale.runs.expected import estimated_seconds, planned_steps
from finescale.spec.expand import PlannedRun
from finescale.spec.run import RunSpec
from finescale.study.progress import duration

PROBE = "finescale.runs.finetune:probe"
STEPS = 20
EVALUATED = 64
"""Dev and test examples that a probe evaluates at most."""
SHARE = 0.05
"""Of the study's time, by a first guess, that its probe may take."""
SHORTEST, LONGEST = 30.0, 120.0
"""Seconds that a probe may always take, and that are enough for any, by the same guess."""

Kind = tuple[str, str, "int | None", int]


@dataclass(frozen=True)
class Size:
    """How much a probe does.

    Attributes:
        steps: Training steps.
        evaluated: Dev examples, and test examples.
        texts: Generated texts of each set.
        rows: Rows of pretraining text.
    """

    steps: int = STEPS
    evaluated: int = EVALUATED
    texts: int = BATCH_PROMPTS
    rows: int | None = None


FEWEST = Size(steps=3, evaluated=8, texts=4, rows=1)
"""The smallest probe; the first step is the slowest."""


@dataclass(frozen=True)
class ProbedCost:
    """What a kind of run costs on this machine.

    Attributes:
        step: Seconds of a training step.
        example: Seconds to evaluate one example.
        setup: Seconds before the first step.
        generated: Seconds of all that a run generates and scores.
        forgetting: Seconds of the loss on pretraining text after finetuning.
        memory: Peak memory of the worker, bytes.
    """

    step: float
    example: float
    setup: float
    generated: float
    forgetting: float
    memory: int | None

    def seconds(self, run: RunSpec) -> float:
        """Seconds of a whole run; the time to tokenise a large data set is left out."""
        evaluated, steps = run.train.dev_examples + run.test_examples, 0
        if run.finetune_examples:
            evaluated = run.train.evaluations * run.train.dev_examples + run.test_examples
            steps = planned_steps(run)
        seconds = self.setup + steps * self.step + evaluated * self.example
        if run.evaluation.science():  # a sweep measures losses only
            seconds += self.generated + (self.forgetting if run.finetune_examples else 0.0)
        return seconds


def kind(run: RunSpec) -> Kind:
    """(model, method, PET size, batch size): runs of one kind take the same time a step."""
    return run.model.name, run.method.name, run.method.pet_size, run.train.batch_size


def shorten(item: PlannedRun, size: Size | None = None) -> PlannedRun:
    """A run of the same kind with few steps, one dev evaluation, and little to evaluate or generate.

    Args:
        item: The run.
        size: How much is left of it (default: as much as a probe ever does).
    """
    size = size or Size()
    run = item.run
    batch = run.train.batch_size
    examples = min(run.finetune_examples, size.steps * batch)
    changes: dict[str, Any] = {
        "max_steps": size.steps,
        "epochs": math.ceil(size.steps / math.ceil(examples / batch)),
        "evaluations": 1,
        "dev_examples": min(run.train.dev_examples, size.evaluated),
        "patience": None,
        "learning_rate": run.train.learning_rate / 100,  # no probe should diverge
    }
    short = {
        "finetune_examples": examples,
        "test_examples": min(run.test_examples, size.evaluated),
        "train": run.train.model_copy(update=changes),
    }
    less: dict[str, Any] = {}
    if run.evaluation.metrics:
        less["examples"] = min(run.evaluation.examples, size.texts)
    if run.evaluation.forgetting is not None and size.rows is not None:
        few = min(run.evaluation.forgetting.rows, size.rows)
        less["forgetting"] = run.evaluation.forgetting.model_copy(update={"rows": few})
    short["evaluation"] = run.evaluation.model_copy(update=less)
    return item.model_copy(update={"run": run.model_copy(update=short), "keep": "nothing"})


def sizes(runs: Sequence[PlannedRun], workers: int) -> dict[Kind, Size]:
    """How much to probe of each kind of run.

    Args:
        runs: The study's runs.
        workers: Runs at a time.

    Returns:
        The whole `Size()` where there is time for it. Otherwise the same share of it for every kind, but no
        less than it takes to see anything.
    """
    probed = measured_first(runs)
    study = sum(estimated_seconds(item.run) for item in runs) / workers
    whole = sum(estimated_seconds(shorten(item).run) for item in probed) / workers
    share = max(SHORTEST, min(study * SHARE, LONGEST)) / max(whole, SHORTEST)
    return {kind(item.run): _share(item, share) for item in probed}


def _share(item: PlannedRun, share: float) -> Size:
    """A share of the largest probe of a run."""
    if share >= 1:
        return Size()
    forgetting, evaluation = item.run.evaluation.forgetting, item.run.evaluation
    return Size(
        steps=max(FEWEST.steps, round(share * STEPS)),
        evaluated=max(FEWEST.evaluated, round(share * EVALUATED)),
        texts=max(FEWEST.texts, round(share * min(BATCH_PROMPTS, evaluation.examples))),
        rows=None if forgetting is None else max(1, round(share * forgetting.rows)),
    )


def measured_first(runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """A run of each kind: one that generates and is measured as the study's are, with the most examples."""
    order = sorted(runs, key=lambda item: (not item.run.evaluation.science(), -item.run.finetune_examples))
    kinds: dict[Kind, PlannedRun] = {}
    for item in order:
        if item.run.finetune_examples:
            kinds.setdefault(kind(item.run), item)
    return list(kinds.values())


def measure(
    runs: Sequence[PlannedRun], executor: Executor, console: Console, function: str = PROBE
) -> tuple[dict[Kind, ProbedCost], dict[Kind, str]]:
    """Trains a few steps of every kind of run.

    Args:
        runs: The study's runs.
        executor: Where runs are executed; closed at the end.
        console: Shows how far it is.
        function: `module:function`: planned run -> seconds of its parts.

    Returns:
        The cost of each kind, and why there is none for the others.
    """
    kinds = {kind(item.run): item for item in measured_first(runs)}
    size = sizes(runs, executor.free())
    names = {str(index): name for index, name in enumerate(kinds)}
    short = {name: shorten(item, size[name]) for name, item in kinds.items()}
    waiting = [Job(index, function, (short[name],)) for index, name in names.items()]
    found: list[Result] = []
    bar = Progress(
        TextColumn("probing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
    )
    try:
        with bar:
            shown = bar.add_task("", total=len(waiting))
            while len(found) < len(names):
                while waiting and executor.free():
                    executor.submit(waiting.pop(0))
                found += executor.wait(0.5)
                bar.update(shown, completed=len(found))
    finally:
        executor.close()
    parts = {names[result.run]: result for result in found}
    failed = {
        name: str(result.error or result.value["error"])
        for name, result in parts.items()
        if result.error is not None or "error" in result.value
    }
    measured = {name: result for name, result in parts.items() if name not in failed}
    if not measured:
        return {}, failed
    setup = statistics.median(result.value["setup"] for result in measured.values())
    costs = {
        name: ProbedCost(
            result.value["step"],
            result.value["example"],
            setup,
            result.value["generated"] * _batches(kinds[name], short[name]),
            result.value["forgetting"] * _rows(kinds[name], short[name]),
            result.peak_memory_bytes,
        )
        for name, result in measured.items()
    }
    return {name: costs[name] for name in kinds if name in costs}, failed


def _batches(item: PlannedRun, probed: PlannedRun) -> float:
    """How many times as much a run generates as its probe: batches if that has a whole one, else texts."""
    costs = [evaluation_cost(one.run, (0, 0), 0, 0) for one in (item, probed)]
    full = probed.run.evaluation.examples >= BATCH_PROMPTS
    whole, short = [cost.passes if full else cost.texts for cost in costs]
    return whole / short if short else 1.0


def _rows(item: PlannedRun, probed: PlannedRun) -> float:
    """How many times as many rows of pretraining text a run evaluates as its probe."""
    whole, short = item.run.evaluation.forgetting, probed.run.evaluation.forgetting
    return 1.0 if whole is None or short is None else whole.rows / short.rows


def study_seconds(runs: Sequence[PlannedRun], costs: Mapping[Kind, ProbedCost]) -> tuple[float, int]:
    """Seconds of one core for a study, and how many of its runs have no measured cost.

    Args:
        runs: The study's runs.
        costs: Of each kind, as `measure` found them; an untuned model costs what one of its runs does.
    """
    models = {name[0]: cost for name, cost in costs.items()}
    priced = [
        (
            costs.get(kind(item.run)) if item.run.finetune_examples else models.get(item.run.model.name),
            item.run,
        )
        for item in runs
    ]
    return sum(cost.seconds(run) for cost, run in priced if cost), sum(cost is None for cost, _ in priced)


def show(
    console: Console,
    runs: Sequence[PlannedRun],
    costs: Mapping[Kind, ProbedCost],
    failed: Mapping[Kind, str],
    workers: int,
) -> float:
    """Prints what each kind of run takes, and the whole study.

    Args:
        console: Where to print.
        runs: The study's runs.
        costs: Of each kind, as `measure` found them.
        failed: Why there is no cost of the other kinds.
        workers: How many runs are made at a time.

    Returns:
        Seconds of one core for the whole study.
    """
    table = Table(box=None, pad_edge=False)
    for name in (
        "model",
        "method",
        "PET size",
        "batch",
        "runs",
        "s a step",
        "peak memory",
        "time of one core",
    ):
        table.add_column(name, justify="left" if name in ("model", "method") else "right")
    total, left_out = study_seconds(runs, costs)
    for name, cost in costs.items():
        own = [item.run for item in runs if item.run.finetune_examples and kind(item.run) == name]
        seconds = sum(cost.seconds(run) for run in own)
        memory = f"{cost.memory / 1e9:.2f} GB" if cost.memory else ""
        size = "" if name[2] is None else str(name[2])
        table.add_row(
            name[0], name[1], size, str(name[3]), str(len(own)), f"{cost.step:.3g}", memory, duration(seconds)
        )
    console.print(table)
    for (model, method, size, batch), reason in failed.items():
        what = f"{method}, {model}" + (f", PET size {size}" if size else "") + f", batch {batch}"
        console.print(
            f"no time for {what}: {reason}", style="red", markup=False, highlight=False, soft_wrap=True
        )
    without = f" without {left_out} runs whose probe failed" if left_out else ""
    console.print(
        f"Measured on this machine: {duration(total)} of one core,"
        f" about {duration(total / workers)} with {workers} workers{without}.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return total
