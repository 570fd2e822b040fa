"""Scores of which some cells have a percent sign and others do not: one scale, where that is clear."""

from __future__ import annotations

import polars as pl

from finescale.errors import UsageError
from finescale.records.typed import SOURCE_ROW


def in_percent(
    frame: pl.DataFrame, every_row: pl.DataFrame, column: str, signed: pl.Series, origin: str
) -> tuple[pl.DataFrame, pl.DataFrame, str]:
    """Fractions beside percentages as percentages: 0.533 beside 53.3% is 53.3.

    Args:
        frame: The rows that count.
        every_row: All rows.
        column: The score, its percentages without their signs.
        signed: The numbers of the rows whose cell has a percent sign.
        origin: The table.

    Returns:
        Both tables, and a note; empty where there was nothing to do.

    Raises:
        UsageError: Cells without a sign may be either.
    """
    values, with_sign = frame[column], frame[SOURCE_ROW].is_in(signed.implode())
    counts = (values.is_finite() & (values != 0)).fill_null(False)
    small = (values.abs() <= 1).fill_null(False)
    fractions = counts & small & ~with_sign
    if not fractions.any():
        return frame, every_row, ""
    at = fractions.arg_max() or 0
    tiny, large = counts & small & with_sign, counts & ~small & ~with_sign
    if tiny.any() or large.any():
        other = f"{values[(tiny if tiny.any() else large).arg_max() or 0]:g}{'%' if tiny.any() else ''}"
        raise UsageError(
            f"{column} on two scales",
            wanted="percent signs in all cells or in none",
            got=f"{values[at]:g} and {other} beside cells with percent signs, in {fractions.sum()} rows",
            remedy="write a sign behind each percentage; or, if all are percentages: --unit percent",
            where=f"{origin}, row {frame[SOURCE_ROW][at]}, column {column}",
        )
    hundred = (pl.col(column) * 100).round_sig_figs(12)
    plain = ~pl.col(SOURCE_ROW).is_in(signed.implode()) & (pl.col(column).abs() <= 1)
    made = pl.when(plain).then(hundred).otherwise(pl.col(column)).alias(column)
    note = (
        f"{fractions.sum()} cells of `{column}` are fractions beside percentages: "
        f"{values[at]:g} is {values[at] * 100:.10g}%."
    )
    return frame.with_columns(made), every_row.with_columns(made), note
