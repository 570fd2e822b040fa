"""Which of a task's runs can be compared: losses per token of models with different tokenizers cannot.

Where the tokenizers differ, the loss per byte decides if the table has it, else a score of the task; else
every tokenizer has an answer of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from finescale.errors import DataError
from finescale.records.beside import find_outcomes
from finescale.records.outcome_words import heading
from finescale.records.outcomes import Outcome
from finescale.records.records import Records
from finescale.records.settings import fill_groups, tuned_runs
from finescale.records.tokenizers import Tokenizers, find_tokenizers, with_tokenizers


@dataclass(frozen=True)
class Comparable:
    """Runs that can be compared with each other.

    Attributes:
        records: The runs, by the outcome that compares.
        tokenizer: The tokenizer that they share; empty where it does not matter.
    """

    records: Records
    tokenizer: str = ""


def split_comparable(records: Records, task: str | None) -> tuple[tuple[Comparable, ...], str]:
    """Splits a task's runs into those that compare.

    Args:
        records: The runs.
        task: The task; None: the only one.

    Returns:
        The parts, and in words why there is more than one, or why another outcome is compared; empty where
        nothing is to be said.
    """
    rows = runs_of(records, task)
    found = find_tokenizers(rows, records.outcome)
    if not found.differ:
        return (Comparable(records),), ""
    other = _other_outcome(records, rows)
    why = f"losses per token of models with different tokenizers do not compare - {found.words}"
    if other is not None:
        said = f"Compared by {heading(other)}: {why}."
        return (Comparable(replace(records, loss=other.column, outcome=other)),), said
    mine = with_tokenizers(records.frame)
    names = [*found.models, *([None] if found.unknown else [])]
    parts = []
    for name in names:
        own = mine.is_null() if name is None else mine == name
        frame = records.frame.filter(own.fill_null(False))
        parts.append(Comparable(replace(records, frame=frame), name or "unknown"))
    return tuple(parts), f"{why}. So every tokenizer has an answer of its own, and none is between them."


def check_comparable(runs: pl.DataFrame, outcome: Outcome, task: str) -> list[str]:
    """Refuses runs that do not compare; a note where it is not known whether they do.

    Raises:
        DataError: Losses per token of several tokenizers.
    """
    found = find_tokenizers(runs, outcome)
    if found.differ:
        raise DataError(
            "losses per token of models with different tokenizers do not compare",
            wanted="the loss per byte (--loss test_loss_per_byte), a score of the task (--score COLUMN), or "
            "the runs of one tokenizer",
            got=found.words,
            remedy="leave out the others, e.g. --where \"family == 'GPT2'\"",
            where=task,
        )
    return _doubt(found)


def _doubt(found: Tokenizers) -> list[str]:
    several = len(found.unknown) + sum(map(len, found.models.values())) > 1
    if not found.unknown or not several:
        return []
    return [
        f"Tokenizers: {found.words}. Losses per token compare within one tokenizer alone: if they differ, "
        "compare by the loss per byte or by a score (a column `tokenizer` tells them)."
    ]


def runs_of(records: Records, task: str | None) -> pl.DataFrame:
    """The runs of tuned models of a task, with an outcome."""
    frame = records.frame.filter(tuned_runs(records.frame))
    frame = frame.filter(pl.col(records.loss).is_not_null())
    if task is not None:
        frame = fill_groups(frame).filter(pl.col("task") == task)
    return frame


def _other_outcome(records: Records, rows: pl.DataFrame) -> Outcome | None:
    """The loss per byte, else a known score, that every one of the runs has."""
    other = [one for one in find_outcomes(rows) if one.column != records.loss]
    ordered = [one for one in other if "per byte" in one.unit] + [one for one in other if one.kind == "score"]
    return ordered[0] if ordered else None
