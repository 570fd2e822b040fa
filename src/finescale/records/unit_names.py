"""Units in the names of columns: `Params (M)`, `train_size_k` and `tokens [billions]` count in multiples."""

from __future__ import annotations

import re

import polars as pl

from finescale.errors import UsageError
from finescale.records.values import SUFFIXES

_BRACKETS = re.compile(r"(?P<stem>.*\S)\s*[(\[{]\s*(?P<unit>[^()\[\]{}]*)[)\]}]")
_TAIL = re.compile(r"(?P<stem>.*?[^\W_])(?:[\s_,/.-]+in)?[\s_,/.-]+(?P<unit>[A-Za-z]+)")
_POWER = re.compile(
    r"[x×*]?\s*(?:10\s*(?:\^|\*\*)\s*(?P<ten>\d{1,2})|1[eE]\+?(?P<e>\d{1,2})|1(?P<zeros>(?:[ ,'.]?000)+))"
)
_FACTOR = re.compile(r"[x×*]\s*(\d+(?:\.\d+)?(?:e\+?\d+)?)")
_NO_MULTIPLE = re.compile(
    r"\b(?:of\s+)?(?:params?|parameters|examples?|samples|rows|pairs|sentences|tokens|total|count|rank|[rn]|peak|"
    r"nats(?:\s*(?:/|per)\s*(?:target\s+)?token)?)(?!\w)|#"
)
"""What brackets may say beside a multiple, or alone."""
_OWN_SUFFIX = r"(?i)\d\s*(?:[a-df-z]|e[a-z])"
"""A cell that says its own multiple: 125M, 7 billion; not 1e3."""
_WHOLE_FROM = 1e6
"""Millions or billions of so many, and thousands of a hundredth of it, are not meant."""


def multiple(name: str) -> tuple[str, float] | None:
    """A column's name without the unit that it ends in, and what its numbers are multiples of.

    Returns:
        The name and the multiple; None where the name ends in no unit, or in one that is no multiple (GB).

    Example:
        >>> multiple("Params (M)"), multiple("train_size_k"), multiple("Tokens [in billions]")
        (('Params', 1000000.0), ('train_size', 1000.0), ('Tokens', 1000000000.0))
        >>> multiple("# Samples (x1000)"), multiple("Examples (rows)"), multiple("Model size (GB)")
        (('# Samples', 1000.0), ('Examples', 1.0), None)
    """
    name = name.strip().rstrip("↑↓ ")
    found = _BRACKETS.fullmatch(name)
    if found:
        times = _times(found["unit"], counted=True)
        return None if times is None else (found["stem"], times)
    found = _TAIL.fullmatch(name)
    times = _times(found["unit"], counted=False) if found else None
    return (found["stem"], times) if found and times else None


def bracketed(name: str) -> str:
    """The unit in brackets at the end of a name; empty where there is none."""
    found = _BRACKETS.fullmatch(name.strip().rstrip("↑↓ "))
    return found["unit"].strip() if found else ""


def scaled(values: pl.Series, cells: pl.Series, name: str, shown: str) -> tuple[pl.Series, str]:
    """A column's numbers times what its name says, and the sentence that says so.

    Numbers that cannot be meant as multiples (7,000,000,000 in a column of millions) stay; cells with a
    multiple of their own (7B) too.

    Args:
        values: The numbers.
        cells: The cells as they stand in the table.
        name: The column's name in the table.
        shown: Our name for it.

    Returns:
        The numbers, and a note; empty where the name has no unit.
    """
    found = multiple(name)
    if found is None:
        unit = bracketed(name)
        return values, f"`{name}`: its unit ({unit}) is not one of {shown}: read as they are." if unit else ""
    times = found[1]
    if times == 1:
        return values, ""
    own = pl.repeat(False, values.len(), dtype=pl.Boolean, eager=True)
    if cells.dtype == pl.String:
        own = cells.str.contains(_OWN_SUFFIX).fill_null(False)
    plain = values.filter(~own & (values > 0).fill_null(False))
    if not plain.len():
        return values, ""
    if float(plain.min()) >= (_WHOLE_FROM if times > 1e3 else _WHOLE_FROM / 100):  # type: ignore[arg-type]
        least = f"{plain.min():,.10g}"
        return (
            values,
            f"`{name}`: numbers of {least} and more are no multiples of {times:,.0f}: read as they are.",
        )
    many = (values * times).round(6)
    first = float(plain[0])
    note = f"`{name}` counts in multiples of {times:,.0f}: {first:.10g} is {first * times:,.10g}."
    return values.zip_with(own, many), note


def multiplied(
    values: pl.Series, cells: pl.Series, name: str, factor: str, origin: str
) -> tuple[pl.Series, str]:
    """A column's numbers times what is stated (``--column "model_params=size*1000"``), whatever they are.

    Args:
        values: The numbers.
        cells: The cells as they stand in the table.
        name: The column's name in the table.
        factor: The multiple, as it is written.
        origin: The table.

    Returns:
        The numbers, and a sentence that says so.

    Raises:
        UsageError: Cells that say a multiple of their own (7B), or no numbers.
    """
    wanted, where = f"numbers, each times {factor}", f"{origin}, column {name}"
    if not values.dtype.is_numeric():
        raise UsageError(f"`{name}` has no numbers", wanted=wanted, got=str(values.dtype), where=where)
    if cells.dtype == pl.String and (own := cells.str.contains(_OWN_SUFFIX).fill_null(False)).any():
        raise UsageError(
            f"`{name}` says its own multiples", wanted=wanted, got=repr(cells.filter(own)[0]),
            remedy=f"leave out *{factor}, or write numbers alone", where=where,
        )  # fmt: skip
    times = float(factor)
    plain = values.drop_nulls()
    first = f": {plain[0]:.10g} is {plain[0] * times:,.10g}" if plain.len() else ""
    note = f"`{name} (x{factor})` counts in multiples of {times:,.10g}{first}."
    # 12 digits: 1.3 * 1e9 is no whole number of parameters otherwise
    return (values * times).round_sig_figs(12), note


def _times(unit: str, *, counted: bool) -> float | None:
    """What a unit is a multiple of; None where it is none. Things counted may stand beside it in brackets."""
    words = unit.strip().casefold()
    if counted:
        words = re.sub(r"^in\s+", "", _NO_MULTIPLE.sub("", words).strip())
        if not words:
            return 1.0
        power = _POWER.fullmatch(words)
        if power:
            zeros = power["zeros"] and len(re.sub(r"\D", "", power["zeros"]))
            return 10.0 ** int(power["ten"] or power["e"] or zeros)
        if times := _FACTOR.fullmatch(words):
            return float(times[1])
    return SUFFIXES.get(words) or SUFFIXES.get(words.removesuffix("s"))
