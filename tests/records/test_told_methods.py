"""Tables without a column for the method, in which a switch or a rank tells it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import finescale as fs

RUNS = [("lora" if at % 2 else "full", size, 2 - 0.1 * at) for at, size in enumerate((100, 100, 1000, 1000))]


def read(**told: list[Any]) -> fs.Records:
    columns = {"finetune_examples": [size for _, size, _ in RUNS], "test_loss": [loss for *_, loss in RUNS]}
    return fs.read_records(pl.DataFrame({**columns, **told}))


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("use_lora", [False, True, False, True]),
        ("config.use_lora", ["no", "yes", "no", "yes"]),
        ("lora_r", [None, 8, None, 8]),
        ("lora_rank", ["", "8", "-", "8"]),
        ("LoRA", [0, 1, 0, 1]),
    ],
)
def test_a_switch_or_a_rank_tells_the_method(name: str, cells: list[Any]) -> None:
    records = read(**{name: cells})
    assert sorted(records.frame.select("method", "finetune_examples", "test_loss").rows()) == sorted(RUNS)
    assert any("method" in note and f"`{name}`" in note for note in records.notes)


@pytest.mark.parametrize(
    ("name", "cells"),
    [("lora_r", [8, 8, 16, 16]), ("use_lora", [True] * 4), ("pet_size", [8] * 4)],
)
def test_what_tells_nothing_makes_no_method(name: str, cells: list[Any]) -> None:
    assert "method" not in read(**{name: cells}).frame.columns


@pytest.mark.parametrize(("name", "method"), [("pet_size", "peft"), ("num_virtual_tokens", "prompt")])
def test_a_size_that_only_some_rows_have_is_that_of_an_adapter(name: str, method: str) -> None:
    """They were one candidate, with the loss of full tuning and called the adapter's."""
    records = read(**{name: [None, 8, None, 8]})
    assert sorted(records.frame["method"]) == ["full", "full", method, method]


def test_a_column_that_names_the_method_counts() -> None:
    methods = ["full", "ia3", "full", "ia3"]
    assert set(read(method=methods, use_lora=[False, True, False, True]).frame["method"]) == {"full", "ia3"}


@pytest.mark.parametrize("name", ["peft_type", "config.adapter"])
def test_a_run_without_an_adapter_is_full_tuning(name: str) -> None:
    records = fs.read_records(
        pl.DataFrame({
            "finetune_examples": [size for _, size, _ in RUNS],
            "test_loss": [loss for *_, loss in RUNS],
            name: ["", "LORA", None, "LORA"],
        }),
        columns={"method": name},
    )  # fmt: skip
    assert sorted(records.frame.select("method", "finetune_examples", "test_loss").rows()) == sorted(RUNS)
    assert f"2 rows without a `{name}` are full tuning." in records.notes
