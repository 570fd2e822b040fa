"""The SQLite file under the ledger: its tables, how it is opened, its transactions, its errors in words."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from finescale.errors import FinescaleError, UsageError
from finescale.study.filesystem import check_local

SCHEMA_VERSION = 4
BUSY_SECONDS = 60.0
"""So long a process waits for another one's transaction."""

_SCHEMA = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, study TEXT NOT NULL, purpose TEXT NOT NULL, held_out INTEGER NOT NULL,
    lr_tuned INTEGER NOT NULL, planned INTEGER NOT NULL, cost REAL NOT NULL, position INTEGER NOT NULL,
    fields TEXT NOT NULL, spec TEXT NOT NULL, task TEXT, method TEXT, model TEXT, lr_tuned_at TEXT
);
CREATE INDEX runs_by_kind ON runs (planned, purpose, task, method, model, run, held_out, cost, position);
CREATE TABLE attempts (
    attempt INTEGER PRIMARY KEY, run TEXT NOT NULL, owner TEXT NOT NULL, started REAL NOT NULL, ended REAL,
    outcome TEXT NOT NULL, error TEXT, traceback TEXT, environment TEXT, counts INTEGER NOT NULL DEFAULT 1,
    seconds REAL
);
CREATE INDEX attempts_by_run ON attempts (run);
CREATE INDEX attempts_by_outcome ON attempts (outcome, seconds, run);
CREATE TABLE leases (
    run TEXT PRIMARY KEY, attempt INTEGER NOT NULL, owner TEXT NOT NULL, heartbeat REAL NOT NULL
);
CREATE TABLE records (
    record TEXT PRIMARY KEY, run TEXT NOT NULL, attempt INTEGER NOT NULL, status TEXT NOT NULL,
    committed REAL NOT NULL, fields TEXT NOT NULL, digest TEXT
);
CREATE INDEX records_by_run ON records (run, status);
CREATE TABLE scores (
    run TEXT NOT NULL, dataset TEXT NOT NULL, shots INTEGER NOT NULL, metric TEXT NOT NULL, value REAL,
    split TEXT NOT NULL DEFAULT 'test', low REAL, high REAL, examples INTEGER, signature TEXT,
    PRIMARY KEY (run, dataset, shots, metric)
);
CREATE TABLE curves (
    run TEXT PRIMARY KEY, attempt INTEGER NOT NULL, curve TEXT NOT NULL, fields TEXT NOT NULL
);
CREATE TABLE choices (
    method TEXT NOT NULL, sweep TEXT NOT NULL, committed REAL NOT NULL, chosen TEXT NOT NULL,
    evidence TEXT NOT NULL, PRIMARY KEY (method, sweep)
);
"""

_MIGRATIONS = {
    1: """
ALTER TABLE scores ADD COLUMN split TEXT NOT NULL DEFAULT 'test';
ALTER TABLE scores ADD COLUMN low REAL;
ALTER TABLE scores ADD COLUMN high REAL;
ALTER TABLE scores ADD COLUMN examples INTEGER;
ALTER TABLE scores ADD COLUMN signature TEXT;
ALTER TABLE runs ADD COLUMN task TEXT;
ALTER TABLE runs ADD COLUMN method TEXT;
ALTER TABLE runs ADD COLUMN model TEXT;
UPDATE runs SET task = json_extract(fields, '$.task'), method = json_extract(fields, '$.method'),
    model = json_extract(fields, '$.model');
CREATE INDEX runs_by_kind ON runs (planned, purpose, task, method, model, run, held_out, cost, position);
ALTER TABLE attempts ADD COLUMN seconds REAL;
UPDATE attempts SET seconds = max(0, ended - started);
CREATE INDEX attempts_by_outcome ON attempts (outcome, seconds, run);
ALTER TABLE records ADD COLUMN digest TEXT;
DROP INDEX records_by_run;
CREATE INDEX records_by_run ON records (run, status);
""",
    # also tells older versions, which do not know the status `stopped`, to keep away
    2: "ALTER TABLE runs ADD COLUMN lr_tuned_at TEXT",
    # the dev curves of a race's candidates, and what else is known of a paused one
    3: """
