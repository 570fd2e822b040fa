"""Numbers as people write them: 7B, 1k, 1,000, 1.000,5, 36.8%, NaN, a dash; and which cells are none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from finescale.errors import UsageError

Decimal = Literal["point", "comma"]
BLANK = ("", "-", "--", "—", "–", "na", "n/a", "#n/a", "null", "none", "nil", "<na>", "?", "missing")
"""Cells that are as good as blank, in lower case: merged ones, where the column shows that."""
EMPTY = (*BLANK, "n.a.", "n.a", "unknown", "tbd", "tba", "not available", "not applicable", "not reported")
"""Cells that say nothing, in lower case."""
TRUE, FALSE = ("true", "1", "yes", "1.0", "y", "t", "on"), ("false", "0", "no", "0.0", "n", "f", "off")
"""Cells that say yes or no, in lower case."""
NOT_FINITE = (
    "nan",
    "inf",
    "+inf",
    "-inf",
    "infinity",
    "-infinity",
    "+infinity",
    "#num!",
    "#div/0!",
    "overflow",
)
"""Cells that say that a computation came to nothing."""
SUFFIXES = {
    "k": 1e3, "thousand": 1e3, "m": 1e6, "mn": 1e6, "mio": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9, "g": 1e9,
    "billion": 1e9, "t": 1e12, "tn": 1e12, "trillion": 1e12,
}  # fmt: skip

_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?P<digits>\d[\d.,'_\u00a0\u202f ]*|\.\d+)(?P<exponent>[eE][+-]?\d+)?"
    r"\s*(?P<suffix>[A-Za-z]+?)??\s*(?:params?|parameters|examples|samples|tokens)?\s*(?P<percent>%)?"
)
_SURE_US = re.compile(r"\d{1,3}(,\d{3}){2,}(\.\d*)?|\d{1,3}(,\d{3})+\.\d*|\d*\.\d+|\d+\.")
_SURE_EU = re.compile(r"\d{1,3}(\.\d{3}){2,}(,\d*)?|\d{1,3}(\.\d{3})+,\d*|\d*,\d+|\d+,")
_POINTED = r"^[+-]?[1-9]\d{0,2}\.\d{3}$"
"""A thousand, or one with three decimals."""
_ONE_POINT = re.compile(r"[1-9]\d{0,2}\.\d{3}")
_ONE_COMMA = re.compile(r"[1-9]\d{0,2},\d{3}")


@dataclass(frozen=True)
class Numbers:
    """A column of text, read as numbers.

    Attributes:
        values: The numbers; null for empty cells and for those that cannot be read; NaN and infinity stay.
        bad: Which cells hold something that is no number.
        percent: Which cells had a percent sign.
        question: Set where the column can be read in two ways: an example cell.
        note: What was recognised, in a sentence; empty where numbers stood as numbers.
    """

    values: pl.Series
    bad: pl.Series
    percent: pl.Series
    question: str = ""
    note: str = ""


def number(text: str, where: str, *, whole: bool = False, wanted: str = "e.g. 7e9, 7B or 50k") -> float:
    """One number of a command line, read as in tables.

    Args:
        text: The number.
        where: The option.
        whole: Whether it counts something, so that ``1.000`` may be a thousand.
        wanted: What would be right.

    Example:
        >>> number("50k", "--examples"), number("1,000", "--examples", whole=True)
        (50000.0, 1000.0)

    Raises:
        UsageError: It is none, or could be two.
    """
    made = read_numbers(pl.Series([text]), whole=whole)
    if made.question:
        remedy = f"write {text.replace('.', '').replace(',', '')} or {text.replace(',', '.')}0"
        raise UsageError("a number that can be read in two ways", got=text, remedy=remedy, where=where)
    value = made.values[0]
    if value is None or made.bad[0] or made.percent[0]:
        raise UsageError("not a number", wanted=wanted, got=text, where=where)
    return float(value)


def share(text: str, where: str) -> float:
    """A share of a command line: ``0.95`` or ``95%``.

    Args:
        text: The share.
        where: The option.

    Raises:
        UsageError: It is no number.
    """
    plain = text.strip()
    scale = 0.01 if plain.endswith("%") else 1.0
    return number(plain.removesuffix("%"), where, wanted="e.g. 0.95 or 95%") * scale


def rules() -> dict[str, Any]:
    """What `number` reads by, for the report's script: patterns of whole texts, and what suffixes mean."""
    patterns = {"number": _NUMBER, "us": _SURE_US, "eu": _SURE_EU, "point": _ONE_POINT, "comma": _ONE_COMMA}
    plain = {name: pattern.pattern.replace("(?P<", "(?<") for name, pattern in patterns.items()}
    return {**plain, "pointed": _POINTED, "suffixes": SUFFIXES}


