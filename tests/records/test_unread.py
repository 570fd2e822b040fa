"""Cells of columns that no answer needs: what can be read is, what cannot is said and stops nothing."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError


def table(**columns: list[Any]) -> pl.DataFrame:
    runs = {"method": ["full", "lora"] * 2, "samples": ["100", "100", "200", "200"]}
    return pl.DataFrame({**runs, "test_loss": ["3.0", "2.9", "2.5", "2.4"], **columns})


@pytest.mark.parametrize(
    ("column", "cell", "ours"),
    [
        ("lr", "auto", "learning_rate"),
        ("lora_alpha", "2r", "lora_alpha"),
        ("batch_size", "4x8", "batch_size"),
        ("tokens_processed", "lots", "tokens_processed"),
        ("dev_loss", "see log", "dev_loss"),
        ("wall_seconds", "24 GB", "wall_seconds"),
        ("lr_tuned", "partly", "lr_tuned"),
    ],
)
def test_an_unreadable_cell_of_an_optional_column_is_empty_and_is_said(
    column: str, cell: str, ours: str
) -> None:
    good = "yes" if column == "lr_tuned" else "2"
    records = fs.read_records(table(**{column: [good, cell, good, good]}))
    assert records.frame.height == 4
    assert records.frame[ours].null_count() == 1
    assert records.frame[ours][1] is None
    assert any(f"A cell of `{column}` is not read (row 2: {cell!r}; " in note for note in records.notes)


@pytest.mark.parametrize("column", ["samples", "test_loss", "model_params", "pretrain_tokens", "lora_r"])
def test_an_unreadable_cell_of_what_answers_need_is_refused_or_left_out(column: str) -> None:
    runs = table(model_params=["1M"] * 4).with_columns(
        pl.Series(column, ["2", "lots", "3", "4"]).alias(column)
    )
    if column == "test_loss":
        assert fs.read_records(runs).left_out == {"a test_loss that is no number": 1}
        return
    with pytest.raises(UsageError, match=r"row 2, column .* a value that cannot be right"):
        fs.read_records(runs)


def test_candidates_of_a_sweep_are_told_apart_by_what_was_not_read() -> None:
    twice = pl.concat(
        [table(batch_size=["4x8"] * 4), table(batch_size=["8x8"] * 4), table(batch_size=["32"] * 4)]
    )
    records = fs.read_records(twice)
    assert records.reading.roles["batch_size as written"] == "hyperparameter"
    assert records.frame.height == 4
    assert any("The best of 3 candidates" in note for note in records.notes)


@pytest.mark.parametrize("cell", ["n.a.", "TBD", "unknown", "Not reported"])
@pytest.mark.parametrize("column", ["dev_loss", "pretrain_tokens", "lr", "model_params"])
def test_words_for_nothing_are_empty_cells(column: str, cell: str) -> None:
    records = fs.read_records(table(**{column: ["2000000", cell, "2000000", "2000000"]}))
    ours = {"lr": "learning_rate"}.get(column, column)
    assert records.frame[ours].to_list() == [2e6, None, 2e6, 2e6]
    assert not any("not read" in note for note in records.notes)


def test_a_rank_that_says_full_is_none() -> None:
    records = fs.read_records(table(rank=["full", "8", "Full FT", "8"]))
    assert records.frame["pet_size"].to_list() == [None, 8, None, 8]
    told = fs.read_records(table(rank=["full", "8", "full", "8"]).drop("method"))
    assert told.frame["method"].to_list() == ["full", "lora"] * 2


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("wall_seconds", "80 min", 4800),
        ("wall_seconds", "1.5h", 5400),
        ("wall_seconds", "1,5 hours", 5400),
        ("wall_seconds", "2h 30m", 9000),
        ("wall_seconds", "1:20:05", 4805),
        ("wall_seconds", "1 day, 0:00:05", 86405),
        ("wall_seconds", "300 s", 300),
        ("peak_memory_bytes", "24 GB", 24e9),
        ("peak_memory_bytes", "24576 MiB", 24 * 2**30),
        ("steps", "300 steps", 300),
        ("best_step", "step", None),
    ],
)
def test_cells_that_say_their_unit_are_read(column: str, cell: str, value: float | None) -> None:
    records = fs.read_records(table(**{column: ["7", cell, "7", "7"]}))
    assert records.frame[column].to_list() == [7, value, 7, 7]
    assert any(f"Cells of `{column}` say their unit: {cell} is" in note for note in records.notes) == bool(
        value
    )
