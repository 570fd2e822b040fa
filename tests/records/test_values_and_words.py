"""Numbers, statuses, methods and column names as other tools and people write them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finescale.errors import UsageError
from finescale.records.loss_units import unit_by_name
from finescale.records.methods import canonical, costs_of, method_flops
from finescale.records.names import bare, find, infer
from finescale.records.outcomes import named_score
from finescale.records.records import read_records
from finescale.records.status import of_word
from finescale.records.values import number, read_numbers


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("7B", 7e9), ("1.5b", 1.5e9), ("125M", 1.25e8), ("50 k", 5e4), ("2T", 2e12), ("1e5", 1e5),
        ("1,000", 1e3), ("12,345,678", 12345678.0), ("1 000", 1e3), ("1_000", 1e3), ("1.000.000", 1e6),
        ("1.000,5", 1000.5), ("+3", 3.0), ("2.5e-5", 2.5e-5), ("7 billion", 7e9), ("1,234.5", 1234.5),
    ],
)  # fmt: skip
def test_numbers_are_read_as_they_are_written(cell: str, value: float) -> None:
    assert number(cell, "--examples", whole=True) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("cell", ["", "7X", "1,00,0", "many", "1.2.3", "36%", "0x10"])
def test_what_is_no_number_is_refused_with_its_option(cell: str) -> None:
    with pytest.raises(UsageError, match="--examples"):
        number(cell, "--examples", whole=True)


@pytest.mark.parametrize(
    ("cells", "whole", "table", "expected"),
    [
        (["1.000", "2.000"], True, frozenset(), None),
        (["1.000", "2.000"], True, frozenset({"eu"}), [1000.0, 2000.0]),
        (["1.000", "2.000.000"], True, frozenset(), [1000.0, 2e6]),
        (["1.000", "1500.5"], True, frozenset(), [1.0, 1500.5]),
        (["1,000", "500"], True, frozenset(), [1000.0, 500.0]),
        (["8,000", "16,000"], True, frozenset({"eu"}), None),
        (["1.862", "1.755"], False, frozenset(), [1.862, 1.755]),
        (["1,862", "1,755"], False, frozenset(), None),
        (["1,862", "1,755"], False, frozenset({"eu"}), [1.862, 1.755]),
        (["1,8", "1,755"], False, frozenset(), [1.8, 1.755]),
        (["1,8", "1.755,2"], False, frozenset(), [1.8, 1755.2]),
        (["1,8", "1.8"], False, frozenset(), None),
    ],
)
def test_dots_and_commas_are_told_apart_or_asked_about(
    cells: list[str], whole: bool, table: frozenset[str], expected: list[float] | None
) -> None:
    read = read_numbers(pl.Series(cells), whole=whole, table=table)
    if expected is None:
        assert read.question in cells
    else:
        assert (read.question, read.values.to_list()) == ("", expected)


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("finished", "done"), ("FINISHED", "done"), ("COMPLETE", "done"), ("TrialState.COMPLETE", "done"),
        ("TERMINATED", "done"), ("COMPLETED", "done"), ("crashed", "failed"), ("KILLED", "failed"),
        ("ERROR", "failed"), ("FAIL", "failed"), ("CANCELLED by 1001", "failed"), ("CANCELLED+", "failed"),
        ("OUT_OF_MEMORY", "failed"), ("OUT_OF_ME+", "failed"), ("NODE_FAIL", "failed"), ("TIMEOUT", "failed"),
        ("PRUNED", "stopped"), ("TrialState.PRUNED", "stopped"), ("running", "running"),
        ("SCHEDULED", "running"),
        ("WAITING", "running"), ("PENDING", "running"), ("diverged", "diverged"), ("best", None), ("", None),
    ],
)  # fmt: skip
def test_status_words_of_trackers_and_schedulers(word: str, ours: str | None) -> None:
    assert of_word(word) == ours


def test_an_unknown_status_counts_as_unfinished_and_is_asked_about() -> None:
    frame = pl.DataFrame({"finetune_examples": [1, 2], "test_loss": [1.0, 2.0], "status": ["done", "odd"]})
    records = read_records(frame)
    assert records.left_out == {"status odd": 1}
    assert any("--map 'status:odd=done'" in note for note in records.notes)
    assert len(read_records(frame, values={"status": {"odd": "done"}})) == 2
    with pytest.raises(UsageError, match=r"says nothing(.|\n)*--map 'status:odd=done'"):
        read_records(frame.with_columns(status=pl.lit("odd")))


def test_a_column_called_state_that_holds_no_statuses_is_left_alone() -> None:
    frame = pl.DataFrame({"finetune_examples": [1, 2], "test_loss": [1.0, 2.0], "State": ["Ohio", "Utah"]})
    assert len(read_records(frame)) == 2


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("Full FT", "full"), ("full-parameter fine-tuning", "full"), ("SFT", "full"), ("FFT", "full"),
        ("LoRA", "lora"), ("Q-LoRA", "qlora"), ("Prompt Tuning", "prompt"), ("untuned", "none"),
        ("DoRA", None), ("our method", None),
    ],
)  # fmt: skip
def test_methods_by_their_usual_names(name: str, ours: str | None) -> None:
    assert canonical(name) == ours


def test_every_method_that_peft_registers_costs_what_a_pet_costs() -> None:
    found = importlib.util.find_spec("peft")
    if found is None or found.origin is None:
        pytest.skip("peft is not installed")
    text = (Path(found.origin).parent / "utils" / "peft_types.py").read_text(encoding="utf-8")
    names = re.findall(r'^    [A-Z_0-9]+ = "(\w+)"$', text.partition("class TaskType")[0], flags=re.MULTILINE)
    assert len(names) > 20
    assert [name for name in names if method_flops(name) is None] == ["OSF"]


def test_the_flops_of_an_unknown_method_are_not_guessed_but_taken() -> None:
    assert method_flops("our method") is None
    stated = costs_of({"our method": "full", "other": "5.5", "third": "pet"})
    assert [method_flops(name, stated) for name in ("Our-Method", "other", "third")] == [6.0, 5.5, 4.0]
    with pytest.raises(UsageError, match="--method-cost x=cheap"):
        costs_of({"x": "cheap"})


def test_spellings_of_one_unknown_method_are_one_and_near_ones_are_reported() -> None:
    names = ["My Method", "my_method", "my-method", "my_metod", "glora", "lora"]
    frame = pl.DataFrame({"method": names, "finetune_examples": range(1, 7), "test_loss": [1.0] * 6})
    records = read_records(frame)
    assert records.frame["method"].n_unique() == 4
    assert any("`my_metod`" in note and "similar" in note for note in records.notes)
    assert not any("glora" in note and "similar" in note for note in records.notes)


def test_names_are_matched_without_case_blanks_punctuation_and_prefixes() -> None:
    assert find("eval_loss", ["Eval Loss", "loss"]) == "Eval Loss"
    assert find("eval_loss", ["loss"]) is None
    with pytest.raises(UsageError, match="several columns could be"):
        find("eval_loss", ["Eval Loss", "eval-loss"])
    assert infer("finetune_examples", ["config.num_train_samples", "x"]) == "config.num_train_samples"
    assert infer("finetune_examples", ["samples", "examples"]) is None
    assert bare("params_lr") == "lr"
    assert bare("parameters") == "parameters"


@pytest.mark.parametrize(
    ("column", "values", "better", "high"),
    [
        ("eval/accuracy", [0.5, 0.7], "higher", 1.0), ("Accuracy (%)", [50.0, 70.0], "higher", 100.0),
        ("test_f1", [0.5], "higher", 1.0), ("pass@1", [0.1], "higher", 1.0),
        ("rougeL", [41.0], "higher", 100.0),
        ("bleu", [31.0], "higher", 100.0), ("error_rate", [0.2], "lower", 1.0), ("mcc", [0.4], "higher", 1.0),
        ("exact_match", [61.0], "higher", 100.0), ("reward", [3.0], "higher", float("inf")),
    ],
)  # fmt: skip
def test_known_scores_bring_direction_and_bounds(
    column: str, values: list[float], better: str, high: float
) -> None:
    score = named_score(column, values)
    assert score is not None
    assert (score.better, score.high) == (better, high)


def test_losses_are_no_scores_and_units_are_known_by_name() -> None:
    assert [named_score(name) for name in ("test_loss", "eval_nll", "train_loss", "params")] == [None] * 4
    names = ("perplexity", "eval/ppl", "bpb", "bits_per_byte", "test_loss")
    assert [unit_by_name(name) for name in names] == ["perplexity", "perplexity", "bpb", "bpb", None]


def table(**columns: Any) -> pl.DataFrame:
    sizes = {"method": ["a"] * 3 + ["b"] * 3, "finetune_examples": [1, 2, 4] * 2}
    return pl.DataFrame(sizes | columns)


def test_an_unknown_score_needs_its_direction() -> None:
    frame = table(quality=[1.0, 2.0, 3.0] * 2)
    with pytest.raises(UsageError, match=r"direction is not known(.|\n)*--better higher"):
        read_records(frame, score="quality")
    outcome = read_records(frame, score="quality", better="higher", bounds=(0, 10)).outcome
    assert (outcome.better, outcome.low, outcome.high) == ("higher", 0, 10)
    with pytest.raises(UsageError, match="outside its bounds"):
        read_records(frame, score="quality", better="higher", bounds=(0, 2))


def test_an_unknown_column_that_rises_with_the_data_is_a_loss_without_advice() -> None:
    records = read_records(table(quality=[1.0, 2.0, 3.0] * 2), loss="quality")
    assert records.outcome.kind == "loss"
    assert any("--score 'quality' --better higher" in doubt for doubt in records.reading.doubts)
    assert not read_records(table(quality=[3.0, 2.0, 1.0] * 2), loss="quality").reading.doubts


def test_fractions_and_percentages_in_one_column_are_refused() -> None:
    with pytest.raises(UsageError, match="two scales"):
        read_records(table(accuracy=[0.5, 60.0, 70.0, 0.6, 65.0, 75.0]), score="accuracy")


@pytest.mark.parametrize(
    ("odd", "row", "said"),
    [(-0.2, 3, "outside its bounds"), (1.7, 5, "on two scales"), (1.2, 2, "outside its bounds")],
)
def test_a_score_that_cannot_be_right_is_said_with_its_row(odd: float, row: int, said: str) -> None:
    values = [0.5, 0.6, 0.7] * 2
    values[row] = odd
    with pytest.raises(UsageError, match=said) as told:
        read_records(table(accuracy=values), score="accuracy")
    assert f"row {row + 1}, column accuracy" in told.value.where
    assert told.value.got.startswith(f"{odd:g}")


def test_a_misspelt_score_is_asked_for_as_a_score() -> None:
    with pytest.raises(UsageError, match="no column") as told:
        read_records(table(accuracy=[0.5, 0.6, 0.7] * 2), score="acuracy")
    assert "--score accuracy" in told.value.remedy
    assert "--column" not in told.value.remedy


def test_a_direction_against_the_name_is_taken_and_said() -> None:
    records = read_records(table(accuracy=[0.5, 0.6, 0.7] * 2), score="accuracy", better="lower")
    assert records.outcome.better == "lower"
    assert any("higher is better; --better lower is taken" in note for note in records.notes)


def test_a_stated_unit_converts() -> None:
    frame = table(test_loss=[8.0, 4.0, 2.0] * 2)
    assert read_records(frame, unit="bits").frame["test_loss"][0] == pytest.approx(8 * 0.693147, abs=1e-4)
    assert read_records(frame, unit="perplexity").frame["test_loss"][0] == pytest.approx(2.0794, abs=1e-4)
    assert read_records(frame, unit="nats").frame["test_loss"][0] == 8.0
    with pytest.raises(UsageError, match=r"--unit furlong(.|\n)*perplexity"):
        read_records(frame, unit="furlong")
    with pytest.raises(UsageError, match="a perplexity below 1"):
        read_records(table(ppl=[0.5, 1.0, 2.0] * 2), loss="ppl")


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1.83 ± 0.02", 1.83), ("1.83±0.02", 1.83), ("1.83 +/- 0.02", 1.83), ("1.83 +- .02", 1.83),
        ("1.83 (0.02)", 1.83), ("1.83(2)", 1.83), ("1.83 (±0.02)", 1.83), ("1.83 [1.80, 1.86]", 1.83),
        (r"$1.83 \pm 0.02$", 1.83), (r"1.83_{\pm 0.02}", 1.83), ("1.83_{0.02}", 1.83), ("1.83 ± 2e-2", 1.83),
    ],
)  # fmt: skip
def test_of_a_number_with_its_error_the_number_counts_and_it_is_said(cell: str, value: float) -> None:
    rows = {"finetune_examples": ["100", "200"], "Test Loss": [cell, "1.5"], "accuracy": ["0.7 ± 0.1", "0.8"]}
    records = read_records(pl.DataFrame(rows))
    assert records.frame["test_loss"].to_list() == [value, 1.5]
    assert records.frame["accuracy"].to_list() == [0.7, 0.8]
    assert any(
        f"1 cells of `Test Loss` say how sure they are (e.g. {cell})" in note for note in records.notes
    )


def test_errors_of_percentages_and_of_european_numbers_are_read() -> None:
    rows = {"finetune_examples": ["100", "200"], "accuracy": ["81.2 ± 0.3%", "83.0% (0.2)"]}
    records = read_records(pl.DataFrame(rows), score="accuracy")
    assert (records.frame["accuracy"].to_list(), records.outcome.unit) == ([81.2, 83.0], "%")
    records = read_records(
        pl.DataFrame({"finetune_examples": ["100", "200"], "test_loss": ["1,83 ± 0,02", "1,7"]})
    )
    assert records.frame["test_loss"].to_list() == [1.83, 1.7]


def test_a_setting_with_an_error_is_none() -> None:
    rows = {"finetune_examples": ["100 ± 3", "200"], "test_loss": ["1.8", "1.7"]}
    with pytest.raises(UsageError, match=r"finetune_examples: '100 ± 3'|got: '100 ± 3'"):
        read_records(pl.DataFrame(rows))
