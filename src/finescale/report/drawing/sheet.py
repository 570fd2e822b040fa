"""A table of the report: raw numbers for CSV, worded cells for the page and the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from finescale.report.evidence import Evidence

Row = Mapping[str, Any]


@dataclass(frozen=True)
class SheetColumn:
    """A column as readers see it.

    Attributes:
        heading: Its heading, with the unit.
        cell: Makes the cell's text from a row.
        numeric: Set flush right.
    """

    heading: str
    cell: Callable[[Row], str]
    numeric: bool = True


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        name: Name of its CSV file, without the ending.
        title: One line above it.
        rows: The rows: plain values by column name, at full precision.
        shown: The columns as readers see them.
        notes: Sentences below it.
    """

    name: str
    title: str
    rows: Sequence[Row]
    shown: Sequence[SheetColumn]
    notes: tuple[str, ...] = ()

    @property
    def frame(self) -> pl.DataFrame:
        """The raw values."""
        return pl.DataFrame(list(self.rows), infer_schema_length=None)

    def cells(self) -> list[list[str]]:
        """The worded cells, row by row."""
        return [[column.cell(row) for column in self.shown] for row in self.rows]

    def latex(self) -> str:
        """The worded cells as a LaTeX table (package booktabs)."""
        look = "".join("r" if column.numeric else "l" for column in self.shown)
        head = " & ".join(_tex(column.heading) for column in self.shown)
        body = [" & ".join(map(_tex, cells)) + r" \\" for cells in self.cells()]
        rows = [
            rf"\begin{{tabular}}{{{look}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
        ]
        return "\n".join([f"% {' '.join(self.title.split())}", *rows, r"\end{tabular}", ""])

    def terminal(self, width: int) -> Table | Text:
        """The table for a terminal of so many characters."""
        from finescale.cells import Cells  # noqa: PLC0415 - rich only where something is shown

        columns = [(shown, [shown.cell(row) for row in self.rows]) for shown in self.shown]
        words = {shown.heading: cells for shown, cells in columns if not shown.numeric}
        numbers = {shown.heading: cells for shown, cells in columns if shown.numeric}
        return Cells(self.title, words, numbers).within(width)


_TEX = {c: rf"\{c}" for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {"\\": r"\textbackslash{}", "<": r"\textless{}", ">": r"\textgreater{}", "\n": " "}


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in text)


def plain(heading: str, key: str) -> SheetColumn:
    """A column of text."""
    return SheetColumn(heading, lambda row: "-" if row.get(key) is None else str(row[key]), numeric=False)


def column(heading: str, key: str, word: Callable[[Any], str]) -> SheetColumn:
    """A column of numbers in the words of ``word``."""
    return SheetColumn(heading, lambda row: "-" if row.get(key) is None else word(row[key]))


def task_column(evidence: Evidence) -> list[SheetColumn]:
    """The column of tasks, where the records have several."""
    return [plain("task", "task")] if evidence.records.every_row["task"].n_unique() > 1 else []
