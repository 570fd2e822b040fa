"""What is set for every row fills blanks; what a row says stays."""

from __future__ import annotations

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError

RUNS = pl.DataFrame(
    {
        "technique": ["LoRA", "", None, "full ft", "-"],
        "n examples": ["1k", "2k", "4k", "8k", "16k"],
        "model size": ["7B", "7B", None, "13B", "7e9"],
        "test_loss": [2.0, 1.9, 1.8, 1.7, 1.6],
    }
)


def read(**constants: str) -> fs.Records:
    return fs.read_records(RUNS, constants=constants)


def test_blanks_are_filled_under_whatever_name_the_table_has() -> None:
    records = read(method="lora")
    assert records.frame["method"].to_list() == ["lora", "lora", "lora", "full", "lora"]
    note = "--set method=lora filled 3 rows; 1 rows say something else and stay as they are (full ft: 1)."
    assert note in records.notes


def test_equal_numbers_written_otherwise_contradict_nothing() -> None:
    records = read(model_params="7,000,000,000")
    assert records.frame["model_params"].to_list() == [7e9, 7e9, 7e9, 13e9, 7e9]
    assert any("filled 1 rows; 1 rows say something else" in note for note in records.notes)
    whole = fs.read_records(RUNS.head(1), constants={"model_params": "7e9"})
    assert not any("--set" in note for note in whole.notes)


def test_a_value_that_no_row_takes_is_refused_with_what_would_replace() -> None:
    with pytest.raises(UsageError, match=r"something else(.|\n)*--map 'finetune_examples:1k=5'"):
        read(finetune_examples="5")


@pytest.mark.parametrize(("seeds", "seen"), [([0, 0, 0, 0], 2), ([0, 1, 0, 1], 4), (None, 2)])
def test_repeats_are_told_apart_by_all_columns_that_number_them(seeds: list[int] | None, seen: int) -> None:
    frame = pl.DataFrame(
        {"fold": [1, 1, 2, 2], "finetune_examples": [100.0] * 4, "test_loss": [2.0, 2.1, 2.2, 2.3]}
    )
    records = fs.read_records(frame if seeds is None else frame.with_columns(seed=pl.Series(seeds)))
    assert records.frame["seed"].n_unique() == seen
    assert any("fold" in note for note in records.notes)
