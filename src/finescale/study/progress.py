"""Progress over a whole study: one bar weighted by cost, with the time left from measured costs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from finescale.errors import printable
from finescale.study.failures import cause_lines
from finescale.study.ledger import ENDED_WELL, Entry

LINE_SECONDS = 60.0
"""Without a terminal: a line in so many seconds, and one for each failure."""


class Progress(Protocol):
    """Told what happens in a study."""

    def __enter__(self) -> Self:
        """Shows itself."""
        ...

    def __exit__(self, *error: object) -> None:
        """Ends what it shows."""
        ...

    def plan(
        self,
        entries: Sequence[Entry],
        statuses: Mapping[str, str],
        seconds: Mapping[str, float],
        outlook: Sequence[float],
    ) -> None:
        """The plan, what of it is finished and in how many seconds, and the costs of what will follow."""
        ...

    def started(self, entry: Entry) -> None:
        """A run was started."""
        ...

    def running(self, shares: Mapping[str, float]) -> None:
        """The share that is done of the running runs that tell it."""
        ...

    def finished(self, entry: Entry, record: Mapping[str, Any], seconds: float) -> None:
        """A run was committed."""
        ...

    def broken(self, entry: Entry, error: str, attempts: int) -> None:
        """An attempt broke; the run will be tried again."""
        ...

    def paused(self, entry: Entry) -> None:
        """A candidate of a race ended a leg; it goes on, or is stopped."""
        ...


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        """Nothing to show."""
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing to end."""

    def plan(
        self,
        entries: Sequence[Entry],
        statuses: Mapping[str, str],
        seconds: Mapping[str, float],
        outlook: Sequence[float],
    ) -> None:
        """Not shown."""

    def started(self, entry: Entry) -> None:
        """Not shown."""

    def running(self, shares: Mapping[str, float]) -> None:
        """Not shown."""

    def finished(self, entry: Entry, record: Mapping[str, Any], seconds: float) -> None:
        """Not shown."""

    def broken(self, entry: Entry, error: str, attempts: int) -> None:
        """Not shown."""

    def paused(self, entry: Entry) -> None:
        """Not shown."""


class CostsSoFar:
    """Estimated costs corrected by measured seconds, method by method; every event costs the same."""

    def __init__(self) -> None:
        self.total = 0
        self.finished = 0
        self.trouble = 0
        self.shares: Mapping[str, float] = {}
        self._estimated = 0.0
        self._spent = 0.0
        self._outlook = 0.0
        self._open: dict[str | None, float] = {}
        self._measured: dict[str | None, tuple[float, float]] = {}
        self._running: dict[str, tuple[Entry, float]] = {}

    def plan(
        self,
        entries: Sequence[Entry],
        statuses: Mapping[str, str],
        seconds: Mapping[str, float],
        outlook: Sequence[float],
    ) -> None:
        """Counts the plan anew."""
        running, self._running = self._running, {}
        self.finished = self.trouble = 0
        self._spent = 0.0
        self._open, self._measured = {}, {}
        self.total = len(entries) + len(outlook)
        self._outlook = sum(outlook)
        self._estimated = sum(entry.cost for entry in entries) + self._outlook
        for entry in entries:
            method = entry.fields.get("method")
            if entry.run in statuses:
                self.finished += 1
                self.trouble += statuses[entry.run] not in ENDED_WELL
                self._spent += entry.cost
                if entry.run in seconds:
                    self._measure(entry, seconds[entry.run])
            elif entry.run in running:
                self._running[entry.run] = running[entry.run]
            else:
                self._open[method] = self._open.get(method, 0.0) + entry.cost

    def started(self, entry: Entry) -> None:
        """A run left the queue."""
        method = entry.fields.get("method")
        self._open[method] = self._open.get(method, 0.0) - entry.cost
        self._running[entry.run] = (entry, time.monotonic())

    def broken(self, entry: Entry) -> None:
        """A run went back into the queue."""
        if self._running.pop(entry.run, None) is not None:
            method = entry.fields.get("method")
            self._open[method] = self._open.get(method, 0.0) + entry.cost

    def done(self, entry: Entry, status: str, seconds: float) -> None:
        """A run is finished."""
        self._running.pop(entry.run, None)
        self.finished += 1
        self.trouble += status not in ENDED_WELL
        self._spent += entry.cost
        self._measure(entry, seconds)

    def bar(self) -> tuple[float, float]:
        """Estimated cost that is done, and of the whole study."""
        parts = (entry.cost * self.shares.get(run, 0.0) for run, (entry, _) in self._running.items())
        return self._spent + sum(parts), self._estimated

    def left(self, workers: int) -> float:
        """Seconds until the study is done."""
        work = self._outlook * self._scale(None)
        work += sum(cost * self._scale(method) for method, cost in self._open.items())
        longest = 0.0
        for run, (entry, began) in self._running.items():
            gone, share = time.monotonic() - began, self.shares.get(run, 0.0)
            expected = max(0.0, entry.cost * self._scale(entry.fields.get("method")) - gone)
            rest = gone * (1 - share) / share if share > 0.02 else expected
            work += rest
            longest = max(longest, rest)
        return max(work / workers, longest)

    def _measure(self, entry: Entry, seconds: float) -> None:
        for key in {None, entry.fields.get("method")}:
            measured, estimated = self._measured.get(key, (0.0, 0.0))
            self._measured[key] = (measured + seconds, estimated + entry.cost)

    def _scale(self, method: str | None) -> float:
        """Measured seconds for an estimated one: of the method's runs, else of all, else 1."""
        measured, estimated = self._measured.get(method) or self._measured.get(None) or (1.0, 1.0)
        return measured / estimated if estimated > 0 else 1.0


