"""A study's plan: which runs are known now, and what they will cost."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from finescale.errors import FinescaleError, UsageError
from finescale.executors.local import Job
from finescale.ladder import LADDER
from finescale.runs.expected import RunEstimates
from finescale.spec.expand import PlannedRun, Resolve, expand, sweep_runs, untuned_runs
from finescale.spec.parts import Choice, for_method
from finescale.spec.resources import Resources, Retries
from finescale.spec.run import PretrainRunSpec
from finescale.spec.study import Study
from finescale.study.corners import Corners
from finescale.study.ledger import Entry, Ledger
from finescale.study.sweep import Sweeps

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

    def holds(self, run: str) -> bool:
        """Whether the run is not to be started now: it waits for others."""
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

    def __init__(
        self, study: Study, resolve: Resolve, folder: Path, execute: str = EXECUTE, *, retune: bool = False
    ) -> None:
        """Expands the study.

        Args:
            study: The study.
            resolve: Finds models and content hashes.
            folder: The study's folder.
            execute: `module:function` that executes a run: (planned run, the run's folder) -> record.
            retune: Check the chosen learning rates at the study's corners.

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
        race = study.sweep is not None and study.sweep.race
        self._sweeps = Sweeps(sweep_runs(study, resolve), folder, race=race)
        self._corners = Corners(study, resolve)
        self.retune = retune
        self.problems: list[FinescaleError] = []
        self._expected = RunEstimates()
        self._held: set[str] = set()
        self._known: tuple[tuple[dict[str, Choice], object], list[PlannedJob]] | None = None
        self.tasks()

    def awaits(self, run: str) -> bool:
        """Whether the run belongs to a sweep that is not decided, or to a check of its choice."""
        return self._sweeps.awaits(run) or self._corners.awaits(run)

    def holds(self, run: str) -> bool:
        """Whether the run waits for others of its race, or for a rate that is being checked."""
        return run in self._held or self._sweeps.holds(run)

    def advance(self, ledger: Ledger) -> list[PlannedJob]:
        """Every run that is known now; commits what has become decidable of each method's sweep."""
        self.problems += self._sweeps.advance(ledger)
        self._corners.advance(ledger, self._sweeps.choices, retune=self.retune)
        tasks = self.tasks()
        statuses = ledger.statuses()
        whole = (task.entry for task in tasks if task.entry.purpose == "study")
        if cut := [entry.run for entry in whole if statuses.get(entry.run) == "stopped"]:
            ledger.reopen(cut)  # a candidate that lost a race, and is a run of the study by now
        return tasks

    def tasks(self) -> list[PlannedJob]:
        """Every run that is known now: untuned models, stars, and sweep runs that no star needs."""
        state = dict(self._sweeps.choices), self._corners.state()
        if self._known is None or self._known[0] != state:
            with _collector_paused():
                self._known = state, self._tasks()
        return self._known[1]

    def runs(self) -> list[PlannedRun]:
        """Every run of the study; the first candidate stands where no sweep has chosen yet."""
        return [task.entry.spec for task in self.tasks()] + self.undecided()

    def outlook(self) -> list[float]:
        """Estimated costs of the runs whose learning rate is not chosen yet."""
        return [self._expected.of(item)[1] for item in self.undecided()]

    def undecided(self) -> list[PlannedRun]:
        """The runs whose learning rate is not chosen yet, each with the first candidate in its place."""
        chosen = self._sweeps.choices
        waiting = {
            method: tried[0][0] for method, tried in self._sweeps.tried.items() if method not in chosen
        }
        runs = expand(self._spec, {**chosen, **waiting}, self._resolve) if waiting else []
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

    def _tasks(self) -> list[PlannedJob]:
        """Untuned models, stars whose learning rate is chosen, and sweep runs that are none of these."""
        items = untuned_runs(self._spec, self._resolve)
        items += expand(self._spec, self._sweeps.choices, self._resolve, self._corners.choice)
        known = [self._expected.of(item) for item in items]
        held = held_out([fields for fields, _ in known], self._spec.hold_out)
        tried = [item for candidates in self._sweeps.tried.values() for _, item in candidates]
        tried += self._corners.runs()
        items += tried
        known += [self._expected.of(item) for item in tried]
        held += [False] * len(tried)
        tasks: dict[str, PlannedJob] = {}
        make = self._job
        for item, (fields, cost), out in zip(items, known, held, strict=True):
            run = item.run.fingerprint()
            if run not in tasks:
                tuned = item.lr_tuned, cost, fields, item, item.lr_tuned_at
                tasks[run] = PlannedJob(Entry(run, item.purpose, out, *tuned), make)
        unsettled = self._corners.unsettled()
        self._held = {run for run, task in tasks.items() if task.entry.spec.run.method.name in unsettled} - {
            item.run.fingerprint() for item in tried
        }
        return list(tasks.values())

    def _job(self, entry: Entry) -> Job:
        item: PlannedRun = entry.spec
        needed, leg = self._needed(item.run.method.name), self._sweeps.leg(entry.run)
        arguments = (item, self._folder / "runs" / entry.run)
        return Job(entry.run, self._execute, arguments if leg is None else (*arguments, leg), needed)


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

    def holds(self, run: str) -> bool:
        """Never: no run waits for another."""
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
