"""Rows that repeat the header: tables that were put one below the other with theirs."""

from __future__ import annotations

import polars as pl

_FEWEST = 2
"""A row of fewer cells than this may hold a column's name by chance."""


def without_headers(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows that do not repeat the header, and how many are left out, by reason.

    Args:
        frame: A table, its cells as they stand.

    Example:
        >>> without_headers(pl.DataFrame({"method": ["full", "method"], "loss": ["1.5", " loss"]}))[1]
        {'the words of the header, which they repeat': 1}
    """
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    if len(texts) < _FEWEST:
        return frame, {}
    same = [pl.col(name).str.strip_chars() == name for name in texts]
    again = pl.all_horizontal(one.fill_null(True) for one in same)
    again &= pl.sum_horizontal(one.fill_null(False).cast(pl.Int64) for one in same) >= _FEWEST
    lost = frame.select(again.alias("again"))["again"]
    many = int(lost.sum())
    return (
        (frame.filter(~lost), {"the words of the header, which they repeat": many}) if many else (frame, {})
    )
