"""Columns get their types; every cell that cannot be read is told, all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

import polars as pl

from finescale.errors import UsageError
from finescale.records.cell_units import without_units
from finescale.records.columns import BY_NAME, DATA_SIZE, NUMERIC, WHOLE, Kind
from finescale.records.marks import plain_words, without_marks
from finescale.records.matching import Matched
from finescale.records.methods import canonical
from finescale.records.roles import role_by_name
from finescale.records.unit_names import multiplied, scaled
from finescale.records.values import (
    EMPTY,
    FALSE,
    TRUE,
    Decimal,
    Numbers,
    read_numbers,
    styles,
    without_errors,
)

SOURCE_ROW = "_source_row"
"""The column with the rows' numbers in the source, while a table is read."""
_OF_ADAPTERS = frozenset({"pet_size", "lora_alpha"})
"""Sizes that full tuning has none of: tables write 0 there, which is an empty cell."""
SHOWN = 20
"""So many places of bad cells are named."""


@dataclass(frozen=True)
class BadCells:
    """Cells of one column that cannot be right.

    Attributes:
        column: The column.
        rows: One boolean a row.
        wanted: What would have been right.
        remedy: What to do.
        values: The cells, to show them.
        theirs: The column's own name in the table, where it is another.
    """

    column: str
    rows: pl.Series
    wanted: str
    remedy: str
    values: pl.Series
    theirs: str = ""

    @property
    def shown(self) -> str:
        """The column as a message names it."""
        return f"{self.column} (`{self.theirs}`)" if self.theirs else self.column


@dataclass(frozen=True)
class Typed:
    """A table whose documented columns have their types.

    Attributes:
        frame: The table.
        bad: What could not be read, by column.
        percent: Columns whose cells had percent signs, and which of them.
        notes: What was recognised, in sentences.
    """

    frame: pl.DataFrame
    bad: tuple[BadCells, ...] = ()
    percent: Mapping[str, pl.Series] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def typed(raw: pl.DataFrame, kinds: Mapping[str, Kind], matched: Matched, origin: str) -> Typed:
    """Gives every column its type.

    Args:
        raw: The table, with its rows' numbers in ``SOURCE_ROW``.
        kinds: The kinds of documented columns, and of those that a command needs.
        matched: The columns under our names; in the outcome NaN and infinity are values.
        origin: The table, for messages.

    Raises:
        UsageError: Nested values where one is wanted; a column of numbers that can be read in two ways; a
            multiple of what is no number.
    """
    columns: list[pl.Series] = []
    bad: list[BadCells] = []
    percent: dict[str, pl.Series] = {}
    notes: list[str] = []
    shown: frozenset[str] | None = None
    ours = {theirs: mine for mine, theirs in matched.names.items()}
    for name in raw.columns:
        series, kind = raw[name], kinds.get(name)
        if name == SOURCE_ROW or kinds.get(ours.get(name, "")) in NUMERIC:
            continue
        if kind == "flag":
            values, wrong = _flags(series, name, origin)
            bad += [BadCells(name, wrong, "true or false", "", series)] if wrong.any() else []
        elif kind in NUMERIC and series.dtype != pl.String:
            values, wrong = _plain_numbers(series, name, origin)
            bad += [_no_number(name, wrong, series)] if wrong.any() else []
        elif kind in NUMERIC:
            plain, united = without_units(series, name)
            notes += [_unit_note(matched.names.get(name, name), united, series, plain)] if united else []
            series = _of_adapters(plain) if name in _OF_ADAPTERS else plain
            shown = (
                _table_styles(raw, kinds)
                if shown is None and series.str.contains(r"\d[.,]\d").any()
                else shown
            )
            sure, many = without_errors(series) if kind == "loss" else (series, 0)
            plain, marked = without_marks(sure)
            if marked:
                notes.append(_marks_note(matched.names.get(name, name), sure, plain, marked))
                sure, more = without_errors(plain) if kind == "loss" else (plain, 0)
                many += more
            if many:
                notes.append(_error_note(matched.names.get(name, name), series, sure, many))
            read = read_numbers(
                sure,
                whole=name in WHOLE,
                decimal=_stated(matched.decimal, name),
                table=shown or frozenset(),
            )
            if read.question:
                raise _question(name, read.question, origin)
            read, shares = _shares(read, series, name, matched)
            bad += shares
            values = read.values
            notes += [f"{name}: {read.note}."] if read.note else []
            if read.percent.any():
                percent[name] = read.percent
            bad += [_no_number(name, read.bad, series)] if read.bad.any() else []
        else:
            values = _texts(series, name, kind, origin)
        values, note = _in_ones(values, series, name, matched, origin)
        notes += [note] if note else []
        if kind in NUMERIC and name != matched.outcome:
            values = _of_setting(values, name)
        columns.append(values.alias(name))
    told = tuple(replace(one, theirs=matched.names.get(one.column, "")) for one in bad)
    frame = raw.with_columns(columns)
    copies = [pl.col(mine).alias(theirs) for theirs, mine in ours.items() if kinds.get(mine) in NUMERIC]
    return Typed(frame.with_columns(copies), told, percent, tuple(notes))


