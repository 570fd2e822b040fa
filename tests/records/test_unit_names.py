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


@pytest.mark.parametrize("size", [0.125, 125_000, 7_000_000_000])
def test_a_stated_multiple_is_applied_however_large_the_numbers_are(size: float) -> None:
    frame = table("size", "finetune_examples").with_columns(size=pl.lit(size))
    records = fs.read_records(
        frame, columns={"model_params": "size*1000000", "finetune_examples": "finetune_examples*1e3"}
    )
    assert records.frame["model_params"].unique().to_list() == [size * 1e6]
    assert sorted(records.frame["finetune_examples"].unique()) == [500, 1000, 20_000, 400_000]
    assert any("`size (x1000000)` counts in multiples of 1,000,000" in note for note in records.notes)


@pytest.mark.parametrize(("multiple", "factor"), [("0.2", 0.2), ("1e-3", 1e-3), (".5", 0.5), ("2", 2.0)])
def test_a_stated_multiple_of_a_loss_is_applied(multiple: str, factor: float) -> None:
    frame = table("model_params", "finetune_examples").with_columns(
        pl.col("model_params") * 1e9, pl.col("finetune_examples") * 1e3
    )
    frame = frame.rename({"test_loss": "loss5"})
    for cells in (frame, frame.with_columns(pl.col("loss5").cast(pl.String))):
        records = fs.read_records(cells, columns={"test_loss": f"loss5*{multiple}"})
        assert records.frame["test_loss"].to_list() == pytest.approx((frame["loss5"] * factor).to_list())
        assert any(f"`loss5 (x{multiple})` counts in multiples" in note for note in records.notes)


def test_a_stated_multiple_goes_over_the_unit_in_a_name_and_before_a_conversion() -> None:
    frame = table("Params (B)", "Examples (k)").rename({"test_loss": "bits_per_byte"})
    columns = {"model_params": "Params (B)*1e6", "test_loss": "bits_per_byte*2"}
    records = fs.read_records(frame, columns=columns)
    assert records.frame["model_params"].max() == 7e6
    assert records.outcome.unit == "nats per byte"
    assert records.frame["test_loss"].to_list() == pytest.approx(
        (frame["bits_per_byte"] * 2 * 0.6931471805599453).to_list()
    )


def test_a_stated_multiple_of_what_is_no_number_is_refused() -> None:
    frame = table("size", "finetune_examples")
    with pytest.raises(UsageError, match="says its own multiples"):
        fs.read_records(frame.with_columns(size=pl.lit("7B")), columns={"model_params": "size*1000"})
    with pytest.raises(UsageError, match="has no numbers"):
        fs.read_records(frame, columns={"task": "method*1000"})
