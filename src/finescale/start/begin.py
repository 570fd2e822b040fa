"""From a user's words to a study: look at data, models and machine, choose, measure, keep to the budget."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from finescale.errors import UsageError
from finescale.executors.local import LocalExecutor
from finescale.executors.machine import CannotImport, free_memory, gpus, usable_cores
from finescale.records.budgets import Budget
from finescale.runs.expected import estimated_flops
from finescale.spec.file import parse_study
from finescale.spec.study import Study
from finescale.start.data import look_at_data
from finescale.start.design import Design, Machine, first_design
from finescale.start.models import look_at_models
from finescale.start.text import design_text
from finescale.study.opening import check_training_libraries, open_plan
from finescale.study.plan import FinetunePlan
from finescale.study.probe import Kind, ProbedCost, measure, study_seconds
from finescale.study.progress import duration

MEMORY_SHARE = 0.9
"""Workers together take at most this share of the free memory."""


@dataclass(frozen=True)
class Wishes:
    """What the user says; everything else is looked up or measured.

    Attributes:
        data: A file or folder.
        models: Folders, names on the hub, or bundled models.
        out: The study file.
        methods: Methods; empty: full tuning and LoRA.
        budget: Of the whole study; None: the richest design.
        price_per_hour: Price of an hour of the machine.
        score: The score that counts beside the loss.
        source: Column that is read.
        target: Column that is learned.
        pretrain_tokens: Of the models, by the words that name them.
        probe: Measure 20 steps of each kind of run.
        command: The command line, for the file's head.
    """

    data: Path
    models: Sequence[str]
    out: Path
    methods: Sequence[str] = ()
    budget: Budget | None = None
    price_per_hour: float | None = None
    score: str | None = None
    source: str | None = None
    target: str | None = None
    pretrain_tokens: Mapping[str, int] = field(default_factory=dict)
    probe: bool = True
    command: str = "finescale init"


@dataclass(frozen=True)
class Begun:
    """A study that fits the user's words.

    Attributes:
        text: The study file.
        spec: The same, read.
        plan: Its runs.
        design: What was chosen.
        costs: What each kind of run costs, where it was measured.
        failed: Why a kind has no cost.
        workers: Runs at a time.
        seconds: The study's time on this machine; None: not measured.
        notes: What to know.
    """

    text: str
    spec: Study
    plan: FinetunePlan
    design: Design
    costs: Mapping[Kind, ProbedCost]
    failed: Mapping[Kind, str]
    workers: int
    seconds: float | None
    notes: tuple[str, ...]


def begin(wishes: Wishes, console: Console) -> Begun:
    """Looks, chooses, measures; nothing is written.

    Args:
        wishes: What the user says.
        console: Shows how far the measuring is.

    Raises:
        UsageError: Data, models or wishes that cannot be used.
    """
    check_training_libraries()
    if wishes.budget is not None and wishes.budget.kind == "money":
        wishes.budget.seconds(wishes.price_per_hour)  # says what is missing before anything is opened
    machine = this_machine()
    data = look_at_data(wishes.data, wishes.source, wishes.target)
    models = look_at_models(wishes.models, wishes.pretrain_tokens)
    richest = first_design(data, models, wishes.methods, wishes.score, machine)
    whole = _Drafts(wishes, {}, {}, 1)
    costs, failed, workers = {}, {}, 1 if machine.gpu else machine.cores
    if wishes.probe:
        runs = whole.plan(richest).runs()
        costs, failed = measure(runs, LocalExecutor(workers), console)
        workers = _workers(machine, costs, workers)
    return _Drafts(wishes, costs, failed, workers).within_budget(richest)


def this_machine() -> Machine:
    """What this machine has for runs."""
    try:
        found = gpus()
    except CannotImport as error:
        raise UsageError(
            "the libraries that train cannot be imported", got=str(error), remedy="finescale doctor"
        ) from None
    if found:
        return Machine(usable_cores(), found[0].memory, found[0].name)
    return Machine(usable_cores(), free_memory())


def _workers(machine: Machine, costs: Mapping[Kind, ProbedCost], most: int) -> int:
    """How many runs have room in the memory at a time."""
    needed = max((cost.memory or 0 for cost in costs.values()), default=0)
    if machine.gpu or machine.memory is None or not needed:
        return most
    return max(1, min(most, int(MEMORY_SHARE * machine.memory / needed)))


class _Drafts:
    """Designs as studies, and what they cost."""

    def __init__(
        self, wishes: Wishes, costs: Mapping[Kind, ProbedCost], failed: Mapping[Kind, str], workers: int
    ) -> None:
        self.wishes, self.costs, self.failed, self.workers = wishes, costs, failed, workers

    def within_budget(self, richest: Design) -> Begun:
        """The richest of the designs that the budget pays for; else the cheapest, which is told."""
        limit, spent = self._limit()
        design = richest
        for design in richest.poorer():
            if spent is None or spent(self.plan(design)) <= limit:
                return self._begun(design, ())
        told = "The budget does not pay for the smallest study that would answer anything; this is it."
        return self._begun(design, (told,))

    def plan(self, design: Design) -> FinetunePlan:
        """The runs of a design."""
        return self._plan(self._read(self._text(design, ())))

    def _limit(self) -> tuple[float, Callable[[FinetunePlan], float] | None]:
        """What may be spent, and what a plan spends of it; nothing where that is not known."""
        budget = self.wishes.budget
        if budget is None:
            return 0.0, None
        if budget.kind == "flops":
            return budget.amount, lambda plan: sum(estimated_flops(item.run) for item in plan.runs())
        seconds = budget.seconds(self.wishes.price_per_hour)
        if not self.costs:
            return seconds, self._estimated
        return seconds, lambda plan: self._seconds(plan) or 0.0

    def _seconds(self, plan: FinetunePlan) -> float | None:
        """Measured seconds of all workers together."""
        if not self.costs:
            return None
        return study_seconds(plan.runs(), self.costs)[0] / self.workers

    def _estimated(self, plan: FinetunePlan) -> float:
        """Seconds as a dry run estimates them."""
        known = sum(task.entry.cost for task in plan.tasks())
        return (known + sum(plan.outlook())) / self.workers

    def _begun(self, design: Design, told: tuple[str, ...]) -> Begun:
        plan = self.plan(design)
        seconds = self._seconds(plan)
        text = self._text(design, self._cost_words(plan, seconds))
        spec = self._read(text)
        notes = (*told, *(f"{sentence}." for sentence in (*design.dropped, *design.said)))
        return Begun(text, spec, plan, design, self.costs, self.failed, self.workers, seconds, notes)

    def _cost_words(self, plan: FinetunePlan, seconds: float | None) -> tuple[str, ...]:
        budget = self.wishes.budget
        asked = f" The budget: {budget.text}." if budget is not None else " No budget was given."
        flops = sum(estimated_flops(item.run) for item in plan.runs())
        cost = f"{len(plan.runs())} runs, about {flops:.2g} training FLOPs"
        if seconds is not None:
            many = f"{self.workers} at a time" if self.workers > 1 else "one at a time"
            cost += f"; measured on this machine: about {duration(seconds)}, {many}"
            if (price := self.wishes.price_per_hour) is not None:
                cost += f", {seconds / 3600 * price:.2f} at {price:g} an hour"
        return (f"Cost: {cost}.{asked}",)

    def _text(self, design: Design, words: Sequence[str]) -> str:
        return text_of(design, self.wishes, words)

    def _read(self, text: str) -> Study:
        spec = parse_study(text, self.wishes.out.name)
        assert isinstance(spec, Study)
        return spec.resolve_paths(self.wishes.out.absolute().parent)

    def _plan(self, spec: Study) -> FinetunePlan:
        plan = open_plan(spec, self.wishes.out.absolute().parent / "none")
        assert isinstance(plan, FinetunePlan)
        return plan


def text_of(
    design: Design, wishes: Wishes, words: Sequence[str], stars: Sequence[Mapping[str, Any]] | None = None
) -> str:
    """A design as the study file that the user wishes.

    Args:
        design: The design.
        wishes: What the user says.
        words: What to say of its cost, in sentences.
        stars: Runs that are planned already, in place of the design's own.
    """
    out, name = wishes.out, design.data.spec.name
    placed = _placed(design, out.absolute().parent)
    head = (f"Which of {', '.join(design.methods)} is best for {name}, and with how much data?", *words)
    commands = (wishes.command, f"finescale run {out}", f"finescale advise {out}")
    return design_text(placed, _study_name(out, name), head, commands, stars)


def _study_name(out: Path, task: str) -> str:
    """The study's name: the file's, where it says more than that it is a study."""
    stem = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in out.stem).strip("._-")
    return task if stem in ("", "study") or not stem[0].isascii() else stem[:60]


def _placed(design: Design, folder: Path) -> Design:
    """The design with its files and folders as a study file in a folder states them."""
    stated = {name: getattr(design.data.spec, name) for name in ("train", "dev", "test")}
    files = {name: _relative(Path(file), folder) for name, file in stated.items() if file is not None}
    models = []
    for look in design.models:
        if look.source is not None and look.source.is_folder:
            source = look.source.model_copy(update={"source": _relative(Path(look.source.source), folder)})
            models.append(replace(look, source=source))
        else:
            models.append(look)
    data = replace(design.data, spec=design.data.spec.model_copy(update=files))
    return replace(design, data=data, models=tuple(models))


def _relative(path: Path, folder: Path) -> str:
    """A path as a study file in the folder states it: relative where it is inside, else absolute."""
    shown = os.path.relpath(path, folder)
    return str(path) if shown.startswith("..") else f"./{shown}"
