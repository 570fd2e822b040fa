"""Results of the LM evaluation harness: scores of runs, for the scores table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.sources.kind import Kind, begins, is_number, json_object, table_of

_NAME = re.compile(r"results(_.*)?\.json")
_HEAD = 64
_Z90 = 1.6449
"""Half the width of a 90% interval in standard errors."""


def read_results(source: Path | str, places: Sequence[Path]) -> RawTable:
    """A row a score: run, dataset, split, shots, metric, value, its 90% interval, examples.

    Args:
        source: A folder, or one file.
        places: The files, in the order of their names; of a run's results the last counts.

    Raises:
        UsageError: No score in any file.
    """
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for file in places:
        for row in _scores(file):
            rows[row["run"], row["dataset"], row["shots"], row["metric"]] = row
    if not rows:
        raise UsageError("no score in these results", wanted="results of lm-eval", where=str(source))
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    runs = len({run for run, *_ in rows})
    note = f"{source} holds {len(rows)} scores of {runs} models, by lm-eval."
    return RawTable(table_of(list(rows.values())), str(source), 1, folder, (note,))


def _scores(file: Path) -> list[dict[str, Any]]:
    """The scores of one file; a group stands for its parts."""
    found = json_object(file)
    run = _model(found) or file.parent.name
    groups = found.get("group_subtasks") or {}
    whole = {
        name for name in groups if any(is_number(value) for value in found["results"].get(name, {}).values())
    }
    parts = {part for name in whole for part in groups[name]}
    rows = []
    for dataset, metrics in found["results"].items():
        if dataset in parts or not isinstance(metrics, dict):
            continue
        samples = (found.get("n-samples") or {}).get(dataset) or {}
        for key, value in metrics.items():
            metric, _, way = key.partition(",")
            if (
                not is_number(value)
                or metric.endswith("_stderr")
                or metric in ("alias", "sample_len", "name")
            ):
                continue
            error = metrics.get(f"{metric}_stderr,{way}" if way else f"{metric}_stderr")
            half = _Z90 * float(error) if is_number(error) else None  # type: ignore[arg-type]
            rows.append({
                "run": run, "dataset": dataset, "split": "test",
                "shots": int((found.get("n-shot") or {}).get(dataset) or 0),
                "metric": metric if way in ("", "none") else f"{metric} ({way})", "value": float(value),
                "low": None if half is None else value - half, "high": None if half is None else value + half,
                "examples": samples.get("effective"),
            })  # fmt: skip
    return rows


def _model(found: dict[str, Any]) -> str:
    """The adapter that was evaluated, or the model: as ``model_args`` of the command had it."""
    arguments = (found.get("config") or {}).get("model_args") or {}
    if isinstance(arguments, str):
        arguments = dict(part.split("=", 1) for part in arguments.split(",") if "=" in part)
    return str(arguments.get("peft") or arguments.get("pretrained") or found.get("model_name") or "").rstrip(
        "/"
    )


def _is_results(file: Path) -> bool:
    if not _NAME.fullmatch(file.name):
        return False
    head = begins(file, _HEAD).lstrip()
    return head[:1] == b"{" and b'"results"' in head


KIND = Kind(
    name="lm-eval",
    title="results of lm-eval",
    places=lambda tree: [
        file for file in tree.files(lambda name: name.endswith(".json")) if _is_results(file)
    ],
    read=read_results,
    is_file=_is_results,
    holds="scores",
)
