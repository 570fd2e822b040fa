"""Many sources become one table: names, values, runs of one name, what is missing, what is written."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console
from typer.testing import CliRunner

import finescale as fs
from finescale import cli
from finescale.errors import UsageError

GRID = [(method, size, seed) for method in ("full", "lora") for size in (100, 400, 1600) for seed in (0, 1)]


def loss(method: str, size: int, seed: int) -> float:
    return round((1.0 if method == "full" else 1.1) + size**-0.2 + seed / 1000, 4)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """A European spreadsheet and an American log."""
    european = ["Method;# Samples;seed;Eval Loss"] + [
        f"{method};{size * 10:,};{seed};{loss(method, size, seed):.4f}".translate(str.maketrans(",.", ".,"))
        for method, size, seed in GRID if method == "full"
    ]  # fmt: skip
    (tmp_path / "eu.csv").write_text("\n".join(european))
    lines = [
        {"config": {"method": "LoRA", "train_samples": f"{size * 10:,}", "seed": seed},
         "run": f"r{seed}-{size}", "eval/loss": loss(method, size, seed)}
        for method, size, seed in GRID if method == "lora"
    ]  # fmt: skip
    (tmp_path / "us.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path / "eu.csv", tmp_path / "us.jsonl"


def test_each_source_is_read_by_its_own_names_and_numbers(two: tuple[Path, Path], tmp_path: Path) -> None:
    found = fs.collect(*two)
    seen = {
        (row["method"], row["finetune_examples"] / 10, int(row["seed"])): row["test_loss"]
        for row in found.frame.to_dicts()
    }
    assert seen == {key: pytest.approx(loss(*key)) for key in GRID}
    assert found.runs == 12
    for suffix in (".csv", ".jsonl", ".parquet"):
        found.write(tmp_path / f"runs{suffix}")
        again = fs.read_records(tmp_path / f"runs{suffix}").frame
        assert again["test_loss"].to_list() == found.frame["test_loss"].to_list()
    with pytest.raises(UsageError, match=r"a file \.parquet, \.csv, \.jsonl"):
        found.write(tmp_path / "runs.xlsx")


def test_a_mapping_file_beside_a_source_says_how_that_source_is_read(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    other = tmp_path / "there" / "r.csv"
    other.write_text("N,final\n100,1.5\n400,1.4\n")
    (tmp_path / "there" / "finescale.toml").write_text(
        '[columns]\nfinetune_examples = "N"\ntest_loss = "final"\n[set]\nmethod = "dora"\n'
    )
    found = fs.collect(two[1], other)
    assert found.frame.filter(method="dora").select("finetune_examples", "test_loss").rows() == [
        (100, 1.5),
        (400, 1.4),
    ]


def test_runs_of_one_name_in_two_sources_stay_two_runs() -> None:
    rows = {"run": ["a", "a"], "step": [1, 2], "finetune_examples": [100, 100], "method": ["lora", "lora"]}
    found = fs.collect(
        pl.DataFrame(rows | {"test_loss": [2.0, 1.9]}), pl.DataFrame(rows | {"test_loss": [2.0, 1.7]})
    )
    assert found.frame["run"].n_unique() == 2
    assert found.runs == 2


def test_what_is_missing_is_told_with_how_to_give_it() -> None:
    found = fs.collect(pl.DataFrame({"N": [1, 2], "final": [1.5, 1.4]}))
    words = " ".join(one.words for one in found.missing)
    assert found.reading is None
    assert "--loss" in words
    assert "--set method=lora" in words
    found = fs.collect(
        pl.DataFrame(
            {
                "examples": [10, 20, 30],
                "model_params": [None, 1e9, 1e9],
                "method": ["lora"] * 3,
                "test_loss": [3.0, 2.0, 1.0],
            }
        )
    )
    words = " ".join(one.words for one in found.missing)
    assert "1 of 3 rows have no model_params: --set model_params=7B fills them" in words
    assert "one method only (lora)" in words
    blanks = found.frame.with_columns(method=pl.Series(["lora", None, None]))
    (words,) = [one.words for one in fs.collect(blanks).missing if "method" in one.words]
    assert words.startswith("2 of 3 rows have no method, the others are all lora, and advice needs two")


def test_scores_of_lm_eval_go_to_a_table_of_their_own_under_the_runs_names(tmp_path: Path) -> None:
    results = {
        "results": {
            "mmlu": {"acc,none": 0.4, "acc_stderr,none": 0.01, "alias": "mmlu"},
            "mmlu_law": {"acc,none": 0.3, "acc_stderr,none": 0.02},
            "gsm8k": {"exact_match,strict-match": 0.25, "exact_match_stderr,strict-match": "N/A"},
        },
        "group_subtasks": {"mmlu": ["mmlu_law"]}, "n-shot": {"mmlu": 5},
        "n-samples": {"mmlu": {"original": 100, "effective": 90}},
        "config": {"model": "hf", "model_args": "pretrained=x/y,peft=/data/out/lora-1"},
    }  # fmt: skip
    (tmp_path / "results_2026-01-01T00-00-00.json").write_text(json.dumps(results))
    runs = pl.DataFrame(
        {"run": ["lora-1"], "method": ["lora"], "finetune_examples": [100], "test_loss": [1.0]}
    )
    found = fs.collect(runs, tmp_path)
    assert found.scores.select("run", "dataset", "shots", "metric", "value", "examples").rows() == [
        ("lora-1", "mmlu", 5, "acc", 0.4, 90),
        ("lora-1", "gsm8k", 0, "exact_match (strict-match)", 0.25, None),
    ]  # fmt: skip
    files = found.write(tmp_path / "runs.csv")
    assert [file.name for file in files] == ["runs.csv", "runs-scores.csv"]
    with pytest.raises(UsageError, match="scores, not runs"):
        fs.read_records(tmp_path / "results_2026-01-01T00-00-00.json")


def result(peft: dict[str, object] | None, examples: int, accuracy: float) -> dict[str, object]:
    """A result as PEFT's method comparison writes it."""
    return {
        "run_info": {
            "experiment_name": "e", "peft_config": peft, "error_msg": "",
            "train_config": {"model_id": "m", "batch_size": 4, "seed": 0, "optimizer_kwargs": {"lr": 1e-4}},
        },
        "train_info": {
            "status": "success", "train_time": 5.0,
            "num_trainable_params": 10_000, "num_total_params": 110_000,
            "metrics": [
                {"step": 250, "valid accuracy": 0.1, "train loss": 1.0, "train samples": 1000},
                {"step": 500, "test accuracy": accuracy, "train loss": 0.6, "train samples": examples,
                 "train total tokens": 4000},
            ],
        },
        "meta_info": {},
    }  # fmt: skip


