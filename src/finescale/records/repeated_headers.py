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
    lost = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    words = pl.repeat(0, frame.height, dtype=pl.Int64, eager=True)
    for name in texts:  # no expressions: `*` would be all columns
        same = frame[name].str.strip_chars() == name
        lost, words = lost & same.fill_null(True), words + same.fill_null(False).cast(pl.Int64)
        if not lost.any():
            return frame, {}
    lost &= words >= _FEWEST
    many = int(lost.sum())
    return (
        (frame.filter(~lost), {"the words of the header, which they repeat": many}) if many else (frame, {})
    )
