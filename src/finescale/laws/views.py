"""Fitted laws and predictions as tables: for a terminal (rich) and for notebooks (HTML)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape as plain
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from finescale.laws.fitted import FittedLaw, Prediction

if TYPE_CHECKING:
    import polars as pl

_PREDICTED = "predicted loss, nats per target token"
_MOST_ROWS = 30
"""A notebook shows so many rows of predictions."""


def number(value: float, digits: int = 3) -> str:
    """A number for a table; a dash where there is none."""
    return f"{value:.{digits}g}" if np.isfinite(value) else "-"


def interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """A value with its interval, e.g. ``0.52 [0.48, 0.57]``."""
    if not np.isfinite(low):
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


_WORD = 20
"""A column of words is not made narrower than its longest word, or than this."""
_JOINED = "\N{UNIT SEPARATOR}"
"""Stands for a space where no line is broken."""


def column_widths(cells: Sequence[Sequence[str]], width: int | None) -> list[int | None] | None:
    """How wide a table's columns are when only headings and the first column are broken, at spaces.

    Args:
        cells: The headings, and the rows.
        width: Characters that there are; None: any number.

    Returns:
        Characters, or None for a column that is as wide as it comes; nothing at all where they do not fit.
    """
    whole, narrow = [], []
    for at, column in enumerate(zip(*cells, strict=True)):
        breaking = column if at == 0 else column[:1]
        rest = column[len(breaking) :]
        words = [word for text in breaking for word in text.split()]
        whole.append(max(map(cell_len, column)))
        narrow.append(max(map(cell_len, (*words, *rest)), default=0))
    borders = 3 * len(whole) + 1
    if width is None or sum(whole) + borders <= width:
        return [None for _ in whole]
    return [None, *narrow[1:]] if sum(narrow) + borders <= width else None


@dataclass(frozen=True)
class Cells:
    """What a table shows; columns of words are told in its title where they are the same in every row.

    Attributes:
        title: What the numbers are, with their unit.
        words: Columns that say what a row is.
        numbers: Columns of numbers.
    """

    title: str
    words: Mapping[str, list[str]]
    numbers: Mapping[str, list[str]]

    def table(self) -> Table:
        """The table for a terminal."""
        first, shown = self._shared()
        table = Table(title=escape(self._title(first)), title_justify="left", header_style="bold")
        for name in (*shown, *self.numbers):
            left = name not in self.numbers
            longest = max(len(word) for text in (name, *shown.get(name, ())) for word in text.split() or [""])
            least = min(longest, _WORD) if left else None
            justify = "left" if left else "right"
            table.add_column(escape(name), justify=justify, overflow="fold", min_width=least)
        for row in self._rows(shown):
            table.add_row(*map(escape, row))
        return table

    def widths(self, width: int) -> list[int | None] | None:
        """How wide the table's columns are, as `column_widths` has them."""
        _, shown = self._shared()
        return column_widths([(*shown, *self.numbers), *self._rows(shown)], width)

    def within(self, width: int) -> Table | Text:
        """The table; lines of text instead where it would have to break numbers to be so narrow."""
        fixed = self.widths(width)
        if fixed is not None:
            table = self.table()
            for column, characters in zip(table.columns, fixed, strict=True):
                column.width = characters
            return table
        first, shown = self._shared()
        wrap = textwrap.TextWrapper(
            width, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
        lines = [Text(self._title(first), style="italic")]
        for row in self._rows(shown):
            words = [f"{name} {cell}" for name, cell in zip(shown, row, strict=False) if cell]
            lines.append(Text(", ".join(words), style="bold"))
            told = [
                _unbroken(name, cell, width - 2)
                for name, cell in zip(self.numbers, row[len(shown) :], strict=True)
                if cell
            ]
            lines += [Text(line.replace(_JOINED, " ")) for line in wrap.wrap("  ".join(told))]
        return Text("\n").join(lines)

    def _title(self, first: str) -> str:
        return f"{first}\n{self.title}" if first else self.title

    def html(self) -> str:
        """The table for a notebook; every text is escaped."""
        first, shown = self._shared()
        head = "".join(f"<th>{plain(name)}</th>" for name in (*shown, *self.numbers))
        rows = "".join(
            "<tr>" + "".join(f"<td>{plain(cell)}</td>" for cell in row) + "</tr>" for row in self._rows(shown)
        )
        caption = "<br>".join(plain(line) for line in (first, self.title) if line)
        return f"<p>{caption}</p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def _shared(self) -> tuple[str, dict[str, list[str]]]:
        """What all rows share, in words; and the columns that differ."""
        same = {n: cells[0] for n, cells in self.words.items() if len(cells) > 1 and len(set(cells)) == 1}
        shown = {name: cells for name, cells in self.words.items() if name not in same}
        return ", ".join(f"{name} {cell}" for name, cell in same.items() if cell != "-"), shown

    def _rows(self, shown: Mapping[str, list[str]]) -> Iterator[tuple[str, ...]]:
        return zip(*shown.values(), *self.numbers.values(), strict=True)


def _unbroken(name: str, cell: str, width: int) -> str:
    """A heading and its cell as one word; where that is longer than a line, the cell alone as one."""
    whole = f"{name} {cell}".replace(" ", _JOINED)
    return whole if len(whole) <= width else f"{name} {cell.replace(' ', _JOINED)}"


def law_cells(laws: Sequence[FittedLaw]) -> Cells:
    """One row a law: its group, parameters with intervals, fitted and held-out deviation."""
    level = f"{100 * laws[0].level:g}% intervals" if laws and laws[0].draws else "no intervals"
    words = {name: [_cell(law.by.get(name)) for law in laws] for name in _groups(laws)}
    words["over"] = [", ".join(law.factors) or "-" for law in laws]
    words["law"] = [law.law for law in laws]
    numbers: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for law in laws for name in law.parameters):
        found = [law.parameters.get(name) for law in laws]
        numbers[name] = [interval(one.value, one.low, one.high) if one else "" for one in found]
    numbers["settings"] = [str(law.n_fitted) for law in laws]
    numbers["off by"] = [number(law.delta_e, 2) for law in laws]
    if any(law.n_held_out for law in laws):
        numbers["held out"] = [str(law.n_held_out) for law in laws]
        numbers["held out off by"] = [number(law.delta_h, 2) for law in laws]
    return Cells(f"{level}; off by: mean absolute deviation, nats per target token", words, numbers)


