"""Laws side by side on held-out runs: the paper's Table 6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Unpack

import polars as pl

from finescale.laws.fit_law import check_finished
from finescale.laws.formulas import contenders
from finescale.laws.joint import two_steps
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut, distinct
from finescale.laws.options import FitKeywords, read_options
from finescale.laws.side_by_side import BECAUSE, WITHOUT, fit_all, points_of
from finescale.records.held_out import LARGEST, held_out
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import Records
from finescale.records.settings import setting_columns

if TYPE_CHECKING:
    from finescale.records.tables import TableLike


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
    records, choice, _ = read_options(records, options, without=WITHOUT, because=BECAUSE)
    check_finished(records)
    if choice.hold_out is None and not held_out(records.frame).any():
        choice = replace(choice, hold_out=LARGEST)
    steps = partial(two_steps, records, **{**options, "hold_out": choice.hold_out, "bootstrap": 0})
    fitted, notes, left_out = fit_all(records, laws or contenders("surface"), factors, steps)
    rows = pl.concat([points_of(name, fits) for name, fits in fitted.items()], how="diagonal_relaxed")
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
