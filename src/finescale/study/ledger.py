"""The ledger of a study: one SQLite file that survives any crash and knows every run, attempt and record.

A run's outcome is committed in one transaction (WAL, synchronous FULL). The first final outcome of a
fingerprint wins; a run that was executed twice counts once. What a run is for (`purpose`, `held_out`,
`lr_tuned`, `lr_tuned_at`) is a property of the present plan, not of the outcome, and changes with the plan.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finescale.errors import UsageError
from finescale.study.database import Database
from finescale.study.owner import is_gone, is_here

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


class Ledger(Database):
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
                text = json.dumps(fields, allow_nan=False)
                self.connection.execute(
                    "INSERT INTO records (record, run, attempt, status, committed, fields, digest)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (name, run, attempt, str(fields["status"]), now, text, _digest(text)),
                )
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

    def choice(self, method: str, sweep: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A committed choice and its evidence.

        Raises:
            FinescaleError: It is damaged.
        """
        rows = self.read(
            "SELECT method, chosen, evidence FROM choices WHERE method = ? AND sweep = ?", (method, sweep)
        )
        return self._chosen(rows[0]) if rows else None

    def choices(self) -> list[dict[str, Any]]:
        """The choice of each method's sweep in the present plan: method, sweep, chosen, evidence.

        Of two sweeps whose runs are all planned, the larger is the plan's; until it has chosen, the other.
        """
        planned = "SELECT planned FROM runs WHERE run = ?"
        found: dict[str, dict[str, Any]] = {}
        for row in self.read("SELECT * FROM choices ORDER BY committed, method"):
            chosen, evidence = self._chosen(row)
            runs = [tried["run"] for tried in evidence["candidates"]]
            before = found.get(row["method"])
            if before is not None and len(before["evidence"]["candidates"]) > len(runs):
                continue
            if all(any(state["planned"] for state in self.read(planned, (run,))) for run in runs):
                found[row["method"]] = {**dict(row), "chosen": chosen, "evidence": evidence}
        return list(found.values())

    def _chosen(self, row: sqlite3.Row) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            chosen, evidence = json.loads(row["chosen"]), json.loads(row["evidence"])
        except ValueError:
            chosen = evidence = None
        if not isinstance(chosen, dict) or not isinstance(evidence, dict):
            raise self.damaged(f"the choice of {row['method']} is not what was committed")
        return chosen, evidence

    # --- reading

    def statuses(self) -> dict[str, str]:
        """The status of every finished run: `done`, `stopped`, `diverged` or `failed`."""
        rows = self.read("SELECT run, min(status) AS status FROM records GROUP BY run")
        return {row["run"]: row["status"] for row in rows}

    def record(self, name: str) -> dict[str, Any] | None:
        """The fields of one record."""
        rows = self.read("SELECT record, fields, digest FROM records WHERE record = ?", (name,))
        return self._fields(rows[0]) if rows else None

    def rows(self, *, unplanned: bool = False) -> Iterator[dict[str, Any]]:
        """Every record of the present plan with the plan's own columns, in the plan's order.

        Args:
            unplanned: The records that the present plan orphans instead.
        """
        rows = self.read(
            "SELECT record, records.fields, digest, runs.fields AS known, study,"
            " purpose, held_out, lr_tuned, lr_tuned_at"
            " FROM runs JOIN records USING (run) WHERE planned = ? ORDER BY position, record",
            (int(not unplanned),),
        )
        for row in rows:
            yield {
                **json.loads(row["known"]),
                **self._fields(row),
                "run": row["record"],
                "study": row["study"],
                "purpose": row["purpose"],
                "held_out": bool(row["held_out"]),
                "lr_tuned": bool(row["lr_tuned"]),
                "lr_tuned_at": row["lr_tuned_at"],
            }

    def plan(self) -> list[dict[str, Any]]:
        """Every run of the present plan: run, purpose, held_out, cost, fields, status, owner, heartbeat."""
        rows = self.read(
            "SELECT runs.run, purpose, held_out, cost, fields, leases.owner, leases.heartbeat,"
            " (SELECT min(status) FROM records WHERE records.run = runs.run) AS status"
            " FROM runs LEFT JOIN leases USING (run) WHERE planned ORDER BY position"
        )
        return [{**dict(row), "fields": json.loads(row["fields"])} for row in rows]

    def troubles(self) -> list[dict[str, Any]]:
        """The last attempt of every run that diverged, failed or broke.

        Returns:
            `run`, `outcome`, `error`, `traceback`, `attempts` (how many ended so), `fields`.
        """
        rows = self.read(
            "SELECT attempts.run, coalesce(records.status, outcome) AS outcome, attempts.error, traceback,"
            " count(*) AS attempts, max(attempts.attempt) AS attempt, runs.fields"
            " FROM attempts JOIN runs USING (run) LEFT JOIN records USING (run) WHERE planned AND counts"
            " AND outcome IN ('diverged', 'failed', 'broken') AND records.status IS NOT 'done'"
            " GROUP BY attempts.run ORDER BY position"
        )
        return [{**dict(row), "fields": json.loads(row["fields"])} for row in rows]

    def leases(self) -> list[dict[str, Any]]:
        """Who works on what: run, owner, heartbeat, and when the attempt started."""
        rows = self.read(
            "SELECT leases.run, leases.owner, heartbeat, started FROM leases JOIN attempts USING (attempt)"
        )
        return [dict(row) for row in rows]

    def attempts(self, run: str) -> list[dict[str, Any]]:
        """Every attempt of a run, oldest first."""
        rows = self.read("SELECT * FROM attempts WHERE run = ? ORDER BY attempt", (run,))
        return [dict(row) for row in rows]

    def find(self, beginning: str) -> list[str]:
        """The runs whose fingerprint begins so; the one that it is, where it is whole."""
        query = "SELECT run FROM runs WHERE substr(run, 1, ?) = ? ORDER BY run"
        found = [row["run"] for row in self.read(query, (len(beginning), beginning))]
        return [beginning] if beginning in found else found

    def known(self, run: str) -> dict[str, Any]:
        """What was known of a run before it ran: task, method, model and so on."""
        return json.loads(self.read("SELECT fields FROM runs WHERE run = ?", (run,))[0]["fields"])

    def seconds(self) -> dict[str, float]:
        """Measured seconds of every finished run; one that was stopped early says nothing of a whole one."""
        rows = self.read(
            "SELECT run, seconds FROM attempts"
            " WHERE outcome IN ('done', 'diverged', 'failed') AND seconds IS NOT NULL"
        )
        return {row["run"]: row["seconds"] for row in rows}

    def total_seconds(self) -> float:
        """Measured seconds of all finished runs together, stopped ones too."""
        query = "SELECT sum(seconds) FROM attempts WHERE outcome IN ('done', 'stopped', 'diverged', 'failed')"
        return self.read(query)[0][0] or 0.0

    def orphans(self) -> int:
        """How many finished runs the present plan no longer has."""
        query = "SELECT count(DISTINCT run) FROM records JOIN runs USING (run) WHERE NOT planned"
        return self.read(query)[0][0]

    def scores(self) -> list[dict[str, Any]]:
        """Generation scores and per-set losses of the present plan's runs, in its order."""
        rows = self.read(
            "SELECT scores.* FROM scores JOIN runs USING (run) WHERE planned"
            " ORDER BY position, dataset, shots, metric"
        )
        return [dict(row) for row in rows]

    # --- inside

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

    def _fields(self, row: sqlite3.Row) -> dict[str, Any]:
        """A record's fields, if they are what was committed (SQLite itself does not notice a flipped bit)."""
        if row["digest"] is not None and row["digest"] != _digest(row["fields"]):
            raise self.damaged(f"record {row['record']} is not what was committed")
        return json.loads(row["fields"])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
