"""Fitting laws to records: ``fit``, for one law or for the one that predicts best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from finescale.laws.fit_law import check_finished, fit_law
from finescale.laws.fits import Fits
from finescale.laws.joint import joint_fit
from finescale.laws.law import Law
from finescale.laws.options import FitKeywords, read_options
from finescale.laws.select import fit_auto
from finescale.records.records import Records

if TYPE_CHECKING:
    from finescale.records.tables import TableLike


def fit(
    records: Records | TableLike,
    law: str | Law = "multiplicative",
    factors: Sequence[str] | str | None = None,
    **options: Unpack[FitKeywords],
) -> Fits:
    """Fits a law to every group of runs.

    Args:
        records: Records, or what ``read_records`` takes.
        law: A law's name, a law made with ``@law``, or ``auto`` (chosen per task by backtest).
        factors: Factors for the law's X; one fit for each unless parameters are shared. Default: those that
            vary.
        **options: ``by``, ``loss``, ``hold_out``, ``base``, ``average_seeds`` and ``weights`` (which runs),
            ``residual``, ``bootstrap``, ``seed``, ``solver``, ``level``, ``shared``, ``across`` and ``fixed``
            (how); see ``FitKeywords``. ``auto`` passes all of them on, but refuses the last three: they name
            parameters of one law.

    Returns:
        The fitted laws.

    Raises:
        UsageError: A column, law or option that does not exist.
        DataError: The data do not allow the fit.

    Example:
        >>> fits = fs.fit("examples/nano_full.parquet", "multiplicative", "model_params", bootstrap=200)
        >>> lora = fits.only(method="lora")
        >>> round(lora.value("beta"), 2), lora.n_fitted
        (0.03, 15)
        >>> float(lora.predict(model_params=1e6, finetune_examples=4096).value) < 4
        True
    """
    if law == "auto":
        without = ("shared", "across", "fixed")
        because = "a law by name: parameters belong to one law, and `auto` may choose any"
        return fit_auto(*read_options(records, options, without=without, because=because), factors)
    table, choice, how = read_options(records, options)
    return fit_law(table, law, factors, choice, how)


__all__ = ["check_finished", "fit", "joint_fit"]
