"""Progress over a whole study: one bar weighted by cost, with the time left from measured costs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from finescale.study.store import Entry

LINE_SECONDS = 5.0
"""Without a terminal: at most one line in so many seconds, and one for each failure."""


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


class Costs:
    """Estimated costs corrected by measured seconds, method by method."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.seconds: dict[str, float] = {}
        self.outlook: Sequence[float] = ()
        self.statuses: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.shares: Mapping[str, float] = {}

    def scale(self, method: str | None) -> float:
        """Measured seconds for an estimated one: of the method's runs, else of all, else 1."""
        for wanted in (method, None):
            pairs = [
                (self.seconds[run], entry.cost)
                for run, entry in self.entries.items()
                if run in self.seconds and wanted in (None, entry.fields.get("method"))
            ]
            estimated = sum(cost for _, cost in pairs)
            if estimated > 0:
                return sum(measured for measured, _ in pairs) / estimated
        return 1.0

    def left(self) -> tuple[float, float]:
        """Seconds of work that are left: of one worker after the other, and of the longest single run."""
        scales: dict[Any, float] = {None: self.scale(None)}
        lefts = [cost * scales[None] for cost in self.outlook]
        for run, entry in self.entries.items():
            if run in self.statuses:
                continue
            method = entry.fields.get("method")
            if method not in scales:
                scales[method] = self.scale(method)
            expected = entry.cost * scales[method]
            if run in self.began:
                gone = time.monotonic() - self.began[run]
                share = self.shares.get(run, 0.0)
                expected = gone * (1 - share) / share if share > 0.02 else max(0.0, expected - gone)
            lefts.append(expected)
        return sum(lefts), max(lefts, default=0.0)

    def done(self) -> tuple[float, float]:
        """The bar: estimated cost that is done, and of the whole study."""
        done = 0.0
        for run, entry in self.entries.items():
            done += entry.cost * (1.0 if run in self.statuses else self.shares.get(run, 0.0))
        return done, sum(entry.cost for entry in self.entries.values()) + sum(self.outlook)


class Shown:
    """A bar in a terminal, lines elsewhere."""

    def __init__(self, console: Console, workers: int) -> None:
        """Prepares the display.

        Args:
            console: Where to show it.
            workers: How many runs are made at a time.
        """
        self._console = console
        self._workers = workers
        self._costs = Costs()
        self._last_line = 0.0
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
        costs = self._costs
        costs.entries = {entry.run: entry for entry in entries}
        costs.statuses = {run: status for run, status in statuses.items() if run in costs.entries}
        costs.seconds = {**seconds, **costs.seconds}
        costs.outlook = outlook
        self._show()

    def started(self, entry: Entry) -> None:
        """Notes when a run began."""
        self._costs.began[entry.run] = time.monotonic()

    def running(self, shares: Mapping[str, float]) -> None:
        """Moves the bar."""
        self._costs.shares = shares
        self._show()

    def finished(self, entry: Entry, record: Mapping[str, Any], seconds: float) -> None:
        """Moves the bar; tells a failure, and without a terminal now and then a success."""
        self._costs.statuses[entry.run] = str(record["status"])
        self._costs.seconds[entry.run] = seconds
        self._costs.began.pop(entry.run, None)
        if record["status"] != "done":
            self._console.print(
                f"{record['status']}: {title(entry)}: {record.get('error')}",
                style="red",
                markup=False,
                soft_wrap=True,
            )
        elif self._bar is None and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            loss = record.get("test_loss")
            shown = f"test loss {loss:.4f}, " if isinstance(loss, float) else ""
            self._console.print(
                f"{self._words()}; {title(entry)}: {shown}{seconds:.1f} s",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        self._show()

    def broken(self, entry: Entry, error: str, attempts: int) -> None:
        """Tells that a run will be tried again."""
        self._costs.began.pop(entry.run, None)
        self._console.print(
            f"attempt {attempts} broke, will try again: {title(entry)}: {error}",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )

    def _show(self) -> None:
        if self._bar is not None:
            done, total = self._costs.done()
            self._bar.update(self._task, completed=done, total=total or None, words=self._words())

    def _words(self) -> str:
        costs = self._costs
        total = len(costs.entries) + len(costs.outlook)
        failed = sum(status != "done" for status in costs.statuses.values())
        work, longest = costs.left()
        left = max(work / self._workers, longest)
        trouble = f", {failed} failed" if failed else ""
        return f"{len(costs.statuses)}/{total} runs{trouble}, about {duration(left)} left"


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
