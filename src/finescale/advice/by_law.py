"""Candidates by one law each: the law that predicts hidden sizes best, fitted, and how far it was off."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from finescale.advice.candidate import SIZE, Candidate, Misses, rates_tuned
from finescale.advice.crossovers import name_of
from finescale.errors import DataError
from finescale.laws.fit import fit
from finescale.laws.fits import Fits
from finescale.laws.fitted import FittedLaw
from finescale.laws.formulas import BASELINE, contenders
from finescale.laws.law import Law
from finescale.laws.select import Backtest, backtest
from finescale.records.outcome_words import amount, difference
from finescale.records.outcomes import Outcome
from finescale.records.records import DATA_SIZE, Records
from finescale.wording import count_each, factor_name

_MOST_UNEXPLAINED = 0.5
"""A law over model size that leaves more of the models' spread unexplained than this is not used."""
_HIDE = (1, 2)
"""How many of the largest data sizes a backtest hides, step by step."""


def candidates_by_law(
    runs: Records,
    among: Sequence[Law],
    factor: str | None,
    *,
    task: str,
    base: Mapping[str, Any],
    bootstrap: int,
    seed: int,
) -> tuple[str, tuple[Candidate, ...], list[str]]:
    """The candidates of a task, each with the law that predicts hidden data sizes best.

    Args:
        runs: The runs at the base setting.
        among: The laws to choose from.
        factor: ``model_params`` where one law holds over model sizes, else None.
        task: The task.
        base: Factors that are free in each group.
        bootstrap: Number of resamples.
        seed: Their seed.

    Returns:
        The law's name, the candidates, and what to know in sentences.

    Raises:
        DataError: Too few runs to fit.
    """
    tried = _tested(runs, among, factor, base)
    best = _best(tried, task, among)
    fits = fit(
        runs,
        best,
        factor if best.takes_factor else None,
        bootstrap=bootstrap,
        seed=seed,
        hold_out=False,
        base=base,
    )
    notes = [*fits.notes, *map(str, fits.left_out), *_beaten(tried, task, best.name, runs.outcome)]
    largest = runs.frame[SIZE].max() if factor else None
    by_size = {} if largest is None else _size_misses(runs, best, float(largest), base)  # type: ignore[arg-type]
    return best.name, _members(fits, tried, by_size, runs.frame), notes


def follows_size(runs: Records, notes: list[str]) -> bool:
    """Whether the models' losses follow from their sizes; adds a note where they do not."""
    try:
        runs = replace(runs, outcome=_with_a_best(runs))
        share = _unexplained(fit(runs, contenders("surface")[0], SIZE, hold_out=False, bootstrap=0))
    except DataError:
        return True
    what = "losses" if runs.outcome.kind == "loss" else f"values of {runs.outcome.name}"
    if share > _MOST_UNEXPLAINED:
        notes.append(
            f"A law over {factor_name(SIZE)} leaves {share:.0%} of the spread between these models "
            f"unexplained: their {what} do not follow from their sizes. So every model has a curve of its "
            "own, and nothing can be said about other models."
        )
    return share <= _MOST_UNEXPLAINED


def _with_a_best(runs: Records) -> Outcome:
    """The outcome; of a score without a best value, as if that lay the whole range beyond the best seen."""
    outcome = runs.outcome
    if math.isfinite(outcome.best):
        return outcome
    values = runs.frame[runs.loss].drop_nulls().to_numpy()
    low, high = float(values.min()), float(values.max())
    reach = max(high - low, 1e-9)
    return replace(outcome, low=low - reach) if outcome.lower else replace(outcome, high=high + reach)


def _tested(
    records: Records, laws: Sequence[Law], factor: str | None, base: Mapping[str, Any]
) -> Backtest | None:
    """The backtest on hidden data sizes; None where there are too few to hide any."""
    try:
        return backtest(records, laws, factor, hide=_HIDE, hold_out=False, base=base)
    except DataError:
        return None


