"""A loss in nats: the unit that its column is in, or why nobody can tell, and what it then comes to."""

from __future__ import annotations

import polars as pl

from finescale.errors import UsageError
from finescale.records.loss_units import UNITS, is_derived, unclear_unit, unit_by_name


def loss_unit(theirs: str, origin: str) -> str | None:
    """The unit that a loss's name says; None where it says none.

    Args:
        theirs: The column's own name.
        origin: The table.

    Raises:
        UsageError: The name can be meant in two ways, or is no loss's.
    """
    where = f"{origin}, column {theirs}"
    if is_derived(theirs):
        raise UsageError(
            f"`{theirs}` is read as a loss, and its name says a change, a spread or an inverse",
            wanted="a loss, of which lower is better", got=theirs,
            remedy=f"--score '{theirs}' --better higher, or --better lower; "
            "--unit nats if it is a loss all the same", where=where,
        )  # fmt: skip
    if question := unclear_unit(theirs):
        raise UsageError(
            f"`{theirs}` can be meant in two ways", wanted=question, got=theirs,
            remedy="say which one it is", where=where,
        )  # fmt: skip
    return unit_by_name(theirs)


def check_perplexities(values: pl.Series, theirs: str, unit: str | None, origin: str) -> None:
    """Refuses perplexities below 1.

    Raises:
        UsageError: There is one.
    """
    least = values.drop_nulls().drop_nans().min()
    if UNITS[unit or "nats"][0] == 0 and least is not None and float(least) < 1:  # type: ignore[arg-type]
        raise UsageError(
            "a perplexity below 1", wanted="1 or more", got=f"{least:g}",
            remedy="is it a loss? --unit nats", where=f"{origin}, column {theirs}",
        )  # fmt: skip


def in_nats(values: pl.Expr, unit: str | None) -> pl.Expr:
    """Losses of a unit in nats."""
    factor, _ = UNITS[unit or "nats"]
    return values.log() if factor == 0 else values * factor


def in_words(unit: str | None) -> str:
    """What a unit is and what comes of it: ``in bits per byte: times 0.6931 it is nats per byte``."""
    factor, becomes = UNITS[unit or "nats"]
    if factor == 0:
        kind = "perplexity" if unit == "ppl" else unit
        return f"a {kind}: its logarithm is used, {'nats per token' if becomes == 'nats' else becomes}"
    words = {"bpb": "bits per byte", "bpc": "bits per character", "bits": "bits per token"}
    return f"in {words.get(unit or '', unit or 'nats')}: times {factor:.4f} it is {becomes}"