CREATE TABLE curves (
    run TEXT PRIMARY KEY, attempt INTEGER NOT NULL, curve TEXT NOT NULL, fields TEXT NOT NULL
)
""",
}
"""What turns each older schema version into the next one."""


class Database:
    """An open SQLite file (WAL, synchronous FULL); use as a context manager. Not shared between threads."""

    def __init__(self, path: Path, *, create: bool = True, on_copy: bool = False) -> None:
        """Opens the ledger.

        Args:
            path: `ledger.sqlite` in the study folder.
            create: Make it where it is missing; otherwise a missing ledger is an error, and one whose
                folder is read-only is read from a copy.
            on_copy: Work on a copy of an existing ledger, which is gone afterwards.

        Raises:
            UsageError: There is none, or its folder is on a network file system.
            FinescaleError: The file is no ledger, is damaged, or was made by a newer finescale.
        """
        check_local(path.parent)
        if not create and not path.exists():
            raise UsageError(
                "no study here yet",
                wanted="a folder with a ledger.sqlite",
                got="none",
                remedy="start the study with `finescale run STUDY`",
                where=str(path.parent),
            )
        self.path = path
        self._copy: TemporaryDirectory[str] | None = None
        with self._told():
            place = path
            if on_copy or not (create or os.access(path.parent, os.W_OK)):  # its log needs a place beside it
                self._copy = TemporaryDirectory()
                place = _copied(path, Path(self._copy.name))
            self.connection = sqlite3.connect(place, timeout=BUSY_SECONDS, isolation_level=None)
            self.connection.row_factory = sqlite3.Row
            self._prepare()

    def __enter__(self) -> Self:
        """The ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self.connection.close()
        if self._copy is not None:
            self._copy.cleanup()

    def _prepare(self) -> None:
        version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise FinescaleError(
                "the ledger was written by a newer finescale",
                wanted=f"schema version {SCHEMA_VERSION}",
                got=f"schema version {version}",
                remedy="upgrade finescale",
                where=str(self.path),
            )
        self._use_wal()
        self.connection.execute("PRAGMA synchronous = FULL")
        if version < SCHEMA_VERSION:
            with self.transaction():  # another process may have been faster: the version is read again
                version = self.connection.execute("PRAGMA user_version").fetchone()[0]
                steps = (
                    [_SCHEMA] if version == 0 else [_MIGRATIONS[v] for v in range(version, SCHEMA_VERSION)]
                )
                for statement in ";".join(steps).split(";"):
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _use_wal(self) -> None:
        """Switches to WAL once; SQLite does not wait where two processes do it in the same moment."""
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                mode = self.connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
                if mode != "wal":
                    raise sqlite3.DatabaseError(f"no write-ahead log on this file system (mode {mode})")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def check(self) -> None:
        """Reads every page once (a second for a ledger of 300 MB).

        Raises:
            FinescaleError: A page is damaged.
        """
        found = self.read("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise self.damaged(str(found).replace("\n", " ").removeprefix("*** in database main *** "))

    def damaged(self, found: str) -> FinescaleError:
        """The error for a ledger that does not hold what was written."""
        return FinescaleError(
            "the ledger is damaged",
            wanted="the file as it was written",
            got=found,
            remedy="check the disk; restore the file from a copy, or move it away and run again"
            " (records.parquet beside it holds the runs that were exported)",
            where=str(self.path),
        )

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._told():
            return self.connection.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, one writer at a time."""
        with self._told():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self.connection.execute("ROLLBACK")
                raise
            self.connection.execute("COMMIT")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's own errors in words."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if any(word in str(error) for word in ("malformed", "not a database", "decode to UTF-8")):
                raise self.damaged(str(error)) from error
            remedies = {
                "locked": "another process holds the ledger: wait for it, or end it",
                "readonly": "make the folder writable",
                "full": "free some disk space and run again: finished runs are kept",
                "unable to open": "check that the folder exists, and make it writable",
                "disk I/O": "free some disk space or check the disk, then run again: finished runs are kept",
            }
            remedy = next((text for key, text in remedies.items() if key in str(error)), "")
            raise FinescaleError(
                "the ledger cannot be used",
                wanted="a working SQLite file on a local disk",
                got=str(error),
                remedy=remedy or "restore the file from a copy, or start the study in another folder (--out)",
                where=str(self.path),
            ) from error


def _copied(path: Path, folder: Path) -> Path:
    """A copy of a ledger that may not be written to, with what its log holds."""
    for name in (path.name, f"{path.name}-wal"):
        source = path.with_name(name)
        if source.exists():
            shutil.copyfile(source, folder / name)
    return folder / path.name
