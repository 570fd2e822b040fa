"""Decide and stop: what a study advises so far, whether the rest can change it, and which runs come next.

The advice is that of ``recommend`` on the runs that are there, at the base setting of the whole study. It is
enough once a method is best with the probability that is wanted, or once the rest of the study is unlikely to
lead to another advice (``rest``). Until then the next runs are those that are expected to settle it at least
cost (``least_cost``). Held-out runs count like any other: they are held out of fits that are to be tested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import polars as pl

from finescale.advice.candidate import SIZE
from finescale.advice.candidates import Candidates, candidates
from finescale.advice.cost import costs
from finescale.advice.options import Advice, Option, Question
from finescale.advice.recommend import advise
from finescale.errors import DataError, UsageError
from finescale.planning.beliefs import PRIORS, DesignPoints
from finescale.planning.believed import SHOWN_DRAWS, Belief, beliefs_now
from finescale.planning.expected import ExpectedLoss
from finescale.planning.known import DRAWS, MethodKnowledge
from finescale.planning.least_cost import SAME, OpenStudy, in_turn
from finescale.planning.measured import measured_settings, run_noise
from finescale.planning.question import BEND
from finescale.records.records import DATA_SIZE, Records, read_records
from finescale.records.settings import at_base
from finescale.wording import chance, method_name

Array = np.ndarray[Any, Any]
SURE_ENOUGH = 0.95
"""The probability of being best at which a question counts as decided, unless another is asked for."""
BATCH = 0.05
"""A batch of runs costs at most this share of the study."""
OPEN = pl.col("status").is_null()
_JOINT = 1000
_CLEAR = 0.02
"""A method that is better than the leader less often than this gets no more runs."""


@dataclass(frozen=True)
class Decision:
    """What a study advises so far.

    Attributes:
        why: ``decided``: a method is best with the probability that is wanted; ``rest``: the rest of the
            study is unlikely to lead to another advice; ``all``: nothing is left; ``open``: none of these.
        advice: The advice on the runs that are there; None where there are too few for any.
        method: The method that leads; None where there is no advice to be had.
        probability: How likely it is the best one; NaN where that is not known.
        change: How likely the whole study would lead to another advice; NaN where that is not known.
        next: The runs that come next; empty where it is not open.

    Example:
        >>> fs.Decision("open", None, None, float("nan"), float("nan"), ("1f0c",)).stop
        False
    """

    why: Literal["decided", "rest", "all", "open"]
    advice: Advice | None
    method: str | None
    probability: float
    change: float
    next: tuple[str, ...] = ()

    @property
    def stop(self) -> bool:
        """Whether no more runs are worth making for this question."""
        return self.why != "open"

    @property
    def leading(self) -> str:
        """Which method leads, in words."""
        if self.method is None:
            return "too few runs for an advice"
        return f"{method_name(self.method)} is best with a probability of {chance(self.probability)}"


@dataclass(frozen=True)
class StudyRuns:
    """The runs of a study, those to come too.

    Attributes:
        frame: A row a run, sweeps apart: ``run``, ``status`` (null: open), ``cost``, ``lr_tuned`` and the
            columns that are known of a run before it runs.
        base: The base setting of the whole study.
        total: Cost of the whole study, sweeps too, in the unit of ``cost``.
        slots: How many runs can be made at a time.
    """

    frame: pl.DataFrame
    base: Mapping[str, Any]
    total: float
    slots: int = 1


def decide(
    table: pl.DataFrame, runs: StudyRuns, question: Question, *, sure: float = SURE_ENOUGH, seed: int = 0
) -> Decision:
    """What the study advises so far, and the runs that come next.

    Args:
        table: The study's records so far.
        runs: Its runs.
        question: The question; without ``model_params`` it is about the base setting's model.
        sure: The probability of being best at which it is decided.
        seed: Seed of the draws.
    """
    if question.model_params is None:
        question = replace(question, model_params=runs.base.get(SIZE))
    there = at_base(runs.frame, runs.base, free=SIZE)
    tuned = there.filter((pl.col("method") != "none") & (pl.col(DATA_SIZE) > 0))
    some = pl.col("status").is_null() | (pl.col("status") == "done")
    tuned = tuned.filter(some.any().over("method"))  # of a method whose runs all failed nothing will be known
    methods = tuned["method"].unique(maintain_order=True).to_list()
    records = _records(table)
    fixed = {name: value for name, value in runs.base.items() if name != SIZE}
    advice, found = _advice(records, question, fixed, seed)
    by_method = _leaders(advice)
    whole = advice is not None and set(methods) <= set(by_method) and len(by_method) > 1
    leader = max(by_method, key=lambda name: by_method[name].probability) if whole else None
    chance_now = _chance(advice, leader)
    named = advice.best.method if whole and advice is not None and advice.best is not None else None
    if named is not None and chance_now >= sure:
        return Decision("decided", advice, leader, chance_now, math.nan)
    if not tuned.filter(OPEN).height:
        return Decision("all", advice, leader, chance_now, 0.0)
    study = _open_study(records, tuned, runs.base, question, _draws(found, by_method), sure, seed)
    change = math.nan
    if whole:
        change = study.after(study.all_open()).other_than(named)
        if change <= 1 - sure:
            return Decision("rest", advice, leader, chance_now, change)
    batch = _next(study, tuned, runs)
    return Decision("open" if batch else "all", advice, leader, chance_now, change, batch)


def _records(table: pl.DataFrame) -> Records | None:
    """The finished runs of tuned models; None where there is none."""
    done = table.filter((pl.col("status") == "done") & (pl.col("purpose") == "study"))
    return read_records(table) if done.filter(pl.col(DATA_SIZE) > 0).height else None


def _advice(
    records: Records | None, question: Question, base: Mapping[str, Any], seed: int
) -> tuple[Advice | None, Candidates | None]:
    """The advice on these runs; None where they do not allow any."""
    if records is None:
        return None, None
    try:
        found = candidates(records, base=base, bootstrap=_JOINT, seed=seed)
        return advise(found, question, costs(found.runs)), found
    except (DataError, UsageError):  # too few runs, or none yet of a method or model that is asked for
        return None, None


def _leaders(advice: Advice | None) -> dict[str, Option]:
    """The likeliest option of each method."""
    best: dict[str, Option] = {}
    for option in advice.options if advice is not None else ():
        known = best.get(option.method)
        if known is None or option.probability > known.probability:
            best[option.method] = option
    return best


def _chance(advice: Advice | None, method: str | None) -> float:
    """How likely a method is the best one."""
    if advice is None or method is None:
        return math.nan
    return math.fsum(option.probability for option in advice.options if option.method == method)


def _draws(found: Candidates | None, leaders: Mapping[str, Option]) -> dict[str, ExpectedLoss]:
    """What is forecast of each method at the question."""
    told = {}
    for member in found.members if found is not None else ():
        option = leaders.get(member.method)
        if option is not None and option.name == member.name:
            asked = member.asked(option.model_params, option.examples)
            told[member.method] = ExpectedLoss.of(member.law.mean_draws(asked)[:SHOWN_DRAWS])
    return told


def _open_study(  # noqa: PLR0917
    records: Records | None,
    tuned: pl.DataFrame,
    base: Mapping[str, Any],
    question: Question,
    told: Mapping[str, ExpectedLoss],
    sure: float,
    seed: int,
) -> OpenStudy:
    """What is known of each method, what is open, and how much each counts."""
    task = str(tuned["task"][0])
    methods = tuned["method"].unique(maintain_order=True).to_list()
    noise, _ = run_noise(records, task, methods, None)
    knowns, free = {}, {}
    for method in methods:
        places = _places(tuned.filter(pl.col("method") == method))
        measured = measured_settings(records, task, SIZE, method, base)
        knowns[method] = _knowledge(places, measured, question, noise)
        free[method] = places["free"].to_numpy().astype(float)
    rng = np.random.default_rng(seed)
    by_law = beliefs_now({name: one for name, one in knowns.items() if name not in told}, {}, rng)
    beliefs = {
        name: Belief(one, one.draws(DRAWS, rng), told[name], 0.0) if name in told else by_law[name]
        for name, one in knowns.items()
    }
    untuned = tuned.filter(~pl.col("lr_tuned"))["method"].unique().to_list()
    return OpenStudy(beliefs, free, _weights(beliefs), sure, untuned)


def _places(runs: pl.DataFrame) -> pl.DataFrame:
    """The settings of a method: size, data, runs that are open, cost of one."""
    size = pl.col(SIZE).cast(pl.Float64).fill_null(1.0) if SIZE in runs.columns else pl.lit(1.0)
    return (
        runs.with_columns(size.alias(SIZE), pl.col(DATA_SIZE).cast(pl.Float64))
        .group_by(SIZE, DATA_SIZE, maintain_order=True)
        .agg(OPEN.sum().alias("free"), pl.col("cost").mean())
    )


def _knowledge(
    places: pl.DataFrame, measured: pl.DataFrame, question: Question, noise: float
) -> MethodKnowledge:
    x, d = places[SIZE].to_numpy(), places[DATA_SIZE].to_numpy()
    runs, mean = np.zeros(x.size), np.zeros(x.size)
    for row in measured.iter_rows(named=True):
        at = np.flatnonzero((np.abs(x / row[SIZE] - 1) < SAME) & (np.abs(d / row[DATA_SIZE] - 1) < SAME))
        runs[at], mean[at] = row["runs"], row["mean"]
    centre = float(np.exp(np.log(x).mean())), float(np.exp(np.log(d).mean()))
    aim = question.model_params or centre[0], question.examples or centre[1]
    target = DesignPoints.around(np.array([aim[0]]), np.array([aim[1]]), centre)
    points = DesignPoints.around(x, d, centre)
    cost = places["cost"].to_numpy()
    return MethodKnowledge(PRIORS[SIZE], points, target, cost, noise, BEND, runs, mean)


def _weights(beliefs: Mapping[str, Belief]) -> dict[str, float]:
    """How much each method's uncertainty counts: by how likely it beats the leader."""
    draws = {name: one.told.draws for name, one in beliefs.items()}
    wins = np.argmin(np.stack(list(draws.values())), axis=0)
    leader = max(range(len(draws)), key=lambda index: int((wins == index).sum()))
    best = list(draws)[leader]
    doubt = {name: float(np.mean(loss < draws[best])) for name, loss in draws.items() if name != best}
    weights = {name: min(1.0, 4 * p * (1 - p)) if p > _CLEAR else 0.0 for name, p in doubt.items()}
    for name, one in beliefs.items():
        if not one.known.runs.any():
            weights[name] = 1.0  # nothing is known of it
    if not any(weights.values()):
        return dict.fromkeys(beliefs, 1.0)
    return {best: max(weights.values())} | weights


