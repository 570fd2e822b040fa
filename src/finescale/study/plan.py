"""A study's plan: which runs are known now, what they will cost, and what the learning-rate sweep chose."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from finescale.errors import DataError, FinescaleError, UsageError
from finescale.executors.local import Job
from finescale.ladder import LADDER
from finescale.runs.expected import RunEstimates
from finescale.spec.expand import PlannedRun, Resolve, expand, sweep_runs, untuned_runs
from finescale.spec.parts import Choice, for_method
from finescale.spec.resources import Resources, Retries
from finescale.spec.run import PretrainRunSpec
from finescale.spec.study import Study
from finescale.study.ledger import Entry, Ledger

EXECUTE = "finescale.runs.finetune:execute"
EXECUTE_PRETRAINING = "finescale.runs.pretrain:execute_pretraining"


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A run of the plan and the call that executes it; `task` and `tasks` in this package are these.

    Attributes:
        entry: The run's row in the ledger's plan; its `spec` is the `PlannedRun`.
        make: Makes the call of an entry: only runs that are due need theirs.
    """

    entry: Entry
    make: Callable[[Entry], Job]

    @property
    def job(self) -> Job:
        """The call."""
        return self.make(self.entry)


class StudyPlan(Protocol):
    """What the runner drives: runs become known in stages (the sweep's choice opens the next)."""

    study: str
    retries: Retries
    shortest_first: bool
    """Whether short runs come before long ones."""
    problems: list[FinescaleError]
    """What keeps a part of the study from going on; the other parts do."""

    def awaits(self, run: str) -> bool:
        """Whether the plan may know more runs once this one is finished."""
        ...

    def advance(self, ledger: Ledger) -> list[PlannedJob]:
        """Every run that is known now, in the table's order; commits what has become decidable."""
        ...

    def outlook(self) -> list[float]:
        """Estimated costs of the runs that are not known yet."""
        ...

    def records(self, entry: Entry, value: Any) -> Mapping[str, Mapping[str, Any]]:
        """What a run returned, as records: id to fields."""
        ...

    def needs(self) -> list[Resources]:
        """What the study's runs reserve on a cluster, each kind once."""
        ...

    def files(self) -> list[Path]:
        """The user's files and folders that the runs read."""
        ...


