"""Does the law hold? Bends of the curves and residuals that the noise between seeds cannot explain.

A score's curve is judged as its distance from the best value, to which its laws are fitted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from finescale.laws.fitted import FittedLaw
from finescale.laws.formulas import BASELINE
from finescale.laws.law import Law
from finescale.records.outcome_words import (
    amount,
    deviation_unit,
    difference,
    difference_unit,
    law_words,
    lost_words,
)
from finescale.records.records import DATA_SIZE
from finescale.records.settings import GROUP, setting_columns
from finescale.report.drawing.sheet import Row, Sheet, SheetColumn, column, plain
from finescale.report.evidence import TaskEvidence
from finescale.report.tables import lowest
from finescale.wording import count, factor_name, method_name, method_title


@dataclass(frozen=True)
class Bend:
    """How the gain of a doubling of the data changes along a method's curves.

    Attributes:
        small: Gain of a doubling in the lower half of the data sizes (mean over curves).
        large: The same in the upper half.
        error: Standard error of the difference of the two.
        curves: Number of curves.
    """

    small: float
    large: float
    error: float
    curves: int

    @property
    def downwards(self) -> bool:
        """The curve improves faster and faster: no power law with a floor does that."""
        return self.large - self.small > max(2 * self.error, 0.25 * abs(self.small), 1e-9)


def bend(task: TaskEvidence, method: str) -> Bend | None:
    """The bend of a method's curves (one for each setting of the other factors); None with too few sizes."""
    rows = task.settings.filter(pl.col("method") == method)
    keys = setting_columns(rows, without=(*GROUP, DATA_SIZE))
    gains = []
    groups = rows.group_by(keys, maintain_order=True) if keys else [((), rows)]
    for _, curve in groups:
        if curve[DATA_SIZE].n_unique() < 4:
            continue
        ordered = curve.sort(DATA_SIZE)
        x, loss = np.log2(ordered[DATA_SIZE].to_numpy()), task.outcome.sign * ordered["loss"].to_numpy()
        half = (x.size + 1) // 2
        ends = (slice(None, half), slice(-half, None))
        gains.append([-np.polyfit(x[end] - x[end].mean(), loss[end], 1)[0] for end in ends])
    if not gains:
        return None
    table = np.array(gains)
    change = table[:, 1] - table[:, 0]
    noise = task.noise[method].sd if task.noise[method].known else 0.0
    spread = float(change.std(ddof=1)) if len(gains) > 1 else 0.0
    error = max(spread, noise) / math.sqrt(len(gains))
    return Bend(float(table[:, 0].mean()), float(table[:, 1].mean()), error, len(gains))


def bend_words(task: TaskEvidence) -> list[str]:
    """A sentence for each method whose loss bends downwards (or score upwards), as no power law can."""
    outcome, words = task.outcome, []
    way = "downwards" if outcome.lower else "upwards"
    rival = "" if outcome.scale != "logit" else "; the sigmoid law has such a phase"
    for method in task.methods:
        found = bend(task, method)
        if found is not None and found.downwards:
            gain = f"{difference(outcome, found.small)} in the lower half of the sizes, "
            gain += f"{amount(outcome, found.large)} in the upper"
            words.append(
                f"{method_title(method)} bends {way}: a doubling of the data brings {gain} "
                f"(mean of {found.curves} curves). A power law can only flatten, so these runs are in "
                "the phase "
                f"before it sets in, and the law promises too little from more data{rival}."
            )
    return words


def misfit_words(task: TaskEvidence, factor: str) -> list[str]:
    """Where a joint law misses more than the noise between seeds explains, one sentence a method.

    Args:
        task: The evidence.
        factor: The joint law's factor.
    """
    outcome, words = task.outcome, []
    for method in task.methods:
        law = task.law("multiplicative", method, factor)
        if law is None:
            continue
        who = f"{method_title(method)} ({factor_name(factor)})"
        expected = _expected_deviation(task, method, law)
        missed = math.isfinite(expected) and law.delta_e > 2 * expected
        far = math.isfinite(law.delta_h) and law.delta_h > 4 * max(law.delta_e, 1e-6)
        if not missed and not far:
            continue
        parts = []
        if missed:
            parts.append(
                f"fitted settings lie {difference(outcome, law.delta_e, 1)} off the law on average, where "
                f"the noise between seeds explains {amount(outcome, expected, 1)}"
            )
        if far:
            off = difference(outcome, law.delta_h, 1)
            parts.append(f"held-out settings lie {off} off: do not extrapolate with it")
        words.append(f"{who}: {'; '.join(parts)}.")
    return words


