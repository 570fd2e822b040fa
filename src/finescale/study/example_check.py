"""Shows what a look at a study's examples found, before anything runs; what was cut, after it (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from finescale.errors import UsageError
from finescale.executors.local import Job, LocalExecutor
from finescale.spec.expand import PlannedRun
from finescale.spec.run import RunSpec
from finescale.spec.study import Study

if TYPE_CHECKING:
    import polars as pl

NOTES = "finescale.runs.examples:example_notes"


def needs_check(study: Study) -> bool:
    """Whether a study brings data or models of its own: the bundled ones are known."""
    return bool(study.models) or not isinstance(study.task, str)


def check_examples(runs: Iterable[PlannedRun], say: Callable[[str], None]) -> None:
    """Encodes some examples with every tokenizer of a study, in a process of its own, and tells of them.

    Args:
        runs: The study's runs.
        say: Prints a sentence; each is said once.

    Raises:
        UsageError: Examples that would end every run.
    """
    tokenizers: dict[str, PlannedRun] = {}
    rooms: dict[str, dict[tuple[object, ...], RunSpec]] = {}
    for item in sorted(runs, key=lambda item: -item.run.finetune_examples):
        name, method = item.run.content.get("tokenizer", ""), item.run.method
        tokenizers.setdefault(name, item)
        room = (item.run.model.folder or item.run.model.name, method.kind, method.pet_size)
        rooms.setdefault(name, {}).setdefault((*room, method.settings.get("num_virtual_tokens")), item.run)
    executor = LocalExecutor(1)
    told: set[str] = set()
    try:
        waiting = [
            Job(name, NOTES, (item.run, tuple(rooms[name].values()))) for name, item in tokenizers.items()
        ]
        left = len(waiting)
        while left:
            while waiting and executor.free():
                executor.submit(waiting.pop(0))
            for result in executor.wait(0.5):
                left -= 1
                found: Mapping[str, Any] = result.value or {
                    "notes": [f"no look at the examples: {result.error}"]
                }
                if "refused" in found:
                    raise UsageError(**found["refused"])
                many = f" ({tokenizers[result.run].run.model.name})" if len(tokenizers) > 1 else ""
                for note in found["notes"]:
                    if note not in told:
                        say(note + many)
                        told.add(note)
    finally:
        executor.close()


def truncation_warnings(records: pl.DataFrame, version: int) -> tuple[str, ...]:
    """What was cut of the examples of a study's finished runs, in sentences.

    Args:
        records: The study's records.
        version: Of the study.
    """
    from finescale.records.truncation import truncation_words  # noqa: PLC0415 - loads polars

    words = truncation_words(records)
    if version == 1 and any(sentence.startswith("Targets") for sentence in words):
        words += ("A cut target has learned an end of sequence there; not so under `version: 2`.",)
    return words
