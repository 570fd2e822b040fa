"""Factors that some rows of a setting state and others do not."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import finescale as fs

DATA = [100, 200, 400, 800]


def table(**columns: list[Any]) -> pl.DataFrame:
    """Two curves at the same data sizes, the second with larger losses."""
    losses = [3.0, 2.8, 2.65, 2.52, 2.9, 2.85, 2.8, 2.76]
    settings = {"method": ["lora"] * 8, "finetune_examples": DATA * 2}
    return pl.DataFrame({**settings, "test_loss": losses, **columns})


@pytest.mark.parametrize(("name", "value"), [("pet_size", 8), ("model_params", 10**8)])
def test_no_advice_until_it_is_known_what_the_rows_without_a_value_are(name: str, value: int) -> None:
    """The loss of the curve without a rank was told as that of rank 8."""
    rows = table(**{name: [None] * 4 + [value] * 4})
    advice = fs.recommend(rows, examples=1600, bootstrap=40)
    assert advice.best is None
    assert any(f"{name} is empty in 4 rows" in note for note in advice.notes)
    (asked,) = fs.read_records(rows).reading.doubts
    kept = asked.rpartition("--where '")[2].rstrip("'")
    stated = fs.read_records(rows, where=kept)
    assert stated.frame["test_loss"].to_list() == [2.9, 2.85, 2.8, 2.76]
    assert not stated.reading.doubts


def test_what_is_named_keeps_the_methods_that_have_no_size() -> None:
    rows = table(pet_size=[None] * 4 + [8] * 4)
    full = rows.head(4).with_columns(method=pl.lit("full"))
    (asked,) = fs.read_records(pl.concat([rows, full])).reading.doubts
    kept = asked.rpartition("--where '")[2].rstrip("'")
    assert fs.read_records(pl.concat([rows, full]), where=kept).frame.height == 8


@pytest.mark.parametrize(
    "columns",
    [
        {"pet_size": [8] * 8},
        {"model": ["a"] * 4 + ["b"] * 4, "model_params": [None] * 4 + [10**8] * 4},
        {"method": ["full"] * 4 + ["lora"] * 4, "pet_size": [None] * 4 + [8] * 4},
    ],
)
def test_an_empty_cell_that_is_told_apart_otherwise_asks_nothing(columns: dict[str, list[Any]]) -> None:
    assert not fs.read_records(table(**columns)).reading.doubts


def test_methods_that_never_say_the_model_s_size_are_asked_about() -> None:
    """LoRA vanished: its runs had no size, full tuning's had one."""
    rows = table(model_params=[None] * 4 + [10**8] * 4).with_columns(
        method=pl.Series(["lora"] * 4 + ["full"] * 4)
    )
    assert fs.read_records(rows).reading.doubts == (
        "which model_params do the rows of lora have? fill in 4 empty cells",
    )


def test_runs_that_train_more_weights_or_fewer_are_of_methods_that_are_asked_for() -> None:
    rows = table(trainable_params=[10**6] * 4 + [10**8] * 4)
    assert fs.read_records(rows.drop("method")).reading.doubts
    assert not fs.read_records(
        rows.with_columns(method=pl.Series(["lora"] * 4 + ["full"] * 4))
    ).reading.doubts