def test_results_of_peft_s_method_comparison_are_runs(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(result({"peft_type": "LORA", "r": 8}, 2000, 0.4), indent=2))
    (tmp_path / "b.json").write_text(json.dumps(result(None, 2000, 0.5), indent=2))
    frame = fs.read_records(tmp_path, score="test accuracy").frame.sort("method")
    seen = frame.select("method", "model_params", "pet_size", "finetune_examples", "learning_rate").rows()
    assert seen == [("full", 110_000, None, 2000, 1e-4), ("lora", 100_000, 8, 2000, 1e-4)]


def test_the_command_shows_writes_and_says_how_to_go_on(two: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "runs.parquet"
    shown = CliRunner().invoke(
        cli.app, ["collect", *map(str, two), "--out", str(out)], env={"COLUMNS": "200"}
    )
    assert shown.exit_code == 0, shown.output
    for words in (
        "a table",
        "12 runs count, of 12 rows",
        "finetune_examples",
        f"next: finescale advise {out}",
    ):
        assert words in shown.output
    assert out.exists()


def test_it_is_shown_in_jupyter_and_without_sources_refused() -> None:
    found = fs.collect(pl.DataFrame({"finetune_examples": [1, 2], "test_loss": [2.0, 1.0]}))
    assert "<li>the given frame" in found._repr_html_()
    console = Console(record=True, width=120)
    console.print(found)
    assert "2 runs count" in console.export_text()
    with pytest.raises(UsageError, match="nothing to collect"):
        fs.collect()


def test_settings_that_are_the_same_in_all_runs_are_counted_instead_of_shown() -> None:
    rows = {"finetune_examples": [1, 2], "test_loss": [2.0, 1.0], "lr": [1e-3, 1e-4]}
    found = fs.collect(pl.DataFrame(rows | {f"config.flag_{at}": [True, True] for at in range(40)}))
    console = Console(record=True, width=120)
    console.print(found)
    shown = console.export_text()
    assert "40 more columns are labels" in shown
    assert "learning_rate" in shown
    assert "flag_7" not in shown
