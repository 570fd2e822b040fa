"""The runner: drives a plan through an executor into the ledger; run again, it goes on where it stopped.

Order: the sweep first, then everything else, the longest run first unless the study says otherwise; or what a
chooser asks for, batch by batch, until it asks for nothing. A finished run is never redone. A run that breaks
(its process dies, its function raises) or diverges is tried again later, as often as the study's `retries`
say.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finescale.errors import FinescaleError
from finescale.executors.attempt_log import log_file, note
from finescale.executors.local import Executor, Result
from finescale.runs.leg import PAUSED
from finescale.study.choosing import Chooser
from finescale.study.export import export_study
from finescale.study.failures import Failure, failures, remedy, run_in_words
from finescale.study.ledger import ENDED_WELL, STATUSES, Entry, Ledger
from finescale.study.owner import this_process
from finescale.study.plan import PlannedJob, StudyPlan
from finescale.study.progress import Progress, Silent
from finescale.study.reading import Curve

HEARTBEAT_SECONDS = 10.0
POLL_SECONDS = 1.0
SOME_FAILED, NONE_DONE = 3, 4
"""Exit codes of a study whose runs were all tried, or that was stopped as enough is known."""
NOT_RUN = "not run"
"""The status, in a summary, of a run that nobody asked for."""


@dataclass(frozen=True)
class Summary:
    """How a study stands after the runner.

    Attributes:
        counts: Runs of the plan by status.
        made: Runs that were executed and committed this time.
        orphans: Finished runs in the ledger that the plan no longer has.
        failures: Why runs failed or diverged. Candidates of a sweep that diverged are no failure where
            another candidate of their method is left.
        problems: What kept a part of the study from going on.
    """

    counts: Mapping[str, int]
    made: int
    orphans: int
    failures: Sequence[Failure] = ()
    problems: Sequence[FinescaleError] = ()

    @property
    def exit_code(self) -> int:
        """0: every run is done; `SOME_FAILED` (3); `NONE_DONE` (4)."""
        if not self.counts.get("done"):
            return NONE_DONE
        return SOME_FAILED if self.failures or self.problems else 0


def run_study(
    plan: StudyPlan,
    folder: Path,
    executor: Executor,
    *,
    progress: Progress | None = None,
    log_level: str = "info",
    chooser: Chooser | None = None,
) -> Summary:
    """Executes every run of a plan that is not finished, and exports the records.

    Args:
        plan: The study's plan.
        folder: The study's folder; it has to exist.
        executor: Where runs are executed; closed at the end, whatever happens.
        progress: Told what happens.
        log_level: The lowest level of messages in the runs' logs.
        chooser: Chooses the runs that are made, sweeps apart; None: all.

    Returns:
        How the study stands; what went wrong is told there.

    Raises:
        UsageError: The folder belongs to another study.
        KeyboardInterrupt: Ctrl-C; what is finished is committed and exported.
    """
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.check()
        ledger.belongs_to(plan.study)
        shown = progress or Silent()
        drive = _Drive(plan, folder, ledger, executor, progress=shown, log_level=log_level, chooser=chooser)
        try:
            with drive.progress:
                drive.all()
        except BaseException:
            with suppress(FinescaleError):  # what stopped the study is told, not what then failed as well
                drive.end()
            raise
        drive.end()
        return drive.summary()


class _Drive:
    """One pass over a study: the state of the loop."""

    def __init__(
        self,
        plan: StudyPlan,
        folder: Path,
        ledger: Ledger,
        executor: Executor,
        *,
        progress: Progress,
        log_level: str,
        chooser: Chooser | None,
    ) -> None:
        self.plan = plan
        self.folder = folder
        self.log_level = log_level
        self.ledger = ledger
        self.executor = executor
        self.progress = progress
        self.owner = this_process()
        self.tasks: dict[str, PlannedJob] = {}
        self.statuses: dict[str, str] = {}
        self.queue: deque[PlannedJob] = deque()
        self.elsewhere: deque[PlannedJob] = deque()  # another driver has their leases
        self.running: dict[str, int] = {}  # fingerprint to attempt
        self.chooser = chooser
        self.chosen: set[str] = set()
        self.made = 0
        self.beat = 0.0
        self.polled = 0.0

    def all(self) -> None:
        """Until nothing is left to do, here or elsewhere."""
        self.advance()
        while True:
            self.submit()
            if not (self.running or self.queue or self.elsewhere):
                if not self.more():
                    return
                continue
            for result in self.executor.wait(POLL_SECONDS):
                self.finish(result)
            self.keep_alive()
            self.progress.running(self.executor.progress())

    def more(self) -> bool:
        """Whether a chooser asks for further runs; they are in the queue then."""
        if self.chooser is None:
            return False
        self.statuses = self.ledger.statuses()
        entries = [task.entry for task in self.tasks.values()]
        asked = self.chooser.choose(self.ledger, entries, self.statuses, self.executor.free())
        self.chosen.update(asked)
        self.fill()
        return bool(self.queue)

    def end(self) -> None:
        """Stops what still runs, gives back its leases, and exports what is finished."""
        self.executor.close()
        self.ledger.release(self.owner)
        export_study(self.ledger, self.folder)

    def summary(self) -> Summary:
        """How the study stands now that nothing is left to do."""
        counts: dict[str, int] = {}
        unwell: set[str] = set()
        swept = {
            task.entry.fields.get("method")
            for run, task in self.tasks.items()
            if task.entry.purpose == "sweep" and self.statuses.get(run) == "done"
        }
        for run, task in self.tasks.items():
            status, entry = self.statuses.get(run, NOT_RUN), task.entry
            counts[status] = counts.get(status, 0) + 1
            spared = status == "diverged" and entry.purpose == "sweep" and entry.fields.get("method") in swept
            if status not in (*ENDED_WELL, NOT_RUN) and not spared:
                unwell.add(run)
        told = failures(row for row in self.ledger.troubles() if row["run"] in unwell) if unwell else ()
        return Summary(counts, self.made, self.ledger.orphans(), tuple(told), tuple(self.plan.problems))

    def advance(self) -> None:
        """Takes what the plan knows now: at the start, and whenever a sweep is finished."""
        tasks = self.plan.advance(self.ledger)
        if [task.entry for task in tasks] != [task.entry for task in self.tasks.values()]:
            self.ledger.sync_plan(self.plan.study, [task.entry for task in tasks])
        before = self.statuses if self.tasks else None
        self.tasks = {task.entry.run: task for task in tasks}
        self.statuses = self.ledger.statuses()
        if before is not None:
            self.tell_stopped(self.statuses.keys() - before.keys())
        self.fill()
        self.progress.plan(
            [task.entry for task in tasks], self.statuses, self.ledger.seconds(), self.plan.outlook()
        )

    def tell_stopped(self, ended: Collection[str]) -> None:
        """Tells of candidates of a race that the plan has ended."""
        for run in ended:
            if self.statuses[run] == "stopped" and run in self.tasks:
                self.made += 1
                self.progress.finished(self.tasks[run].entry, self.ledger.record(run) or {}, 0.0)

    def fill(self) -> None:
        """The queue: every run that is due, and neither finished nor running here."""
        self.elsewhere.clear()
        open_tasks = (
            task
            for run, task in self.tasks.items()
            if run not in self.statuses and run not in self.running and self.is_due(task.entry)
        )
        sign = 1 if self.plan.shortest_first else -1
        self.queue = deque(
            sorted(open_tasks, key=lambda task: (task.entry.purpose != "sweep", sign * task.entry.cost))
        )

    def is_due(self, entry: Entry) -> bool:
        """Whether a run waits for no other, and is asked for: of a chooser's study sweeps are in any case."""
        if self.plan.holds(entry.run):
            return False
        of_sweep = entry.purpose == "sweep" or self.plan.awaits(entry.run)
        return self.chooser is None or of_sweep or entry.run in self.chosen

    def submit(self) -> None:
        """Fills the executor's free slots."""
        while self.queue and self.executor.free() > 0:
            task = self.queue.popleft()
            attempt = self.ledger.claim(task.entry.run, self.owner)
            if attempt is None:
                self.elsewhere.append(task)
            else:
                self.running[task.entry.run] = attempt
                log = log_file(self.folder.absolute(), task.entry.run, attempt)
                note(log, f"attempt {attempt} at {run_in_words(task.entry.run, task.entry.fields)}")
                self.executor.submit(replace(task.job, log=log, level=self.log_level))
                self.progress.started(task.entry)

    def keep_alive(self) -> None:
        """Renews the leases; looks what other drivers of the study have done."""
        now = time.monotonic()
        if now - self.beat > HEARTBEAT_SECONDS:
            self.beat = now
            self.ledger.heartbeat(self.owner)
        if self.elsewhere and not self.queue and now - self.polled > POLL_SECONDS:
            self.polled = now
            racing = any(self.plan.awaits(task.entry.run) for task in self.elsewhere)
            if self.ledger.statuses() == self.statuses and not racing:
                self.fill()
            else:
                self.advance()

    def finish(self, result: Result) -> None:
        """Commits a result; after a sweep's run the plan may go on."""
        attempt = self.running.pop(result.run)
        task = self.tasks[result.run]
        environment = {**result.environment, "seed": task.entry.fields.get("seed")}
        result, curve = _curve_of(result)
        if isinstance(result.value, Mapping) and result.value.get("status") == PAUSED:
            self.pause(result, attempt, curve, environment)
            return
        if result.error is not None:
            value: Any = {"status": "failed", "error": result.error}
            value |= {"wall_seconds": result.seconds, "peak_memory_bytes": result.peak_memory_bytes}
            scores: Sequence[Mapping[str, Any]] = ()
            outcome, allowed = "broken", self.plan.retries.broken
        else:
            value, scores = _checked(result)
            diverged = isinstance(value, Mapping) and value["status"] == "diverged"
            outcome, allowed = ("diverged", self.plan.retries.diverged) if diverged else (None, 0)
        if outcome is not None:
            told = {"traceback": result.traceback, "environment": environment}
            earlier = self.ledger.ended(result.run, outcome)
            if earlier < allowed:
                self.ledger.fail(result.run, attempt, value["error"], outcome=outcome, **told)
                self.note(result, attempt, value, outcome)
                self.queue.append(task)
                self.progress.broken(task.entry, value["error"], earlier + 1)
                return
            if earlier:
                value = {**value, "error": f"{value['error']} (in {earlier + 1} attempts)"}
        records = self.plan.records(task.entry, value)
        last = list(records.values())[-1]
        self.note(result, attempt, last, str(last["status"]))
        won = self.ledger.commit(
            result.run,
            attempt,
            records,
            scores=scores,
            environment=environment,
            traceback=result.traceback,
            seconds=result.seconds,
            curve=curve or None,
        )
        self.made += won
        self.statuses[result.run] = str(last["status"])
        self.progress.finished(task.entry, last, result.seconds)
        if self.plan.awaits(result.run):
            self.advance()

    def pause(self, result: Result, attempt: int, curve: Curve, environment: Mapping[str, Any]) -> None:
        """Commits the leg of a run that goes on when its race says so."""
        fields = _checked_record({**result.value, "status": "stopped"}, result)
        told = {"environment": environment, "seconds": result.seconds}
        self.ledger.pause(result.run, attempt, curve, fields, **told)
        self.note(result, attempt, fields, PAUSED)
        self.progress.paused(self.tasks[result.run].entry)
        self.advance()

    def note(self, result: Result, attempt: int, record: Mapping[str, Any], outcome: str) -> None:
        """Writes into the attempt's log how it ended, and what to do where that was not well."""
        log = log_file(self.folder.absolute(), result.run, attempt)
        note(log, f"{outcome} after {result.seconds:.1f} s")
        if outcome not in (*ENDED_WELL, PAUSED):
            error, fields = str(record.get("error")), self.tasks[result.run].entry.fields
            note(log, f"cause: {error}")
            note(log, f"remedy: {remedy(outcome, error, fields, result.traceback or '')}")


