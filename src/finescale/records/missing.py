"""What a table of runs lacks for laws and for advice, and how to give it."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from finescale.records.columns import DATA_SIZE, FACTORS
from finescale.records.options import ReadingOptions
from finescale.records.outcomes import TEST_LOSS

_SIZES = 3
"""A law over the data needs at least so many data sizes."""


@dataclass(frozen=True)
class Missing:
    """One thing that is not there: which command needs it, and what to do."""

    command: str
    words: str


def what_is_missing(frame: pl.DataFrame, problem: str, options: ReadingOptions) -> tuple[Missing, ...]:
    """What stands between a table and its use.

    Args:
        frame: Runs that count; all rows where they could not be read.
        problem: Why they could not be read; empty where they could.
        options: How the table is read.
    """
    found: list[Missing] = []
    if problem:
        found.append(Missing("fit and advise", problem))
    for name, example in ((DATA_SIZE, "5000"), ("method", "lora")):
        if name not in frame.columns:
            if name == DATA_SIZE and problem and DATA_SIZE in problem:
                continue
            found.append(
                Missing("advise", f"no column {name}: --set {name}={example} or --column {name}=THEIRS")
            )
    factors = [name for name in FACTORS if name in frame.columns]
    if not factors and not problem:
        found.append(Missing("fit over a model's size", "no model_params: --set model_params=7B or --column"))
    found += _blanks(frame)
    if problem:
        return tuple(found)
    if DATA_SIZE in frame.columns and 0 < frame[DATA_SIZE].n_unique() < _SIZES:
        many = frame[DATA_SIZE].drop_nulls().n_unique()
        found.append(Missing("fit", f"{many} data sizes: a law over the data needs {_SIZES} or more"))
    one = _only_method(frame)
    if one and not frame["method"].null_count():
        found.append(Missing("advise", f"one method only ({one})"))
    if "seed" not in frame.columns:
        found.append(Missing("the noise of a run", "no column seed: repeats are told apart by nothing"))
    outcome = options.score or options.loss or TEST_LOSS.column
    if outcome == TEST_LOSS.column and TEST_LOSS.column not in frame.columns:
        found.append(Missing("fit and advise", "no outcome: --loss COLUMN or --score COLUMN"))
    return tuple(found)


def _blanks(frame: pl.DataFrame) -> list[Missing]:
    """Settings that some rows do not have."""
    one = _only_method(frame)
    examples = {DATA_SIZE: "5000", "method": "full" if one == "lora" else "lora", "model_params": "7B"}
    found = []
    for name, example in examples.items():
        blank = frame[name].null_count() if name in frame.columns else 0
        if blank:
            others = f", the others are all {one}, and advice needs two" if name == "method" and one else ""
            words = (
                f"{blank} of {frame.height} rows have no {name}{others}: --set {name}={example} fills them"
            )
            found.append(Missing("fit" if name == "model_params" else "advise", words))
    return found


def _only_method(frame: pl.DataFrame) -> str:
    """The only method that the rows name; empty where they name none or several."""
    names = frame["method"].drop_nulls().unique() if "method" in frame.columns else ()
    return str(names[0]) if len(names) == 1 else ""
