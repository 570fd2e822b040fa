"""What Figures 1-4 of the paper show, from these records: points, curves with bands, references."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import polars as pl

from finescale.laws.fitted import FittedLaw
from finescale.records.held_out import of_one_curve
from finescale.records.outcome_words import axis, law_words, noun
from finescale.records.outcomes import Outcome
from finescale.records.records import DATA_SIZE
from finescale.records.settings import at_base
from finescale.records.tokenizers import across_tokenizers
from finescale.report.drawing import palette
from finescale.report.drawing.marks import SIDE_BY_SIDE
from finescale.report.evidence import TaskEvidence
from finescale.wording import capital, count, factor_name, method_name, method_title, pet_word, slug

MOST = 8
"""A figure shows at most so many panels or levels, evenly picked among all."""
STEPS = 24
"""Of more than twice as many points, the lowest and highest in each of so many steps of data are drawn."""
_GRID = 48
EXAMPLES = "finetuning examples (log scale)"
NUMBERS = {"model_params": 2, "pretrain_tokens": 3, "pet_size": 4}
LEGENDS = {"model_params": "parameters", "pretrain_tokens": "pretraining tokens", "pet_size": "size"}


@dataclass(frozen=True)
class Series:
    """One colour and shape of a panel."""

    label: str
    colour: str
    shape: str


@dataclass(frozen=True)
class Panel:
    """One small picture.

    Attributes:
        title: Its title.
        series: What is told apart, in the legend's order.
        points: ``series``, ``x``, ``y``, ``low``, ``high``, ``held_out``: mean and extremes of seeds.
        curve: ``series``, ``x``, ``y``, ``low``, ``high``, ``beyond`` (outside the fitted data).
        untuned: ``series`` (empty: all), ``y``: the value before finetuning.
        across: The title of the x axis; panels with the same one share its scale.
    """

    title: str
    series: tuple[Series, ...]
    points: tuple[Mapping[str, Any], ...]
    curve: tuple[Mapping[str, Any], ...]
    untuned: tuple[Mapping[str, Any], ...]
    across: str = EXAMPLES


@dataclass(frozen=True)
class Figure:
    """A figure of several panels with one scale.

    Attributes:
        name: Name of its files, without the ending.
        number: Its number in the paper; 0 for one that the paper does not have.
        title: Its title.
        caption: What to see, in sentences.
        panels: The panels.
        legend: What the colours stand for.
        up: The title of the y axis, which all panels share.
        log: Whether the axes are logarithmic: x, y.
        bounds: What the y axis does not leave.
        law: Whether the curves are laws; else they join the points.
    """

    name: str
    number: int
    title: str
    caption: str
    panels: tuple[Panel, ...]
    legend: str
    up: str
    log: tuple[bool, bool] = (True, True)
    bounds: tuple[float, float] = (-math.inf, math.inf)
    law: bool = True


class Upwards(TypedDict):
    """What a figure's y axis is, as its keywords."""

    up: str
    log: tuple[bool, bool]
    bounds: tuple[float, float]


def upwards(outcome: Outcome) -> Upwards:
    """The y axis of an outcome: losses on a log scale, scores as they are and within their bounds."""
    loss = outcome.kind == "loss"
    return {
        "up": axis(outcome),
        "log": (True, loss),
        "bounds": (-math.inf, math.inf) if loss else (outcome.low, outcome.high),
    }


def figure_1(task: TaskEvidence) -> Figure | None:
    """Single-variable laws: a panel for each model size, the methods in colours."""
    rows = {method: task.at_base(method, free="model_params") for method in task.methods}
    if not any(part.height for part in rows.values()):
        return None
    everything = pl.concat(list(rows.values()), how="diagonal_relaxed")
    key = "model_params" if "model_params" in everything.columns else None
    values: list[float | None] = (
        [None] if key is None else sorted(everything[key].drop_nulls().unique().to_list())
    )
    picked = pick_values(values)
    series = method_series(task)
    panels = []
    heights: list[int] = []
    for value in picked:
        points: list[Mapping[str, Any]] = []
        curve: list[Mapping[str, Any]] = []
        for method, part in rows.items():
            mine = part if value is None else part.filter(pl.col("model_params") == value)
            if not mine.height:
                continue
            law = _single_law(task, method, value)
            heights.append(mine.height)
            points += _points(mine if law is None else _held_out_alone(mine), method_name(method))
            if law is not None:
                reach = _reach(mine)
                curve += curve_of(
                    law, {DATA_SIZE: reach}, method_name(method), reach > _fitted_to(law) * 1.000001
                )
        panels.append(
            Panel(model_title(everything, value), series, tuple(points), tuple(curve), _bare(task, value))
        )
    law_said = _laws_said(task.outcome, panels, "Each curve is a law of its own, L = A·D^-β + E")
    caption = law_said + _MARKS
    caption += thinning(heights)
    if len(picked) < len(values):
        caption += f" {len(picked)} of {len(values)} model sizes are shown."
    measured = capital(noun(task.outcome))
    title = f"Figure 1. {measured} against finetuning data, method by method{of_task(task)}"
    name, axes = f"figure-1-{slug(task.task)}", upwards(task.outcome)
    return Figure(name, 1, title, caption, tuple(panels), "method", **axes)


