"""A table in a spreadsheet: which of its sheets is read, and where the table begins in it."""

from __future__ import annotations

import io

import polars as pl

from finescale.errors import UsageError
from finescale.records.text_tables import TITLE_LINES
from finescale.wording import listed


def read_spreadsheet(raw: bytes, name: str) -> tuple[pl.DataFrame, int, tuple[str, ...]]:
    """The first sheet that holds a table, read by the package that the extra ``excel`` installs.

    Rows above the header that fill half of its columns at most are a title.

    Args:
        raw: The file.
        name: Its name, for messages.

    Returns:
        The table, the number of its first row, and a note where other sheets hold tables too.

    Raises:
        UsageError: The package is not installed.
    """
    sheet, notes = _sheet(raw, name)
    table = pl.read_excel(io.BytesIO(raw), sheet_name=sheet, engine="calamine", drop_empty_rows=False)
    unnamed = sum(column.startswith("__UNNAMED__") for column in table.columns)
    if 2 * unnamed < table.width:
        return table, 2, notes
    filled = pl.Series(table.head(TITLE_LINES).select(pl.sum_horizontal(pl.all().is_not_null())).to_series())
    above = next((at + 1 for at, many in enumerate(filled) if 2 * many > table.width), 0)
    below = pl.read_excel(
        io.BytesIO(raw), sheet_name=sheet, engine="calamine", read_options={"header_row": above}
    )
    return below, 2 + above, notes


def _sheet(raw: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    """The sheet that is read, and a note where there is a choice."""
    try:
        import fastexcel  # noqa: PLC0415 - only where a spreadsheet is read
    except ModuleNotFoundError:
        raise UsageError(
            "reading spreadsheets takes a package that is not installed",
            wanted="fastexcel",
            remedy="pip install 'finescale[excel]', or save the sheet as CSV",
            where=name,
        ) from None
    book = fastexcel.read_excel(raw)
    sheets = [book.load_sheet(at) for at in range(len(book.sheet_names))] if len(book.sheet_names) > 1 else []
    tables = [one.name for one in sheets if one.width > 1 and one.height > 0 and one.visible == "visible"]
    chosen = next(iter(tables), book.sheet_names[0])
    others = [f"`{one}`" for one in tables if one != chosen]
    if not others and chosen == book.sheet_names[0]:
        return chosen, ()
    more = f"; {listed(others)} {'have' if len(others) > 1 else 'has'} rows too" if others else ""
    remedy = " (save a sheet as a file of its own to read it)" if others else ""
    return chosen, (f"Of the sheets of {name}, `{chosen}` is read{more}{remedy}.",)
