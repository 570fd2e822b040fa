"""Spreadsheets merge equal cells of neighbouring rows: read, the value stands in the first row alone."""

from __future__ import annotations

import polars as pl

from finescale.records.columns import DATA_SIZE
from finescale.records.values import BLANK

_MERGED = ("task", "method", "model", "model_params", DATA_SIZE)
"""The settings that every run has, so that a blank says nothing else."""


def filled_down(frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The table with the blanks of merged cells filled, and what was filled, in sentences.

    A column has merged cells where its first row has a value, many cells are blank, and no two values that
    follow one another are equal (they would have been merged).

    Args:
        frame: The table.
    """
    notes: list[str] = []
    for name in _MERGED:
        if name not in frame.columns:
            continue
        cells = frame[name]
        if cells.dtype == pl.String:
            cells = cells.set(cells.str.strip_chars().str.to_lowercase().is_in(BLANK).fill_null(False), None)
        values = cells.drop_nulls()
        blanks = cells.null_count()
        if not blanks or cells[0] is None or 2 * blanks < values.len():
            continue
        if values.len() < 2 and name == DATA_SIZE:
            continue
        if (values == values.shift(1)).any():
            continue
        frame = frame.with_columns(cells.forward_fill().alias(name))
        notes.append(
            f"{blanks} blank cells of {name} stand below a value, as merged cells do: they were filled "
            "with it (write the values out if they mean something else)."
        )
    return frame, tuple(notes)
