"""Cells of optional columns that hold no number: they are empty, and it is said which they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from finescale.records.roles import Role, role_by_name
from finescale.records.typed import SOURCE_ROW, BadCells, shown_value


@dataclass(frozen=True)
class Passed:
    """A table whose unreadable cells were passed over.

    Attributes:
        frame: The table.
        roles: Roles of columns that were added.
        notes: Which cells were not read.
    """

    frame: pl.DataFrame
    roles: Mapping[str, Role]
    notes: tuple[str, ...]


def without_unread(bad: Sequence[BadCells], frame: pl.DataFrame) -> Passed:
    """The table with a note for each column with cells that were not read.

    A hyperparameter with several such cells keeps them as texts in a column of their own, as candidates of a
    sweep are told apart by it.

    Args:
        bad: The cells by column; their series are as long as the table.
        frame: The table, in which they are empty.
    """
    notes: list[str] = []
    roles: dict[str, Role] = {}
    for one in bad:
        many, at = int(one.rows.sum()), int(one.rows.arg_true()[0])
        name, shown = one.theirs or one.column, shown_value(one.values, at)
        cells = f"{many} cells of `{name}` are" if many > 1 else f"A cell of `{name}` is"
        notes.append(f"{cells} not read (row {frame[SOURCE_ROW][at]}: {shown}; wanted: {one.wanted}).")
        lost = one.values.filter(one.rows)
        if role_by_name(one.column) == "hyperparameter" and lost.dtype == pl.String and lost.n_unique() > 1:
            told = f"{name} as written"
            frame = frame.with_columns(one.values.set(~one.rows, None).alias(told))
            roles[told] = "hyperparameter"
    return Passed(frame, roles, tuple(notes))
