"""Fitted laws and predictions as rich tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from finescale.laws.fitted import FittedLaw, Prediction


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


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