class TerminalProgress:
    """A bar in a terminal, lines elsewhere."""

    def __init__(self, console: Console, workers: int) -> None:
        """Prepares the display.

        Args:
            console: Where to show it.
            workers: How many runs are made at a time.
        """
        self._console = console
        self._workers = workers
        self._costs = CostsSoFar()
        self._last_line = -math.inf
        self._last_run = ""
        self._bar: Bar | None = None
        if console.is_terminal:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}%"),
                TextColumn("{task.fields[words]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("study", total=None, words="")

    def __enter__(self) -> Self:
        """Shows the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()

    def plan(
        self,
        entries: Sequence[Entry],
        statuses: Mapping[str, str],
        seconds: Mapping[str, float],
        outlook: Sequence[float],
    ) -> None:
        """Takes the plan over."""
        self._costs.plan(entries, statuses, seconds, outlook)
        self._show()

    def started(self, entry: Entry) -> None:
        """Notes when a run began."""
        self._costs.started(entry)

    def running(self, shares: Mapping[str, float]) -> None:
        """Moves the bar."""
        self._costs.shares = shares
        self._show()

    def finished(self, entry: Entry, record: Mapping[str, Any], seconds: float) -> None:
        """Moves the bar; tells a failure, and without a terminal now and then a success."""
        self._costs.done(entry, str(record["status"]), seconds)
        if record["status"] not in ENDED_WELL:
            self._console.print(
                printable(f"{record['status']}: {title(entry)}: {cause_lines(str(record.get('error')))[0]}"),
                style="red",
                markup=False,
                soft_wrap=True,
            )
        else:
            loss = record.get("test_loss")
            shown = f"test loss {loss:.4f}, " if isinstance(loss, float) else ""
            ended = "stopped early" if record["status"] == "stopped" else f"{shown}{seconds:.1f} s"
            self._last_run = f"; last: {title(entry)}: {ended}"
        self._show()

    def broken(self, entry: Entry, error: str, attempts: int) -> None:
        """Tells that a run will be tried again."""
        self._costs.broken(entry)
        self._console.print(
            printable(f"attempt {attempts} broke, will try again: {title(entry)}: {cause_lines(error)[0]}"),
            style="yellow",
            markup=False,
            soft_wrap=True,
        )

    def paused(self, entry: Entry) -> None:
        """Moves the bar."""
        self._costs.broken(entry)

    def _show(self) -> None:
        if self._bar is not None:
            done, total = self._costs.bar()
            self._bar.update(self._task, completed=done, total=total or None, words=self._words())
        elif time.monotonic() - self._last_line >= LINE_SECONDS:
            self._last_line = time.monotonic()
            self._console.print(
                printable(f"{datetime.now():%H:%M} {self._words()}{self._last_run}"),
                markup=False,
                highlight=False,
                soft_wrap=True,
            )

    def _words(self) -> str:
        costs = self._costs
        trouble = f", {costs.trouble} failed" if costs.trouble else ""
        left = duration(costs.left(self._workers))
        return f"{costs.finished}/{costs.total} runs{trouble}, about {left} left"


def title(entry: Entry) -> str:
    """A run in a few words."""
    fields = entry.fields
    size = f" {fields['pet_size']}" if fields.get("pet_size") else ""
    rate = f" at {fields['learning_rate']:g}" if entry.purpose == "sweep" else ""
    return (
        f"{entry.purpose} {fields.get('method')}{size} {fields.get('model')},"
        f" {fields.get('finetune_examples')} examples, seed {fields.get('seed')}{rate}"
    )


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