def prediction_cells(laws: Sequence[FittedLaw], predictions: Sequence[Prediction]) -> Cells:
    """One row a law and question: the predicted loss with both intervals."""
    words = {name: [_cell(law.by.get(name)) for law in laws] for name in _groups(laws)}
    words["law"] = [law.law for law in laws]
    at = [{name: float(value) for name, value in one.at.items()} for one in predictions]
    for name in dict.fromkeys(name for one in at for name in one):
        words[name] = [number(one[name], 6) if name in one else "-" for one in at]
    numbers = {
        "mean": [number(float(one.value), 5) for one in predictions],
        "interval of the mean": [_range(one.low, one.high) for one in predictions],
        "interval of a new run": [_range(one.run_low, one.run_high) for one in predictions],
    }
    return Cells(_PREDICTED, words, numbers)


def comparison_cells(table: pl.DataFrame) -> Cells:
    """Table 6 for the user's data: mean absolute deviations by task, method, factor and law."""
    titles = {"n_fitted": "settings", "delta_e": "off by", "n_held_out": "held out"}
    titles |= {"delta_h": "held out off by", "n_common": "in common", "delta_h_common": "in common off by"}
    if table["n_common"].equals(table["n_held_out"]):
        table = table.drop("n_common", "delta_h_common")
    columns = {
        titles.get(name, name): [
            "-" if v is None else number(v, 3) if isinstance(v, float) else str(v) for v in table[name]
        ]
        for name in table.columns
    }
    words = {name: columns.pop(name) for name in list(columns) if name not in titles.values()}
    return Cells("off by: mean absolute deviation, nats per target token", words, columns)


def backtest_cells(scores: pl.DataFrame) -> Cells:
    """The laws of each task, best first, with their mean error on hidden data sizes."""
    rows = scores.to_dicts()
    words = {name: [str(row[name]) for row in rows] for name in ("task", "law")}
    errors = [f"{number(row['error'])} ± {number(row['standard_error'] or np.nan, 2)}" for row in rows]
    numbers = {"mean error": errors, "predictions": [str(row["cells"]) for row in rows]}
    return Cells("backtest: error on hidden larger data sizes, nats", words, numbers)


def _groups(laws: Sequence[FittedLaw]) -> list[str]:
    return list(dict.fromkeys(name for law in laws for name in law.by))


def _range(low: Any, high: Any) -> str:
    return f"{number(float(low), 5)} to {number(float(high), 5)}"


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def prediction_html(found: Prediction) -> str:
    """Predictions for a notebook, the first of them where there are many; every text is escaped."""
    columns = [np.ravel(np.asarray(values, dtype=float)) for values in found.at.values()]
    words = {
        name: [number(value, 6) for value in values[:_MOST_ROWS]]
        for name, values in zip(found.at, columns, strict=True)
    }
    ends = {
        "interval of the mean": (found.low, found.high),
        "interval of a new run": (found.run_low, found.run_high),
    }
    value = np.ravel(found.value)
    numbers = {"mean": [number(float(one), 5) for one in value[:_MOST_ROWS]]}
    for name, (low, high) in ends.items():
        if np.isfinite(low).any():
            pairs = zip(np.ravel(low)[:_MOST_ROWS], np.ravel(high)[:_MOST_ROWS], strict=True)
            numbers[name] = [_range(a, b) for a, b in pairs]
    lines = [f"look: {status}" for status in found.status]
    lines += [f"{value.size - _MOST_ROWS:,} more predictions"] if value.size > _MOST_ROWS else []
    return Cells(_PREDICTED, words, numbers).html() + bullets(lines)


def bullets(lines: Sequence[str]) -> str:
    """An HTML list; nothing without lines."""
    items = "".join(f"<li>{plain(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def notebook(laws: Sequence[FittedLaw], notes: Sequence[str] = ()) -> str:
    """Laws with their troubles and notes, as HTML."""
    found = dict.fromkeys(status for law in laws for status in law.status)
    lines = [f"look: {status}" for status in found] + [f"note: {note}" for note in notes]
    return law_cells(laws).html() + bullets(lines)