def _in_ones(
    values: pl.Series, cells: pl.Series, name: str, matched: Matched, origin: str
) -> tuple[pl.Series, str]:
    """Numbers times the multiple that is stated, or else the one that the column's name says; and a note."""
    theirs = matched.names.get(name, name)
    if name in matched.times:
        return multiplied(values, cells, theirs, matched.times[name], origin)
    counted = name in WHOLE and name in matched.names
    return scaled(values, cells, theirs, name) if counted else (values, "")


def refuse_bad(bad: list[BadCells], rows: pl.Series, origin: str) -> None:
    """Names every bad cell among the rows that count.

    Args:
        bad: Bad cells by column; their series are as long as ``rows``.
        rows: The rows' numbers in the source.
        origin: The table.

    Raises:
        UsageError: There is one.
    """
    places = [(int(rows[at]), one, at) for one in bad for at in one.rows.arg_true().to_list()]
    if not places:
        return
    places.sort(key=lambda place: place[0])
    row, first, at = places[0]
    if len(places) == 1:
        where = f"{origin}, row {row}, column {first.shown}"
        got = shown_value(first.values, at)
        raise UsageError(
            "a value that cannot be right", wanted=first.wanted, got=got, remedy=first.remedy, where=where
        )
    words = [
        f"row {row}, column {one.shown}: {shown_value(one.values, at)}" for row, one, at in places[:SHOWN]
    ]
    more = f"; and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    wanted = "; ".join(dict.fromkeys(f"{one.column}: {one.wanted}" for _, one, _ in places))
    remedy = " ".join(dict.fromkeys(one.remedy for _, one, _ in places if one.remedy))
    raise UsageError(
        f"{len(places)} values that cannot be right",
        wanted=wanted, got="; ".join(words) + more, remedy=remedy, where=origin,
    )  # fmt: skip


def _of_adapters(cells: pl.Series) -> pl.Series:
    """Cells of a rank without those that say full tuning has none."""
    full = [cell for cell in cells.unique().drop_nulls() if canonical(cell) == "full"]
    return cells.set(cells.is_in(full).fill_null(False), None) if full else cells


def _unit_note(name: str, cell: str, cells: pl.Series, plain: pl.Series) -> str:
    """That cells say their unit."""
    value = plain.filter((cells == cell).fill_null(False))[0]
    return f"Cells of `{name}` say their unit: {cell.strip()} is {float(value):.10g}."


def _of_setting(values: pl.Series, name: str) -> pl.Series:
    """A setting's numbers: NaN says nothing, nor does 0 where it is the size of what a method lacks."""
    if values.dtype.is_float() and values.is_nan().any():
        values = values.fill_nan(None)
    return values.set((values == 0).fill_null(False), None) if name in _OF_ADAPTERS else values


def _stated(decimal: Mapping[str, str], name: str) -> Decimal | None:
    value = decimal.get(name)
    return None if value is None else "comma" if value == "comma" else "point"


def _table_styles(raw: pl.DataFrame, kinds: Mapping[str, Kind]) -> frozenset[str]:
    """The ways of writing numbers that the table's numeric columns show beyond doubt."""
    found: set[str] = set()
    for name in raw.columns:
        if kinds.get(name) in NUMERIC and raw[name].dtype == pl.String:
            found |= styles(raw[name])
    return frozenset(found)


def _error_note(name: str, cells: pl.Series, values: pl.Series, many: int) -> str:
    """That cells say how sure they are."""
    example = str(cells.filter(cells != values)[0]).strip()
    return (
        f"{many} cells of `{name}` say how sure they are (e.g. {example}): the number counts; what stands "
        "behind it does not, as it may be of one run or of a mean. A row for each seed tells a run's noise."
    )


def _marks_note(name: str, cells: pl.Series, plain: pl.Series, many: int) -> str:
    """That cells are marked."""
    example = str(cells.filter(cells != plain)[0]).strip()
    return f"{many} cells of `{name}` are marked (e.g. {example}): the number counts."


def _question(name: str, example: str, origin: str) -> UsageError:
    return UsageError(
        "numbers that can be read in two ways",
        wanted="one way of writing numbers in a column",
        got=f"e.g. {example}: are dots and commas decimal marks, or do they group thousands?",
        remedy=f"say it: --decimal {name}=comma (1.000,5 is a thousand and a half) or --decimal {name}=point",
        where=f"{origin}, column {name}",
    )


def _no_number(name: str, wrong: pl.Series, values: pl.Series) -> BadCells:
    known = BY_NAME.get(name)
    wanted = "a number" + (f" ({known.unit})" if known is not None and known.unit else "")
    remedy = "write 7e9, 7B or 7,000,000,000; leave a cell empty (or -) where there is nothing"
    return BadCells(name, wrong, wanted, remedy, values)