def read_numbers(
    text: pl.Series, *, whole: bool, decimal: Decimal | None = None, table: frozenset[str] = frozenset()
) -> Numbers:
    """Reads a column of texts.

    Args:
        text: The cells.
        whole: Whether the column counts something, so that ``1.000`` may be a thousand.
        decimal: How ``1.000`` and ``1,000`` are to be read; None: as the column itself shows.
        table: The ways of writing that other columns of the table show, as ``styles`` tells them.

    Returns:
        The numbers, and what could not be read.
    """
    stripped = text.str.strip_chars()
    plain = stripped.cast(pl.Float64, strict=False)
    never = pl.repeat(False, text.len(), dtype=pl.Boolean, eager=True)
    strange = stripped.filter(plain.is_null()).drop_nulls().unique(maintain_order=True).to_list()
    if not strange and not (whole and stripped.str.contains(_POINTED).any()):
        return Numbers(plain, never, never)
    own, doubtful = _styles(stripped, strange, whole=whole)
    chosen = _decimal(own, table, doubtful, whole=whole, asked=decimal)
    if chosen is None:
        return Numbers(plain, never, never, question=doubtful or _example(strange))
    dotted = stripped.filter(stripped.str.contains(".", literal=True)) if chosen == "comma" else []
    cells = [*dict.fromkeys([*strange, *dotted])]
    read = {cell: _read(cell, chosen) for cell in cells}
    made = stripped.replace_strict(
        {cell: got[0] for cell, got in read.items() if got}, default=None, return_dtype=pl.Float64
    )
    values = made.zip_with(made.is_not_null(), plain)
    lower = stripped.str.to_lowercase()
    lost = lower.str.strip_chars("% ").is_in(NOT_FINITE).fill_null(False)
    values = values.zip_with(~(lost & values.is_null()), _nan(text.len()))
    percent = stripped.is_in([cell for cell, got in read.items() if got and got[1]]).fill_null(False)
    bad = values.is_null() & stripped.is_not_null() & ~lower.is_in(EMPTY).fill_null(True)
    return Numbers(values, bad, percent, note=_note(read, chosen))


_N = r"[+-]?[\d.,]*\d(?:[eE][+-]?\d+)?"
_SIGN = r"(?:±|\+/?-|\\pm)"
_ERROR = (
    rf"^\s*\$?\s*(?P<value>{_N})\s*(?P<percent>\\?%)?\s*"
    rf"(?:{_SIGN}\s*{_N}|_?\{{\s*{_SIGN}?\s*{_N}\s*\}}|\(\s*{_SIGN}?\s*{_N}\s*\\?%?\s*\)|\[\s*{_N}\s*[,;]\s*{_N}\s*\])"
    r"\s*(?P<unit>\\?%)?\s*\$?\s*$"
)
r"""A number and how sure it is: 1.83 ± 0.02, 1.83 (0.02), 1.83_{\pm 0.02}, 1.83 [1.80, 1.86]."""


def without_errors(text: pl.Series) -> tuple[pl.Series, int]:
    """Cells that say how sure their number is, without that; and how many they were.

    Example:
        >>> cells, many = without_errors(pl.Series(["1.83 ± 0.02", "1.9", "81.2 ± 0.3%"]))
        >>> cells.to_list(), many
        (['1.83', '1.9', '81.2%'], 2)
    """
    if not text.str.contains_any(["±", "+-", "+/-", "\\pm", "(", "[", "{"]).any():
        return text, 0
    value = text.str.extract(_ERROR, 1)
    many = int(value.is_not_null().sum())
    if not many:
        return text, 0
    percent = text.str.extract(_ERROR, 2).is_not_null() | text.str.extract(_ERROR, 3).is_not_null()
    value = (value + "%").zip_with(percent, value)
    return value.zip_with(value.is_not_null(), text).alias(text.name), many


