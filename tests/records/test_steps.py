"""Which rows are evaluations of one run, by names, by seeds, or by nothing but the settings."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError
from finescale.records.records import read_records


def table(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"finetune_examples": [100] * len(columns["test_loss"])} | columns)


def losses(frame: pl.DataFrame, **options: Any) -> list[float]:
    return read_records(frame, **options).frame["test_loss"].to_list()


def test_rows_of_one_run_id_are_its_evaluations() -> None:
    frame = table(run_id=["a", "a", "b", "b"], step=[1, 2, 1, 2], test_loss=[3.0, 2.0, 3.1, 2.1])
    assert losses(frame) == [2.0, 2.1]


def test_runs_with_a_name_of_their_own_are_not_evaluations_of_one_run() -> None:
    frame = table(Name=["a", "b", "c"], _step=[100, 120, 90], test_loss=[2.0, 2.1, 2.2])
    assert losses(frame) == [2.0, 2.1, 2.2]


def test_seeds_under_one_name_stay_apart() -> None:
    frame = table(name=["x"] * 4, seed=[0, 0, 1, 1], step=[1, 2, 1, 2], test_loss=[3.0, 2.0, 3.1, 2.1])
    assert losses(frame) == [2.0, 2.1]


def test_a_learning_rate_that_is_logged_with_the_steps_is_no_sweep() -> None:
    frame = table(
        run_id=["a", "a", "b", "b"],
        step=[1, 2, 1, 2],
        lr=[1e-3, 1e-4, 1e-3, 2e-4],
        test_loss=[3.0, 2.0, 3.1, 2.1],
    )
    assert losses(frame) == [2.0, 2.1]


def test_repeats_without_seeds_are_told_apart_by_how_often_a_step_comes() -> None:
    frame = table(step=[1, 2, 1, 2, 3], test_loss=[3.0, 2.0, 3.1, 2.1, 1.9])
    assert sorted(losses(frame)) == [1.9, 2.0]


def test_a_resumed_run_stays_one_run() -> None:
    frame = table(seed=[0] * 5, step=[1, 2, 2, 3, 4], test_loss=[3.0, 2.5, 2.4, 2.2, 2.0])
    assert losses(frame) == [2.0]


def test_a_row_without_an_evaluation_is_not_the_last() -> None:
    frame = table(seed=[0, 0, 0], step=[1, 2, 3], test_loss=[3.0, 2.0, None])
    assert losses(frame) == [2.0]


def test_a_run_that_ends_in_nan_is_left_out_and_counted() -> None:
    frame = table(seed=[0, 0, 1, 1], step=[1, 2, 1, 2], test_loss=[3.0, float("nan"), 3.0, 2.0])
    records = read_records(frame)
    assert records.frame["test_loss"].to_list() == [2.0]
    assert records.left_out == {"another step of their run": 2, "test_loss nan": 1}


def test_the_best_step_is_chosen_by_the_dev_loss() -> None:
    frame = table(seed=[0, 0, 0], step=[1, 2, 3], dev_loss=[2.0, 1.0, 1.5], test_loss=[2.2, 1.4, 1.3])
    assert losses(frame, step="best") == [1.4]


def test_a_final_step_that_differs_between_seeds_changes_nothing() -> None:
    frame = table(seed=[0, 1, 2], step=[90, 100, 110], test_loss=[2.0, 2.1, 2.2])
    assert losses(frame) == [2.0, 2.1, 2.2]


def test_a_documented_column_can_be_called_progress() -> None:
    frame = table(seed=[0, 0], steps=[1, 2], test_loss=[3.0, 2.0])
    assert losses(frame) == [3.0, 2.0]
    assert losses(frame, roles={"steps": "progress"}) == [2.0]
    with pytest.raises(UsageError, match=r"no such column"):
        losses(frame, roles={"stepp": "progress"})
    with pytest.raises(UsageError, match=r"wanted: one of setting"):
        losses(frame, roles={"steps": "speed"})


def test_rows_that_look_like_evaluations_at_several_steps_are_asked_about() -> None:
    frame = pl.DataFrame(
        {
            "finetune_examples": [100] * 6 + [200] * 6,
            "seed": [0, 0, 0, 1, 1, 1] * 2,
            "steps": [10, 20, 30] * 4,
            "test_loss": [3.0, 2.5, 2.2, 3.1, 2.6, 2.3] * 2,
        }
    )
    (doubt,) = read_records(frame).reading.doubts
    assert "--role steps=progress" in doubt
    assert losses(frame, roles={"steps": "progress"}) == [2.2, 2.3] * 2
    assert not read_records(frame, roles={"steps": "label"}).reading.doubts
    assert not read_records(frame.unique(["finetune_examples", "seed"])).reading.doubts


def test_what_changes_with_the_steps_of_named_runs_tells_no_runs_apart() -> None:
    frame = table(
        trial_id=["a", "a", "b", "b"], training_iteration=[1, 2, 1, 2], done=[False, True] * 2,
        phase=["warm", "cold"] * 2, test_loss=[3.0, 2.0, 3.1, 2.1],
    )  # fmt: skip
    records = read_records(frame)
    assert records.frame["test_loss"].to_list() == [2.0, 2.1]
    assert not records.reading.doubts


def _evaluated(**columns: list[Any]) -> pl.DataFrame:
    """Two evaluations a run, the first with a larger loss."""
    rows = [(m, d, loss + more) for m, off in (("full", 0.0), ("lora", 0.1)) for d, loss in
            ((100, 2.0), (300, 1.8), (1000, 1.65), (3000, 1.55)) for more in (off + 0.3, off)]  # fmt: skip
    names = ("method", "finetune_examples", "test_loss")
    frame = pl.DataFrame({name: [row[at] for row in rows] for at, name in enumerate(names)})
    return frame.with_columns(**{name: pl.Series(values * 8) for name, values in columns.items()})


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("epoch", ["1/2", "2/2"]),
        ("step", ["50/150", "150/150"]),
        ("step", ["step_50", "step_150"]),
        ("epoch", ["epoch 1", "epoch 2"]),
        ("step", ["100", "final"]),
        ("step", [100, None]),
        ("step", [100, -1]),
    ],
)
def test_steps_in_words_and_a_last_row_without_one_are_steps(name: str, cells: list[Any]) -> None:
    """Their evaluations were averaged without a word."""
    records = fs.read_records(_evaluated(**{name: cells}))
    assert records.frame.height == 8
    assert records.frame["test_loss"].to_list()[:4] == [2.0, 1.8, 1.65, 1.55]


def test_rows_of_which_a_cost_grows_may_be_evaluations_of_one_run() -> None:
    frame = _evaluated(seed=[0, 0], train_tokens=[1e6, 2e6])
    (asked,) = fs.read_records(frame).reading.doubts
    assert "train_tokens=progress" in asked
    assert fs.read_records(frame, roles={"train_tokens": "progress"}).frame.height == 8
    assert not fs.read_records(frame, roles={"train_tokens": "label", "seed": "label"}).reading.doubts


def test_rows_of_one_setting_and_seed_are_asked_about() -> None:
    (asked,) = fs.read_records(_evaluated(seed=[0, 0])).reading.doubts
    assert "--role seed=label" in asked
    assert not fs.read_records(_evaluated(seed=[0, 0]), roles={"seed": "label"}).reading.doubts
    assert not fs.read_records(_evaluated(seed=[0, 1])).reading.doubts


def test_a_schedule_s_rates_are_no_sweep() -> None:
    """The best evaluation counted as that of the best of several rates."""
    frame = pl.DataFrame({
        "method": ["full"] * 8, "finetune_examples": [100] * 4 + [1000] * 4, "step": [1, 2, 3, 4] * 2,
        "lr": [1e-3, 7e-4, 3e-4, 0.0] * 2, "test_loss": [2.0, 1.8, 1.7, 1.75, 1.9, 1.5, 1.4, 1.45],
    })  # fmt: skip
    assert fs.read_records(frame).frame["test_loss"].to_list() == [1.75, 1.45]
    swept = frame.with_columns(lr=pl.Series([1e-3, 1e-3, 3e-4, 3e-4] * 2), step=pl.Series([1, 2, 1, 2] * 2))
    assert fs.read_records(swept).frame["test_loss"].to_list() == [1.75, 1.45]
