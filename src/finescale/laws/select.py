"""Which law predicts best: comparison on held-out runs (the paper's Table 6), backtest, automatic choice.

The choice is made once per task, from the pooled evidence of all its groups: choosing curve by curve
overfits, as a curve has too few points. The log-linear line through the last three sizes is always in the
race.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Unpack

import polars as pl

from finescale.errors import DataError, UsageError
from finescale.laws.fit_law import check_finished, fit_law
from finescale.laws.fitted import Fits, FittedLaw
from finescale.laws.formulas import BASELINE, contenders, get_law
from finescale.laws.joint import SHARED, joint_fit
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut, distinct, reason_of
from finescale.laws.options import FitKeywords, FitOptions, read_options
from finescale.laws.slices import RunFilter
from finescale.records.held_out import LARGEST, held_out
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import DATA_SIZE, FACTORS, Records
from finescale.records.settings import setting_columns, varying_factors

if TYPE_CHECKING:
    from finescale.records.tables import TableLike

_FEWEST = 3
"""Fewest training sizes of a backtest step."""
_HIDDEN = "_hidden"
_WITHOUT = ("bootstrap", "level")
_BECAUSE = "neither bootstrap nor level: deviations are compared, without intervals"


@dataclass(frozen=True, repr=False)
class Comparison:
    """Laws side by side on held-out runs.

    Attributes:
        table: One row a task, method, factor and law: ``n_fitted``, ``n_held_out``, ``delta_e``, ``delta_h``
            (mean absolute deviations), and ``delta_h_common`` on the ``n_common`` held-out settings
            that every law predicts.
        notes: What to know of the records, in sentences.
        outcome: What the laws predict.
        left_out: Groups and curves that a law was not fitted to, each with its reason.

    Example:
        >>> fs.compare(records, factors="model_params")
        Comparison(multiplicative, additive: 6 rows)
    """

    table: pl.DataFrame
    notes: tuple[str, ...] = ()
    outcome: Outcome = TEST_LOSS
    left_out: tuple[LeftOut, ...] = ()

    def __repr__(self) -> str:
        """One line: which laws were compared."""
        laws = ", ".join(self.table["law"].unique(maintain_order=True))
        return f"Comparison({laws}: {self.table.height} rows)"

    def __str__(self) -> str:
        """The table, what was left out and the notes."""
        from finescale.laws.views import comparison_cells, text  # noqa: PLC0415 - rich only where it is shown

        notes = [f"note: {note}" for note in self.notes]
        return text(comparison_cells(self.table, self.outcome), notes, self.left_out)

    def _repr_html_(self) -> str:
        from finescale.laws.views import comparison_cells, html  # noqa: PLC0415 - only in notebooks

        return html(comparison_cells(self.table, self.outcome), self.notes, self.left_out)


@dataclass(frozen=True, repr=False)
class Backtest:
    """How well laws predicted hidden, larger data sizes.

    Attributes:
        scores: One row a task and law, best first: ``error`` (mean absolute error, in the outcome's unit),
            ``standard_error``, ``cells``.
        cells: Every prediction: task, method, the curve's columns, ``hidden`` (sizes hidden), ``law``,
            ``loss``, ``predicted``.
        best: The best law of each task (the baseline, if none beats it).
        notes: What to know of the records, in sentences.
        outcome: What the laws predict.
        left_out: Groups and curves that a law was not fitted to, each with its reason.

    Example:
        >>> tested = fs.backtest(records, ["power"], hide=[1])
        >>> tested
        Backtest(mini-en-de: loglinear)
        >>> tested.scores["law"].to_list()
        ['loglinear', 'power']
    """

    scores: pl.DataFrame
    cells: pl.DataFrame
    best: Mapping[str, str]
    notes: tuple[str, ...] = ()
    outcome: Outcome = TEST_LOSS
    left_out: tuple[LeftOut, ...] = ()

    def verdict(self, task: str) -> str:
        """The choice for one task, in a sentence."""
        part = self.scores.filter(pl.col("task") == task)
        best = self.best[task]
        row = part.filter(pl.col("law") == best).row(0, named=True)
        unit = f" {self.outcome.unit}".rstrip()
        if best == BASELINE:
            off = f"{row['error']:.2g}{unit}"
            return f"no law beats the log-linear baseline in the backtest of {task} ({off})"
        line = part.filter(pl.col("law") == BASELINE)
        rival = f", the log-linear baseline by {line['error'][0]:.2g}" if line.height else ""
        return f"{best} predicts hidden sizes of {task} best: off by {row['error']:.2g}{unit}{rival}"

    def __repr__(self) -> str:
        """One line: the best law of every task."""
        best = ", ".join(f"{task}: {law}" for task, law in self.best.items())
        return f"Backtest({best})"

    def __str__(self) -> str:
        """The table of scores, what was left out, the choice for every task and the notes."""
        from finescale.laws.views import backtest_cells, text  # noqa: PLC0415 - rich only where it is shown

        return text(backtest_cells(self.scores, self.outcome), self._lines(), self.left_out)

    def _repr_html_(self) -> str:
        from finescale.laws.views import backtest_cells, html  # noqa: PLC0415 - only in notebooks

        return html(backtest_cells(self.scores, self.outcome), self._lines(), self.left_out)

    def _lines(self) -> list[str]:
        return [*map(self.verdict, self.best), *self.notes]


def compare(
    records: Records | TableLike,
    laws: Sequence[str | Law] | None = None,
    factors: Sequence[str] | str | None = None,
    **options: Unpack[FitKeywords],
) -> Comparison:
    """Fits several laws and compares their deviations on fitted and held-out runs (Table 6).

    A law with beta and E is fitted in the paper's two steps, as on the page: see ``two_steps``.

    Args:
        records: Records, or what ``read_records`` takes.
        laws: The laws. Default: the contenders over a factor and the data size (the paper's two).
        factors: As for ``fit``.
        **options: Options of ``fit``. ``hold_out``: without a rule and without a run that is marked as held
            out, ``largest``.

    Returns:
        The comparison.

    Raises:
        UsageError: An unknown law or column.
        DataError: No law can be fitted.

    Example:
        >>> compared = fs.compare("examples/nano_full.parquet", factors="model_params")
        >>> compared.table["law"].unique().sort().to_list()
        ['additive', 'multiplicative']
    """
    records, choice, _ = read_options(records, options, without=_WITHOUT, because=_BECAUSE)
    check_finished(records)
    if choice.hold_out is None and not held_out(records.frame).any():
        choice = replace(choice, hold_out=LARGEST)
    steps = partial(two_steps, records, **{**options, "hold_out": choice.hold_out, "bootstrap": 0})
    fitted, notes, left_out = _fit_all(records, laws or contenders("surface"), factors, steps)
    rows = pl.concat([_points(name, fits) for name, fits in fitted.items()], how="diagonal_relaxed")
    keys = [name for name in (*setting_columns(rows), "slice") if name in rows.columns]
    laws_here = rows.group_by("task", "method", "slice").agg(pl.col("law").n_unique().alias("laws_here"))
    seen = rows.group_by(keys).agg(pl.col("law").n_unique().alias("seen"))
    rows = rows.join(seen, on=keys, nulls_equal=True).join(
        laws_here, on=["task", "method", "slice"], nulls_equal=True
    )
    error = (pl.col("predicted") - pl.col("loss")).abs()
    held, common = pl.col("held_out"), pl.col("held_out") & (pl.col("seen") == pl.col("laws_here"))
    table = rows.group_by("task", "method", "slice", "law", maintain_order=True).agg(
        (~held).sum().alias("n_fitted"),
        held.sum().alias("n_held_out"),
        error.filter(~held).mean().alias("delta_e"),
        error.filter(held).mean().alias("delta_h"),
        common.sum().alias("n_common"),
        error.filter(common).mean().alias("delta_h_common"),
    )
    table = table.sort("task", "method", "slice", maintain_order=True)
    notes = list(dict.fromkeys(notes))
    table = table.rename({"slice": "factor"})
    return Comparison(table, tuple(notes), records.outcome, distinct(left_out))


def backtest(
    records: Records | TableLike,
    laws: Sequence[str | Law] | None = None,
    factors: Sequence[str] | str | None = None,
    *,
    hide: Sequence[int] = (1, 2, 3),
    **options: Unpack[FitKeywords],
) -> Backtest:
    """Hides the largest data sizes of every task and method, fits the rest, scores the predictions.

    Args:
        records: Records, or what ``read_records`` takes.
        laws: The laws; the log-linear baseline is added. Default: the contenders among curves; with a factor
            that varies, those over a factor too.
        factors: Factors of the laws that have an X; as for ``fit``.
        hide: How many sizes are hidden in each step.
        **options: Options of ``fit``. ``hold_out``: runs that stay hidden throughout.

    Returns:
        The scores, on the predictions that every law made.

    Raises:
        UsageError: An unknown law or column.
        DataError: Too few data sizes to hide any.

    Example:
        >>> tested = fs.backtest("examples/nano_full.parquet", ["power"])
        >>> tested.best
        {'mini-en-de': 'loglinear'}
    """
    return _backtest(laws, factors, hide, *read_options(records, options, without=_WITHOUT, because=_BECAUSE))


def _backtest(  # noqa: PLR0917
    laws: Sequence[str | Law] | None,
    factors: Sequence[str] | str | None,
    hide: Sequence[int],
    records: Records,
    choice: RunFilter,
    how: FitOptions,
) -> Backtest:
    check_finished(records)
    if DATA_SIZE not in records.frame.columns:
        raise DataError(
            f"a backtest needs {DATA_SIZE}", remedy=f"map the column: --column {DATA_SIZE}=THEIRS"
        )
    records = replace(records, frame=records.frame.filter(~held_out(records.frame, choice.hold_out)))
    choice = replace(choice, hold_out=None)
    names = [*(laws or _candidates(records, factors, choice.by))]
    if BASELINE not in [law if isinstance(law, str) else law.name for law in names]:
        names.append(BASELINE)
    group = [name for name in ("task", "method") if name in records.frame.columns]
    rank = pl.col(DATA_SIZE).rank("dense", descending=True)
    tuned = records.frame.filter(pl.col(DATA_SIZE) > 0)
    tuned = tuned.with_columns((rank.over(group) if group else rank).alias(_HIDDEN))
    sizes = pl.col(_HIDDEN).max()
    tuned = tuned.with_columns((sizes.over(group) if group else sizes).alias("_sizes"))
    steps: list[pl.DataFrame] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    for hidden in hide:
        part = tuned.filter(pl.col("_sizes") >= _FEWEST + hidden)
        if not part.height:
            continue
        part = part.filter((pl.col(_HIDDEN) > hidden) | (pl.col(_HIDDEN) == 1))
        part = part.with_columns((pl.col(_HIDDEN) == 1).alias("held_out")).drop(_HIDDEN, "_sizes")
        step = replace(records, frame=part, notes=())
        one = partial(fit_law, step, choice=choice, options=replace(how, bootstrap=0))
        fitted, said, lost = _fit_all(step, names, factors, one)
        notes += said
        left_out += lost
        steps += [
            _points(name, fits).filter(pl.col("held_out")).with_columns(pl.lit(hidden).alias("hidden"))
            for name, fits in fitted.items()
        ]
    if not steps:
        raise DataError(
            "too few data sizes for a backtest",
            wanted=f"at least {_FEWEST + min(hide)} data sizes of one task and method",
            remedy="add smaller or larger data sizes",
            where=records.source,
        )
    cells = pl.concat(steps, how="diagonal_relaxed")
    notes = dict.fromkeys((*records.notes, *notes))
    scored = _score(cells)
    return replace(scored, notes=tuple(notes), outcome=records.outcome, left_out=distinct(left_out))


def fit_auto(
    records: Records, choice: RunFilter, options: FitOptions, factors: Sequence[str] | str | None = None
) -> Fits:
    """Fits, for every task, the law that its backtest prefers; see ``fit(law="auto")``.

    Raises:
        UsageError: As ``backtest``.
        DataError: As ``backtest``.
    """
    tried = _backtest(None, factors, (1, 2, 3), records, choice, options)
    laws: list[FittedLaw] = []
    notes, left_out = list(tried.notes), list[LeftOut]()
    for task, best in tried.best.items():
        name = best
        if factors and best == BASELINE:
            among = contenders("surface")
            part = tried.scores.filter((pl.col("task") == task) & pl.col("law").is_in(among))
            name = part["law"][0] if part.height else best
        own = (
            records.frame.filter(pl.col("task") == task) if "task" in records.frame.columns else records.frame
        )
        made = fit_law(replace(records, frame=own), name, _factors(get_law(name), factors), choice, options)
        said = tried.verdict(task)
        left_out += made.left_out
        notes += made.notes if best == BASELINE else [said, *made.notes]
        laws += [replace(law, status=(*law.status, said)) if best == BASELINE else law for law in made]
    return Fits(tuple(laws), tuple(dict.fromkeys(notes)), records.source, distinct(left_out))


def _candidates(records: Records, factors: Sequence[str] | str | None, by: Sequence[str]) -> tuple[str, ...]:
    if factors:
        return contenders("surface")
    curves = contenders("curve", records.outcome)
    return (*curves, *contenders("surface")) if varying_factors(records.frame, by) else curves


def _fit_all(
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
            fits = fitted_by(law, _factors(chosen, factors))
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


def two_steps(
    records: Records,
    law: str | Law,
    factors: Sequence[str] | str | None = None,
    **options: Unpack[FitKeywords],
) -> Fits:
    """The paper's two steps (``joint_fit``) for the laws that have beta and E; one fit for others.

    Args:
        records: The runs.
        law: A law.
        factors: The factors; default: those that vary. Where only PET size does, it is fitted alone.
        **options: As for ``fit``.

    Raises:
        UsageError: As ``fit``.
        DataError: As ``fit``.
    """
    records, choice, how = read_options(records, options)
    chosen = get_law(law, varying_factors(records.frame)) if law == "joint" else get_law(law)
    names = (factors,) if isinstance(factors, str) else tuple(factors or varying_factors(records.frame))
    joint, then = (tuple(name for name in names if (name == "pet_size") is pet) for pet in (False, True))
    able = "X" in chosen.variables and set(SHARED) <= set(chosen.parameters) and "shared" not in options
    known = set(joint) <= set(FACTORS) & set(records.frame.columns)
    if not able or not joint or not known:
        return fit_law(records, law, factors, choice, how)
    try:
        return joint_fit(records, law, joint=joint, then=then, **options)
    except DataError:
        if not then:
            raise
        return fit_law(records, law, then, choice, how)


def _factors(law: Law, factors: Sequence[str] | str | None) -> Sequence[str] | str | None:
    """The factors that a law among others is fitted over: a curve over the data size has none."""
    return factors if law.takes_factor and law.variables != ("D",) else None


def _points(name: str, fits: Fits) -> pl.DataFrame:
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


def _score(cells: pl.DataFrame) -> Backtest:
    """Scores on the cells that every law of the task predicts."""
    keys = [*setting_columns(cells), "hidden"]
    cells = cells.group_by([*keys, "law"], maintain_order=True).agg(
        pl.col("loss").first(), pl.col("predicted").mean()
    )
    laws = pl.col("law").n_unique()
    cells = cells.with_columns(laws.over(keys).alias("seen"), laws.over("task", "hidden").alias("all"))
    cells = cells.filter(pl.col("seen") == pl.col("all")).drop("seen", "all")
    # a law that could not be fitted in some step is scored on the steps that it has in common with the others
    error = (pl.col("predicted") - pl.col("loss")).abs()
    complete = cells.with_columns(pl.col("law").n_unique().over("task", "hidden").alias("here"))
    complete = complete.filter(pl.col("here") == pl.col("here").max().over("task")).drop("here")
    scores = (
        complete.group_by("task", "law", maintain_order=True)
        .agg(
            error.mean().alias("error"),
            (error.std() / pl.len().sqrt()).alias("standard_error"),
            pl.len().alias("cells"),
        )
        .sort("task", "error", maintain_order=True)
    )
    best: dict[str, str] = {}
    for (task,), part in scores.group_by("task", maintain_order=True):
        baseline = part.filter(pl.col("law") == BASELINE)["error"]
        top = part.row(0, named=True)
        best[str(task)] = BASELINE if baseline.len() and not top["error"] < baseline[0] else str(top["law"])
    return Backtest(scores, complete, best)


__all__ = ["BASELINE", "Backtest", "Comparison", "backtest", "compare", "fit_auto"]
