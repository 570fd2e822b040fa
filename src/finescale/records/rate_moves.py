"""Learning rates that were checked at other models and data sizes than the sweep's: did the best one move?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from finescale.records.records import Records
from finescale.wording import count, method_title

RATE, LOSS = "learning_rate", "dev_loss"
_PLACE = ("model", "finetune_examples")
_ALIKE = ("task", "method", "pet_size", "optimizer", "batch_size")
FAR = 1
"""A best rate that lies more steps away than this is named."""


@dataclass(frozen=True)
class RateCheck:
    """The rates that were tried for a method at a corner of the study.

    Attributes:
        task, method: The task and the method.
        model, examples: The corner.
        chosen: The sweep's rate.
        best: The best rate at the corner, by dev loss.
        steps: How far it is from the chosen one, in steps between neighbouring rates; below 0: lower.
        tried: Rate and dev loss of each candidate there.
        followed: The study's runs at the corner have another rate than the sweep's.
    """

    task: str
    method: str
    model: str
    examples: int
    chosen: float
    best: float
    steps: int
    tried: tuple[tuple[float, float], ...]
    followed: bool

    @property
    def moved(self) -> bool:
        """Whether the best rate moved by more than one step."""
        return abs(self.steps) > FAR

    @property
    def words(self) -> str:
        """The sentence for a reader, of one that moved."""
        way = "above" if self.steps > 0 else "below"
        then = (
            "the study's rates follow it, interpolated between the corners."
            if self.followed
            else "there the method is worse than it could be (finescale run --retune)."
        )
        where = f"{method_title(self.method)}: at {count(self.examples)} examples on {self.model}"
        return (
            f"{where} the best learning rate is {self.best:g}, {abs(self.steps)} steps {way} the sweep's "
            f"{self.chosen:g}; {then}"
        )


def rate_checks(records: Records, task: str | None = None) -> tuple[RateCheck, ...]:
    """Every corner at which a study's learning rates were checked (`finescale run --retune`).

    Args:
        records: The runs.
        task: The task; None: all.
    """
    rows = records.every_row
    needed = {RATE, LOSS, "purpose", "task", "method", *_PLACE}
    if not needed <= set(rows.columns):
        return ()
    rows = rows.filter((pl.col("method") != "none") & pl.col(RATE).is_not_null() & pl.col(LOSS).is_not_null())
    if "status" in rows.columns:
        rows = rows.filter(pl.col("status").fill_null("done") == "done")
    if task is not None:
        rows = rows.filter(pl.col("task") == task)
    alike = [name for name in _ALIKE if name in rows.columns]
    seeded = [name for name in ("seed", "pretrain_tokens") if name in rows.columns]
    swept = rows.filter(pl.col("purpose") == "sweep").select([*alike, *_PLACE, *seeded]).unique()
    tried = rows.join(swept, on=[*alike, *_PLACE, *seeded], how="semi", nulls_equal=True)
    found: list[RateCheck] = []
    for _, part in tried.group_by(alike, maintain_order=True):
        found += _checks(part, rows)
    return tuple(found)


def _checks(tried: pl.DataFrame, rows: pl.DataFrame) -> list[RateCheck]:
    """The corners of a method and optimiser, beside the sweep's own setting."""
    task, method = str(tried["task"][0]), str(tried["method"][0])
    sweep = _sweep_place(rows, task, method)
    places = {
        (str(model), int(examples)): _curve(part)
        for (model, examples), part in tried.group_by(list(_PLACE), maintain_order=True)
    }
    if sweep not in places or len(places) < 2:
        return []
    chosen = min(places[sweep], key=lambda point: (point[1], point[0]))[0]
    if _best_elsewhere(rows, task, method, sweep) < min(loss for _, loss in places[sweep]):
        return []  # another optimiser won
    checks = []
    for (model, examples), curve in places.items():
        if (model, examples) == sweep or len(curve) < 3:
            continue
        best = min(curve, key=lambda point: (point[1], point[0]))[0]
        step = min(right / left for (left, _), (right, _) in pairwise(curve))
        steps = round(math.log(best / chosen) / math.log(step))
        used = rows.filter(
            (pl.col("purpose") != "sweep")
            & (pl.col("task") == task)
            & (pl.col("method") == method)
            & (pl.col("model") == model)
            & (pl.col("finetune_examples") == examples)
        )[RATE].unique()
        followed = used.len() > 0 and not (used - chosen).abs().min() < 1e-12  # type: ignore[operator]
        checks.append(RateCheck(task, method, model, examples, chosen, best, steps, curve, followed))
    return checks


def _curve(part: pl.DataFrame) -> tuple[tuple[float, float], ...]:
    """Rate and dev loss, in the order of the rates."""
    return tuple(part.group_by(RATE).agg(pl.col(LOSS).min()).sort(RATE).select(RATE, LOSS).iter_rows())


def _sweep_place(rows: pl.DataFrame, task: str, method: str) -> tuple[str, int] | None:
    """The setting that the study's rates say they were tuned at first."""
    if "lr_tuned_at" not in rows.columns:
        return None
    told: Sequence[str] = (
        rows.filter((pl.col("task") == task) & (pl.col("method") == method))["lr_tuned_at"]
        .drop_nulls()
        .unique()
    ).to_list()
    firsts = {text.split(";")[0].strip() for text in told}
    if len(firsts) != 1:
        return None
    model, _, examples = firsts.pop().rpartition(" at ")
    return (model, int(examples)) if examples.isdigit() else None


def _best_elsewhere(rows: pl.DataFrame, task: str, method: str, place: tuple[str, int]) -> float:
    """The lowest dev loss of any candidate of the sweep."""
    there = rows.filter(
        (pl.col("task") == task)
        & (pl.col("method") == method)
        & (pl.col("model") == place[0])
        & (pl.col("finetune_examples") == place[1])
        & (pl.col("purpose") == "sweep")
    )[LOSS]
    return float(there.min()) if there.len() else math.inf  # type: ignore[arg-type]
