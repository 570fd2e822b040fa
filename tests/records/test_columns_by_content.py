"""Columns whose names say little are known by what stands in them; what cannot be known is asked for."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError

RUNS = pl.DataFrame(
    {"train set": ["1k", "2k", "1k", "2k"], "eval_loss": [2.0, 1.9, 2.1, 1.8], "n": [1, 2, 3, 4]}
)
METHODS = ["LoRA", "full ft", "LoRA", "full ft"]


@pytest.mark.parametrize("name", ["Methode", "adapter", "mode"])
def test_a_column_of_methods_names_is_the_method_whatever_it_is_called(name: str) -> None:
    records = fs.read_records(RUNS.with_columns(pl.Series(name, METHODS)))
    assert records.frame["method"].unique().sort().to_list() == ["full", "lora"]
    assert any(f"`{name}` as method" in note for note in records.notes)


def test_ways_to_begin_an_adapter_are_no_methods() -> None:
    records = fs.read_records(RUNS.with_columns(init=pl.Series(["pissa", "olora", "pissa", "olora"])))
    assert "method" not in records.frame.columns


def test_a_column_of_status_words_counts_whatever_it_is_called() -> None:
    states = pl.Series("job_status", ["Succeeded", "OOM", "Succeeded", "Succeeded"])
    records = fs.read_records(RUNS.with_columns(states))
    assert records.left_out == {"status OOM": 1}


def test_comments_above_the_header_are_skipped_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("# exported today, by me\n#\nexamples,test_loss\n100,2.0\nmany,1.9\n")
    with pytest.raises(UsageError, match=r"c.csv, row 5, column finetune_examples"):
        fs.read_records(tmp_path / "c.csv")
    (tmp_path / "h.csv").write_text("# Samples,Eval Loss\n100,2.0\n200,1.9\n")
    assert fs.read_records(tmp_path / "h.csv").frame["finetune_examples"].to_list() == [100, 200]


def test_a_loss_in_a_column_for_each_seed_is_asked_for_as_rows() -> None:
    wide = pl.DataFrame({"samples": [100, 200], "loss_seed0": [2.0, 1.9], "loss_seed1": [2.1, 1.8]})
    with pytest.raises(UsageError, match=r"loss_seed0, loss_seed1 are one outcome(.|\n)*a row for each"):
        fs.read_records(wide)
    notes = fs.read_records(wide, loss="loss_seed0").notes
    assert any("Only loss_seed0 is read: loss_seed1" in note for note in notes)


def test_tokens_of_finetuning_are_never_offered_as_those_of_pretraining() -> None:
    frame = pl.DataFrame({"train_tokens": [100, 200], "test_loss": [2.0, 1.9]})
    with pytest.raises(UsageError) as error:
        fs.read_records(frame)
    assert "pretrain_tokens=train_tokens" not in str(error.value)


def test_a_tracker_s_prefix_need_not_be_said() -> None:
    frame = pl.DataFrame(
        {"params.train_samples": [100, 200], "metrics.final": [2.0, 1.9], "final_step": [1, 2]}
    )
    assert fs.read_records(frame, loss="final").loss == "metrics.final"


def test_a_setting_that_sounds_like_an_outcome_is_asked_about_where_runs_differ_in_it() -> None:
    frame = pl.DataFrame({"finetune_examples": [100, 100, 200, 200], "test_loss": [2.0, 1.9, 1.8, 1.7]})
    frame = frame.with_columns(pl.Series("config.reward_model", ["a", "b", "a", "b"]))
    assert any("config.reward_model" in doubt for doubt in fs.read_records(frame).reading.doubts)
