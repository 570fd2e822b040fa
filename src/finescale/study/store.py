"""The ledger of a study: one SQLite file that survives any crash and knows every run, attempt and record.

A run's outcome is committed in one transaction (WAL, synchronous FULL). The first final outcome of a
fingerprint wins; a run that was executed twice counts once. What a run is for (`purpose`, `held_out`,
`lr_tuned`) is a property of the present plan, not of the outcome, and changes with the plan.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finescale.errors import FinescaleError, UsageError
from finescale.study.owner import is_gone

SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
"""So long a process waits for another one's transaction."""

LEASE_GRACE_SECONDS = 60.0
"""A lease whose heart has not beaten for so long is free, whoever holds it."""

_SCHEMA = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, study TEXT NOT NULL, purpose TEXT NOT NULL, held_out INTEGER NOT NULL,
    lr_tuned INTEGER NOT NULL, planned INTEGER NOT NULL, cost REAL NOT NULL, position INTEGER NOT NULL,
    fields TEXT NOT NULL, spec TEXT NOT NULL
) STRICT;
CREATE TABLE attempts (
    attempt INTEGER PRIMARY KEY, run TEXT NOT NULL, owner TEXT NOT NULL, started REAL NOT NULL, ended REAL,
    outcome TEXT NOT NULL, error TEXT, traceback TEXT, environment TEXT, counts INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX attempts_by_run ON attempts (run);
CREATE TABLE leases (
    run TEXT PRIMARY KEY, attempt INTEGER NOT NULL, owner TEXT NOT NULL, heartbeat REAL NOT NULL
) STRICT;
CREATE TABLE records (
    record TEXT PRIMARY KEY, run TEXT NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL,
    committed REAL NOT NULL, fields TEXT NOT NULL
) STRICT;
CREATE INDEX records_by_run ON records (run);
CREATE TABLE scores (
    run TEXT NOT NULL, dataset TEXT NOT NULL, shots INTEGER NOT NULL, metric TEXT NOT NULL, value REAL,
    PRIMARY KEY (run, dataset, shots, metric)
) STRICT;
CREATE TABLE choices (
    method TEXT NOT NULL, sweep TEXT NOT NULL, committed REAL NOT NULL, chosen TEXT NOT NULL,
    evidence TEXT NOT NULL, PRIMARY KEY (method, sweep)
) STRICT;
"""


@dataclass(frozen=True)
class Entry:
    """A run of the present plan.

    Attributes:
        run: Fingerprint.
        purpose: `sweep` or `study`.
        held_out: Kept out of fits.
        lr_tuned: The learning rate was chosen by a sweep.
        cost: Estimated seconds on one core, for order and time left.
        fields: What the record's columns are known to hold before the run (task, method, model ...).
        spec: The whole specification, as JSON data.
    """

    run: str
    purpose: str
    held_out: bool
    lr_tuned: bool
    cost: float
    fields: Mapping[str, Any]
    spec: Mapping[str, Any]


class Ledger:
    """The open ledger of a study folder; use as a context manager. Not shared between threads."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        """Opens the ledger.

        Args:
            path: `ledger.sqlite` in the study folder.
            create: Make it where it is missing; otherwise a missing ledger is an error.

        Raises:
            FinescaleError: The file is no ledger, is damaged, or was made by a newer finescale.
        """
        if not create and not path.exists():
            raise UsageError(
                "no study here yet",
                wanted="a folder with a ledger.sqlite",
                got="none",
                remedy="start the study with `finescale run STUDY`",
                where=str(path.parent),
            )
        self.path = path
        with self._told():
            self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
            self._db.row_factory = sqlite3.Row
            self._prepare()

    def __enter__(self) -> Ledger:
        """The ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._db.close()

    # --- the plan

    def sync_plan(self, study: str, entries: Sequence[Entry]) -> None:
        """Makes `entries` the present plan; runs that it no longer has stay in the ledger, unplanned.

        Args:
            study: The study's name.
            entries: Every run of the plan, in its order.
        """
        rows = [
            (
                entry.run,
                study,
                entry.purpose,
                int(entry.held_out),
                int(entry.lr_tuned),
                entry.cost,
                position,
                json.dumps(entry.fields),
                json.dumps(entry.spec, separators=(",", ":")),
            )
            for position, entry in enumerate(entries)
        ]
        with self._transaction():
            self._db.execute("UPDATE runs SET planned = 0")
            self._db.executemany(
                "INSERT INTO runs"
                " (run, study, purpose, held_out, lr_tuned, planned, cost, position, fields, spec)"
                " VALUES (?, ?, ?, ?, ?, 1, ?, ?, ?, ?)"
                " ON CONFLICT (run) DO UPDATE SET study = excluded.study,"
                " purpose = excluded.purpose, held_out = excluded.held_out, lr_tuned = excluded.lr_tuned,"
                " planned = 1, cost = excluded.cost, position = excluded.position, fields = excluded.fields,"
                " spec = excluded.spec",
                rows,
            )

    def study(self) -> str | None:
        """The name of the study that the ledger belongs to; None before the first plan."""
        rows = self._read("SELECT study FROM runs ORDER BY planned DESC LIMIT 1")
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

    def claim(self, run: str, owner: str, *, now: float | None = None) -> int | None:
        """Takes the lease of a run that is neither finished nor held by a living owner.

        Args:
            run: Fingerprint.
            owner: Who takes it (`owner.this_process()`).
            now: The time, for tests.

        Returns:
            The new attempt's number, or None where the run is finished or somebody is at it.
        """
        now = time.time() if now is None else now
        with self._transaction():
            if self._read("SELECT 1 FROM records WHERE run = ?", (run,)):
                return None
            lease = next(iter(self._read("SELECT * FROM leases WHERE run = ?", (run,))), None)
            if lease is not None:
                silent = abs(now - lease["heartbeat"]) > LEASE_GRACE_SECONDS
                if lease["owner"] == owner or not (silent or is_gone(lease["owner"])):
                    return None
                self._end(lease["attempt"], "interrupted", now, error="its driver stopped")
            attempt = self._db.execute(
                "INSERT INTO attempts (run, owner, started, outcome) VALUES (?, ?, ?, 'running')",
                (run, owner, now),
            ).lastrowid
            self._db.execute("INSERT INTO leases VALUES (?, ?, ?, ?)", (run, attempt, owner, now))
        return attempt

    def heartbeat(self, owner: str) -> None:
        """Says that an owner's runs are still being worked on."""
        with self._transaction():
            self._db.execute("UPDATE leases SET heartbeat = ? WHERE owner = ?", (time.time(), owner))

    def commit(
        self,
        run: str,
        attempt: int,
        records: Mapping[str, Mapping[str, Any]],
        *,
        scores: Iterable[Mapping[str, Any]] = (),
        environment: Mapping[str, Any] | None = None,
        traceback: str | None = None,
    ) -> bool:
        """Commits the outcome of an attempt, with all its records at once.

        Args:
            run: Fingerprint.
            attempt: The attempt's number.
            records: Record id to its fields; `status` and `error` among them. A finetuning run has one
                record, its id the fingerprint; a pretraining run has one a checkpoint.
            scores: Rows for the scores table (dataset, shots, metric, value).
            environment: Package versions, machine, device.
            traceback: Of an error.

        Returns:
            False where another attempt was first: this outcome is dropped.
        """
        now = time.time()
        status = "done"
        error = None
        for fields in records.values():
            if fields["status"] != "done":
                status, error = str(fields["status"]), fields.get("error")
        with self._transaction():
            first = not self._read("SELECT 1 FROM records WHERE run = ?", (run,))
            outcome = status if first else "duplicate"
            self._end(attempt, outcome, now, error=error, traceback=traceback, environment=environment)
            if not first:
                return False
            self._db.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (name, run, attempt, str(fields["status"]), now, json.dumps(fields, allow_nan=False))
                    for name, fields in records.items()
                ],
            )
            self._db.executemany(
                "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)",
                [(run, row["dataset"], row["shots"], row["metric"], row["value"]) for row in scores],
            )
        return True

    def fail(
        self,
        run: str,
        attempt: int,
        error: str,
        *,
        traceback: str | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> int:
        """Ends an attempt that broke (not the run's own doing: that is a record); the run stays pending.

        Returns:
            How many attempts of this run have broken so far.
        """
        with self._transaction():
            self._end(
                attempt, "broken", time.time(), error=error, traceback=traceback, environment=environment
            )
            return self._db.execute(
                "SELECT count(*) FROM attempts WHERE run = ? AND outcome = 'broken' AND counts", (run,)
            ).fetchone()[0]

    def release(self, owner: str) -> None:
        """Gives back every lease of an owner that stops; the interrupted attempts count for nothing."""
        with self._transaction():
            for lease in self._read("SELECT * FROM leases WHERE owner = ?", (owner,)):
                self._end(lease["attempt"], "interrupted", time.time(), error="stopped by the user")

    def retry_failed(self) -> int:
        """Makes failed runs of the present plan pending again; diverged ones stay.

        Returns:
            How many runs.
        """
        with self._transaction():
            failed = "SELECT run FROM records WHERE status = 'failed'"
            self._db.execute(f"UPDATE attempts SET counts = 0 WHERE run IN ({failed})")
            return self._db.execute(f"DELETE FROM records WHERE run IN ({failed})").rowcount

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
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO choices VALUES (?, ?, ?, ?, ?)", row)

    def choice(self, method: str, sweep: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A committed choice and its evidence."""
        rows = self._read(
            "SELECT chosen, evidence FROM choices WHERE method = ? AND sweep = ?", (method, sweep)
        )
        return (json.loads(rows[0]["chosen"]), json.loads(rows[0]["evidence"])) if rows else None

    def choices(self) -> list[dict[str, Any]]:
        """Every committed choice, oldest first: method, sweep, chosen, evidence."""
        rows = self._read("SELECT * FROM choices ORDER BY committed, method")
        return [
            {**dict(row), "chosen": json.loads(row["chosen"]), "evidence": json.loads(row["evidence"])}
            for row in rows
        ]

    # --- reading

    def statuses(self) -> dict[str, str]:
        """The status of every finished run: `done`, `diverged` or `failed`."""
        rows = self._read("SELECT run, min(status) AS status FROM records GROUP BY run")
        return {row["run"]: row["status"] for row in rows}

    def record(self, name: str) -> dict[str, Any] | None:
        """The fields of one record."""
        rows = self._read("SELECT fields FROM records WHERE record = ?", (name,))
        return json.loads(rows[0]["fields"]) if rows else None

    def rows(self, *, unplanned: bool = False) -> Iterator[dict[str, Any]]:
        """Every record of the present plan with the plan's own columns, in the plan's order.

        Args:
            unplanned: The records that the present plan orphans instead.
        """
        rows = self._read(
            "SELECT records.record, records.fields AS outcome, runs.fields,"
            " study, purpose, held_out, lr_tuned"
            " FROM runs JOIN records USING (run) WHERE planned = ? ORDER BY position, record",
            (int(not unplanned),),
        )
        for row in rows:
            yield {
                **json.loads(row["fields"]),
                **json.loads(row["outcome"]),
                "run": row["record"],
                "study": row["study"],
                "purpose": row["purpose"],
                "held_out": bool(row["held_out"]),
                "lr_tuned": bool(row["lr_tuned"]),
            }

    def plan(self) -> list[dict[str, Any]]:
        """Every run of the present plan: run, purpose, held_out, cost, fields, status, owner, heartbeat."""
        rows = self._read(
            "SELECT runs.run, purpose, held_out, cost, fields, leases.owner, leases.heartbeat,"
            " (SELECT min(status) FROM records WHERE records.run = runs.run) AS status"
            " FROM runs LEFT JOIN leases USING (run) WHERE planned ORDER BY position"
        )
        return [{**dict(row), "fields": json.loads(row["fields"])} for row in rows]

    def troubles(self) -> list[dict[str, Any]]:
        """The last attempt of every run that diverged, failed or broke: run, outcome, error, traceback."""
        rows = self._read(
            "SELECT attempts.run, outcome, error, traceback, count(*) AS attempts, max(attempt) AS attempt"
            " FROM attempts JOIN runs USING (run) WHERE planned AND counts"
            " AND outcome IN ('diverged', 'failed', 'broken') GROUP BY attempts.run ORDER BY position"
        )
        return [dict(row) for row in rows]

    def attempts(self, run: str) -> list[dict[str, Any]]:
        """Every attempt of a run, oldest first."""
        rows = self._read("SELECT * FROM attempts WHERE run = ? ORDER BY attempt", (run,))
        return [dict(row) for row in rows]

    def seconds(self) -> dict[str, float]:
        """Measured seconds of every finished run, from the start of its attempt to its commit."""
        rows = self._read(
            "SELECT run, ended - started AS seconds FROM attempts"
            " WHERE outcome IN ('done', 'diverged', 'failed')"
        )
        return {row["run"]: row["seconds"] for row in rows}

    def orphans(self) -> int:
        """How many finished runs the present plan no longer has."""
        query = "SELECT count(DISTINCT run) FROM records JOIN runs USING (run) WHERE NOT planned"
        return self._read(query)[0][0]

    def scores(self) -> list[dict[str, Any]]:
        """Generation scores and per-set losses of the present plan's runs, in its order."""
        rows = self._read(
            "SELECT scores.* FROM scores JOIN runs USING (run) WHERE planned"
            " ORDER BY position, dataset, shots, metric"
        )
        return [dict(row) for row in rows]

    # --- inside

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise FinescaleError(
                "the ledger was written by a newer finescale",
                wanted=f"schema version {SCHEMA_VERSION}",
                got=f"schema version {version}",
                remedy="upgrade finescale",
                where=str(self.path),
            )
        self._use_wal()
        self._db.execute("PRAGMA synchronous = FULL")
        if version == 0:
            with self._transaction():
                if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in _SCHEMA.split(";"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _use_wal(self) -> None:
        """Switches to WAL once; SQLite does not wait where two processes do it in the same moment."""
        deadline = time.monotonic() + BUSY_SECONDS
        while self._db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _read(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._told():
            return self._db.execute(query, values).fetchall()

    def _end(
        self,
        attempt: int,
        outcome: str,
        now: float,
        *,
        error: str | None = None,
        traceback: str | None = None,
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        """Ends an attempt that is still running, and its lease; one that was taken over stays as it is."""
        kept = json.dumps(environment) if environment is not None else None
        self._db.execute(
            "UPDATE attempts SET ended = ?, outcome = ?, error = ?, traceback = ?, environment = ?"
            " WHERE attempt = ? AND outcome = 'running'",
            (now, outcome, error, traceback, kept, attempt),
        )
        self._db.execute("DELETE FROM leases WHERE attempt = ?", (attempt,))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's own errors in words."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            remedies = {
                "locked": "another process holds the ledger: wait for it, or end it",
                "readonly": "make the folder writable",
                "full": "free some disk space and run again: finished runs are kept",
                "unable to open": "check that the folder exists and is writable",
            }
            remedy = next((text for key, text in remedies.items() if key in str(error)), "")
            raise FinescaleError(
                "the ledger cannot be used",
                wanted="a working SQLite file on a local disk",
                got=str(error),
                remedy=remedy or "restore the file from a copy, or start the study in another folder (--out)",
                where=str(self.path),
            ) from error