def styles(text: pl.Series) -> frozenset[str]:
    """Which ways of writing numbers a column shows beyond doubt: ``us`` (1,000.5), ``eu`` (1.000,5)."""
    stripped = text.str.strip_chars()
    strange = stripped.filter(stripped.cast(pl.Float64, strict=False).is_null()).drop_nulls().unique()
    return _styles(stripped, strange.to_list(), whole=False)[0]


def _styles(stripped: pl.Series, strange: list[str], *, whole: bool) -> tuple[frozenset[str], str]:
    """The ways of writing that are beyond doubt, and a cell that could be read in two ways."""
    found = {cell: _style(cell, whole=whole) for cell in strange}
    sure = {style for style in found.values() if style in ("us", "eu")}
    if stripped.filter(~stripped.str.contains(_POINTED)).str.contains(r"^[+-]?\d*\.\d+$").any():
        sure.add("us")
    pointed = stripped.filter(stripped.str.contains(_POINTED)).head(1).to_list()
    doubtful = [cell for cell, style in found.items() if style in ("point?", "comma?")]
    return frozenset(sure), next(iter(pointed + doubtful), "")


def _decimal(
    own: frozenset[str], table: frozenset[str], doubtful: str, *, whole: bool, asked: Decimal | None
) -> Decimal | None:
    """The decimal mark of a column; None where it is a question."""
    if len(own) == 2:
        return None
    if own:
        return "comma" if "eu" in own else "point"
    if asked or not doubtful:
        return asked or "point"
    if whole == ("." in doubtful):  # counts as 1.000, or losses as 1,862: only a table of commas is that sure
        return "comma" if table == {"eu"} else None
    return "point" if "eu" not in table else None


def _example(cells: list[str]) -> str:
    return next((cell for cell in cells if _style(cell, whole=True) == "eu"), cells[0])


def _nan(length: int) -> pl.Series:
    return pl.repeat(float("nan"), length, dtype=pl.Float64, eager=True)


def _style(cell: str, *, whole: bool) -> str | None:
    """Which way of writing a cell shows: ``us``, ``eu``, doubtful (``point?``, ``comma?``), or none."""
    match = _NUMBER.fullmatch(cell.strip())
    if match is None:
        return None
    digits = match["digits"].strip()
    if match["exponent"]:  # one digit stands before the mark: 1,300E+09
        return "eu" if re.fullmatch(r"\d,\d+", digits) else "us" if "." in digits else None
    if _ONE_POINT.fullmatch(digits):
        return "us" if match["suffix"] else "point?"
    if _ONE_COMMA.fullmatch(digits):
        return "comma?"
    if _SURE_US.fullmatch(digits):
        return "us"
    return "eu" if _SURE_EU.fullmatch(digits) else None


def _read(cell: str, decimal: Decimal) -> tuple[float, bool] | None:
    """A cell's number, and whether it is a percentage; None where it is no number."""
    match = _NUMBER.fullmatch(cell)
    if match is None:
        return None
    digits = re.sub(r"[_'\u00a0\u202f ]", "", match["digits"])
    mark, group = (",", ".") if decimal == "comma" else (".", ",")
    whole, _, part = digits.partition(mark)
    if group in part or mark in part or (group in whole and not _is_grouped(whole, group)):
        return None
    suffix = (match["suffix"] or "").casefold()
    if suffix and suffix not in SUFFIXES:
        return None
    value = float(f"{match['sign']}{whole.replace(group, '') or '0'}.{part or '0'}{match['exponent'] or ''}")
    return round(value * SUFFIXES[suffix], 6) if suffix else value, match["percent"] is not None


def _is_grouped(whole: str, group: str) -> bool:
    first, *rest = whole.split(group)
    return 0 < len(first) <= 3 and all(len(part) == 3 for part in rest)


def _note(read: Mapping[str, tuple[float, bool] | None], decimal: Decimal) -> str:
    """That dots were read as thousands or commas as decimal, by an example."""
    if decimal == "comma":
        for cell, got in read.items():
            if got is not None and ("," in cell or "." in cell):
                return f"commas are decimal and dots group thousands: {cell} is {got[0]:.10g}"
    return ""
