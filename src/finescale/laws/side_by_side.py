"""Several laws fitted to the same runs, each over the factors that it takes, without intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from finescale.errors import DataError, UsageError
from finescale.laws.fits import Fits
from finescale.laws.formulas import get_law
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut, reason_of
from finescale.records.records import DATA_SIZE, Records
from finescale.records.settings import varying_factors

WITHOUT = ("bootstrap", "level")
BECAUSE = "neither bootstrap nor level: deviations are compared, without intervals"
"""Options of ``fit`` that a comparison refuses, and why."""


def fit_all(
    records: Records,
    laws: Sequence[str | Law],
    factors: Sequence[str] | str | None,
    fitted_by: Callable[..., Fits],
) -> tuple[dict[str, Fits], list[str], list[LeftOut]]:
    """Every law fitted, without intervals; one that the data do not allow is left out, unless it is alone."""
    fitted: dict[str, Fits] = {}
    notes: list[str] = []
    left_out: list[LeftOut] = []
    failures: list[DataError] = []
    for law in laws:
        chosen = get_law(law, varying_factors(records.frame)) if law == "joint" else get_law(law)
        if chosen.name in fitted:
            raise UsageError(f"two laws called `{chosen.name}`", wanted="a name of its own for each law")
        try:
            fits = fitted_by(law, factors_of(chosen, factors))
        except DataError as error:
            failures.append(error)
            left_out.append(LeftOut({}, chosen.name, None, reason_of(error, chosen.name)))
            continue
        fitted[chosen.name] = fits
        notes += fits.notes
        left_out += fits.left_out
    if not fitted:
        raise failures[0] if failures else UsageError("no laws to compare", wanted="one name or more")
    return fitted, notes, left_out


def factors_of(law: Law, factors: Sequence[str] | str | None) -> Sequence[str] | str | None:
    """The factors that a law among others is fitted over: a curve over the data size has none."""
    return factors if law.takes_factor and law.variables != ("D",) else None


def points_of(name: str, fits: Fits) -> pl.DataFrame:
    """All settings with their predictions under one law; ``slice`` names the factor whose slice it is."""
    frames = []
    for law in fits:
        assert law.points is not None
        label = ", ".join(law.factors) if law.factors else DATA_SIZE
        missing = [
            pl.lit("all").alias(column) for column in ("task", "method") if column not in law.points.columns
        ]
        frames.append(
            law.points.with_columns(pl.lit(name).alias("law"), pl.lit(label).alias("slice"), *missing)
        )
    return pl.concat(frames, how="diagonal_relaxed")