_MARKS = (
    "Points are means over seeds, bars reach from the lowest to the highest seed; filled points were "
    "fitted, hollow ones held out; a curve is dashed where it leaves the fitted data; the dotted line is the "
    f"untuned model. {SIDE_BY_SIDE}"
)


def factor_figure(task: TaskEvidence, factor: str) -> Figure | None:
    """A joint law of one factor and the data size: a panel a method, the factor's values in colours."""
    if factor not in task.settings.columns:
        return None
    panels = []
    heights: list[int] = []
    more = False
    for method in task.methods:
        rows = task.at_base(method, free=factor).filter(pl.col(factor).is_not_null())
        values = sorted(value for value in rows[factor].unique().to_list() if value > 0)
        if len(values) < 2:
            continue
        picked = pick_values(values)
        more = more or len(picked) < len(values)
        law = task.law("multiplicative", method, factor)
        series, points, curve = [], [], []
        bare: list[Mapping[str, Any]] = []
        for index, value in enumerate(picked):
            label = count(value)
            series.append(level_series(label, index, len(picked)))
            mine = rows.filter(pl.col(factor) == value)
            heights.append(mine.height)
            points += _points(mine, label)
            if factor != "pet_size":
                bare += _bare(task, value, factor, label)
            if law is not None:
                reach = _reach(mine)
                outside = value > law.ranges[factor][1] * 1.000001
                beyond = (reach > law.ranges[DATA_SIZE][1] * 1.000001) | outside
                curve += curve_of(law, {factor: value, DATA_SIZE: reach}, label, beyond)
        if factor == "pet_size":
            bare = list(_bare(task, task.base.get("model_params")))
        title = method_title(method) + (f" ({pet_word(method)})" if factor == "pet_size" else "")
        panels.append(Panel(title, tuple(series), tuple(points), tuple(curve), tuple(bare)))
    if not panels:
        return None
    at = NUMBERS[factor]
    title = f"Figure {at}. {capital(factor_name(factor))} and finetuning data together" + of_task(task)
    caption = _laws_said(task.outcome, panels, "Curves are the multiplicative joint law, L = A·X^-α·D^-β + E")
    laws = [task.law("multiplicative", method, factor) for method in task.methods]
    if any(law is not None and across_tokenizers(law.status) for law in laws):
        caption += "It is fitted across tokenizers, whose losses per token do not compare. "
    caption += "Marks as in Figure 1." + thinning(heights)
    caption += " Not every value is shown." if more else ""
    name, axes = f"figure-{at}-{slug(task.task)}", upwards(task.outcome)
    return Figure(name, at, title, caption, tuple(panels), LEGENDS[factor], **axes)


def _laws_said(outcome: Outcome, panels: Sequence[Panel], law: str) -> str:
    """What a caption says of the curves, and of a score what L is; empty where no curve is drawn."""
    if not any(panel.curve for panel in panels):
        return ""
    return f"{law}, with its 90% band.{law_words(outcome)} "


def method_series(task: TaskEvidence) -> tuple[Series, ...]:
    """The methods' colours and shapes, the same in every figure."""
    looks = [
        (palette.SERIES[i % len(palette.SERIES)][0], palette.SHAPES[i % len(palette.SHAPES)])
        for i in range(len(task.methods))
    ]
    return tuple(Series(method_name(m), *look) for m, look in zip(task.methods, looks, strict=True))


def level_series(label: str, index: int, many: int) -> Series:
    """The colour and shape of one of so many values of a factor, small to large."""
    return Series(label, palette.spread(many)[index], palette.SHAPES[index])


