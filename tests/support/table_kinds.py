"""Random tables of all kinds: few and many sizes, missing cells, ties, odd curves, any unit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

import finescale as fs
from finescale.advice.candidates import candidates
from finescale.advice.cost import costs
from finescale.advice.options import Question
from finescale.advice.pairs import find_crossovers
from finescale.advice.recommend import advise
from finescale.errors import FinescaleError
from finescale.records.outcomes import Outcome

Array = np.ndarray[Any, Any]
ACCURACY = Outcome("accuracy", "accuracy", "score", "higher", 0.0, 1.0)
PERCENT = Outcome("accuracy", "accuracy", "score", "higher", 0.0, 100.0)
REWARD = Outcome("reward", "reward", "score", "higher")


def random_table(seed: int) -> tuple[pl.DataFrame, Outcome | None]:
    """A table of runs, and what it is measured by: None is the test loss."""
    rng = np.random.default_rng(seed)
    outcome = [None, None, ACCURACY, PERCENT, REWARD][rng.integers(5)]
    sizes = np.unique(np.ceil(10 ** rng.uniform(rng.uniform(0, 3), rng.uniform(3, 7), rng.integers(1, 13))))
    models = int(rng.integers(1, 6))
    named = (
        rng.choice(["model", "model_params", "both", "neither"])
        if models == 1
        else rng.choice(["model", "model_params", "both"])
    )
    seeds, noise = int(rng.integers(0, 6)), float(rng.choice([0.0, 1e-4, 0.01, 0.3]))
    scale = 10 ** rng.uniform(-3, 4)
    keep, digits = rng.uniform(0.3, 1.0), int(rng.choice([2, 4, 12]))
    rows = []
    for i in range(int(rng.integers(1, 7))):
        for m in range(models):
            curve = _curve(rng)
            place: dict[str, Any] = {"method": f"m{i}"}
            place |= {"model": f"base-{m}"} if named in ("model", "both") else {}
            place |= {"model_params": 1e8 * 3.0**m} if named in ("model_params", "both") else {}
            if rng.random() < 0.3:
                rows.append(
                    {**place, "method": "none", "finetune_examples": 0.0, "z": float(curve(np.array(1.0)))}
                )
            rows += [
                {**place, "finetune_examples": size, "z": float(curve(size) + noise * rng.standard_normal())}
                | ({"seed": s} if seeds else {})
                for size in sizes
                for s in range(max(seeds, 1))
                if rng.random() < keep
            ]
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return _measured(frame, outcome, scale, digits), outcome


def _curve(rng: np.random.Generator) -> Callable[[Any], Any]:
    """The log of what is lost over the data size: falling, flat, rising, constant, jumping."""
    kind, slope, level = rng.integers(5), rng.uniform(0.02, 0.6), rng.uniform(-1, 1)
    jump = 10 ** rng.uniform(1, 6)
    return [
        lambda D: level - slope * np.log(D),
        lambda D: level + 0 * D,
        lambda D: level + 0.3 * slope * np.log(D),
        lambda D: level + 1e-9 * np.log(D),
        lambda D: level - slope * 5 * (jump < D),
    ][kind]


def _measured(frame: pl.DataFrame, outcome: Outcome | None, scale: float, digits: int) -> pl.DataFrame:
    """The outcome's column: rounded as tables are, so that ties and bounds are reached."""
    z = frame["z"].to_numpy()
    if outcome is None:
        loss = np.maximum(scale * np.exp(np.clip(z, -30, 30)), 1e-12)
        values = np.array([float(f"{x:.{digits}g}") for x in loss])
    elif outcome.scale == "logit":
        values = np.round(outcome.high / (1 + np.exp(np.clip(z, -30, 30))), digits)
    else:
        values = np.round(-scale * z, digits)
    name = outcome.column if outcome else "test_loss"
    return frame.drop("z").with_columns(pl.Series(name, values))


def check(seed: int, *, advised: bool = True) -> str:
    """Asks one random table everything; an error of the tool's own kind is an answer.

    Args:
        seed: Which table.
        advised: Ask for advice, a target and crossovers too.

    Returns:
        What kept it from answering, in words; empty where nothing did.

    Raises:
        AssertionError: A forecast that is not finite, out of its bounds or out of order.
        Warning: Any warning.
    """
    frame, outcome = random_table(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            records = fs.read_records(frame, score=outcome.column) if outcome else fs.read_records(frame)
            for group in fs.forecast(records, outcome=outcome, draws=100):
                _check_group(group, frame, np.random.default_rng(seed))
            if advised and outcome is None:
                _advised(records, np.random.default_rng(seed))
        except FinescaleError as error:
            return error.problem
    return ""


def _check_group(group: fs.Forecast, frame: pl.DataFrame, rng: np.random.Generator) -> None:
    ran = frame["finetune_examples"].filter(frame["finetune_examples"] > 0).unique().to_numpy()
    sizes = np.concatenate([ran, 10 ** rng.uniform(0, 9, 6)])
    asked: list[dict[str, Any]] = [{"finetune_examples": sizes}]
    if "model_params" in group.factors:
        asked += [{"finetune_examples": sizes, "model_params": params} for params in (3e7, 2e8, 1e11)]
    values = frame[group.outcome.column]
    span = float(values.max() - values.min())  # pyright: ignore
    for at in asked:
        told = group.predict(at)
        ends = (told.run_low, told.low, told.value, told.high, told.run_high)
        assert not np.isnan(ends).any()
        assert np.isfinite(told.value).all()
        assert all(np.all(a <= b) for a, b in pairwise(ends))
        assert np.all(told.run_low >= group.outcome.low)
        assert np.all(told.run_high <= group.outcome.high)
        assert not np.isnan(group.mean_draws(at)).any()
        if group.outcome.kind == "loss":
            top = float(values.max())  # pyright: ignore
            assert np.all(told.value <= (top + max(span, 0.05 * top)) * (1 + 1e-6))
            assert np.all(told.high > told.low)


def _advised(records: fs.Records, rng: np.random.Generator) -> None:
    found = candidates(records, bootstrap=50)
    prices = costs(found.runs)
    advice = advise(found, Question(), prices)
    chances = [option.probability for option in advice.options]
    assert abs(sum(chances) - 1) < 1e-6
    far = advise(found, Question(examples=float(10 ** rng.uniform(0, 8))), prices)
    assert all(option.low <= option.loss <= option.high for option in far.options)
    middle = float(records.frame[records.loss].median())  # pyright: ignore
    advise(found, Question(target_loss=middle), prices)
    if len(found.members) > 1:
        find_crossovers(found, advice)
