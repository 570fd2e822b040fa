"""What a ledger can be asked: runs, records, attempts, choices and scores; nothing here changes it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from finescale.study.database import Database

Curve = Sequence[tuple[int, float]]
"""Step and dev loss (nats per target token), in the order of the steps."""


class LedgerReading(Database):
    """The questions to a study's ledger."""

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
            " AND outcome IN ('diverged', 'failed', 'broken')"
            " AND coalesce(records.status, '') NOT IN ('done', 'stopped')"
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
            "SELECT run, seconds + coalesce((SELECT sum(legs.seconds) FROM attempts AS legs"
            " WHERE legs.run = attempts.run AND legs.outcome = 'paused'), 0.0) AS seconds FROM attempts"
            " WHERE outcome IN ('done', 'diverged', 'failed') AND seconds IS NOT NULL"
        )
        return {row["run"]: row["seconds"] for row in rows}

    def total_seconds(self) -> float:
        """Measured seconds of all finished runs together, stopped and paused ones too."""
        ended = "'done', 'paused', 'stopped', 'diverged', 'failed'"
        return self.read(f"SELECT sum(seconds) FROM attempts WHERE outcome IN ({ended})")[0][0] or 0.0

    def orphans(self) -> int:
        """How many finished runs the present plan no longer has."""
        query = "SELECT count(DISTINCT run) FROM records JOIN runs USING (run) WHERE NOT planned"
        return self.read(query)[0][0]

    def swept(self, runs: Sequence[str]) -> bool:
        """Whether any of these runs was planned for a sweep."""
        query = (
            "SELECT 1 FROM runs WHERE purpose = 'sweep' AND run IN (SELECT value FROM json_each(?)) LIMIT 1"
        )
        return bool(self.read(query, (json.dumps(list(runs)),)))

    def curve(self, run: str) -> Curve:
        """The dev curve of a race's candidate, as far as it is known; empty before its first pause."""
        rows = self.read("SELECT curve FROM curves WHERE run = ?", (run,))
        return [(int(step), float(loss)) for step, loss in json.loads(rows[0]["curve"])] if rows else []

    def scores(self) -> list[dict[str, Any]]:
        """Generation scores and per-set losses of the present plan's runs, in its order."""
        rows = self.read(
            "SELECT scores.* FROM scores JOIN runs USING (run) WHERE planned"
            " ORDER BY position, dataset, shots, metric"
        )
        return [dict(row) for row in rows]

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

    def _fields(self, row: sqlite3.Row) -> dict[str, Any]:
        """A record's fields, if they are what was committed (SQLite itself does not notice a flipped bit)."""
        if row["digest"] is not None and row["digest"] != digest(row["fields"]):
            raise self.damaged(f"record {row['record']} is not what was committed")
        return json.loads(row["fields"])


def digest(text: str) -> str:
    """The check sum that a record is committed with, 16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