def _next(study: OpenStudy, there: pl.DataFrame, runs: StudyRuns) -> tuple[str, ...]:
    """The runs of the next batch, and the untuned models of theirs."""
    names = list(study.beliefs)
    knowns = [study.beliefs[name].known for name in names]
    target = np.concatenate([known.distance < SAME for known in knowns])
    cost = np.concatenate([known.cost for known in knowns])
    chosen = in_turn(study.design(), cost, target, room=BATCH * runs.total, slots=runs.slots)
    free = there.filter(OPEN).sort("seed")
    waiting: dict[tuple[str, float, float], list[str]] = {}
    for name in names:
        for row in free.filter(pl.col("method") == name).iter_rows(named=True):
            key = name, float(row.get(SIZE) or 1.0), float(row[DATA_SIZE])
            waiting.setdefault(key, []).append(row["run"])
    keys = [
        (name, float(size), float(data))
        for name in names
        for size, data in _places(there.filter(pl.col("method") == name)).select(SIZE, DATA_SIZE).rows()
    ]
    batch = [waiting[keys[index]].pop(0) for index in chosen]
    return (*batch, *_untuned(runs.frame, batch))


def _untuned(frame: pl.DataFrame, batch: Sequence[str]) -> list[str]:
    """The evaluations of the untuned models of some runs: they bound what is forecast, and cost little."""
    of = [name for name in ("model", "pretrain_tokens") if name in frame.columns]
    models = frame.filter(pl.col("run").is_in(list(batch))).select(of).unique()
    bare = frame.filter((pl.col(DATA_SIZE) == 0) & OPEN)
    return bare.join(models, on=of, nulls_equal=True)["run"].to_list()
