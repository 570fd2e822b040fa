"""A tracker's log of one run as rows: one for each step at which something was evaluated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from finescale.records.sources.kind import is_number

_TRAINING = re.compile(
    r"(train|training)[/_. -]|(system|profiling|perf|memory|gpu)[/_. ]|_"
    r"|(loss|lr|learning_rate|grad_norm|epoch|step|global_step|current_steps|total_steps|percentage)$"
    r"|.*(per_second|_runtime|elapsed_time|remaining_time|/lr|/learning_rate)$",
    re.IGNORECASE,
)
"""Names of what is logged while a model trains, and of what says nothing about the model."""
_KEPT = ("epoch", "train/epoch")


def evaluations(
    said: Mapping[str, Any],
    log: Iterable[tuple[int | float | None, Mapping[str, Any]]],
    last: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """The rows of a run.

    Args:
        said: What is true of the whole run: its settings, name and status.
        log: Steps, and the numbers logged at each, in the order of writing.
        last: What the tracker sums the run up by; default: the last value of every name.

    Returns:
        One row for each step with a number that is not of training; one row of ``last`` where there is none.
        A name that only the summary has stands in the last row.
    """
    rows: dict[int | float | None, dict[str, Any]] = {}
    ends: dict[str, Any] = {}
    for step, logged in log:
        numbers = {name: value for name, value in logged.items() if is_number(value)}
        ends |= numbers
        measured = {name: value for name, value in numbers.items() if not _TRAINING.match(name)}
        if measured:
            kept = {name: numbers[name] for name in _KEPT if name in numbers}
            rows[step] = rows.get(step, {}) | measured | kept
    summary = {name: value for name, value in (ends if last is None else last).items() if is_number(value)}
    summary = {name: value for name, value in summary.items() if name[0] != "_"}
    if not rows:
        return [dict(said) | summary]
    found = [dict(said) | {"step": step} | row for step, row in rows.items()]
    known = {name for row in rows.values() for name in row}
    found[-1] |= {name: value for name, value in summary.items() if name not in known}
    return found


def tuning(config: Mapping[str, Any]) -> dict[str, Any]:
    """Method and PET size from an adapter's configuration, as transformers and PEFT give it to trackers.

    Args:
        config: ``peft_config`` of a run's settings: one adapter's, or adapters by name.
    """
    one = config if "peft_type" in config else next(
        (inner for inner in config.values() if isinstance(inner, Mapping) and "peft_type" in inner), None
    )  # fmt: skip
    if one is None:
        return {}
    kind = str(one["peft_type"]).rpartition(".")[2].lower()
    kind = "dora" if kind == "lora" and one.get("use_dora") else kind
    found = {"method": {"prompt_tuning": "prompt"}.get(kind, kind)}
    size = one.get("r") or one.get("num_virtual_tokens")
    return found | ({"pet_size": size} if size else {})
