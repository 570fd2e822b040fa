"""A study's scores by ``--score METRIC[@DATASET[/SHOTS]]``: joined by run, said, or refused in words."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

import finescale as fs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six runs, each with chrF on two test sets and one zero-shot set; the last lacks one test set."""
    runs = [f"r{i}" for i in range(6)]
    records = pl.DataFrame(
        {
            "run": runs,
            "finetune_examples": [2**i for i in range(6)],
            "test_loss": [3.0 - 0.1 * i for i in range(6)],
        }
    )
    rows = []
    for i, run in enumerate(runs):
        for dataset, split, shots, value in (
            ("a", "test", 0, 20.0 + i), ("b", "test", 0, 40.0 + i), ("far", "zero_shot", 1, 5.0 + i),
        ):  # fmt: skip
            if (run, dataset) != ("r5", "b"):
                rows.append(
                    {
                        "run": run,
                        "dataset": dataset,
                        "split": split,
                        "shots": shots,
                        "metric": "chrf",
                        "value": value,
                    }
                )
    records.write_parquet(tmp_path / "records.parquet")
    pl.DataFrame(rows).write_parquet(tmp_path / "scores.parquet")
    return tmp_path


def test_the_default_is_the_mean_over_the_test_sets(folder: Path) -> None:
    records = fs.read_records(folder, score="chrf")
    assert records.frame["chrf"].to_list() == [30.0, 31.0, 32.0, 33.0, 34.0]  # r5 lacks a set
    assert records.outcome.high == 100
    assert any("mean over the test sets a and b, 0 shots" in note for note in records.notes)
    assert any("an empty chrf" in reason for reason in records.left_out)


def test_one_set_and_its_shots_can_be_named(folder: Path) -> None:
    assert fs.read_records(folder, score="chrF@far/1").frame["chrF"].to_list() == [5.0 + i for i in range(6)]
    assert fs.read_records(folder, score="chrf@a").frame["chrf"].len() == 6


def test_a_table_of_scores_can_be_named(folder: Path, tmp_path: Path) -> None:
    other = folder / "other.csv"
    scores = pl.read_parquet(folder / "scores.parquet").with_columns(metric=pl.lit("bleu"))
    scores.write_csv(other)
    records = fs.read_records(folder / "records.parquet", score="bleu@a", scores=other)
    assert records.frame["bleu"].to_list() == [20.0 + i for i in range(6)]


@pytest.mark.parametrize(
    ("score", "wanted"),
    [("chrrf", "one of chrf"), ("chrf@c", "one of a, b, far"), ("chrf@far", "chrf@far/1"), ("@", "METRIC")],
)
def test_what_nobody_measured_is_refused_with_what_was(folder: Path, score: str, wanted: str) -> None:
    with pytest.raises(fs.UsageError) as told:
        fs.read_records(folder, score=score)
    assert wanted in told.value.wanted
