"""Units in the names of columns: their numbers are multiples, and that is said."""

from __future__ import annotations

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError

ROWS = [
    {"method": method, "params": params, "examples": examples, "test_loss": 2.0 - 0.01 * at}
    for at, (method, params, examples) in enumerate(
        (m, p, e) for m in ("full", "lora") for p in (0.35, 1.3, 7.0) for e in (0.5, 1, 20, 400)
    )
]


def table(params: str, examples: str) -> pl.DataFrame:
    return pl.DataFrame(ROWS).rename({"params": params, "examples": examples})


@pytest.mark.parametrize(
    "params", ["Params (B)", "model_params_b", "Model size [B]", "# params (billions)", "params_B",
               "Model Params (in billions)", "num_params (1e9)", "Params (x10^9)", "Model size, B",
               "Params in B", "model_params_in_billions"],
)  # fmt: skip
@pytest.mark.parametrize(
    "examples",
    [
        "Train size (k)",
        "finetune_examples_k",
        "Samples [thousands]",
        "n_train (x1,000)",
        "Samples in thousands",
    ],
)
def test_numbers_are_multiples_of_the_unit_in_their_column_s_name(params: str, examples: str) -> None:
    records = fs.read_records(table(params, examples))
    assert sorted(records.frame["model_params"].unique()) == [350e6, 1.3e9, 7e9]
    assert sorted(records.frame["finetune_examples"].unique()) == [500, 1000, 20_000, 400_000]
    assert any("in multiples of 1,000,000,000: 0.35 is 350,000,000" in note for note in records.notes)
    assert any("in multiples of 1,000: 0.5 is 500" in note for note in records.notes)


def test_a_column_that_is_named_by_hand_counts_in_its_unit_too() -> None:
    records = fs.read_records(
        table("P (M)", "D (k)"), columns={"model_params": "P (M)", "finetune_examples": "D (k)"}
    )
    assert records.frame["model_params"].max() == 7e6
    assert records.frame["finetune_examples"].max() == 400_000


def test_cells_with_a_multiple_of_their_own_and_whole_numbers_stay() -> None:
    frame = table("Params (B)", "Examples (k)")
    texts = frame.with_columns(pl.col("Params (B)").map_elements(lambda v: f"{v:g}B", pl.String))
    whole = frame.with_columns(pl.col("Params (B)") * 1e9)
    for one in (texts, whole):
        records = fs.read_records(one)
        assert records.frame["model_params"].max() == 7e9
    assert any("no multiples of 1,000,000,000: read as they are" in note for note in records.notes)


def test_brackets_that_are_no_unit_of_a_count_are_said() -> None:
    large = table("Model size (GB)", "Examples (rows)").with_columns(pl.col("Model size (GB)") * 1e6)
    records = fs.read_records(large, columns={"model_params": "Model size (GB)"})
    assert records.frame["model_params"].max() == 7e6
    assert any("its unit (GB) is not one of model_params" in note for note in records.notes)
    assert not any("Examples (rows)" in note and "unit" in note for note in records.notes)
    with pytest.raises(UsageError, match="too small for numbers of parameters"):
        fs.read_records(table("params", "examples"))


def test_the_loss_and_the_rank_may_say_what_they_count() -> None:
    frame = table("params (B)", "examples").rename({"test_loss": "Eval loss (nats/token)"})
    records = fs.read_records(frame.with_columns(pl.lit(8).alias("LoRA rank (r)")))
    assert records.frame["test_loss"].max() == 2.0
    assert set(records.frame["pet_size"]) == {8}
