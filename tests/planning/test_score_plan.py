"""Plans for a score: in its own unit and direction, and the same runs as for what it leaves out."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import finescale as fs

TARGET = {"model_params": 8e8, "finetune_examples": 64_000}


def runs() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for method, head in (("full", 0.82), ("lora", 0.8)):
        for size in (1e8, 2e8, 4e8):
            for examples in (1000, 4000, 16000):
                for seed in range(2):
                    lost = (
                        head * (size / 1e8) ** -0.15 * (examples / 1000) ** -0.1
                        + 0.003 * rng.standard_normal()
                    )
                    row = {"task": "t", "method": method, "model_params": size, "finetune_examples": examples}
                    row |= {"seed": seed, "train_flops": 6 * size * examples * 100, "accuracy": 1 - lost}
                    rows.append(row | {"error_rate": lost, "pass_rate": 100 * (1 - lost)})
    return pl.DataFrame(rows)


def test_a_plan_for_accuracy_is_that_for_the_error_rate_in_other_words() -> None:
    by_score, by_error = (
        fs.plan(fs.read_records(runs(), **by), TARGET, 1e18, methods=["lora"])
        for by in ({"score": "accuracy"}, {"loss": "error_rate"})
    )
    assert [(run.sizes, run.seeds) for run in by_score.runs] == [
        (run.sizes, run.seeds) for run in by_error.runs
    ]
    score, error = by_score.outlooks[0], by_error.outlooks[0]
    assert 0 <= score.low < score.loss < score.high <= 1
    assert (score.low, score.high) == pytest.approx((1 - error.high, 1 - error.low), abs=1e-6)
    assert score.after == pytest.approx(error.after, rel=1e-6)
    assert not any("nats" in note for note in by_score.notes)
    assert "accuracy" in by_score._repr_html_()


def test_percentages_plan_like_fractions() -> None:
    one, hundred = (
        fs.plan(fs.read_records(runs(), score=score), TARGET, 1e18) for score in ("accuracy", "pass_rate")
    )
    assert [run.sizes for run in one.runs] == [run.sizes for run in hundred.runs]
    assert hundred.outlooks[0].loss == pytest.approx(100 * one.outlooks[0].loss, rel=1e-4)
