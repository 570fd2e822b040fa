"""Tables in text that are no CSV yet: Markdown, drawn with lines, aligned by blanks, below a title."""

from __future__ import annotations

import csv
import io
import re

_RULE = re.compile(r"[^\w,;\t]*[-=─━═]{2,}[^\w,;\t]*")
"""A line that is drawn: below the header of a Markdown table, around the rows of others."""
_BAR = r"[|│┃┆]"
TITLE_LINES = 12
"""A title has fewer lines than this."""


def as_csv(text: str, separators: tuple[str, ...]) -> tuple[str, int]:
    r"""The text of a table as CSV, and how many lines were taken away above its first row.

    What is CSV comes back as it is; a table that is neither is left for the reader of CSV to refuse.

    Args:
        text: The text of a file.
        separators: What may separate cells.

    Example:
        >>> as_csv("| method | loss |\n|---|---|\n| full | 1.5 |\n", (",",))
        ('method,loss\nfull,1.5\n', 1)
        >>> as_csv("Results,,\nmethod,n,loss\nfull,1,2.5\n", (",",))
        ('method,n,loss\nfull,1,2.5\n', 1)
    """
    head = text.split("\n", TITLE_LINES)[:TITLE_LINES]
    if any(re.search(_BAR, line) for line in head) and any(map(_RULE.fullmatch, head)):
        return _drawn(text)
    if not any(mark in line for line in head for mark in separators):
        return _aligned(text)
    return _below_title(text, head, separators)


def _drawn(text: str) -> tuple[str, int]:
    """Rows between bars; lines above the first row and drawn ones are taken away."""
    lines = text.replace("\r\n", "\n").split("\n")
    rows = [
        (at, re.split(rf"(?<!\\){_BAR}", re.sub(rf"^{_BAR}|(?<!\\){_BAR}$", "", line.strip())))
        for at, line in enumerate(lines)
        if re.search(_BAR, line) and not _RULE.fullmatch(line)
    ]
    if len(rows) < 2:
        return text, 0
    cells = [[cell.strip().replace("\\|", "|") for cell in row] for _, row in rows]
    return _written(cells), rows[1][0] - 1


def _aligned(text: str) -> tuple[str, int]:
    """Cells apart by blanks, as data frames are printed; an index in front of the rows is left out."""
    lines = [(at, line.strip()) for at, line in enumerate(text.split("\n")) if line.strip()]
    lines = [(at, line) for at, line in lines if not _RULE.fullmatch(line)]
    if len(lines) < 2:
        return text, 0
    for apart in (r"\s{2,}", r"\s+"):
        cells = [re.split(apart, line) for _, line in lines]
        width = len(cells[0])
        if width < 2:
            continue
        if all(len(row) == width for row in cells[1:]):
            return _written(cells), lines[1][0] - 1
        if all(len(row) == width + 1 for row in cells[1:]):
            return _written([cells[0], *(row[1:] for row in cells[1:])]), lines[1][0] - 1
    return text, 0


def _below_title(text: str, head: list[str], separators: tuple[str, ...]) -> tuple[str, int]:
    """The table without lines above its header that fill half of its columns at most."""
    first = next(line for line in head if any(mark in line for mark in separators))
    separator = max(separators, key=first.count)  # cells below may have decimal commas
    try:
        filled = [
            sum(bool(cell.strip()) for cell in next(csv.reader([line], delimiter=separator), []))
            for line in head
        ]
    except csv.Error:
        return text, 0
    most = max(filled)
    above = next((at for at, many in enumerate(filled) if 2 * many > most), 0)
    if above == 0 or most < 3 or any('"' in line for line in head[:above]):
        return text, 0
    return text.split("\n", above)[above], above


def _written(cells: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(cells)
    return out.getvalue()