class FinetunePlan:
    """The sweep, then the untuned models and the stars with the chosen learning rates."""

    def __init__(self, study: Study, resolve: Resolve, folder: Path, execute: str = EXECUTE) -> None:
        """Expands the study.

        Args:
            study: The study.
            resolve: Finds models and content hashes.
            folder: The study's folder.
            execute: `module:function` that executes a run: (planned run, the run's folder) -> record.

        Raises:
            UsageError: `hold_out` is no valid expression, or names a column that no run has.
        """
        self.study = study.name
        self.retries = study.retries
        self.shortest_first = study.order == "shortest"
        self._spec = study
        self._resolve = resolve
        self._folder = folder
        self._execute = execute
        self._sweeps = sweep_runs(study, resolve)
        self._choices: dict[str, Choice] = {}
        self._stuck: set[str] = set()
        self.problems: list[FinescaleError] = []
        self._expected = RunEstimates()
        self._known: tuple[dict[str, Choice], list[PlannedJob]] | None = None
        self.tasks()

    def awaits(self, run: str) -> bool:
        """Whether the run belongs to a sweep that is not decided."""
        return any(
            item.run.fingerprint() == run for method in self._undecided() for _, item in self._sweeps[method]
        )

    def advance(self, ledger: Ledger) -> list[PlannedJob]:
        """Every run that is known now; commits the choice of each method whose sweep is finished."""
        for method in self._undecided():
            try:
                choice = self._choose(ledger, method, self._sweeps[method])
            except DataError as error:
                self._stuck.add(method)
                self.problems.append(error)
                continue
            if choice is not None:
                self._choices[method] = choice
        return self.tasks()

    def tasks(self) -> list[PlannedJob]:
        """Every run that is known now: untuned models, stars, and sweep runs that no star needs."""
        if self._known is None or self._known[0] != self._choices:
            with _collector_paused():
                self._known = dict(self._choices), self._tasks()
        return self._known[1]

    def runs(self) -> list[PlannedRun]:
        """Every run of the study; the first candidate stands where no sweep has chosen yet."""
        return [task.entry.spec for task in self.tasks()] + self.undecided()

    def outlook(self) -> list[float]:
        """Estimated costs of the runs whose learning rate is not chosen yet."""
        return [self._expected.of(item)[1] for item in self.undecided()]

    def undecided(self) -> list[PlannedRun]:
        """The runs whose learning rate is not chosen yet, each with the first candidate in its place."""
        waiting = {
            method: tried[0][0] for method, tried in self._sweeps.items() if method not in self._choices
        }
        runs = expand(self._spec, {**self._choices, **waiting}, self._resolve) if waiting else []
        return [item for item in runs if item.run.method.name in waiting]

    def held_out_of(self, runs: Sequence[PlannedRun]) -> list[bool]:
        """Which runs `hold_out` keeps out of fits; never a sweep's."""
        study_runs = [self._expected.of(item)[0] for item in runs if item.purpose == "study"]
        held = iter(held_out(study_runs, self._spec.hold_out))
        return [item.purpose == "study" and next(held) for item in runs]

    def records(self, entry: Entry, value: Any) -> Mapping[str, Mapping[str, Any]]:
        """The one record of a finetuning run."""
        return {entry.run: value}

    def needs(self) -> list[Resources]:
        """What the study's runs reserve on a cluster, each kind once."""
        return list(dict.fromkeys(self._needed(method) for method in ("full", *self._spec.methods())))

    def files(self) -> list[Path]:
        """The task's files and the models' folders."""
        runs = [item.run for item in self.runs()]
        named = {run.model.folder for run in runs}
        named |= {name for run in runs if run.data for name in (run.data.train, run.data.dev, run.data.test)}
        return sorted(Path(name) for name in named if name is not None)

    def _needed(self, method: str) -> Resources:
        return for_method(self._spec.resources, method) or Resources()

    def _undecided(self) -> list[str]:
        return [
            method for method in self._sweeps if method not in self._choices and method not in self._stuck
        ]

    def _tasks(self) -> list[PlannedJob]:
        """Untuned models, stars whose learning rate is chosen, and sweep runs that are none of these."""
        items = untuned_runs(self._spec, self._resolve)
        items += expand(self._spec, self._choices, self._resolve)
        known = [self._expected.of(item) for item in items]
        held = held_out([fields for fields, _ in known], self._spec.hold_out)
        tried = [item for candidates in self._sweeps.values() for _, item in candidates]
        items += tried
        known += [self._expected.of(item) for item in tried]
        held += [False] * len(tried)
        tasks: dict[str, PlannedJob] = {}
        make = self._job
        for item, (fields, cost), out in zip(items, known, held, strict=True):
            run = item.run.fingerprint()
            if run not in tasks:
                tasks[run] = PlannedJob(
                    Entry(run, item.purpose, out, item.lr_tuned, cost, fields, item), make
                )
        return list(tasks.values())

    def _job(self, entry: Entry) -> Job:
        item: PlannedRun = entry.spec
        needed = self._needed(item.run.method.name)
        return Job(entry.run, self._execute, (item, self._folder / "runs" / entry.run), needed)

    def _choose(
        self, ledger: Ledger, method: str, tried: Sequence[tuple[Choice, PlannedRun]]
    ) -> Choice | None:
        """The committed choice of a method's sweep, made now if its last run is finished."""
        runs = [item.run.fingerprint() for _, item in tried]
        sweep = hashlib.sha256("".join(sorted(runs)).encode()).hexdigest()[:20]
        committed = ledger.choice(method, sweep)
        if committed is None:
            outcomes = [ledger.record(run) for run in runs]
            if any(outcome is None for outcome in outcomes):
                return None
            candidates = [choice for choice, _ in tried]
            index, evidence = choose(method, candidates, [outcome or {} for outcome in outcomes])
            evidence["candidates"] = [
                {"run": run, **candidate} for run, candidate in zip(runs, evidence["candidates"], strict=True)
            ]
            ledger.choose(method, sweep, candidates[index].model_dump(mode="json"), evidence)
            committed = ledger.choice(method, sweep)
            assert committed is not None
        with suppress(ValidationError):
            chosen = Choice.model_validate(committed[0])
            if chosen in [choice for choice, _ in tried]:
                return chosen
        raise ledger.damaged(f"the choice of {method} is none of the candidates of its sweep: {committed[0]}")


