"""Means and standard deviations among the runs, and columns that say which number a row holds."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import finescale as fs

RUNS: list[dict[str, Any]] = [
    {"method": method, "finetune_examples": size, "seed": str(seed), "test_loss": 2 - 0.1 * at + 0.01 * seed}
    for method in ("full", "lora")
    for at, size in enumerate((100, 300, 1000))
    for seed in (0, 1)
]
KEYS = ["method", "finetune_examples", "test_loss"]


def summed(*words: str, name: str = "seed") -> list[dict[str, Any]]:
    return [run | {name: word, "test_loss": 0.01} for run in RUNS[::2] for word in words]


def rows(records: fs.Records) -> list[tuple[Any, ...]]:
    return records.frame.select(KEYS).sort(KEYS).rows()


@pytest.mark.parametrize("words", [("mean", "std"), ("Average",), ("SD",), ("mean", "std", "min", "max")])
def test_rows_that_sum_up_seeds_are_left_out_and_said(words: tuple[str, ...]) -> None:
    records = fs.read_records(pl.DataFrame(RUNS + summed(*words)))
    assert rows(records) == rows(fs.read_records(pl.DataFrame(RUNS)))
    assert records.left_out == {f"`seed` {', '.join(words)}: they sum up other rows": 6 * len(words)}


def test_of_means_with_their_spreads_the_means_count() -> None:
    means = [{**run, "stat": "mean"} for run in RUNS[::2]]
    spreads = [{**run, "stat": "std", "test_loss": 0.01} for run in RUNS[::2]]
    table = pl.DataFrame([{k: v for k, v in run.items() if k != "seed"} for run in means + spreads])
    records = fs.read_records(table)
    assert 0.01 not in set(records.frame["test_loss"])
    assert records.frame.height == 6


def test_words_that_sum_up_nothing_stay() -> None:
    pooled = pl.DataFrame([{**run, "pooling": "mean" if run["seed"] == "0" else "max"} for run in RUNS])
    assert fs.read_records(pooled).frame.height == len(RUNS)


@pytest.mark.parametrize("name", ["metric", "split"])
def test_a_column_that_says_which_number_a_row_holds_is_asked_about(name: str) -> None:
    both = [
        run | {name: word, "test_loss": run["test_loss"] * times}
        for run in RUNS
        for word, times in (("a", 1), ("b", 3))
    ]
    records = fs.read_records(pl.DataFrame(both))
    assert any(f"--where '{name}=a' (or b)" in doubt for doubt in records.reading.doubts)
    chosen = fs.read_records(pl.DataFrame(both), where=f"{name}=a")
    assert rows(chosen) == rows(fs.read_records(pl.DataFrame(RUNS)))
    assert not chosen.reading.doubts


@pytest.mark.parametrize(
    "name", ["Gap", "Δ", "Difference", "full - lora", "lora vs full", "Average", "lora avg"]
)
def test_differences_and_means_of_methods_are_no_methods(name: str) -> None:
    """`Gap` was the best method, with over 99%."""
    table = pl.DataFrame(RUNS + [run | {"method": name, "test_loss": 0.1} for run in RUNS[::2]])
    assert rows(fs.read_records(table)) == rows(fs.read_records(pl.DataFrame(RUNS)))


@pytest.mark.parametrize(
    "word", ["mean±std", "mean (std)", "avg(2)", "average of 2", "all seeds", "best seed", "0-1"]
)
def test_a_seed_s_cell_that_stands_for_several_is_no_run(word: str) -> None:
    assert rows(fs.read_records(pl.DataFrame(RUNS + summed(word)))) == rows(
        fs.read_records(pl.DataFrame(RUNS))
    )


@pytest.mark.parametrize("name", ["5-shot", "Few-shot (k=32)", "in-context learning"])
def test_examples_in_a_prompt_are_no_finetuning(name: str) -> None:
    table = pl.DataFrame(RUNS + [run | {"method": name, "finetune_examples": 5} for run in RUNS[::2]])
    assert set(fs.read_records(table).frame["method"]) == {"full", "lora"}
