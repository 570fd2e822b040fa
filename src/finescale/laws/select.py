"""Which law predicts best: a backtest on hidden data sizes, and the automatic choice.

The choice is made once per task, from the pooled evidence of all its groups: choosing curve by curve
overfits, as a curve has too few points. The log-linear line through the last three sizes is always in the
race.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Unpack

import polars as pl

from finescale.errors import DataError
from finescale.laws.fit_law import check_finished, fit_law
from finescale.laws.fits import Fits
from finescale.laws.fitted import FittedLaw
from finescale.laws.formulas import BASELINE, contenders, get_law
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut, distinct
from finescale.laws.options import FitKeywords, FitOptions, RunFilter, read_options
from finescale.laws.side_by_side import BECAUSE, WITHOUT, factors_of, fit_all, points_of
from finescale.records.held_out import held_out
from finescale.records.outcome_words import after_difference
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import DATA_SIZE, Records
from finescale.records.settings import UNNAMED, setting_columns, varying_factors

if TYPE_CHECKING:
    from finescale.records.tables import TableLike

_FEWEST = 3
"""Fewest training sizes of a backtest step."""
_HIDDEN = "_hidden"


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
        unit = after_difference(self.outcome)
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
    return _backtest(laws, factors, hide, *read_options(records, options, without=WITHOUT, because=BECAUSE))


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
    records = _with_named_tasks(records)
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
        fitted, said, lost = fit_all(step, names, factors, one)
        notes += said
        left_out += lost
        steps += [
            points_of(name, fits).filter(pl.col("held_out")).with_columns(pl.lit(hidden).alias("hidden"))
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
    said_once = tuple(dict.fromkeys((*records.notes, *notes)))
    scored = _score(cells)
    return replace(scored, notes=said_once, outcome=records.outcome, left_out=distinct(left_out))


def fit_auto(
    records: Records, choice: RunFilter, options: FitOptions, factors: Sequence[str] | str | None = None
) -> Fits:
    """Fits, for every task, the law that its backtest prefers; see ``fit(law="auto")``.

    Raises:
        UsageError: As ``backtest``.
        DataError: As ``backtest``.
    """
    records = _with_named_tasks(records)
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
        made = fit_law(replace(records, frame=own), name, factors_of(get_law(name), factors), choice, options)
        said = tried.verdict(task)
        left_out += made.left_out
        notes += made.notes if best == BASELINE else [said, *made.notes]
        laws += [replace(law, status=(*law.status, said)) if best == BASELINE else law for law in made]
    return Fits(tuple(laws), tuple(dict.fromkeys(notes)), records.source, distinct(left_out))


def _with_named_tasks(records: Records) -> Records:
    """The records with a name for the task of rows that name none, as a choice is made for each."""
    if "task" not in records.frame.columns or not records.frame["task"].null_count():
        return records
    return replace(records, frame=records.frame.with_columns(pl.col("task").fill_null(UNNAMED)))


def _candidates(records: Records, factors: Sequence[str] | str | None, by: Sequence[str]) -> tuple[str, ...]:
    if factors:
        return contenders("surface")
    curves = contenders("curve", records.outcome)
    return (*curves, *contenders("surface")) if varying_factors(records.frame, by) else curves


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


__all__ = ["BASELINE", "Backtest", "backtest", "fit_auto"]