class PretrainPlan:
    """The runs of a pretraining study, one a size; a record a checkpoint."""

    def __init__(
        self,
        study: str,
        runs: Sequence[PretrainRunSpec],
        folder: Path,
        text: Path,
        execute: str = EXECUTE_PRETRAINING,
        *,
        retries: Retries | None = None,
    ) -> None:
        """Takes the study's runs.

        Args:
            study: The study's name.
            runs: Its runs.
            folder: The study's folder.
            text: The folder with the text.
            execute: `module:function`: (run, the study's folder, text folder, progress) -> records.
            retries: How often a run is tried again.
        """
        self.study = study
        self.retries = retries or Retries()
        self.shortest_first = False
        self.problems: list[FinescaleError] = []
        self._runs = runs
        self._folder = folder
        self._text = text
        self._execute = execute

    def awaits(self, run: str) -> bool:
        """Never: all runs are known from the start."""
        del run
        return False

    def advance(self, ledger: Ledger) -> list[PlannedJob]:
        """Every run; all are known from the start."""
        del ledger
        return self.tasks()

    def tasks(self) -> list[PlannedJob]:
        """Every run of the study."""
        return [self._task(spec) for spec in self._runs]

    def outlook(self) -> list[float]:
        """Nothing: all runs are known."""
        return []

    def records(self, entry: Entry, value: Any) -> Mapping[str, Mapping[str, Any]]:
        """A record for each checkpoint, called after run and tokens; one record where the run failed."""
        if isinstance(value, Mapping):
            return {entry.run: value}
        return {f"{entry.run}-{fields['pretrain_tokens']}": fields for fields in value}

    def needs(self) -> list[Resources]:
        """A core each."""
        return [Resources()]

    def files(self) -> list[Path]:
        """The folder with the text."""
        return [self._text.absolute()]

    def _task(self, spec: PretrainRunSpec) -> PlannedJob:
        shape = LADDER.get(spec.model)
        fields = {
            "method": "none",
            "model": spec.model,
            "model_params": shape.params if shape else None,
            "model_params_nonembedding": shape.nonembedding_params if shape else None,
            "finetune_examples": 0,
            "seed": spec.seed,
            "optimizer": spec.optimizer.name,
            "learning_rate": spec.learning_rate,
            "batch_size": spec.batch_rows,
        }
        run = spec.fingerprint()
        cost = float(shape.params if shape else 1e9) / 1e3
        return PlannedJob(Entry(run, "study", False, False, cost, fields, spec), self._job)

    def _job(self, entry: Entry) -> Job:
        return Job(entry.run, self._execute, (entry.spec, self._folder, self._text))


def choose(
    method: str, candidates: Sequence[Choice], outcomes: Sequence[Mapping[str, Any]]
) -> tuple[int, dict[str, Any]]:
    """The choice of a sweep: the lowest best dev loss; of equal ones the lower learning rate.

    Only runs that are done count. The evidence says whether the chosen rate is the lowest or highest that
    was tried with its optimiser and batch size: then the best rate may lie outside the tried ones.

    Args:
        method: The method, for messages.
        candidates: What was tried.
        outcomes: The record of each.

    Returns:
        The index of the chosen candidate, and the evidence.

    Raises:
        DataError: No candidate has a dev loss.
    """
    losses = [outcome.get("dev_loss") if outcome.get("status") == "done" else None for outcome in outcomes]
    finished = [index for index, loss in enumerate(losses) if loss is not None]
    told = [
        {
            "optimizer": candidate.optimizer.model_dump(mode="json"),
            "learning_rate": candidate.learning_rate,
            "batch_size": candidate.batch_size,
            "dev_loss": loss,
            "status": outcome.get("status"),
        }
        for candidate, loss, outcome in zip(candidates, losses, outcomes, strict=True)
    ]
    if not finished:
        reasons = {str(outcome.get("error") or outcome.get("status")) for outcome in outcomes}
        raise DataError(
            f"no learning rate of {method} worked: all {len(candidates)} runs of its sweep failed",
            wanted="at least one sweep run that is done",
            got="; ".join(sorted(reasons))[:300],
            remedy=f"state other rates in learning_rates.{method}, or `finescale run --retry-failed`",
        )
    best = min(finished, key=lambda index: (losses[index], candidates[index].learning_rate))
    chosen = candidates[best].learning_rate
    rates = [
        item.learning_rate
        for item in candidates
        if item == candidates[best].model_copy(update={"learning_rate": item.learning_rate})
    ]
    edges = [name for name, rate in (("lowest", min(rates)), ("highest", max(rates))) if rate == chosen]
    return best, {
        "rule": "lowest best dev loss; of equal ones the lower learning rate",
        "edge": edges[0] if len(rates) > 1 and edges else None,
        "candidates": told,
    }


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Python's collector would look through a large study's runs again and again while they are made."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def held_out(fields: Sequence[Mapping[str, Any]], rule: str | None) -> list[bool]:
    """Which runs a rule over `expected.describe`'s columns holds out of fits, as every analysis would."""
    if rule is None or not fields:
        return [False] * len(fields)
    import polars as pl  # noqa: PLC0415 - a study without hold_out does without

    from finescale.records.held_out import held_out as held  # noqa: PLC0415

    try:
        columns = {name: [row[name] for row in fields] for name in fields[0]}
        return held(pl.DataFrame(columns, strict=False), rule).to_list()
    except UsageError as error:
        raise error.at("hold_out") from None