def _curve_of(result: Result) -> tuple[Result, Curve]:
    """The result without the curve that a run tells its race, and the curve; nothing that is no number."""
    if not isinstance(result.value, Mapping) or "curve" not in result.value:
        return result, []
    value = {name: item for name, item in result.value.items() if name != "curve"}
    curve = [(int(step), float(loss)) for step, loss in result.value["curve"] if math.isfinite(loss)]
    return replace(result, value=value), curve


def _checked(result: Result) -> tuple[Any, Sequence[Mapping[str, Any]]]:
    """What a run returned, fit for the ledger, and its scores.

    A value that is no record is the run's failure, in words; so is a run that says `done` without a finite
    test loss.
    """
    value = result.value
    if isinstance(value, Mapping):
        scores = list(value.get("scores") or ())
        scores = [{**row, "value": _plain(row.get("value"))} for row in scores]
        return _checked_record(value, result), scores
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        return [_checked_record(item, result) for item in value], []
    return {"status": "failed", "error": f"the run returned {type(value).__name__}, not a record"}, []


def _checked_record(value: Mapping[str, Any], result: Result) -> dict[str, Any]:
    fields = {name: _plain(item) for name, item in value.items() if name != "scores"}
    for name, measured in (
        ("wall_seconds", result.seconds),
        ("peak_memory_bytes", result.peak_memory_bytes),
    ):
        if fields.get(name) is None:
            fields[name] = measured
    if fields.get("status") not in STATUSES:
        fields |= {"status": "failed", "error": f"the run ended with the status {fields.get('status')!r}"}
    if fields["status"] == "done" and fields.get("test_loss") is None:
        got = value.get("test_loss")
        fields |= {"status": "diverged", "error": f"the test loss is not a finite number ({got})"}
    if fields["status"] != "done":
        fields["test_loss"] = None
    if fields["status"] not in ("done", "stopped"):  # of a stopped one the curve until then is true
        fields["dev_loss"] = None
    return fields


def _plain(value: Any) -> Any:
    """A value as JSON has it: numpy's and torch's scalars as numbers, a number that is not finite as None."""
    if not isinstance(value, str | int | float | bool | None) and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
