"""What ``--set NAME=VALUE`` states of every row: it fills blanks, and never replaces what a row says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from finescale.errors import UsageError
from finescale.records.methods import canonical
from finescale.records.names import find, folded
from finescale.records.values import EMPTY, read_numbers


@dataclass(frozen=True)
class Filled:
    """A table with its constants.

    Attributes:
        frame: The table.
        notes: How many blanks were filled, and which rows say something else.
    """

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()


def with_constants(
    frame: pl.DataFrame, constants: Mapping[str, str], origin: str, *, strict: bool = True
) -> Filled:
    """Gives a table its constants.

    Args:
        frame: The table, under our names.
        constants: Names to values; a column that is not there is made.
        origin: The table, for messages.
        strict: Refuse a value that no row takes, as all of them say another.

    Raises:
        UsageError: Every row says something else.
    """
    notes: list[str] = []
    for stated, value in constants.items():
        name = find(stated, frame.columns) or stated
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit(value).alias(name))
            continue
        known = frame[name]
        if known.dtype.is_nested() or known.dtype == pl.Object:
            raise UsageError(f"--set {name}={value}", wanted="a column of texts or numbers", where=origin)
        texts = known.cast(pl.String)
        blank = _blank(texts, name)
        others = _others(texts.filter(~blank), value, name)
        if strict and frame.height and sum(others.values()) == frame.height:
            raise UsageError(
                f"--set {name}={value}: every row says something else",
                wanted="blanks to fill",
                got=", ".join(f"{other} ({rows} rows)" for other, rows in list(others.items())[:5]),
                remedy=f"to read a value as another: --map '{name}:{next(iter(others))}={value}'",
                where=f"{origin}, column {name}",
            )
        if blank.any():
            filled = pl.repeat(value, frame.height, dtype=pl.String, eager=True)
            frame = frame.with_columns(texts.zip_with(~blank, filled).alias(name))
        if others:
            shown = ", ".join(f"{other}: {rows}" for other, rows in list(others.items())[:5])
            notes.append(
                f"--set {name}={value} filled {int(blank.sum())} rows; {sum(others.values())} rows say "
                f"something else and stay as they are ({shown})."
            )
        elif blank.any() and not blank.all():
            notes.append(f"--set {name}={value} filled the {int(blank.sum())} rows without a value.")
    return Filled(frame, tuple(notes))


def _blank(texts: pl.Series, name: str) -> pl.Series:
    """The rows that say nothing; the method ``none`` is the untuned model."""
    words = [word for word in EMPTY if word != "none"] if name == "method" else list(EMPTY)
    return texts.is_null() | texts.str.strip_chars().str.to_lowercase().is_in([*words, "nan"]).fill_null(True)


def _others(texts: pl.Series, value: str, name: str) -> dict[str, int]:
    """Values that mean another than the constant, and how many rows have each."""
    counts = dict(texts.str.strip_chars().value_counts(sort=True).iter_rows())
    return {text: rows for text, rows in counts.items() if not _is_same(text, value, name)}


def _is_same(text: str, value: str, name: str) -> bool:
    if text == value:
        return True
    if name == "method" and canonical(text) is not None:
        return canonical(text) == canonical(value)
    numbers = read_numbers(pl.Series([text, value]), whole=False)
    if numbers.question or numbers.bad.any() or numbers.values.null_count():
        return bool(folded(text)) and folded(text) == folded(value)
    return numbers.values[0] == numbers.values[1]
