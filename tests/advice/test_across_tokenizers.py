"""Losses per token of models with different tokenizers are never put side by side."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

import finescale as fs

MODELS = {"gpt2": (1.2e8, 3.0), "gpt2-medium": (3.5e8, 2.8), "t5-small": (6e7, 1.0), "t5-base": (2.2e8, 0.8)}
"""Parameters and the loss per token at one example; T5's tokens are shorter."""


def runs(**columns: object) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for model, (params, start) in MODELS.items():
        for examples in (100, 200, 400, 800, 1600):
            loss = start * examples**-0.08 + 0.002 * rng.standard_normal()
            row = {"task": "t", "method": "lora", "model": model, "model_params": params, "lr_tuned": True}
            rows.append(row | {"finetune_examples": examples, "test_loss": loss})
    return pl.DataFrame(rows).with_columns(**columns)


def test_each_tokenizer_has_an_answer_and_none_is_between_them() -> None:
    advice = fs.recommend(runs(), examples=1600, bootstrap=50)
    assert advice.best is None
    assert {option.tokenizer for option in advice.options} == {"GPT-2's", "T5's"}
    assert "No comparison across models" in advice.sentence
    for tokenizer in ("GPT-2's", "T5's"):
        own = [option for option in advice.options if option.tokenizer == tokenizer]
        assert math.fsum(option.probability for option in own) == pytest.approx(1, abs=0.02)
        assert [option.loss for option in own] == sorted(option.loss for option in own)
    assert "below t5" not in advice.sentence.replace("below LoRA on t5-small", "")


def test_the_loss_per_byte_compares_them_where_it_is_there() -> None:
    per_byte = pl.col("test_loss") * pl.when(pl.col("model").str.starts_with("t5")).then(1.5).otherwise(0.22)
    advice = fs.recommend(runs(test_loss_per_byte=per_byte).drop("model_params"), examples=1600, bootstrap=50)
    assert advice.outcome.unit == "nats per byte"
    assert "nats per byte" in advice.sentence
    assert advice.options[0].name == "lora on gpt2-medium"


def test_a_score_of_the_task_compares_them_where_there_is_no_loss_per_byte() -> None:
    accuracy = 1 / (1 + pl.col("test_loss")) - pl.when(pl.col("model") == "t5-base").then(0.4).otherwise(0.0)
    advice = fs.recommend(runs(accuracy=accuracy).drop("model_params"), examples=1600, bootstrap=50)
    assert advice.outcome.name == "accuracy"
    assert advice.sentence.startswith("Compared by accuracy")
    assert advice.options[0].name == "lora on t5-small"


def test_a_law_over_model_size_across_tokenizers_has_a_status() -> None:
    found = fs.fit(runs(), "multiplicative", "model_params", bootstrap=0)
    assert any("across tokenizers" in status for law in found for status in law.status)
    told = fs.forecast(runs(), draws=20)[0]
    assert any("across tokenizers" in status for status in told.status)
    alone = fs.fit(
        runs().filter(pl.col("model").str.starts_with("gpt2")), "multiplicative", "model_params", bootstrap=0
    )
    assert not any("across tokenizers" in status for law in alone for status in law.status)


def test_unknown_tokenizers_are_a_note() -> None:
    table = runs().with_columns(pl.col("model").replace({"t5-small": "ours-a", "t5-base": "ours-b"}))
    advice = fs.recommend(table, examples=1600, bootstrap=50)
    assert any(
        note.startswith("Tokenizers:") and "not known (ours-a and ours-b)" in note for note in advice.notes
    )
