"""Does the law hold? Bends of the observed curves and residuals that the noise between seeds cannot explain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finescale.records import DATA_SIZE
from finescale.report.evidence import CURVE_LAWS, PAPER_FACTORS, TaskEvidence
from finescale.report.sheet import Row, Sheet, Shown, column, plain
from finescale.report.wording import capital, count, factor_name, method_name, nats, number


@dataclass(frozen=True)
class Bend:
    """How the gain of a doubling of the data changes along a method's curves.

    Attributes:
        small: Gain of a doubling at the small end, nats (mean over curves).
        large: The same at the large end.
        error: Standard error of the difference of the two.
        curves: Number of curves.
    """

    small: float
    large: float
    error: float
    curves: int

    @property
    def downwards(self) -> bool:
        """The curve falls faster and faster: no power law with a floor does that."""
        return self.large - self.small > max(2 * self.error, 0.25 * abs(self.small), 1e-9)


def bend(task: TaskEvidence, method: str) -> Bend | None:
    """The bend of a method's curves (one for each setting of the other factors); None with too few sizes."""
    rows = task.settings.filter(pl.col("method") == method)
    keys = [name for name in ("model", *PAPER_FACTORS) if name in rows.columns]
    gains = []
    groups = rows.group_by(keys, maintain_order=True) if keys else [((), rows)]
    for _, curve in groups:
        if curve[DATA_SIZE].n_unique() < 4:
            continue
        curve = curve.sort(DATA_SIZE)
        x = np.log2(curve[DATA_SIZE].to_numpy())
        quadratic = np.polyfit(x - x.mean(), curve["loss"].to_numpy(), 2)
        slope = np.polyder(quadratic)
        ends = np.array([x[0], x[-1]]) - x.mean()
        gains.append(-np.polyval(slope, ends))
    if not gains:
        return None
    table = np.array(gains)
    change = table[:, 1] - table[:, 0]
    noise = task.noise[method].sd if task.noise[method].known else 0.0
    spread = float(change.std(ddof=1)) if len(gains) > 1 else 0.0
    error = max(spread, noise) / math.sqrt(len(gains))
    return Bend(float(table[:, 0].mean()), float(table[:, 1].mean()), error, len(gains))


def law_words(task: TaskEvidence, factor: str | None = None) -> list[str]:
    """What the reader of a figure should know of the law behind it, a sentence a method that has trouble.

    Args:
        task: The evidence.
        factor: The joint law's factor, or None for the single-variable curves.
    """
    words = []
    for method in task.methods:
        found = bend(task, method)
        if found is not None and found.downwards:
            gain = f"{nats(found.small)} nats at the smallest sizes and {nats(found.large)} at the largest"
            words.append(
                f"{capital(method_name(method))}: the curve bends downwards - a doubling of the data brings {gain} "
                f"({found.curves} curves). A power law can only flatten: these runs are in the phase before it sets "
                "in, and the law underrates larger data."
            )
        law = task.law("multiplicative", method, factor) if factor else None
        noise = task.noise[method]
        if law is None or not noise.known:
            continue
        runs = float(law.points["runs"].mean()) if law.points is not None else 1.0  # type: ignore[arg-type]
        expected = noise.sd * math.sqrt(2 / math.pi / max(runs, 1.0))
        if law.delta_e > 2 * expected:
            words.append(
                f"{capital(method_name(method))}, {factor_name(factor or '')}: the fitted settings lie "
                f"{nats(law.delta_e, 4)} nats off the law on average, where noise between seeds explains "
                f"{nats(expected, 4)}: the law misses something that the runs show."
            )
        words += _held_out_words(method, law.delta_h, law.delta_e)
    return words


def _held_out_words(method: str, held_out: float, fitted: float) -> list[str]:
    if not (math.isfinite(held_out) and held_out > 4 * max(fitted, 1e-6)):
        return []
    return [
        f"{capital(method_name(method))}: held-out settings are missed by {nats(held_out, 4)} nats, "
        f"{held_out / max(fitted, 1e-6):.0f} times the fitted ones: do not extrapolate with this law."
    ]


def curve_laws(task: TaskEvidence) -> Sheet:
    """Single-variable laws against one another, averaged over the curves of a method that all of them fit."""
    rows = [row for method in task.methods if (row := _compared(task, method)) is not None]
    shown: list[Shown] = [Shown("method", lambda row: method_name(row["method"]), numeric=False)]
    shown += [column("curves", "curves", str)]
    for kind, heading in (("held_out", "held out"), ("fitted", "fitted")):
        for name in CURVE_LAWS:
            if any(row.get(f"{name}_{kind}") is not None for row in rows):
                shown.append(column(f"{heading}: {name}", f"{name}_{kind}", lambda value: nats(value, 4)))
    shown.append(plain("best on held out", "best"))
    note = (
        "power: A D^-beta + E; rectified: B / (D_l + D^beta) + E, which can bend; loglinear: a straight line through "
        "the last three sizes in log-log, without a floor."
    )
    title = "Laws of one variable: mean absolute deviation, nats per target token"
    return Sheet("single-variable-laws", title, rows, shown, (note,))


def _compared(task: TaskEvidence, method: str) -> Row | None:
    curves: dict[str, dict[Any, tuple[float, float]]] = {}
    for name in CURVE_LAWS:
        fits = task.curves.get(name, ())
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
    return row | {"best": min(held, key=lambda name: held[name]) if held else None}


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def steps_words(task: TaskEvidence) -> str:
    """The gain of a doubling for every method, in one sentence, for the reader who wants one number."""
    parts = []
    for method in task.methods:
        found = bend(task, method)
        if found is not None:
            parts.append(f"{method_name(method)} {number(found.small, 2)} to {number(found.large, 2)}")
    sizes = task.settings[DATA_SIZE]
    if not parts or not sizes.len():
        return ""
    reach = f"{count(float(sizes.min()))} to {count(float(sizes.max()))} examples"  # type: ignore[arg-type]
    return f"What a doubling of the data brings, in nats, from the small to the large end ({reach}): {'; '.join(parts)}."
