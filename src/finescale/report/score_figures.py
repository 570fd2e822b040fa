"""Figures of scores: zero-shot (6), generation (7-9), few-shot (11-14), and forgetting beside gain.

Points and their spread over seeds, joined by thin lines: the paper fits no law to scores, nor do we.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from finescale.records.outcome_words import difference_unit
from finescale.records.records import DATA_SIZE, Records, untuned
from finescale.records.scores import LOSS, Scores, metric_name
from finescale.records.settings import at_base, setting_columns
from finescale.report.drawing.marks import SIDE_BY_SIDE
from finescale.report.evidence import TaskEvidence, settings_of
from finescale.report.figures import (
    LEGENDS,
    Figure,
    Panel,
    Series,
    level_series,
    method_series,
    model_title,
    of_task,
    pick_values,
    thin,
    thinning,
    untuned_at,
)
from finescale.wording import count, factor_name, method_name, method_title, number, pet_word, slug

BEFORE, AFTER = "pretrain_loss_before", "pretrain_loss_after"


@dataclass(frozen=True)
class ScoreFigure:
    """One of the paper's figures of scores.

    Attributes:
        number: Its number.
        what: What is scored.
        factor: The factor in colours.
        split: The split of the scores.
        shots: Demonstrations in the prompt.
    """

    number: int
    what: str
    factor: str
    split: str
    shots: int


KINDS = (
    ScoreFigure(6, "Zero-shot", "model_params", "zero_shot", 0),
    ScoreFigure(7, "Generation quality", "model_params", "test", 0),
    ScoreFigure(8, "Generation quality", "pretrain_tokens", "test", 0),
    ScoreFigure(9, "Generation quality", "pet_size", "test", 0),
    ScoreFigure(11, "One-shot", "model_params", "test", 1),
    ScoreFigure(12, "Five-shot", "model_params", "test", 5),
    ScoreFigure(13, "One-shot", "pretrain_tokens", "test", 1),
    ScoreFigure(14, "Five-shot", "pretrain_tokens", "test", 5),
)


def score_figure(task: TaskEvidence, scores: Scores, kind: ScoreFigure) -> Figure | None:
    """One figure of scores: a panel a method, the factor's values in colours; None without scores for it."""
    metric = scores.main_metric(task.task, kind.split, kind.shots)
    if metric is None or kind.factor not in task.settings.columns:
        return None
    rows = scores.of_runs(task.task, kind.split, kind.shots, metric)
    tuned = settings_of(rows.filter(~untuned() & (pl.col(DATA_SIZE) > 0)), "score")
    bare = settings_of(rows.filter(untuned()), "score")
    panels, heights, more = [], [0], False
    for method in task.methods:
        mine = at_base(tuned, task.base, method, free=kind.factor)
        mine = mine.filter(pl.col(kind.factor) > 0).sort(DATA_SIZE)
        values = sorted(mine[kind.factor].unique().to_list())
        if len(values) < 2:
            continue
        picked = pick_values(values)
        more = more or len(picked) < len(values)
        heights += mine.group_by(kind.factor).len()["len"].to_list()
        panels.append(_panel(task, method, kind.factor, mine, bare, picked))
    if not panels:
        return None
    name = metric_name(metric)
    title = f"Figure {kind.number}. {kind.what}: {factor_name(kind.factor)} and finetuning data"
    sets = "the languages' average" if kind.split == "zero_shot" else "the mean over the test sets"
    caption = (
        f"{name}, {sets}. Points are means over seeds, bars reach from the lowest to the highest seed; lines "
        f"join the points, no law is fitted; the dotted line is the untuned model. {SIDE_BY_SIDE}"
    )
    own = scores.half_interval(task.task, kind.split, kind.shots, metric)
    if own is not None:
        caption += f" One score's own 90% interval, over its {count(own[1])} texts, is ±{number(own[0], 2)}."
    caption += (" Not every value is shown." if more else "") + thinning(heights)
    return Figure(
        f"figure-{kind.number}-{slug(task.task)}",
        kind.number,
        title + of_task(task),
        caption,
        tuple(panels),
        LEGENDS[kind.factor],
        up="loss (nats per token)" if metric == LOSS else f"{name} (higher is better)",
        log=(True, False),
        law=False,
    )


def _panel(  # noqa: PLR0917
    task: TaskEvidence,
    method: str,
    factor: str,
    rows: pl.DataFrame,
    bare: pl.DataFrame,
    picked: list[Any],
) -> Panel:
    series: list[Series] = []
    points: list[Mapping[str, Any]] = []
    rules: list[Mapping[str, Any]] = []
    for index, value in enumerate(picked):
        label = count(value)
        series.append(level_series(label, index, len(picked)))
        mine = rows.filter(pl.col(factor) == value)
        columns = (DATA_SIZE, "loss", "low", "high")
        points += [_point(label, *row) for row in thin(mine).select(columns).iter_rows()]
        if factor != "pet_size":
            found = untuned_at(bare, task.base, {factor: value})["loss"]
            rules += [{"series": label, "y": float(score)} for score in found[:1]]
    if factor == "pet_size":
        found = untuned_at(bare, task.base, {})["loss"]
        rules += [{"series": "", "y": float(score)} for score in found[:1]]
    title = method_title(method) + (f" ({pet_word(method)})" if factor == "pet_size" else "")
    return Panel(title, tuple(series), tuple(points), _joining(points), tuple(rules))


