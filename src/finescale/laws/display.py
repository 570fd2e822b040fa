"""Fitted laws and predictions as rich tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from finescale.laws.fitted import FittedLaw, Prediction

if TYPE_CHECKING:
    import polars as pl


def number(value: float, digits: int = 3) -> str:
    """A number for a table; a dash where there is none."""
    return f"{value:.{digits}g}" if np.isfinite(value) else "-"


def interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """A value with its interval, e.g. ``0.52 [0.48, 0.57]``."""
    if not np.isfinite(low):
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def law_table(laws: Sequence[FittedLaw]) -> Table:
    """One row a law: its group, parameters with intervals, fitted and held-out deviation."""
    level = f"{100 * laws[0].level:g}% intervals" if laws and laws[0].draws else "no intervals"
    names = {law.law for law in laws}
    title = f"law {', '.join(sorted(names))}; {level}; deviations in nats per target token"
    table = Table(title=title, title_justify="left", header_style="bold")
    groups = list(dict.fromkeys(name for law in laws for name in law.by))
    parameters = list(dict.fromkeys(name for law in laws for name in law.parameters))
    for name in groups:
        table.add_column(name, overflow="fold")
    table.add_column("factor", overflow="fold")
    for name in parameters:
        table.add_column(name, justify="right", overflow="fold")
    for name in ("fitted", "deviation", "held out", "deviation held out"):
        table.add_column(name, justify="right")
    for law in laws:
        cells = [_cell(law.by.get(name)) for name in groups] + [", ".join(law.factors) or "-"]
        for name in parameters:
            found = law.parameters.get(name)
            cells.append(interval(found.value, found.low, found.high) if found else "")
        cells += [str(law.n_fitted), number(law.delta_e, 2), str(law.n_held_out), number(law.delta_h, 2)]
        table.add_row(*cells)
    return table


def prediction_table(laws: Sequence[FittedLaw], predictions: Sequence[Prediction]) -> Table:
    """One row a law and question: the predicted loss with both intervals."""
    table = Table(title="predicted loss, nats per target token", title_justify="left", header_style="bold")
    groups = list(dict.fromkeys(name for law in laws for name in law.by))
    asked = list(dict.fromkeys(name for prediction in predictions for name in prediction.at))
    for name in (*groups, "law", *asked):
        table.add_column(name, overflow="fold")
    for name in ("mean", "interval of the mean", "interval of a new run"):
        table.add_column(name, justify="right")
    for law, prediction in zip(laws, predictions, strict=True):
        at = {name: float(value) for name, value in prediction.at.items()}
        table.add_row(
            *(_cell(law.by.get(name)) for name in groups),
            law.law,
            *(number(at[name], 6) if name in at else "-" for name in asked),
            number(float(prediction.value), 5),
            f"{number(float(prediction.low), 5)} to {number(float(prediction.high), 5)}",
            f"{number(float(prediction.run_low), 5)} to {number(float(prediction.run_high), 5)}",
        )
    return table


def comparison_table(table: pl.DataFrame) -> Table:
    """Table 6 for the user's data: mean absolute deviations by task, method, factor and law."""
    shown = Table(
        title="mean absolute deviation, nats per target token", title_justify="left", header_style="bold"
    )
    words = {"n_fitted": "fitted", "delta_e": "deviation", "n_held_out": "held out"}
    words |= {"delta_h": "deviation held out", "n_common": "held out in common"}
    words |= {"delta_h_common": "deviation in common"}
    for name in table.columns:
        shown.add_column(words.get(name, name), justify="right" if name in words else "left", overflow="fold")
    for row in table.iter_rows():
        shown.add_row(*("-" if v is None else number(v, 3) if isinstance(v, float) else str(v) for v in row))
    return shown


def backtest_table(scores: pl.DataFrame) -> Table:
    """The laws of each task, best first, with their mean error on hidden data sizes."""
    shown = Table(
        title="backtest: error on hidden larger data sizes, nats", title_justify="left", header_style="bold"
    )
    for name, word in (("task", "task"), ("law", "law"), ("error", "mean error"), ("cells", "predictions")):
        shown.add_column(word, justify="left" if name in ("task", "law") else "right")
    for row in scores.iter_rows(named=True):
        error = f"{number(row['error'])} ± {number(row['standard_error'] or float('nan'), 2)}"
        shown.add_row(str(row["task"]), str(row["law"]), error, str(row["cells"]))
    return shown


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
