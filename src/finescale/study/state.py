"""How a study stands, counted by the ledger: a hundred thousand runs take half a second."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finescale.study.failures import remedy
from finescale.study.ledger import LEASE_GRACE_SECONDS, Ledger
from finescale.study.owner import is_gone, is_here

ORDER = ("done", "running", "pending", "stopped", "diverged", "failed")
PARTS = ("test", "generation", "few_shot", "zero_shot", "forgetting")
"""The parts of a run's evaluation whose time its record has (`NAME_seconds`)."""
RECENT_RUNS = 1000
RECENT_SECONDS = 3600.0

_GROUPS = """
SELECT purpose, task, method, model, count(*) AS runs, sum(cost) AS cost, sum(held_out) AS held_out,
    coalesce(
        (SELECT min(status) FROM records WHERE records.run = runs.run),
        CASE WHEN run IN (SELECT value FROM json_each(?)) THEN 'running' ELSE 'pending' END
    ) AS now
FROM runs WHERE planned GROUP BY purpose, task, method, model, now ORDER BY min(position)
"""
_RECENT = """
SELECT method, cost, seconds, started, ended
FROM (SELECT * FROM attempts WHERE outcome IN ('done', 'diverged', 'failed') ORDER BY attempt DESC LIMIT ?)
JOIN runs USING (run) WHERE seconds IS NOT NULL
"""
_PARTS = f"""
SELECT {", ".join(f"sum(json_extract(records.fields, '$.{name}_seconds')) AS {name}" for name in PARTS)}
FROM records JOIN runs USING (run) WHERE planned
"""
_ORPHANS = """
SELECT run, (SELECT min(status) FROM records WHERE records.run = runs.run) AS status, fields
FROM runs WHERE NOT planned AND run IN (SELECT run FROM records) ORDER BY position, run
"""


def study_state(ledger: Ledger, folder: Path) -> dict[str, Any]:
    """How a study stands, as plain data.

    Args:
        ledger: The study's ledger.
        folder: Its folder, for the result.

    Returns:
        `study`, `folder`, `runs`, `counts` by status, `groups` (counts by purpose, task, method and model),
        `choices` and `awaited` (methods whose sweep has not chosen yet), `troubles` (what did not end well:
        error, remedy, traceback), `orphans` (finished runs that the study no longer has), `held_out`,
        `seconds` (measured, of all finished runs), `evaluation_seconds` (of them, by part), `runs_per_hour`,
        `seconds_left` (None where nothing is measured), `running` (runs being made now), `complete`.
    """
    now = time.time()
    at_work = [row for row in ledger.leases() if not _stopped(row, now)]
    rows = ledger.read(_GROUPS, (json.dumps([row["run"] for row in at_work]),))
    counts = dict.fromkeys(ORDER, 0)
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    open_cost: dict[str | None, float] = {}
    for row in rows:
        counts[row["now"]] += row["runs"]
        key = row["purpose"], row["task"], row["method"], row["model"]
        named: dict[str, Any] = dict(zip(("purpose", "task", "method", "model"), key, strict=True))
        groups.setdefault(key, named)[row["now"]] = row["runs"]
        if row["now"] in ("pending", "running"):
            open_cost[row["method"]] = open_cost.get(row["method"], 0.0) + row["cost"]
    choices = [
        {"method": row["method"], "chosen": row["chosen"], "evidence": row["evidence"]}
        for row in ledger.choices()
    ]
    firsts = list(dict.fromkeys(key[:3] for key in groups))  # a method's models stand together
    ordered = [groups[key] for key in sorted(groups, key=lambda key: firsts.index(key[:3]))]
    awaited = _awaited(ordered, {choice["method"] for choice in choices})
    per_hour, left = _pace(ledger, open_cost, at_work, now)
    return {
        "study": ledger.study(),
        "folder": str(folder),
        "runs": sum(counts.values()),
        "counts": {status: count for status, count in counts.items() if count},
        "groups": ordered,
        "choices": choices,
        "awaited": awaited,
        "troubles": [
            {
                **row,
                "remedy": remedy(row["outcome"], str(row["error"]), row["fields"], row["traceback"] or ""),
            }
            for row in ledger.troubles()
        ],
        "orphans": [{**dict(row), "fields": json.loads(row["fields"])} for row in ledger.read(_ORPHANS)],
        "held_out": sum(row["held_out"] for row in rows),
        "seconds": ledger.total_seconds(),
        "evaluation_seconds": {part: took for part, took in dict(ledger.read(_PARTS)[0]).items() if took},
        "running": len(at_work),
        "runs_per_hour": per_hour,
        "seconds_left": left,
        "complete": not (counts["pending"] or counts["running"] or awaited),
    }


def _stopped(lease: Mapping[str, Any], now: float) -> bool:
    """Whether nobody works on a leased run any more, as far as one look can tell."""
    silent = abs(now - lease["heartbeat"]) > LEASE_GRACE_SECONDS and not is_here(lease["owner"])
    return silent or is_gone(lease["owner"])


def _awaited(groups: list[dict[str, Any]], chosen: set[str]) -> list[str]:
    """The swept methods without a choice that may still get one."""
    found = dict.fromkeys(group["method"] for group in groups if group["purpose"] == "sweep")
    return [
        method
        for method in found
        if method not in chosen
        and any(
            group.keys() & {"done", "pending", "running"}
            for group in groups
            if group["purpose"] == "sweep" and group["method"] == method
        )
    ]


def _pace(
    ledger: Ledger, open_cost: Mapping[str | None, float], at_work: list[Any], now: float
) -> tuple[float | None, float | None]:
    """Runs per hour, where any are being made, and the seconds until the known runs are done."""
    recent = ledger.read(_RECENT, (RECENT_RUNS,))
    spent: dict[str | None, tuple[float, float]] = {}
    for row in recent:
        for key in (row["method"], None):
            seconds, cost = spent.get(key, (0.0, 0.0))
            spent[key] = seconds + row["seconds"], cost + row["cost"]
    if not spent:
        return None, None
    scale = {key: seconds / cost for key, (seconds, cost) in spent.items() if cost > 0}
    work = sum(cost * scale.get(method, scale.get(None, 1.0)) for method, cost in open_cost.items())
    work -= sum(max(0.0, now - row["started"]) for row in at_work)
    within = [row for row in recent if 0 <= now - row["ended"] < RECENT_SECONDS]
    per_hour = None
    if within and at_work:
        since = max(now - RECENT_SECONDS, min(row["started"] for row in within))
        per_hour = 3600.0 * len(within) / max(1.0, now - since)
    return per_hour, max(0.0, work) / max(1, len(at_work))