def _point(label: str, x: float, y: float, low: float, high: float) -> Mapping[str, Any]:
    return {"series": label, "x": x, "y": y, "low": low, "high": high, "held_out": False}


def _joining(points: list[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    """The lines that join the points of a series."""
    return tuple({**point, "low": point["y"], "high": point["y"], "beyond": False} for point in points)


def forgetting_rows(task: TaskEvidence, records: Records) -> pl.DataFrame:
    """What every tuned run gained on the task and forgot of the pretraining text.

    Args:
        task: The evidence.
        records: The records with ``pretrain_loss_before`` and ``pretrain_loss_after``.

    Returns:
        The runs' columns with ``gain`` (by how much the outcome is better than the untuned model's) and
        ``forgotten`` (nats above the loss on pretraining text before finetuning); empty where the records do
        not know.
    """
    frame = records.frame.filter(pl.col("task") == task.task)
    nothing = frame.clear().with_columns(gain=pl.lit(0.0), forgotten=pl.lit(0.0))
    if not {BEFORE, AFTER} <= set(frame.columns):
        return nothing
    bases = [name for name in ("model", "model_params", "pretrain_tokens") if name in frame.columns]
    if not bases:
        return nothing
    start = task.bare.group_by(bases).agg(pl.col("loss").mean().alias("untuned_loss"))
    tuned = frame.filter(~untuned() & (pl.col(DATA_SIZE) > 0))
    joined = tuned.join(start, on=bases, nulls_equal=True).with_columns(
        gain=records.outcome.sign * (pl.col("untuned_loss") - pl.col(records.loss)),
        forgotten=pl.col(AFTER) - pl.col(BEFORE),
    )
    return joined.filter(pl.col("gain").is_not_null() & pl.col("forgotten").is_not_null())


def forgetting_figure(task: TaskEvidence, records: Records) -> Figure | None:
    """Forgetting beside gain: a panel a model size, the methods in colours; None where it is not known."""
    rows = forgetting_rows(task, records)
    if not rows.height:
        return None
    lost, won = settings_of(rows, "forgotten"), settings_of(rows, "gain")
    keys = setting_columns(won, without=("task",))
    both = lost.join(won.select(*keys, pl.col("loss").alias("gain")), on=keys, nulls_equal=True)
    at = [at_base(both, task.base, method, free="model_params") for method in task.methods]
    everything = pl.concat(at)
    sizes: list[Any] = [None]
    if "model_params" in everything.columns:
        sizes = sorted(everything["model_params"].drop_nulls().unique().to_list()) or [None]
    picked = pick_values(sizes)
    gain, unit = _gain(task)
    panels = []
    for size in picked:
        points: list[Mapping[str, Any]] = []
        for method, part in zip(task.methods, at, strict=True):
            mine = part if size is None else part.filter(pl.col("model_params") == size)
            ordered = thin(mine).sort(DATA_SIZE).select("gain", "loss", "low", "high").rows()
            made = [_point(method_name(method), *row) for row in ordered]
            points += [{**point, "held_out": index == 0} for index, point in enumerate(made)]
        if points:
            rule = ({"series": "", "y": 0.0},)
            across = f"gain: {gain}{f' ({unit})' if unit else ''}"
            title = model_title(everything, size)
            panels.append(Panel(title, method_series(task), tuple(points), _joining(points), rule, across))
    if not panels:
        return None
    caption = (
        f"To the right: learned, {f'{unit} of ' if unit else ''}{gain}. Upwards: forgotten, nats of loss "
        "on pretraining text above what it was before. Each line goes from the fewest examples (hollow) to "
        f"the most; bars reach from the lowest to the highest seed; dotted: nothing forgotten. {SIDE_BY_SIDE}"
    )
    caption += f" {len(picked)} of {len(sizes)} model sizes are shown." if len(picked) < len(sizes) else ""
    return Figure(
        f"figure-forgetting-{slug(task.task)}",
        0,
        "Forgetting beside gain" + of_task(task),
        caption,
        tuple(panels),
        "method",
        up="forgotten (nats on pretraining text)",
        log=(False, False),
        law=False,
    )


def _gain(task: TaskEvidence) -> tuple[str, str]:
    """What is gained on the task, in words, and its unit: ``test loss below the untuned model``, ``nats``."""
    outcome, unit = task.outcome, difference_unit(task.outcome)
    side = "below" if outcome.lower else "above"
    return f"{outcome.name} {side} the untuned model", "" if unit == outcome.name else unit
