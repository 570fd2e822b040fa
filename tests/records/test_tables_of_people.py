"""Tables as people write them, against the same runs written plainly."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import finescale as fs

SIZES = [1000, 2000, 4000, 8000]
RUNS = [("full", size, loss) for size, loss in zip(SIZES, (2.0, 1.8, 1.65, 1.55), strict=True)]
RUNS += [("lora", size, loss) for size, loss in zip(SIZES, (1.9, 1.75, 1.68, 1.62), strict=True)]


def rows(frame: pl.DataFrame, **options: Any) -> list[tuple[Any, ...]]:
    return fs.read_records(frame, **options).frame.select("method", "finetune_examples", "test_loss").rows()


def written(**columns: list[Any]) -> pl.DataFrame:
    """The runs under other names, some columns written otherwise."""
    plain = {
        "Method": [{"full": "Full FT", "lora": "LoRA"}[method] for method, *_ in RUNS],
        "samples": [size for _, size, _ in RUNS],
        "eval_loss": [loss for *_, loss in RUNS],
    }
    return pl.DataFrame({**plain, **columns})


@pytest.mark.parametrize(
    "asked", ["Method!=LoRA", "Method=='Full FT'", "method=full", "not (Method=='LoRA')"]
)
def test_where_takes_the_table_s_own_name_and_words_of_the_method(asked: str) -> None:
    """`Method!=LoRA` kept every LoRA row."""
    assert rows(written(), where=asked) == RUNS[:4]


def test_a_run_whose_adapter_is_none_is_full_tuning() -> None:
    """They counted as untuned, and vanished."""
    cells = ["None" if method == "full" else "LORA" for method, *_ in RUNS]
    assert rows(written(peft_type=cells).drop("Method")) == RUNS


def test_a_leaderboard_s_rank_is_no_rank_of_lora() -> None:
    assert "pet_size" not in fs.read_records(written(Rank=[8, 6, 3, 1, 7, 5, 4, 2])).frame.columns


def test_commas_are_decimal_before_an_exponent() -> None:
    """1,300E+09 was 1.3e12, where losses had three decimals."""
    losses = [f"{loss + 0.0012:.3f}".replace(".", ",") for *_, loss in RUNS]
    records = fs.read_records(written(params=["1,300E+09"] * 8, eval_loss=losses))
    assert set(records.frame["model_params"]) == {1.3e9}


def test_a_value_that_is_written_once_holds_below(tmp_path: Any) -> None:
    """One run of 125M beside seven of no size came to an advice."""
    written(params=["125M", *[None] * 7]).write_csv(tmp_path / "runs.csv")
    records = fs.read_records(tmp_path / "runs.csv")
    assert set(records.frame["model_params"]) == {125e6}
    assert any("merged cells" in note for note in records.notes)


@pytest.mark.parametrize("options", [{}, {"loss": "full_loss"}])
def test_a_column_for_each_method_is_no_loss_of_runs(options: dict[str, Any]) -> None:
    wide = pl.DataFrame(
        {"samples": SIZES, "full_loss": [2.0, 1.8, 1.7, 1.6], "lora_loss": [1.9, 1.8, 1.7, 1.6]}
    )
    with pytest.raises(
        fs.UsageError, match=r"full_loss(,| and) lora_loss are one outcome in a column for each method"
    ):
        fs.read_records(wide, **options)


@pytest.mark.parametrize("columns", [("train_loss", "final_loss"), ("Loss (train)", "Loss (test)")])
def test_a_remedy_names_the_loss_on_new_data(columns: tuple[str, str]) -> None:
    frame = written().rename({"eval_loss": columns[1]}).with_columns(pl.lit(0.1).alias(columns[0]))
    with pytest.raises(fs.UsageError) as told:
        fs.read_records(frame)
    assert columns[1] in str(told.value).partition("--loss")[2]
    notes = fs.read_records(frame, loss=columns[0]).notes
    assert any("of training data" in note for note in notes)


def test_tokens_in_cells_are_no_examples() -> None:
    with pytest.raises(fs.UsageError, match="wanted: finetune_examples: a number of examples"):
        rows(written(samples=[f"{size // 1000}M tokens" for _, size, _ in RUNS]))


def test_a_column_called_name_may_say_what_a_row_measures() -> None:
    """Losses and runtimes were averaged."""
    losses = written().rename({"eval_loss": "value"})
    times = losses.with_columns(value=pl.lit(12.5), name=pl.lit("eval_runtime"))
    long = pl.concat([losses.with_columns(name=pl.lit("eval_loss")), times])
    (asked,) = fs.read_records(long, loss="value").reading.doubts
    assert "--where 'name=eval_loss'" in asked
    assert rows(long.rename({"value": "test_loss"}), where="name=eval_loss") == RUNS
