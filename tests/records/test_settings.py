"""What one setting is, and the base setting."""

import polars as pl
import pytest

from finescale.errors import UsageError
from finescale.records.settings import (
    SETTING,
    at_base,
    base_setting,
    check_base,
    setting_columns,
    varying_factors,
)


def runs(*rows: tuple[str, float | None, float | None, float | None, int]) -> pl.DataFrame:
    """Rows (method, model_params, pretrain_tokens, pet_size), so many of each."""
    names = ("method", "model_params", "pretrain_tokens", "pet_size")
    return pl.DataFrame(
        [dict(zip(names, row[:-1], strict=True)) for row in rows for _ in range(row[-1])],
        schema={"method": pl.String, **dict.fromkeys(names[1:], pl.Float64)},
    )


def pet(**counts: dict[float, int]) -> pl.DataFrame:
    return runs(
        *[(method, 1e9, None, size, n) for method, sizes in counts.items() for size, n in sizes.items()]
    )


def test_a_setting_is_what_runs_have_in_common_that_differ_by_their_seed_alone() -> None:
    assert SETTING[:3] == ("task", "method", "model")
    frame = pl.DataFrame({"seed": [0], "method": ["lora"], "finetune_examples": [1.0], "note": ["x"]})
    assert setting_columns(frame) == ["method", "finetune_examples"]
    assert setting_columns(frame, without=("finetune_examples",)) == ["method"]


def test_the_base_is_the_most_frequent_value_of_the_task_and_of_each_methods_pet_size() -> None:
    table = runs(
        ("full", 1e8, 1e9, None, 6),
        ("prompt", 4e8, 1e9, 16.0, 3),
        ("prompt", 1e8, 1e9, 64.0, 2),
        ("lora", 1e8, 2e9, 4.0, 1),
    )
    assert base_setting(table).values == {
        "model_params": 1e8,
        "pretrain_tokens": 1e9,
        "pet_size.prompt": 16.0,
        "pet_size.lora": 4.0,
    }
    assert not base_setting(table).ties


@pytest.mark.parametrize(
    ("sizes", "method", "taken", "why"),
    [
        ((1, 4, 16), "lora", 4, "the paper's default"),
        ((1, 100, 300, 600), "prompt", 100, "the paper's default"),
        ((1, 2, 8), "lora", 2, "the middle one"),
        ((1, 8), "lora", 8, "the middle one"),
        ((8, 16, 32, 64), "dora", 32, "the middle one"),
    ],
)
def test_of_equally_frequent_values_the_papers_default_or_the_middle_one_is_taken_and_told(
    sizes: tuple[int, ...], method: str, taken: int, why: str
) -> None:
    found = base_setting(pet(**{method: dict.fromkeys(map(float, sizes), 3)}))
    key = f"pet_size.{method}"
    assert found.values[key] == taken
    assert found.ties[key].endswith(f"the base setting takes {taken}, {why} (--base {key}=VALUE to choose).")
    assert ", ".join(map(str, sizes)) in found.ties[key]


def test_of_equally_frequent_checkpoints_the_last_is_taken() -> None:
    table = runs(*[("full", 1e8, tokens, None, 2) for tokens in (1e9, 2e9, 4e9)])
    assert base_setting(table).values["pretrain_tokens"] == 4e9


def test_the_most_frequent_value_wins_over_the_papers_default() -> None:
    assert base_setting(pet(lora={4.0: 2, 8.0: 3})).values["pet_size.lora"] == 8


def test_models_and_checkpoints_that_never_meet_give_a_base_that_was_run() -> None:
    table = runs(
        *[("full", size, 3e11, None, 2) for size in (7e7, 1.6e8, 4.1e8)],
        ("full", 1.2e8, 1e11, None, 3),
    )
    base = base_setting(table).values
    assert base == {"model_params": 1.6e8, "pretrain_tokens": 3e11}
    assert at_base(table, base).height == 2


def test_values_that_are_given_are_kept_and_the_others_chosen_among_the_runs_there() -> None:
    table = runs(("full", 1e8, 1e9, None, 5), ("full", 4e8, 2e9, None, 2), ("lora", 4e8, 2e9, 8.0, 1))
    assert base_setting(table, {"model_params": 4e8}).values == {
        "model_params": 4e8,
        "pretrain_tokens": 2e9,
        "pet_size.lora": 8.0,
    }
    given = base_setting(table, {"pretrain_tokens": "any", "pet_size": 16.0}).values
    assert given == {"model_params": 1e8, "pretrain_tokens": "any", "pet_size": 16.0}


def test_a_table_that_counts_without_embeddings_alone_has_a_base_too() -> None:
    table = runs(("full", 1e8, 1e9, None, 2)).rename({"model_params": "model_params_nonembedding"})
    assert base_setting(table).values["model_params_nonembedding"] == 1e8


def test_rows_at_the_base_are_near_it_or_say_nothing_and_each_method_has_its_own_size() -> None:
    table = runs(
        ("full", 1e8 * (1 + 1e-12), None, None, 1),
        ("lora", 1e8, None, 4.0, 2),
        ("lora", 1e8, None, 16.0, 4),
        ("prompt", 1e8, None, 16.0, 8),
        ("prompt", 2e8, None, 16.0, 16),
    )
    base = {"model_params": 1e8, "pet_size.lora": 4.0, "pet_size.prompt": 16.0}
    assert at_base(table, base).height == 1 + 2 + 8
    assert at_base(table, base, "lora").height == 2
    assert at_base(table, base, "lora", free="pet_size").height == 6
    assert at_base(table, base, "prompt", free="model_params_nonembedding").height == 24
    assert at_base(table, {**base, "pet_size.lora": "any"}, free=("model_params",)).height == 31


def test_what_varies_is_a_factor_and_parameters_are_counted_once() -> None:
    table = pl.DataFrame(
        {"method": ["a", "b"], "model_params": [1.0, 2.0], "model_params_nonembedding": [1.0, 3.0]}
    )
    assert varying_factors(table) == ("model_params",)
    assert varying_factors(table, ("method", "unknown")) == ()
    assert varying_factors(table.drop("model_params")) == ("model_params_nonembedding",)


def test_a_base_of_no_factor_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--base pet_siz\.lora: no such factor"):
        check_base({"pet_siz.lora": 4})