def of_task(task: TaskEvidence) -> str:
    """The task's name for a title."""
    return "" if task.task == "unnamed" else f" ({task.task})"


def pick_values(values: Sequence[Any]) -> list[Any]:
    """At most ``MOST`` values, evenly picked."""
    if len(values) <= MOST:
        return list(values)
    return [values[round(index * (len(values) - 1) / (MOST - 1))] for index in range(MOST)]


def _points(rows: pl.DataFrame, label: str) -> list[Mapping[str, Any]]:
    rows = thin(rows)
    return [
        {"series": label, "x": x, "y": y, "low": low, "high": high, "held_out": held}
        for x, y, low, high, held in rows.select(DATA_SIZE, "loss", "low", "high", "held_out").iter_rows()
    ]


def thin(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows, or of many the lowest and the highest, fitted and held out, in each step of log data."""
    if rows.height <= 2 * STEPS:
        return rows
    size = pl.col(DATA_SIZE).log()
    step = ((size - size.min()) / (size.max() - size.min()) * STEPS).fill_nan(0).floor().clip(0, STEPS - 1)
    loss, here = pl.col("loss"), [step, "held_out"]
    return rows.filter((loss == loss.min().over(here)) | (loss == loss.max().over(here)))


def thinning(heights: Sequence[int]) -> str:
    """What a caption says of points that are not drawn; empty where all are."""
    if max(heights, default=0) <= 2 * STEPS:
        return ""
    return (
        f" Of more than {2 * STEPS} points the lowest and the highest in each of {STEPS} steps of the data "
        "size are drawn; the fits see all."
    )


def _held_out_alone(rows: pl.DataFrame) -> pl.DataFrame:
    """A curve that is held out whole keeps out its largest size only, as its own fit did."""
    return rows.with_columns(of_one_curve(rows["held_out"], rows[DATA_SIZE]).alias("held_out"))


def _reach(rows: pl.DataFrame) -> np.ndarray[Any, Any]:
    low, high = float(rows[DATA_SIZE].min()), float(rows[DATA_SIZE].max())  # type: ignore[arg-type]
    return np.geomspace(low, high, _GRID)


def curve_of(
    law: FittedLaw, at: Mapping[str, Any], label: str, beyond: np.ndarray[Any, Any]
) -> list[Mapping[str, Any]]:
    """A law's means and bands along one variable, for a panel; ``beyond``: outside the fitted data."""
    predicted = law.predict(at)
    along = next(values for values in at.values() if np.ndim(values))
    low = predicted.low if law.draws else predicted.value
    high = predicted.high if law.draws else predicted.value
    columns = zip(along, predicted.value, low, high, beyond, strict=True)
    return [
        {
            "series": label,
            "x": float(x),
            "y": float(y),
            "low": float(a),
            "high": float(b),
            "beyond": bool(out),
        }
        for x, y, a, b, out in columns
        if math.isfinite(y) and math.isfinite(a) and math.isfinite(b)
    ]


def _fitted_to(law: FittedLaw) -> float:
    return law.ranges[DATA_SIZE][1]


def _single_law(task: TaskEvidence, method: str, value: float | None) -> FittedLaw | None:
    for law in task.curves.get("power", ()):
        if law.by.get("method") == method and law.by.get("model_params", value) == value:
            return law
    return None


def model_title(rows: pl.DataFrame, value: float | None) -> str:
    """A panel's title: the model's name and size."""
    if value is None:
        return "All runs"
    size = f"{count(value)} parameters"
    if "model" not in rows.columns:
        return size
    names = rows.filter(pl.col("model_params") == value)["model"].drop_nulls().unique().to_list()
    return f"{names[0]} ({size})" if len(names) == 1 and len(names[0]) <= 24 else size


def _bare(
    task: TaskEvidence, value: float | None, factor: str = "model_params", label: str = ""
) -> tuple[Mapping[str, Any], ...]:
    found = untuned_at(task.bare, task.base, {factor: value})["loss"]
    return tuple({"series": label, "y": float(loss)} for loss in found[:1])


def untuned_at(rows: pl.DataFrame, base: Mapping[str, Any], at: Mapping[str, float | None]) -> pl.DataFrame:
    """The rows of the untuned model of the base setting, some of its factors being another value."""
    return at_base(rows, {**base, **at}, free=("pet_size", DATA_SIZE))
