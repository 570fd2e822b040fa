"""A collected table says the unit of its outcome: what reads it later comes to the source's own numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError
from finescale.records.options import ReadingOptions

LOSSES = [1.3, 1.2, 1.1, 1.25, 1.15, 1.05]
SIZES = {"method": ["full"] * 3 + ["lora"] * 3, "finetune_examples": [100, 200, 400] * 2}


def source(name: str, cells: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({**SIZES, name: cells})


def perplexities() -> list[float]:
    return [math.exp(value) for value in LOSSES]


def again(found: fs.Collected, tmp_path: Path, **options: Any) -> fs.Records:
    found.write(tmp_path / "q.parquet")
    return fs.read_records(tmp_path / "q.parquet", **options)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("eval_ppl", perplexities()),
        ("val_bits_per_token", [value / math.log(2) for value in LOSSES]),
        ("log_ppl", LOSSES),
    ],
)
def test_a_loss_that_gets_our_name_is_collected_in_nats(
    name: str, cells: list[float], tmp_path: Path
) -> None:
    frame, columns = source(name, cells), {"test_loss": name}
    found = fs.collect(frame, columns=columns)
    assert found.reading is not None
    assert found.reading.names["test_loss"] == name
    records = again(found, tmp_path)
    assert records.frame["test_loss"].to_list() == pytest.approx(LOSSES)
    direct = fs.read_records(frame, columns=columns)
    assert records.frame["test_loss"].to_list() == pytest.approx(direct.frame["test_loss"].to_list())
    assert records.outcome.unit == direct.outcome.unit == "nats"


def test_a_mapping_file_that_names_a_perplexity_is_collected_in_nats(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    source("eval_ppl", perplexities()).write_csv(tmp_path / "in" / "runs.csv")
    (tmp_path / "in" / "finescale.toml").write_text('[columns]\ntest_loss = "eval_ppl"\n')
    plain = source("test_loss", LOSSES).with_columns(method=pl.lit("dora"))
    found = fs.collect(tmp_path / "in" / "runs.csv", plain)
    assert again(found, tmp_path).frame["test_loss"].to_list() == pytest.approx(LOSSES * 2)


def test_a_stated_unit_is_spent_when_the_table_is_collected(tmp_path: Path) -> None:
    options = ReadingOptions(loss="final", unit="perplexity")
    found = fs.collect(source("final", perplexities()), options=options)
    assert (found.options.loss, found.options.unit) == ("test_loss", None)
    assert found.reading is not None
    assert again(found, tmp_path).frame["test_loss"].to_list() == pytest.approx(LOSSES)


@pytest.mark.parametrize(("name", "unit"), [("eval_bpb", None), ("final", "bpb")])
def test_a_loss_per_byte_never_becomes_one_per_token(name: str, unit: str | None, tmp_path: Path) -> None:
    frame = source(name, [value / math.log(2) for value in LOSSES])
    found = fs.collect(frame, columns={"test_loss": name}, options=ReadingOptions(unit=unit))
    assert found.options.loss == "test_loss_per_byte"
    with pytest.raises(UsageError, match="no column `test_loss`"):
        again(found, tmp_path)
    records = again(found, tmp_path, loss="test_loss_per_byte")
    assert records.frame["test_loss_per_byte"].to_list() == pytest.approx(LOSSES)
    assert records.outcome.unit == "nats per byte"


def test_a_perplexity_under_its_own_name_stays_one(tmp_path: Path) -> None:
    found = fs.collect(source("eval_ppl", perplexities()), loss="eval_ppl")
    assert found.frame["eval_ppl"].to_list() == perplexities()
    assert again(found, tmp_path, loss="eval_ppl").frame["test_loss"].to_list() == pytest.approx(LOSSES)


@pytest.mark.parametrize(
    ("name", "cells"),
    [("error", ["0.9%", "0.8%", "0.7%"] * 2), ("error (%)", [0.9, 0.8, 0.7] * 2)],
)
def test_percentages_below_one_stay_percentages(name: str, cells: list[Any], tmp_path: Path) -> None:
    found = fs.collect(source(name, cells), score="error")
    records = again(found, tmp_path, score="error")
    assert records.outcome.high == 100
    assert records.frame[records.loss].to_list() == [0.9, 0.8, 0.7] * 2


def test_a_stated_multiple_is_collected_once(tmp_path: Path) -> None:
    found = fs.collect(source("loss5", LOSSES), columns={"test_loss": "loss5*0.2"})
    expected = [value * 0.2 for value in LOSSES]
    assert again(found, tmp_path).frame["test_loss"].to_list() == pytest.approx(expected)


def test_an_accuracy_that_is_called_a_loss_stays_an_accuracy(tmp_path: Path) -> None:
    found = fs.collect(source("accuracy", [0.5, 0.6, 0.7] * 2), columns={"test_loss": "accuracy"})
    assert found.reading is not None
    assert "test_loss" not in found.frame.columns
    assert again(found, tmp_path, score="accuracy").outcome.better == "higher"


@pytest.mark.parametrize("said", ['unit = "perplexity"\n', '[columns]\ntest_loss = "test_loss*2"\n'])
def test_nothing_is_written_where_a_mapping_file_would_convert_it_again(said: str, tmp_path: Path) -> None:
    source("test_loss", perplexities()).write_csv(tmp_path / "runs.csv")
    (tmp_path / "finescale.toml").write_text(said)
    found = fs.collect(tmp_path / "runs.csv")
    with pytest.raises(UsageError, match="would be taken a second time"):
        found.write(tmp_path / "q.parquet")
    (tmp_path / "out").mkdir()
    direct = fs.read_records(tmp_path / "runs.csv").frame["test_loss"].to_list()
    assert again(found, tmp_path / "out").frame["test_loss"].to_list() == pytest.approx(direct)
