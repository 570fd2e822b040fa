"""Cells that say their unit: 80 min, 1:20:00 or 2h 30m in a column of seconds, 24 GB in one of bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from finescale.records.columns import BY_NAME

_SECONDS = {
    "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "m": 60.0, "min": 60.0, "minute": 60.0,
    "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0,
}  # fmt: skip
_BYTES = {
    f"{prefix}{end}": base**power
    for power, prefix in enumerate(("", "k", "m", "g", "t"))
    for end, base in (("b", 1000.0), ("byte", 1000.0), ("ib", 1024.0))
    if prefix or end == "byte"
}
_STEPS: dict[str, float] = dict.fromkeys(("step", "update", "iteration", "iter", "optimizer step"), 1.0)
_UNITS: Mapping[str, Mapping[str, float]] = {"seconds": _SECONDS, "bytes": _BYTES, "steps": _STEPS}
"""What a column counts, and the words for its multiples."""
_PART = re.compile(r"\s*(\d+(?:[.,]\d+)?)\s*([a-z]+(?: step)?)\.?\s*")
_CLOCK = re.compile(r"(?:(\d+)\s*(?:-|d|days?,?)\s*)?(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")


def without_units(cells: pl.Series, column: str) -> tuple[pl.Series, str]:
    """The cells with plain numbers where they say their unit, and one of these.

    Args:
        cells: Texts.
        column: A documented column; one that counts neither time, memory nor steps comes back as it is.

    Example:
        >>> without_units(pl.Series(["80 min", "1:00:05", "7"]), "wall_seconds")[0].to_list()
        ['4800.0', '3605.0', '7']
    """
    units = _UNITS.get(BY_NAME[column].unit) if column in BY_NAME else None
    if units is None:
        return cells, ""
    strange = cells.filter(cells.str.contains(r"\d\s*[A-Za-z]|\d:")).unique(maintain_order=True).to_list()
    read = {cell: value for cell in strange if (value := _value(cell.strip().casefold(), units)) is not None}
    if not read:
        return cells, ""
    return cells.replace({cell: str(value) for cell, value in read.items()}), next(iter(read))


def _value(cell: str, units: Mapping[str, float]) -> float | None:
    """What a cell comes to; None where it has no unit, or one that is none of the column's."""
    clock = _CLOCK.fullmatch(cell) if units is _SECONDS else None
    if clock:
        days, hours, minutes, seconds = (float(part or 0) for part in clock.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    total, at = 0.0, 0
    for part in _PART.finditer(cell):
        times = units.get(part[2]) or units.get(part[2].removesuffix("s"))
        if part.start() != at or times is None:
            return None
        total, at = total + float(part[1].replace(",", ".")) * times, part.end()
    return total if at == len(cell) else None
