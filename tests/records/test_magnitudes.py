"""Columns whose numbers are multiples, shares or logarithms of what they should count."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError

ROWS = [
    {"method": method, "params": params, "samples": samples, "test_loss": 2 - 0.1 * at}
    for at, method in enumerate(("full", "lora"))
    for params in (0.4, 7.0)
    for samples in (100, 1000, 10_000)
]


def read(columns: dict[str, str], **changed: Any) -> fs.Records:
    return fs.read_records(pl.DataFrame(ROWS).with_columns(**changed), columns=columns)


def test_models_of_seven_parameters_are_asked_about_and_may_be_said_to_be_billions() -> None:
    with pytest.raises(
        UsageError, match=r"too small for numbers of parameters[\s\S]*model_params=params\*1e9"
    ):
        read({"model_params": "params"})
    records = read({"model_params": "params*1e9"})
    assert set(records.frame["model_params"]) == {4e8, 7e9}
    assert any("`params (x1e9)` counts in multiples of 1,000,000,000" in note for note in records.notes)


@pytest.mark.parametrize("samples", [pl.col("samples").log10() + 0.001, pl.col("samples") / 10_000])
def test_logarithms_and_shares_of_examples_are_no_numbers_of_examples(samples: pl.Expr) -> None:
    known = {"model_params": "params*1e9", "finetune_examples": "samples"}
    with pytest.raises(UsageError, match="too small for numbers of examples"):
        read(known, samples=samples)


def test_a_share_of_a_known_whole_can_be_said() -> None:
    known = {"model_params": "params*1e9", "finetune_examples": "samples*10000"}
    records = read(known, samples=pl.col("samples") / 10_000)
    assert set(records.frame["finetune_examples"]) == {100, 1000, 10_000}


def test_a_few_examples_are_a_number_of_examples() -> None:
    known = {"model_params": "params*1e9", "finetune_examples": "samples"}
    records = read(known, samples=pl.col("samples") // 100)
    assert set(records.frame["finetune_examples"]) == {1, 10, 100}


def test_a_column_times_a_number_must_be_there() -> None:
    with pytest.raises(UsageError, match=r"size\*1e9"):
        read({"model_params": "size*1e9"})


def test_percentages_of_the_data_need_a_whole() -> None:
    """12.5% was 12.5 examples."""
    frame = pl.DataFrame({"method": "full", "share": ["12.5%", "50%", "100%"], "test_loss": [2.0, 1.8, 1.6]})
    with pytest.raises(fs.UsageError, match=r"no share of one"):
        fs.read_records(frame, columns={"finetune_examples": "share"})
    read = fs.read_records(frame, columns={"finetune_examples": "share*16000"}).frame
    assert read["finetune_examples"].to_list() == [2000, 8000, 16000]


def test_logarithms_that_are_whole_numbers_are_no_numbers_of_examples() -> None:
    frame = pl.DataFrame({"log10_examples": [2, 3, 4, 5], "test_loss": [2.0, 1.8, 1.6, 1.5]})
    with pytest.raises(fs.UsageError, match="too small for numbers of examples"):
        fs.read_records(frame, columns={"finetune_examples": "log10_examples"})


def test_a_model_of_seven_parameters_beside_larger_ones_is_refused_with_its_row() -> None:
    frame = pl.DataFrame({
        "params": ["350M", "350M", "7"], "samples": [100, 200, 400], "test_loss": [2.0, 1.8, 1.6]
    })  # fmt: skip
    with pytest.raises(fs.UsageError, match=r"row 3, column model_params \(`params`\)"):
        fs.read_records(frame)


def test_tokens_are_no_examples() -> None:
    frame = pl.DataFrame(
        {"dataset size (tokens)": [10**6, 10**7], "params": [10**8] * 2, "test_loss": [2.0, 1.8]}
    )
    assert "finetune_examples" not in fs.read_records(frame).frame.columns