def _best(tried: Backtest | None, task: str, among: Sequence[Law]) -> Law:
    """The law with the smallest error on hidden sizes, else the first; the line fits the last sizes only."""
    by_name = {law.name: law for law in among}
    if tried is None:
        return among[0]
    rows = tried.scores.filter((pl.col("task") == task) & pl.col("law").is_in(list(by_name)))
    return by_name[rows["law"][0]] if rows.height else among[0]


def _beaten(tried: Backtest | None, task: str, law: str, outcome: Outcome) -> list[str]:
    """A sentence where a straight line predicts hidden sizes better than the law, or nothing was tested."""
    if tried is None:
        return ["Too few data sizes to hide any: the laws are untested beyond their data."]
    errors = dict(tried.scores.filter(pl.col("task") == task).select("law", "error").iter_rows())
    if law != BASELINE and law in errors and errors.get(BASELINE, math.inf) < errors[law]:
        return [
            f"A straight line through the last three data sizes predicts hidden sizes better than the {law} "
            f"law ({amount(outcome, errors[BASELINE])} against {difference(outcome, errors[law])} off on "
            "average)."
        ]
    return []


def _size_misses(records: Records, law: Law, largest: float, base: Mapping[str, Any]) -> dict[str, float]:
    """How far each method's law is off on the largest model when that is hidden, by method."""
    try:
        factor = SIZE if law.takes_factor else None
        rule = f"{SIZE} >= {largest * (1 - 1e-9)!r}"
        fits = fit(records, law, factor, hold_out=rule, bootstrap=0, base=base)
    except DataError:
        return {}
    return {str(made.by.get("method")): made.delta_h for made in fits}


def _unexplained(fits: Fits) -> float:
    """Mean absolute deviation of the law over that of the median outcome at each data size."""
    missed = spread = 0.0
    for made in fits:
        assert made.points is not None
        error = (pl.col("loss") - pl.col("predicted")).abs().sum()
        null = (pl.col("loss") - pl.col("loss").median().over(DATA_SIZE)).abs().sum()
        a, b = made.points.select(error.alias("error"), null.alias("null")).row(0)
        missed, spread = missed + a, spread + b
    return missed / spread if spread > 0 else 0.0


def _members(
    fits: Fits, tried: Backtest | None, size_misses: Mapping[str, float], runs: pl.DataFrame
) -> tuple[Candidate, ...]:
    curves = not fits[0].factors
    several = curves and len({law.by.get("model") or law.by.get(SIZE) for law in fits}) > 1
    members = []
    sizes = count_each(law.by[SIZE] for law in fits if law.by.get(SIZE) is not None)
    for made in fits:
        method = str(made.by["method"])
        own = runs.filter(pl.col("method") == method)
        model = made.by.get("model") or made.by.get(SIZE)
        if several and made.by.get("model") is None and model is not None:
            made = replace(made, by={**made.by, "model": f"{sizes[model]} parameters"})  # noqa: PLW2901
        elif not several:
            made = replace(made, by={k: v for k, v in made.by.items() if k in ("task", "method")})  # noqa: PLW2901
        misses = Misses(made.delta_e, _hidden_miss(tried, made), size_misses.get(method, math.nan))
        size = made.by.get(SIZE)
        if curves and size is None and SIZE in own.columns and own[SIZE].n_unique() == 1:
            size = own[SIZE][0]
        members.append(Candidate(name_of(made), method, made, misses, rates_tuned(own), size))
    return tuple(members)


def _hidden_miss(tried: Backtest | None, law: FittedLaw) -> float:
    if tried is None:
        return math.nan
    rows = tried.cells.filter(pl.col("law") == law.law)
    for name, value in law.by.items():
        if name in rows.columns and name in ("method", "model") and value is not None:
            rows = rows.filter(pl.col(name) == value)
    error = (rows["predicted"] - rows["loss"]).abs().mean()
    return math.nan if error is None else float(error)  # type: ignore[arg-type]
