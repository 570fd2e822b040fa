"""Figure 10: how the base models' own loss, or score, moves with their size and their pretraining tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from finescale.errors import FinescaleError
from finescale.laws.fit import fit
from finescale.laws.fitted import FittedLaw
from finescale.records.outcome_words import law_words, lost_words, noun
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import Records, untuned
from finescale.report.drawing import palette
from finescale.report.evidence import Evidence
from finescale.report.figures import (
    Figure,
    Panel,
    Series,
    curve_of,
    level_series,
    pick_values,
    upwards,
)
from finescale.wording import count, slug

NUMBER = 10
_SIZE, _TOKENS = "model_params", "pretrain_tokens"
_BEFORE = "pretrain_loss_before"
_WORDS = {_SIZE: "model parameters (log scale)", _TOKENS: "pretraining tokens (log scale)"}
_PRETRAINING = "pretraining"
_POINTS = 48


def figure_10(evidence: Evidence) -> Figure | None:
    """The base models' loss against model size and against pretraining tokens, with single-variable laws.

    The loss is that of a pretraining study's own records on held-out text, else the one on pretraining text
    before finetuning (``pretrain_loss_before``), else the untuned models' loss on the first task. A page
    about a score shows the untuned models' score.

    Args:
        evidence: The evidence.

    Returns:
        The figure; None where neither varies.
    """
    shown = _measured(evidence)
    rows, outcome = shown.rows, shown.outcome
    if not {_SIZE, _TOKENS} & set(rows.columns):
        return None
    rows = rows.with_columns(
        [pl.lit(None, dtype=pl.Float64).alias(n) for n in (_SIZE, _TOKENS) if n not in rows.columns]
    )
    keys = [name for name in (_SIZE, _TOKENS, "model") if name in rows.columns]
    points = rows.group_by(keys, maintain_order=True).agg(
        pl.col("loss").mean(), pl.col("loss").min().alias("low"), pl.col("loss").max().alias("high")
    )
    fitting = _Fitting(outcome, evidence)
    panels = [panel for panel in (_over_sizes(points, fitting), _over_tokens(points, fitting)) if panel]
    if not panels:
        return None
    caption = f"The {noun(outcome)} is {shown.where}. Points are the models before finetuning."
    if any(panel.curve for panel in panels):
        caption += (
            " Curves are laws of one variable, L = A·X^-α + E, with their 90% bands, fitted to all points."
        )
        caption += law_words(outcome)
    elif lost_words(outcome):
        caption += " A law L = A·X^-α + E needs four values of model size or of pretraining tokens."
    title = f"Figure {NUMBER}. The base models" + ("" if shown.of == _PRETRAINING else f" ({shown.of})")
    plain = replace(outcome, name=noun(outcome))
    name = f"figure-{NUMBER}-{slug(shown.of.lower())}"
    return Figure(name, NUMBER, title, caption, tuple(panels), "base model", **upwards(plain))


@dataclass(frozen=True)
class _Measured:
    """What is known of the base models: rows with their ``loss``, what it is, where it was measured."""

    rows: pl.DataFrame
    outcome: Outcome
    where: str
    of: str


@dataclass(frozen=True)
class _Fitting:
    """What a law is fitted to, and the evidence that says how."""

    outcome: Outcome
    evidence: Evidence


def _measured(evidence: Evidence) -> _Measured:
    records = evidence.records
    outcome = records.outcome
    bare = records.frame.filter(untuned(), pl.col(records.loss).is_not_null())
    bare = bare.with_columns(pl.col(records.loss).alias("loss"))
    tuned = [task.task for task in evidence.tasks]
    own = bare.filter(~pl.col("task").is_in(tuned))
    if own.height and not (tuned and outcome.kind == "score"):
        first = str(own["task"][0])
        where = "on held-out pretraining text" if outcome.kind == "loss" else f"on {first}"
        return _Measured(own.filter(pl.col("task") == first), outcome, where, first)
    if outcome.kind == "loss" and _BEFORE in records.frame.columns:
        known = records.frame.filter(pl.col(_BEFORE).is_not_null())
        if known.height:
            rows = known.with_columns(pl.col(_BEFORE).alias("loss"))
            return _Measured(rows, TEST_LOSS, "on pretraining text", _PRETRAINING)
    if not tuned:
        return _Measured(bare, outcome, "", "")
    rows = bare.filter(pl.col("task") == tuned[0])
    return _Measured(rows, outcome, f"on the test set of {tuned[0]}, before finetuning", tuned[0])


def _over_sizes(points: pl.DataFrame, fitting: _Fitting) -> Panel | None:
    """Model sizes at the pretraining tokens that most models have (the most tokens of several)."""
    sized = points.filter(pl.col(_SIZE).is_not_null())
    many = sized.group_by(_TOKENS).agg(pl.col(_SIZE).n_unique().alias("sizes")).filter(pl.col("sizes") > 1)
    if not many.height:
        return None
    tokens = many.sort("sizes", _TOKENS, descending=[True, True], nulls_last=True)[_TOKENS][0]
    same = pl.col(_TOKENS).is_null() if tokens is None else pl.col(_TOKENS) == tokens
    label = "all models" if tokens is None else f"{count(tokens)} tokens"
    series = (Series(label, palette.SERIES[0][0], palette.SHAPES[0]),)
    mine = sized.filter(same)
    return _panel("Model size", _SIZE, series, {label: mine}, fitting)


def _over_tokens(points: pl.DataFrame, fitting: _Fitting) -> Panel | None:
    """Pretraining tokens, a series for each model with several checkpoints."""
    known = points.filter(pl.col(_TOKENS).is_not_null())
    several = known.filter(pl.col(_TOKENS).n_unique().over(_SIZE) > 1)
    sizes = pick_values(sorted(several[_SIZE].drop_nulls().unique().to_list())) or [None]
    if not several.height:
        return None
    rows: dict[str, pl.DataFrame] = {}
    series = []
    for index, size in enumerate(sizes):
        mine = several.filter(pl.col(_SIZE).is_null() if size is None else pl.col(_SIZE) == size)
        label = "all models" if size is None else count(size)
        rows[label] = mine
        series.append(level_series(label, index, len(sizes)))
    return _panel("Pretraining tokens", _TOKENS, tuple(series), rows, fitting)


def _panel(
    title: str, factor: str, series: tuple[Series, ...], rows: Mapping[str, pl.DataFrame], fitting: _Fitting
) -> Panel:
    points: list[Mapping[str, Any]] = []
    curve: list[Mapping[str, Any]] = []
    for label, mine in rows.items():
        ordered = mine.sort(factor)
        for x, y, low, high in ordered.select(factor, "loss", "low", "high").iter_rows():
            points.append({"series": label, "x": x, "y": y, "low": low, "high": high, "held_out": False})
        law = _law(ordered, factor, fitting)
        if law is not None:
            reach = np.geomspace(float(ordered[factor][0]), float(ordered[factor][-1]), _POINTS)
            curve += curve_of(law, {factor: reach}, label, reach < 0)
    return Panel(title, series, tuple(points), tuple(curve), (), _WORDS[factor])


def _law(rows: pl.DataFrame, factor: str, fitting: _Fitting) -> FittedLaw | None:
    """The power law of one variable through the points; None with too few of them."""
    outcome, evidence = fitting.outcome, fitting.evidence
    frame = rows.select(factor, pl.col("loss").alias(outcome.column))
    source = evidence.records.source
    records = Records(frame=frame, every_row=frame, source=source, loss=outcome.column, outcome=outcome)
    try:
        options: dict[str, Any] = {"bootstrap": evidence.bootstrap, "seed": evidence.seed}
        return fit(records, "power", factor, by=(), hold_out=False, **options)[0]
    except FinescaleError:
        return None
