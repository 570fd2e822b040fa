"""Fitted laws, predictions and comparisons as tables: functions that read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finescale.cells import Cells, as_text, bullets
from finescale.laws.left_out import LeftOut, counted
from finescale.records.outcome_words import deviation_unit, difference_unit, heading, unit_of
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.wording import interval, number

if TYPE_CHECKING:
    import polars as pl

    from finescale.laws.fitted import FittedLaw, Prediction

_MOST_ROWS = 30
"""A notebook shows so many rows of predictions."""


def law_cells(laws: Sequence[FittedLaw]) -> Cells:
    """One row a law: its group, parameters with intervals, fitted and held-out deviation."""
    level = f"{100 * laws[0].level:g}% intervals" if laws and laws[0].draws else "no intervals"
    words = {name: [_cell(law.by.get(name)) for law in laws] for name in _groups(laws)}
    words["over"] = [", ".join(law.factors) or "-" for law in laws]
    words["law"] = [law.law for law in laws]
    numbers: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for law in laws for name in law.parameters):
        found = [law.parameters.get(name) for law in laws]
        numbers[name] = [interval(one.value, one.low, one.high) if one else "" for one in found]
    numbers["settings"] = [str(law.n_fitted) for law in laws]
    numbers["off by"] = [number(law.delta_e, 2) for law in laws]
    if any(law.n_held_out for law in laws):
        numbers["held out"] = [str(law.n_held_out) for law in laws]
        numbers["held out off by"] = [number(law.delta_h, 2) for law in laws]
    unit = deviation_unit(laws[0].outcome if laws else TEST_LOSS)
    return Cells(f"{level}; off by: mean absolute deviation, {unit}", words, numbers)


def prediction_cells(laws: Sequence[FittedLaw], predictions: Sequence[Prediction]) -> Cells:
    """One row a law and question: the prediction with both intervals."""
    words = {name: [_cell(law.by.get(name)) for law in laws] for name in _groups(laws)}
    words["law"] = [law.law for law in laws]
    at = [{name: float(value) for name, value in one.at.items()} for one in predictions]
    for name in dict.fromkeys(name for one in at for name in one):
        words[name] = [number(one[name], 6) if name in one else "-" for one in at]
    numbers = {
        "mean": [number(float(one.value), 5) for one in predictions],
        "interval of the mean": [_range(one.low, one.high) for one in predictions],
        "interval of a new run": [_range(one.run_low, one.run_high) for one in predictions],
    }
    return Cells(_predicted(predictions[0]), words, numbers)


def _predicted(one: Prediction) -> str:
    name = "loss, " + unit_of(one.outcome) if one.outcome.kind == "loss" else heading(one.outcome)
    return f"predicted {name}"


def comparison_cells(table: pl.DataFrame, outcome: Outcome = TEST_LOSS) -> Cells:
    """Table 6 for the user's data: mean absolute deviations by task, method, factor and law."""
    titles = {"n_fitted": "settings", "delta_e": "off by", "n_held_out": "held out"}
    titles |= {"delta_h": "held out off by", "n_common": "in common", "delta_h_common": "in common off by"}
    if table["n_common"].equals(table["n_held_out"]):
        table = table.drop("n_common", "delta_h_common")
    columns = {
        titles.get(name, name): [
            "-" if v is None else number(v, 3) if isinstance(v, float) else str(v) for v in table[name]
        ]
        for name in table.columns
    }
    words = {name: columns.pop(name) for name in list(columns) if name not in titles.values()}
    return Cells(f"off by: mean absolute deviation, {deviation_unit(outcome)}", words, columns)


def backtest_cells(scores: pl.DataFrame, outcome: Outcome = TEST_LOSS) -> Cells:
    """The laws of each task, best first, with their mean error on hidden data sizes."""
    rows = scores.to_dicts()
    words = {name: [str(row[name]) for row in rows] for name in ("task", "law")}
    errors = [f"{number(row['error'])} ± {number(row['standard_error'] or np.nan, 2)}" for row in rows]
    numbers = {"mean error": errors, "predictions": [str(row["cells"]) for row in rows]}
    title = f"backtest: error on hidden larger data sizes, {difference_unit(outcome)}"
    return Cells(title, words, numbers)


def _groups(laws: Sequence[FittedLaw]) -> list[str]:
    return list(dict.fromkeys(name for law in laws for name in law.by))


def _range(low: Any, high: Any) -> str:
    return f"{number(float(low), 5)} to {number(float(high), 5)}"


def _cell(value: object) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def answer_cells(found: Prediction) -> tuple[Cells, list[str]]:
    """One row a prediction, the first of them where there are many; and what to know."""
    columns = [np.ravel(np.asarray(values, dtype=float)) for values in found.at.values()]
    words = {
        name: [number(value, 6) for value in values[:_MOST_ROWS]]
        for name, values in zip(found.at, columns, strict=True)
    }
    ends = {
        "interval of the mean": (found.low, found.high),
        "interval of a new run": (found.run_low, found.run_high),
    }
    value = np.ravel(found.value)
    numbers = {"mean": [number(float(one), 5) for one in value[:_MOST_ROWS]]}
    for name, (low, high) in ends.items():
        if np.isfinite(low).any():
            pairs = zip(np.ravel(low)[:_MOST_ROWS], np.ravel(high)[:_MOST_ROWS], strict=True)
            numbers[name] = [_range(a, b) for a, b in pairs]
    lines = [f"warning: {status}" for status in found.status]
    lines += [f"{value.size - _MOST_ROWS:,} more predictions"] if value.size > _MOST_ROWS else []
    return Cells(_predicted(found), words, numbers), lines


def left_out_cells(left_out: Sequence[LeftOut]) -> Cells:
    """What no law was fitted to: how many groups or curves, by name and reason."""
    rows = counted(left_out)
    words = {
        name: [_cell(row[name]) for row in rows] for name in (rows[0] if rows else ()) if name != "groups"
    }
    return Cells("left out", words, {"how many": [str(row["groups"]) for row in rows]})


def html(cells: Cells, lines: Sequence[str], left_out: Sequence[LeftOut] = ()) -> str:
    """A table, what was left out, and sentences for a notebook; every text is escaped."""
    lost = left_out_cells(left_out).html() if left_out else ""
    return cells.html() + lost + bullets(lines)


def text(cells: Cells, lines: Sequence[str], left_out: Sequence[LeftOut] = ()) -> str:
    """A table, what was left out, and sentences as ``print`` writes them."""
    return as_text(cells, *([left_out_cells(left_out)] if left_out else []), *lines)


def trouble_lines(laws: Sequence[FittedLaw], notes: Sequence[str] = ()) -> list[str]:
    """The laws' troubles, each once, and notes."""
    found = dict.fromkeys(status for law in laws for status in law.status)
    return [f"warning: {status}" for status in found] + [f"note: {note}" for note in notes]
