"""The ledger of a study: one SQLite file that survives any crash and knows every run, attempt and record.

A run's outcome is committed in one transaction (WAL, synchronous FULL). The first final outcome of a
fingerprint wins; a run that was executed twice counts once. What a run is for (`purpose`, `held_out`,
`lr_tuned`, `lr_tuned_at`) is a property of the present plan, not of the outcome, and changes with the plan.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finescale.errors import UsageError
from finescale.study.owner import is_gone, is_here
from finescale.study.reading import Curve, LedgerReading, digest

LEASE_GRACE_SECONDS = 60.0
"""A lease whose heart has not beaten for so long is free, whoever holds it."""

STATUSES = ("done", "stopped", "diverged", "failed")
"""How a run can end; `stopped`: early, because another candidate of its sweep had won."""
ENDED_WELL = ("done", "stopped")
SCORE_COLUMNS = ("dataset", "split", "shots", "metric", "value", "low", "high", "examples", "signature")
"""What a score is: of which data (`split`: `test` or `zero_shot`), with how many demonstrations, its 90%
bootstrap interval, from how many examples, and how exactly it was computed (sacrebleu's signature)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A run of the present plan.

    Attributes:
        run: Fingerprint.
        purpose: `sweep` or `study`.
        held_out: Kept out of fits.
        lr_tuned: The learning rate was chosen by a sweep.
        cost: Estimated seconds on one core, for order and time left.
        fields: What the record's columns are known to hold before the run (task, method, model ...).
        spec: The whole specification.
        lr_tuned_at: The corners (model and data size) whose sweeps the learning rate comes from.
    """

    run: str
    purpose: str
    held_out: bool
    lr_tuned: bool
    cost: float
    fields: Mapping[str, Any]
    spec: Any
    lr_tuned_at: str | None = None


class Ledger(LedgerReading):
    """The ledger of a study folder."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        on_copy: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the ledger.

        Args:
            path: `ledger.sqlite` in the study folder.
            create: Make it where it is missing; otherwise a missing ledger is an error.
            on_copy: Work on a copy of an existing ledger, which is gone afterwards.
            clock: Seconds that only ever go forward, to watch other owners' hearts.
        """
        super().__init__(path, create=create, on_copy=on_copy)
        self.clock = clock
        self._watched: dict[int, tuple[float, float]] = {}

    # --- the plan

    def sync_plan(self, study: str, entries: Sequence[Entry]) -> None:
        """Makes `entries` the present plan; runs that it no longer has stay in the ledger, unplanned.

        Args:
            study: The study's name.
            entries: Every run of the plan, in its order.
        """
        rows = (
            (
                entry.run,
                study,
                entry.purpose,
                int(entry.held_out),
                int(entry.lr_tuned),
                entry.cost,
                position,
                *(entry.fields.get(name) for name in ("task", "method", "model")),
                json.dumps(entry.fields),
                entry.spec.model_dump_json(),
                entry.lr_tuned_at,
            )
            for position, entry in enumerate(entries)
        )
        columns = "study, purpose, held_out, lr_tuned, cost, position, task, method, model, fields, spec"
        columns += ", lr_tuned_at"
        new = ", ".join(f"excluded.{name}" for name in columns.split(", "))
        present = "SELECT run FROM temp.present"
        with self.transaction():
            self.connection.execute("CREATE TEMP TABLE IF NOT EXISTS present (run TEXT PRIMARY KEY)")
            self.connection.execute("DELETE FROM temp.present")
            self.connection.executemany(
                "INSERT INTO temp.present VALUES (?)", ((entry.run,) for entry in entries)
            )
            self.connection.execute(f"UPDATE runs SET planned = 0 WHERE planned AND run NOT IN ({present})")
            # a row that stays as it is is not written: going on with a large study starts at once
            self.connection.executemany(
                f"INSERT INTO runs (run, {columns}, planned) VALUES (?{', ?' * 12}, 1)"
                f" ON CONFLICT (run) DO UPDATE SET ({columns}, planned) = ({new}, 1)"
                f" WHERE ({columns}, planned) IS NOT ({new}, 1)",
                rows,
            )

    def study(self) -> str | None:
        """The name of the study that the ledger belongs to; None before the first plan."""
        rows = self.read("SELECT study FROM runs ORDER BY planned DESC LIMIT 1")
        return rows[0]["study"] if rows else None

    def belongs_to(self, study: str) -> None:
        """Checks that the ledger is this study's, or nobody's yet.

        Raises:
            UsageError: It is another study's.
        """
        other = self.study()
        if other is not None and other != study:
            raise UsageError(
                "the folder belongs to another study",
                wanted=f"the folder of {study!r}",
                got=f"the ledger of {other!r}",
                remedy="give another folder with --out",
                where=str(self.path.parent),
            )

    # --- attempts and leases

    def claim(self, run: str, owner: str) -> int | None:
        """Takes the lease of a run that is neither finished nor held by a living owner.

        An owner on this machine lives as long as its process. Of any other, the heart has to stand still for
        `LEASE_GRACE_SECONDS` while this process watches: no clock is compared with another one, so a clock
        that jumps frees nothing.

        Args:
            run: Fingerprint.
            owner: Who takes it (`owner.this_process()`).

        Returns:
            The new attempt's number, or None where the run is finished or somebody is at it.
        """
        now = time.time()
        with self.transaction():
            if self.read("SELECT 1 FROM records WHERE run = ?", (run,)):
                return None
            lease = next(iter(self.read("SELECT * FROM leases WHERE run = ?", (run,))), None)
            if lease is not None:
                if lease["owner"] == owner or not (self._silent(lease) or is_gone(lease["owner"])):
                    return None
                self._end(lease["attempt"], "interrupted", now, error="its driver stopped")
            attempt = self.connection.execute(
                "INSERT INTO attempts (run, owner, started, outcome) VALUES (?, ?, ?, 'running')",
                (run, owner, now),
            ).lastrowid
            self.connection.execute("INSERT INTO leases VALUES (?, ?, ?, ?)", (run, attempt, owner, now))
        return attempt

    def _silent(self, lease: sqlite3.Row) -> bool:
        """Whether a lease's heart has stood still for so long while this process watched it."""
        if is_here(lease["owner"]):
            return False
        seen, since = self._watched.get(lease["attempt"], (None, 0.0))
        if seen != lease["heartbeat"]:
            since = self.clock()
            self._watched[lease["attempt"]] = (lease["heartbeat"], since)
        return self.clock() - since > LEASE_GRACE_SECONDS

    def heartbeat(self, owner: str) -> None:
        """Renews the leases of an owner's runs."""
        with self.transaction():
            self.connection.execute("UPDATE leases SET heartbeat = ? WHERE owner = ?", (time.time(), owner))

    def commit(
        self,
        run: str,
        attempt: int,
        records: Mapping[str, Mapping[str, Any]],
        *,
        scores: Iterable[Mapping[str, Any]] = (),
        environment: Mapping[str, Any] | None = None,
        traceback: str | None = None,
        seconds: float | None = None,
        curve: Curve | None = None,
    ) -> bool:
        """Commits the outcome of an attempt, with all its records at once.

        Args:
            run: Fingerprint.
            attempt: The attempt's number.
            records: Record id to its fields; `status` and `error` among them. A finetuning run has one
                record, its id the fingerprint; a pretraining run has one a checkpoint.
            scores: Rows for the scores table: `SCORE_COLUMNS`, of which `low`, `high`, `examples` and
                `signature` may be missing.
            environment: Package versions, machine, device.
            traceback: Of an error.
            seconds: What the attempt took, measured where it was made.
            curve: Step and dev loss, of a candidate of a race.

        Returns:
            False where another attempt was first: this outcome is dropped.
        """
        now = time.time()
        status = "done"
        error = None
        for fields in records.values():
            if fields["status"] != "done":
                status, error = str(fields["status"]), fields.get("error")
        with self.transaction():
            first = not self.read("SELECT 1 FROM records WHERE run = ?", (run,))
            outcome = status if first else "duplicate"
            told = {"error": error, "traceback": traceback, "environment": environment}
            self._end(attempt, outcome, now, seconds=seconds, **told)
            if not first:
                return False
            for name, fields in records.items():
                self._record(name, run, attempt, fields)
            if curve is not None:
                self._keep_curve(run, attempt, curve, {})
            self.connection.executemany(
                f"INSERT OR REPLACE INTO scores (run, {', '.join(SCORE_COLUMNS)})"
                f" VALUES (?{', ?' * len(SCORE_COLUMNS)})",
                [(run, *(row.get(name) for name in SCORE_COLUMNS)) for row in scores],
            )
        return True

    def fail(
        self,
        run: str,
        attempt: int,
        error: str,
        *,
        outcome: Literal["broken", "diverged"] = "broken",
        traceback: str | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> int:
        """Ends an attempt without a record: the run stays pending and will be tried again.

        Returns:
            How many attempts of this run have ended so.
        """
        with self.transaction():
            told = {"error": error, "traceback": traceback, "environment": environment}
            self._end(attempt, outcome, time.time(), **told)
            return self.ended(run, outcome)

    def pause(
        self,
        run: str,
        attempt: int,
        curve: Curve,
        fields: Mapping[str, Any],
        *,
        environment: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Ends an attempt at a pause of its run, which stays pending and goes on from its checkpoint.

        Args:
            run: Fingerprint.
            attempt: The attempt's number.
            curve: Step and dev loss so far.
            fields: What the run's record would hold, were it stopped here.
            environment: Package versions, machine, device.
            seconds: What the attempt took.
        """
        with self.transaction():
            self._end(attempt, "paused", time.time(), environment=environment, seconds=seconds)
            if not self.read("SELECT 1 FROM records WHERE run = ?", (run,)):
                self._keep_curve(run, attempt, curve, fields)

    def stop(self, run: str, why: str) -> None:
        """Ends a paused run for good: its record has the status `stopped`, and what was known at the pause.

        Args:
            run: Fingerprint; one that has a record stays as it is.
            why: The reason, for its last attempt.
        """
        with self.transaction():
            if self.read("SELECT 1 FROM records WHERE run = ?", (run,)):
                return
            paused = self.read("SELECT attempt, fields FROM curves WHERE run = ?", (run,))[0]
            fields = {**json.loads(paused["fields"]), "status": "stopped"}
            self._record(run, run, paused["attempt"], fields)
            ended = "UPDATE attempts SET outcome = 'stopped', error = ? WHERE attempt = ?"
            self.connection.execute(ended, (why, paused["attempt"]))

    def reopen(self, runs: Iterable[str]) -> None:
        """Makes stopped runs pending again, from their beginning: the study needs them whole."""
        with self.transaction():
            for run in runs:
                self.connection.execute("DELETE FROM records WHERE run = ? AND status = 'stopped'", (run,))
                self.connection.execute("DELETE FROM curves WHERE run = ?", (run,))

    def ended(self, run: str, outcome: str) -> int:
        """How many attempts of a run have ended with an outcome, since `retry`."""
        query = "SELECT count(*) FROM attempts WHERE run = ? AND outcome = ? AND counts"
        return self.read(query, (run, outcome))[0][0]

    def release(self, owner: str) -> None:
        """Gives back every lease of an owner that stops; the interrupted attempts count for nothing."""
        with self.transaction():
            for lease in self.read("SELECT * FROM leases WHERE owner = ?", (owner,)):
                self._end(lease["attempt"], "interrupted", time.time(), error="stopped by the user")

    def retry(self, status: Literal["failed", "diverged"]) -> int:
        """Makes runs that ended with a status pending again; the others stay.

        Returns:
            How many runs.
        """
        with self.transaction():
            ended = "SELECT run FROM records WHERE status = ?"
            self.connection.execute(f"UPDATE attempts SET counts = 0 WHERE run IN ({ended})", (status,))
            return self.connection.execute("DELETE FROM records WHERE status = ?", (status,)).rowcount

    # --- choices of the sweep

    def choose(self, method: str, sweep: str, chosen: Mapping[str, Any], evidence: Mapping[str, Any]) -> None:
        """Commits a sweep's choice with all its evidence; the first commit wins.

        Args:
            method: The method.
            sweep: Which sweep: a digest of its runs.
            chosen: The chosen optimiser and learning rate.
            evidence: Every candidate's dev loss, and what a reader should know of the choice.
        """
        row = (method, sweep, time.time(), json.dumps(chosen), json.dumps(evidence))
        with self.transaction():
            self.connection.execute("INSERT OR IGNORE INTO choices VALUES (?, ?, ?, ?, ?)", row)

    # --- inside

    def _record(self, name: str, run: str, attempt: int, fields: Mapping[str, Any]) -> None:
        text = json.dumps(fields, allow_nan=False)
        self.connection.execute(
            "INSERT INTO records (record, run, attempt, status, committed, fields, digest)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, run, attempt, str(fields["status"]), time.time(), text, digest(text)),
        )

    def _keep_curve(self, run: str, attempt: int, curve: Curve, fields: Mapping[str, Any]) -> None:
        row = (run, attempt, json.dumps([list(point) for point in curve]), json.dumps(fields))
        self.connection.execute("INSERT OR REPLACE INTO curves VALUES (?, ?, ?, ?)", row)

    def _end(
        self,
        attempt: int,
        outcome: str,
        now: float,
        *,
        error: str | None = None,
        traceback: str | None = None,
        environment: Mapping[str, Any] | None = None,
        seconds: float | None = None,
    ) -> None:
        """Ends an attempt that is still running, and its lease; one that was taken over stays as it is."""
        kept = json.dumps(environment) if environment is not None else None
        self.connection.execute(
            "UPDATE attempts SET ended = ?, outcome = ?, error = ?, traceback = ?, environment = ?,"
            " seconds = ? WHERE attempt = ? AND outcome = 'running'",
            (now, outcome, error, traceback, kept, seconds, attempt),
        )
        self.connection.execute("DELETE FROM leases WHERE attempt = ?", (attempt,))
