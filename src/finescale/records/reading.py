"""What a source gives, and what reading made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from finescale.records.outcomes import Outcome
from finescale.records.roles import Role

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Reading:
    """What reading a table made of it.

    Attributes:
        roles: The role of every column.
        left_out: How many rows do not count, by reason.
        notes: What a reader should know, in sentences.
        doubts: Why methods cannot be compared by this table until a question is answered, in clauses.
        names: Our columns to the table's own, where they differ.
    """

    roles: Mapping[str, Role] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def table(self) -> Table:
        """Columns and their roles, as a table for the terminal."""
        from rich.table import Table  # noqa: PLC0415 - only where it is shown

        shown = Table("column", "read from", "role", title="How the table was read", title_justify="left")
        for column, role in self.roles.items():
            shown.add_row(column, self.names.get(column, ""), role)
        return shown

    def __rich__(self) -> Any:
        """The table, the rows left out and the notes."""
        from rich.console import Group  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        left = [Text(f"left out: {many} rows with {reason}") for reason, many in self.left_out.items()]
        return Group(self.table(), *left, *(Text(f"note: {note}") for note in self.notes))

    def _repr_html_(self) -> str:
        """The same for Jupyter."""
        from html import escape  # noqa: PLC0415

        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(self.names.get(name, ''))}</td><td>{role}</td></tr>"
            for name, role in self.roles.items()
        )
        left = "".join(f"<li>left out: {n} rows with {escape(why)}</li>" for why, n in self.left_out.items())
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        head = "<tr><th>column</th><th>read from</th><th>role</th></tr>"
        return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table><ul>{left}{notes}</ul>"


@dataclass(frozen=True)
class RawTable:
    """A table as its source gave it.

    Attributes:
        frame: Cells as they are; those of text files are text.
        origin: Its name, for messages.
        first_row: The number of its first row in the source.
        folder: Where a mapping file may lie; None where the source is no file.
        notes: What was noticed on the way, in sentences.
        questions: What the source does not say of some rows, by our column: without an answer (``--set``,
            ``--column``) there is no advice.
    """

    frame: pl.DataFrame
    origin: str
    first_row: int = 1
    folder: Path | None = None
    notes: tuple[str, ...] = ()
    questions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunsRead:
    """Runs that count, all rows, and what they are measured by."""

    frame: pl.DataFrame
    every_row: pl.DataFrame
    outcome: Outcome
    reading: Reading
