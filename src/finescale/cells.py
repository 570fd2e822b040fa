"""A table of words and numbers, for a terminal (rich), a notebook (HTML) and plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape as plain
from io import StringIO
from shutil import get_terminal_size

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

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
    """What a table shows; columns of words move to its title where they are the same in every row.

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


def bullets(lines: Sequence[str]) -> str:
    """An HTML list; nothing without lines."""
    items = "".join(f"<li>{plain(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def as_text(*parts: RenderableType | Cells, width: int | None = None) -> str:
    """What a terminal shows, as text without colours: what ``print`` writes of a result.

    Args:
        parts: Tables and sentences, one below the other; ``Cells`` as they fit into the width.
        width: Characters; None: the terminal's, or COLUMNS.
    """
    columns = width or get_terminal_size().columns
    # in a notebook a console shows what it prints, whatever its file
    console = Console(file=StringIO(), width=columns, color_system=None, force_jupyter=False)
    for part in (part.within(columns) if isinstance(part, Cells) else part for part in parts):
        console.print(part, markup=False, highlight=False, soft_wrap=isinstance(part, str))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in shown.splitlines())
