"""A look at a study's examples before anything runs: what is cut, left out, or would be otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from finescale.batches.batching import subset
from finescale.batches.encoded import EncodedSet, fit
from finescale.batches.encoding import encode, marks_beginnings
from finescale.errors import UsageError
from finescale.runs.prepare import room_of, tokenizer_of
from finescale.spec.run import RunSpec
from finescale.tasks.catalog import open_task
from finescale.tasks.task import Example, LazyExamples, Task

SAMPLE = 500
"""Training examples that are looked at; of dev and test all that a run reads."""
NEWEST = 2


def example_notes(run: RunSpec, others: Sequence[RunSpec] = ()) -> dict[str, Any]:
    """Encodes a run's dev and test examples and some of its training examples, and fits them to its model.

    Args:
        run: A run; its task, tokenizer and version say how examples become tokens.
        others: Runs with the same tokenizer whose models read another number of tokens.

    Returns:
        `notes`, sentences; or `refused`, the parts of the error that a run would end with.
    """
    try:
        return {"notes": list(_notes(run, others))}
    except UsageError as error:
        parts = ("problem", "wanted", "got", "remedy", "where")
        return {"refused": {part: getattr(error, part) for part in parts}}


def _notes(run: RunSpec, others: Sequence[RunSpec]) -> tuple[str, ...]:
    task, tokenizer = _task(run), tokenizer_of(run.model)
    found: list[str] = []
    samples = {
        "train": _sample(task.train, SAMPLE, run.seed),
        "dev": list(task.dev[: run.train.dev_examples]),
        "test": [e for name in sorted(task.test) for e in task.test[name]][: run.test_examples],
    }
    encoded = {split: encode(task, examples, tokenizer) for split, examples in samples.items()}
    for room, vocabulary in sorted({room_of(one) for one in (run, *others)}, key=str):
        for split, one in encoded.items():
            _fit(one, room, vocabulary, split)
    for split, one in encoded.items():
        found += [f"{split}: {note}" for note in one.notes]
    found += _cut(task, encoded)
    if run.version < NEWEST:
        found += _otherwise(run, samples["train"], encoded["train"])
    return tuple(dict.fromkeys(found))


def _fit(encoded: EncodedSet, room: int | None, vocabulary: int, split: str) -> None:
    """Refuses what a run would refuse of a split, and says which split it is."""
    try:
        fit(encoded, room, vocabulary)
    except UsageError as error:
        raise error.at(f"{split} examples") from None


def _task(run: RunSpec) -> Task:
    return open_task(run.data or run.task, run.version)  # pyright: ignore[reportArgumentType]


def _sample(examples: Sequence[Example], count: int, seed: int) -> list[Example]:
    rows = np.sort(subset(len(examples), min(count, len(examples)), seed))
    return examples.take(rows) if isinstance(examples, LazyExamples) else [examples[i] for i in rows]


def _cut(task: Task, encoded: dict[str, EncodedSet]) -> list[str]:
    """What the task's lengths cut, in a sentence a side."""
    found = []
    for side, most in (("source", task.max_source_tokens), ("target", task.max_target_tokens)):
        shares = {split: getattr(one, f"{side}_cut").mean() for split, one in encoded.items() if one.examples}
        if any(shares.values()):
            told = ", ".join(f"{share:.1%} of {split}" for split, share in shares.items())
            found.append(f"{side}s longer than max_{side}_tokens ({most}) are cut: {told}")
    return found


def _otherwise(run: RunSpec, sample: Sequence[Example], encoded: EncodedSet) -> list[str]:
    """What the newest version would make otherwise of the training examples."""
    newest = run.model_copy(update={"version": NEWEST})
    tokenizer, kept = tokenizer_of(run.model), "this study keeps the meaning of version 1"
    try:
        task = _task(newest)
        if task.train and task.train[0].chat is not None:
            meaning = "chats go through the tokenizer's own template, and every answer is a target"
            return [f"under `version: {NEWEST}` {meaning}; {kept}"]
        made = encode(task, sample, tokenizer)
    except UsageError as error:
        return [f"under `version: {NEWEST}` these examples would be refused: {error.problem}; {kept}"]
    pairs = zip(encoded.examples, made.examples, strict=True)
    others = sum(a.ids.tolist() != b.ids.tolist() for a, b in pairs)
    if not others:
        return []
    reasons = [f"{note}" for note in made.notes]
    reasons += ["a target that is cut has no end of sequence"] if made.cut_targets else []
    reasons += ["prompt and target are encoded as one text"] if marks_beginnings(tokenizer) else []
    why = "; ".join(reasons) or "special tokens"
    return [
        f"under `version: {NEWEST}` {others} of {len(made.examples)} training examples would be other tokens"
        f" ({why}); {kept}"
    ]