def _plain_numbers(series: pl.Series, name: str, origin: str) -> tuple[pl.Series, pl.Series]:
    """Values of another type as numbers; durations, dates and nested values are none."""
    never = pl.repeat(False, series.len(), dtype=pl.Boolean, eager=True)
    if series.dtype.is_numeric():
        return series.cast(pl.Float64), never
    if series.dtype == pl.Null:
        return series.cast(pl.Float64), never
    _refuse_nested(series, name, origin, "one number in each row")
    text = _as_text(series)
    values = text.cast(pl.Float64, strict=False)
    return values, text.is_not_null() & values.is_null()


def _shares(read: Numbers, cells: pl.Series, name: str, matched: Matched) -> tuple[Numbers, list[BadCells]]:
    """Percentages of a column that counts things: shares of what a factor says, else no numbers of them.

    Tokens are no examples either.
    """
    if name == DATA_SIZE and (tokens := cells.str.contains("(?i)token").fill_null(False)).any():
        remedy = "write how many examples they are, or name another column: --column finetune_examples=COLUMN"
        return read, [BadCells(name, tokens, "a number of examples", remedy, cells)]
    if name not in WHOLE or not read.percent.any():
        return read, []
    if name in matched.times:  # `--column finetune_examples=share*16000`
        return replace(read, values=(read.values / 100).zip_with(read.percent, read.values)), []
    remedy = f'say of how many: --column "{name}={matched.names.get(name, name)}*NUMBER"'
    return read, [BadCells(name, read.percent, "a number, no share of one", remedy, cells)]


def _flags(series: pl.Series, name: str, origin: str) -> tuple[pl.Series, pl.Series]:
    _refuse_nested(series, name, origin, "one number in each row")
    text = _as_text(series).str.strip_chars().str.to_lowercase()
    text = text.set(text.is_in(EMPTY), None)
    known = text.is_in(TRUE + FALSE).fill_null(False)
    return text.is_in(TRUE).set(~known, None), text.is_not_null() & ~known


def _texts(series: pl.Series, name: str, kind: Kind | None, origin: str) -> pl.Series:
    """Texts as they are; a label of whole numbers as whole numbers; undocumented numbers as numbers."""
    if kind == "text":
        if name == "status":
            _refuse_nested(series, name, origin, "one word in each row")
        return plain_words(_as_text(series)) if name in ("task", "method", "model") else _as_text(series)
    if series.dtype == pl.String:
        numbers = series.str.strip_chars().cast(pl.Float64, strict=False)
        if series.len() and numbers.null_count() == series.null_count() < series.len():
            whole = bool(((numbers % 1 == 0) | numbers.is_null()).all()) and bool(
                (numbers.abs() < 2**53).all()
            )
            return numbers.cast(pl.Int64) if kind == "label" and whole else numbers
        if kind is None and role_by_name(name) in ("outcome", "progress", "hyperparameter"):
            read = read_numbers(without_errors(series)[0], whole=False)
            return series if read.question or read.bad.any() or read.percent.any() else read.values
        return series
    if kind is None or series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series
    _refuse_nested(series, name, origin, "one text or number in each row")
    return _as_text(series)


def _refuse_nested(series: pl.Series, name: str, origin: str, wanted: str) -> None:
    if series.dtype in (pl.List, pl.Struct, pl.Array, pl.Object):
        where = f"{origin}, column {name}"
        raise UsageError("nested values", wanted=wanted, got=str(series.dtype), where=where)


def _as_text(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        return series
    apart = series.dtype.is_temporal() or series.dtype.is_nested() or series.dtype in (pl.Object, pl.Binary)
    if not apart:
        return series.cast(pl.String)
    texts = [None if missing else shown_value(series, row) for row, missing in enumerate(series.is_null())]
    return pl.Series(series.name, texts, dtype=pl.String)


def _is_far(series: pl.Series, row: int) -> bool:
    """Whether a date is none of Python's: polars panics at those that are none of its own either."""
    days = series.to_physical()[row] if series.dtype in (pl.Date, pl.Datetime) else 0
    if days is None:
        return False
    if isinstance(series.dtype, pl.Datetime):
        days //= {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}[series.dtype.time_unit]
    return not date.min.toordinal() <= days + date(1970, 1, 1).toordinal() <= date.max.toordinal()


def shown_value(series: pl.Series, row: int) -> str:
    """A value for a message."""
    if _is_far(series, row):
        return f"a {series.dtype} out of range"
    try:
        value = series[row]
    except (ValueError, OverflowError):
        return f"a {series.dtype} out of range"
    if value is None:
        return "an empty cell"
    value = value.to_list() if isinstance(value, pl.Series) else value
    return (
        repr(value) if series.dtype == pl.String else f"{value:g}" if isinstance(value, float) else str(value)
    )
