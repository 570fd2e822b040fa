"""Small tables as trackers, trainers and spreadsheets write them: what each must come to."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import finescale as fs
from finescale.advice.cost import costs
from finescale.errors import UsageError
from finescale.records.records import Records, read_records
from finescale.report.decisions import decide

CASES = Path(__file__).with_name("cases")
SHARED = Path(__file__).parents[3] / "shared" / "cases"
"""Where the cases come from; they are not always there."""


def read(name: str, **options: Any) -> Records:
    return read_records(CASES / f"{name}.csv", **options)


def told(records: Records, *words: str) -> bool:
    return any(all(word in note for word in words) for note in records.notes)


@pytest.mark.parametrize("name", ["learning_rates", "learning_rates_no_seed", "rates_documented_column"])
def test_of_several_learning_rates_a_setting_the_best_counts_and_it_is_said(name: str) -> None:
    raw = pl.read_csv(CASES / f"{name}.csv")
    keys = [key for key in ("task", "method", "model_params", "finetune_examples") if key in raw.columns]
    best = raw.group_by(keys).agg(pl.col("test_loss").min()).sort(keys)
    records = read(name)
    assert records.frame.sort(keys)["test_loss"].to_list() == best["test_loss"].to_list()
    assert records.frame["lr_tuned"].all()
    assert told(records, "learning_rate", "sweep", "optimistic")
    assert records.left_out == {"another candidate of their sweep": raw.height - best.height}


def test_advice_at_each_method_s_best_rate_is_lora() -> None:
    advice = fs.recommend(
        read("learning_rates"), examples=1e5, model_params=1.25e8, law="auto", bootstrap=100
    )
    assert advice.options[0].name == "lora"
    assert advice.options[0].loss == pytest.approx(1.349, abs=0.002)
    assert advice.options[1].loss == pytest.approx(1.400, abs=0.002)
    assert any("sweep" in note for note in advice.notes)


def test_of_the_evaluations_of_a_run_the_last_counts_or_the_best() -> None:
    raw = pl.read_csv(CASES / "evaluation_steps.csv")
    keys = ["method", "model_params", "finetune_examples"]
    last = raw.sort("step").group_by(keys).last().sort(keys)
    records = read("evaluation_steps")
    assert records.frame.sort(keys)["test_loss"].to_list() == last["test_loss"].to_list()
    assert told(records, "step", "last counts")
    best = read("evaluation_steps", step="best")
    assert (
        best.frame.sort(keys)["test_loss"].to_list()
        == raw.group_by(keys).agg(pl.col("test_loss").min()).sort(keys)["test_loss"].to_list()
    )
    assert told(best, "best test_loss", "flatters")


def test_methods_have_one_name_each() -> None:
    records = read("method_names")
    assert sorted(records.frame["method"].unique()) == ["full", "lora"]
    assert told(records, "'FFT'", "'full_finetune'", "`full`")


def test_full_tuning_costs_six_flops_by_any_of_its_names() -> None:
    records = read("method_full_finetune")
    row = records.frame.filter(pl.col("method") == "full").row(0, named=True)
    priced = costs(records.frame)
    expected = 6 * row["model_params"] * row["tokens_processed"] / row["finetune_examples"]
    assert priced.per_example("full", row["model_params"]) == pytest.approx(expected)


def test_capitals_change_nothing() -> None:
    one, other = read("method_capitals"), read("method_canonical")
    assert one.frame.equals(other.frame)
    assert not other.notes


@pytest.mark.parametrize(("name", "high", "unit"), [("accuracy", 1.0, ""), ("accuracy_percent", 100.0, "%")])
@pytest.mark.parametrize("options", [{"loss": "accuracy"}, {"score": "accuracy"}])
def test_an_accuracy_is_a_score_whatever_it_is_called(
    name: str, high: float, unit: str, options: dict[str, str]
) -> None:
    records = read(name, **options)
    assert (records.outcome.kind, records.outcome.better) == ("score", "higher")
    assert (records.outcome.low, records.outcome.high, records.outcome.unit) == (0.0, high, unit)
    assert told(records, "is a score") == ("loss" in options)


def test_perplexities_become_nats() -> None:
    raw = pl.read_csv(CASES / "perplexity.csv")
    records = read("perplexity", loss="eval_perplexity")
    assert records.loss == "test_loss"
    assert records.frame["test_loss"].to_list() == pytest.approx(raw["eval_perplexity"].log().to_list())
    assert told(records, "eval_perplexity", "logarithm")


def test_bits_per_byte_become_nats_per_byte() -> None:
    raw = pl.read_csv(CASES / "bits_per_byte.csv")
    records = read("bits_per_byte", loss="eval_bpb")
    expected = (raw["eval_bpb"] * math.log(2)).to_list()
    assert records.frame["test_loss"].to_list() == pytest.approx(expected)
    assert records.outcome.unit == "nats per byte"


def test_only_finished_runs_of_an_export_count() -> None:
    records = read("wandb_export", columns={"finetune_examples": "train_samples"}, loss="eval/loss")
    assert len(records) == 90
    assert records.left_out == {"status crashed": 9, "status running": 9}
    by_flag = read(
        "wandb_export",
        columns={"finetune_examples": "train_samples", "status": "State"},
        loss="eval/loss",
    )
    assert by_flag.frame["eval/loss"].equals(records.frame["eval/loss"])
    assert read("wandb_export").frame["test_loss"].to_list() == records.frame["eval/loss"].to_list()


def test_a_column_in_which_every_dot_has_three_digits_behind_it_is_a_question() -> None:
    with pytest.raises(UsageError, match=r"two ways(.|\n)*1\.000(.|\n)*--decimal finetune_examples=comma"):
        read("european_thousands")
    records = read("european_thousands", decimal={"finetune_examples": "comma"})
    assert records.frame["finetune_examples"].unique().sort().to_list() == [
        1000.0, 2000.0, 4000.0, 8000.0, 16000.0, 32000.0,
    ]  # fmt: skip
    assert records.frame["test_loss"].max() < 2  # type: ignore[operator]
    assert told(records, "1.000 is 1000")


def test_thousands_and_suffixes_are_read() -> None:
    records = read("us_units")
    assert records.frame["model_params"].unique().sort().to_list() == [1.25e8, 3.5e8, 1.3e9]
    assert records.frame["finetune_examples"].min() == 1000.0


def test_a_run_far_from_its_siblings_is_named_with_its_row_and_stays() -> None:
    records = read("spiked_seed")
    assert told(records, "Row 72", "6.31", "4.89", "below", "seed 1")
    assert len(records) == 108


def test_a_spreadsheet_s_export_is_read_at_once() -> None:
    records = read("spreadsheet_export")
    assert len(records) == 47
    assert records.left_out == {"test_loss nan": 1}
    assert sorted(records.frame["method"].unique()) == ["full", "lora", "prompt"]
    assert records.frame["model_params"].unique().sort().to_list() == [7e9, 1.3e10]
    assert told(records, "`# Samples` as finetune_examples", "`Eval Loss` as test_loss")


def test_a_status_filled_in_for_one_row_leaves_out_that_row() -> None:
    records = read("status_in_one_row")
    assert len(records) == 47
    assert records.left_out == {"status diverged": 1}


def test_methods_whose_losses_are_all_equal_tie() -> None:
    advice = fs.recommend(read("all_equal"), bootstrap=200)
    assert advice.sentence.startswith("No advice: full tuning and LoRA tie.")
    assert [option.probability for option in advice.options] == pytest.approx([0.5, 0.5], abs=0.15)


def test_without_seeds_the_command_and_the_page_have_one_verdict() -> None:
    records = read("no_seeds")
    page = decide(records, "t", bootstrap=200, seed=0)
    assert not isinstance(page, str)
    advice = fs.recommend(records, bootstrap=200)
    assert page.advice.sentence == advice.sentence
    assert told(records, "was run twice") or any("was run twice" in note for note in advice.notes)


def test_at_the_only_size_that_was_run_the_observed_means_answer_with_their_noise() -> None:
    records = read("one_data_size")
    advice = fs.recommend(records, examples=5000, bootstrap=200)
    means = dict(records.frame.group_by("method").agg(pl.col("test_loss").mean()).iter_rows())
    for option in advice.options:
        assert option.loss == pytest.approx(means[option.name], abs=1e-4)
        assert option.low < option.loss < option.high


def test_every_shared_case_is_named_by_a_test() -> None:
    if not SHARED.is_dir():
        pytest.skip("no shared cases here")
    tests = "".join(file.read_text() for file in Path(__file__).parents[1].rglob("test_*.py"))
    kinds = {re.sub(r"_\d.*", "", case.stem) for case in SHARED.glob("*.csv")}
    assert [kind for kind in sorted(kinds) if kind not in tests] == []
