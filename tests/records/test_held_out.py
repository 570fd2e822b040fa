"""Which runs are held out."""

import numpy as np
import polars as pl
import pytest

from finescale.errors import UsageError
from finescale.records.held_out import held_out, of_one_curve

SIZES = (100.0, 200.0, 400.0)


def grid(**columns: tuple[object, ...]) -> pl.DataFrame:
    """Every combination of the columns' values."""
    frame = pl.DataFrame({"task": ["t"]})
    for name, values in columns.items():
        frame = frame.join(pl.DataFrame({name: list(values)}), how="cross")
    return frame


def star() -> pl.DataFrame:
    """Model sizes, checkpoints and ranks around the base (2e8, the last checkpoint, rank 4)."""
    parts = [
        grid(
            method=("lora",),
            model_params=models,
            pretrain_tokens=tokens,
            pet_size=ranks,
            finetune_examples=SIZES,
        )
        for models, tokens, ranks in (
            ((1e8, 2e8, 4e8), (9e9,), (4.0,)),
            ((2e8,), (1e9, 3e9, 9e9), (4.0,)),
            ((2e8,), (9e9,), (1.0, 4.0, 16.0)),
        )
    ]
    return pl.concat(parts).unique(maintain_order=True)


def test_the_column_is_the_rule_unless_another_is_given() -> None:
    frame = pl.DataFrame({"held_out": [True, None, False], "finetune_examples": [1.0, 2.0, 3.0]})
    assert held_out(frame).to_list() == [True, False, False]
    assert held_out(frame, False).to_list() == held_out(frame, "").to_list() == [False] * 3
    assert held_out(frame, "finetune_examples > 1").to_list() == [False, True, True]
    assert held_out(frame.drop("held_out")).to_list() == [False] * 3


def test_largest_is_taken_in_each_task_and_method() -> None:
    frame = pl.concat(
        [
            grid(method=("full",), finetune_examples=(10.0, 100.0, 1000.0)),
            grid(method=("lora",), finetune_examples=(10.0, 50.0, 100.0)),
        ]
    )
    assert held_out(frame, "largest").to_list() == [False, False, True] * 2
    assert held_out(frame.drop("method"), "largest").to_list() == [False, False, True] + [False] * 3


def test_maximum_and_minimum_of_an_expression_are_those_of_the_task_and_method() -> None:
    frame = pl.concat(
        [grid(method=("lora",), pet_size=(4.0, 16.0)), grid(method=("prompt",), pet_size=(8.0, 64.0))]
    )
    assert held_out(frame, "pet_size == max(pet_size)").to_list() == [False, True, False, True]


def test_largest_of_a_grid_is_the_largest_model_and_the_largest_data_size() -> None:
    frame = grid(method=("full",), model_params=(1e8, 2e8, 3e8), finetune_examples=SIZES)
    expected = (frame["model_params"] == 3e8) | (frame["finetune_examples"] == 400)
    assert held_out(frame, "largest").to_list() == expected.to_list()


def test_where_the_stars_meet_at_the_last_checkpoint_it_is_not_held_out() -> None:
    frame = star()
    expected = (
        (frame["model_params"] == 4e8) | (frame["pet_size"] == 16) | (frame["finetune_examples"] == 400)
    )
    assert held_out(frame, "largest").to_list() == expected.to_list()


def test_of_two_values_none_is_held_out_as_nothing_could_be_fitted_over_the_other() -> None:
    frame = grid(method=("full",), model_params=(1e8, 2e8), finetune_examples=SIZES)
    assert held_out(frame, "largest").to_list() == (frame["finetune_examples"] == 400).to_list()
    assert not held_out(frame.filter(pl.col("finetune_examples") < 400), "largest").any()


def test_of_a_grid_of_models_and_checkpoints_the_last_checkpoint_stays_as_the_models_laws_lie_there() -> None:
    frame = grid(
        method=("full",),
        model_params=(1e8, 2e8, 4e8),
        pretrain_tokens=(1e9, 2e9, 4e9),
        finetune_examples=SIZES,
    )
    expected = (frame["model_params"] == 4e8) | (frame["finetune_examples"] == 400)
    assert held_out(frame, "largest").to_list() == expected.to_list()


def test_untuned_models_and_constant_factors_are_never_the_largest() -> None:
    tuned = grid(method=("full",), model_params=(1e8,), finetune_examples=(0.0, 100.0, 200.0, 300.0))
    bare = grid(method=("none",), model_params=(1e8, 9e9), finetune_examples=(0.0,))
    assert held_out(pl.concat([tuned, bare]), "largest").to_list() == [False] * 3 + [True, False, False]


def test_the_order_of_the_rows_and_the_units_do_not_matter() -> None:
    frame = star().with_row_index("row")
    rng = np.random.default_rng(0)
    for unit in (1e-9, 1.0, 1e6):
        mixed = frame[rng.permutation(frame.height)].with_columns(pl.col("model_params") * unit)
        again = mixed.with_columns(held_out(mixed, "largest")).sort("row")["held_out"]
        assert again.to_list() == held_out(frame, "largest").to_list()


def test_of_a_curve_that_is_held_out_whole_the_largest_size_alone_stays_out() -> None:
    sizes = pl.Series([100.0, 400.0, 200.0])
    assert of_one_curve(pl.Series([True] * 3), sizes).to_list() == [False, True, False]
    assert of_one_curve(pl.Series([True, False, True]), sizes).to_list() == [True, False, True]


def test_an_unknown_column_is_told() -> None:
    with pytest.raises(UsageError, match="unknown column `finetune_exampels`"):
        held_out(star(), "finetune_exampels > 1")