def _expected_deviation(task: TaskEvidence, method: str, law: FittedLaw) -> float:
    """The mean absolute deviation that noise between seeds alone would leave; NaN where it is unknown."""
    noise = task.noise[method]
    if not noise.known or law.points is None:
        return float("nan")
    runs = float(np.mean(law.points["runs"].to_numpy()))
    return noise.sd * math.sqrt(2 / math.pi / max(runs, 1.0))


def curve_laws(task: TaskEvidence) -> Sheet:
    """Single-variable laws against one another, averaged over the curves of a method that all of them fit."""
    rows = [row for method in task.methods if (row := _compared(task, method)) is not None]
    off = partial(amount, task.outcome, finer=1)
    shown: list[SheetColumn] = [SheetColumn("method", lambda row: method_name(row["method"]), numeric=False)]
    shown += [column("curves", "curves", str)]
    for kind, heading in (("held_out", "held out"), ("fitted", "fitted")):
        for name in task.curves:
            if any(row.get(f"{name}_{kind}") is not None for row in rows):
                shown.append(column(f"{heading}: {name}", f"{name}_{kind}", off))
    shown.append(plain("best on held out", "best"))
    formulas = [f"{name}: {_words(fits[0].formula)}" for name, fits in task.curves.items() if len(fits)]
    note = "; ".join(formulas) + "."
    if law_words(task.outcome):
        note += f" They are laws of {lost_words(task.outcome)}."
    title = f"Laws of one variable: mean absolute deviation, {deviation_unit(task.outcome)}"
    return Sheet("single-variable-laws", title, rows, shown, (note,))


def _words(law: Law | None) -> str:
    """A law's formula, as people write it; of the baseline what it is."""
    if law is None or law.name == BASELINE:
        return "a straight line through the last three sizes in log-log, without a floor"
    return law.text.replace(" ** ", "^").replace(" * ", " ")


def _compared(task: TaskEvidence, method: str) -> Row | None:
    curves: dict[str, dict[Any, tuple[float, float]]] = {}
    for name, fits in task.curves.items():
        mine = [law for law in fits if law.by.get("method", method) == method]
        curves[name] = {law.by.get("model_params"): (law.delta_h, law.delta_e) for law in mine}
    known = {name: table for name, table in curves.items() if table}
    if len(known) < 2:
        return None
    common = sorted(set.intersection(*[set(table) for table in known.values()]), key=str)
    if not common:
        return None
    row: dict[str, Any] = {"task": task.task, "method": method, "curves": len(common)}
    for name, table in known.items():
        for index, kind in enumerate(("held_out", "fitted")):
            row[f"{name}_{kind}"] = _mean([table[key][index] for key in common])
    held = {name: row[f"{name}_held_out"] for name in known if row[f"{name}_held_out"] is not None}
    return row | {"best": lowest(held)}


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def steps_words(task: TaskEvidence) -> str:
    """The gain of a doubling for every method, in one sentence, for the reader who wants one number."""
    parts = []
    for method in task.methods:
        found = bend(task, method)
        if found is not None:
            gains = (amount(task.outcome, gain) for gain in (found.small, found.large))
            parts.append(f"{method_name(method)} {' and '.join(gains)}")
    sizes = task.settings[DATA_SIZE]
    if not parts or not sizes.len():
        return ""
    reach = f"{count(float(sizes.min()))} to {count(float(sizes.max()))} examples"  # type: ignore[arg-type]
    halves = f"A doubling of the data, in the lower and in the upper half of {reach}"
    return f"{halves}, in {difference_unit(task.outcome)}: {'; '.join(parts)}."
