"""Texts of a CSV file that a spreadsheet would run as a formula, made harmless, and read back as they were.

A text that begins with = + - @ (or a tab or carriage return) gets an apostrophe before it, as spreadsheets
mark text; numbers never do. Reading takes one apostrophe off again.
"""

from __future__ import annotations

import polars as pl

_RUNS = r"^'*[=+\-@\t\r]"
_MARKED = r"^'('*[=+\-@\t\r])"


def csv_text(frame: pl.DataFrame) -> str:
    r"""A table as CSV with its texts defused.

    Example:
        >>> csv_text(pl.DataFrame({"model": ["=1+1", "-2", "nano"]}))
        "model\n'=1+1\n-2\nnano\n"
    """
    return frame.with_columns(
        pl.when(pl.col(name).str.contains(_RUNS) & pl.col(name).cast(pl.Float64, strict=False).is_null())
        .then(pl.lit("'") + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name, kind in frame.schema.items()
        if kind == pl.String
    ).write_csv()


def as_meant(table: pl.DataFrame) -> pl.DataFrame:
    """A table from a CSV file with the apostrophes of `csv_text` taken off."""
    return table.with_columns(pl.col(pl.String).str.replace(_MARKED, "${1}"))
