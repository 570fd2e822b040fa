"""Sizes by name on a command line."""

from __future__ import annotations

import pytest

from finescale.errors import UsageError
from finescale.records.named_sizes import named_sizes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("finetune_examples=50k", {"finetune_examples": 5e4}),
        ("finetune_examples=50,000,model_params=13B", {"finetune_examples": 5e4, "model_params": 13e9}),
        (
            " model_params = 1.6e10 ;finetune_examples = 1e6, ",
            {"model_params": 1.6e10, "finetune_examples": 1e6},
        ),
    ],
)
def test_commas_part_names_and_stay_in_numbers(text: str, wanted: dict[str, float]) -> None:
    assert named_sizes(text, "--target", "A=1") == wanted


@pytest.mark.parametrize("text", ["", "50k", "finetune_examples=", "=5", "a=1,a=2", "finetune_examples=lots"])
def test_anything_else_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(UsageError, match="--target"):
        named_sizes(text, "--target", "A=1")
