"""Tokenizers: from the column, the model's name, the family; classes need none; unknown stays unknown."""

import polars as pl
import pytest

import finescale as fs
from finescale.records.outcomes import TEST_LOSS, named_score
from finescale.records.tokenizers import find_tokenizers, tokenizer_of, with_tokenizers


@pytest.mark.parametrize(
    ("model", "tokenizer"),
    [
        ("gpt2-xl", "GPT-2's"), ("facebook/opt-1.3b", "GPT-2's"), ("cerebras/Cerebras-GPT-111M", "GPT-2's"),
        ("EleutherAI/pythia-70m", "GPT-NeoX's"), ("EleutherAI/gpt-neox-20b", "GPT-NeoX's"),
        ("EleutherAI/gpt-neo-125m", "GPT-2's"), ("google/flan-t5-small", "T5's"),
        ("google/mt5-base", "mT5's"), ("google/switch-base-8", "T5's"),
        ("meta-llama/Llama-2-7b-hf", "Llama's"),
        ("Llama-3.2-1B", "Llama 3's"),
        ("Qwen/Qwen2.5-7B", "Qwen's"), ("Qwen3.5-27B", "Qwen3.5's"), ("bert-base-uncased", "classes"),
        ("xlm-roberta-base", "classes"), ("microsoft/deberta-v3-base", "classes"), ("ours-7b", None),
        ("optimus", None), ("botany", None),
    ],
)  # fmt: skip
def test_a_family_name_tells_the_tokenizer(model: str, tokenizer: str | None) -> None:
    assert tokenizer_of(model) == tokenizer


def test_the_column_goes_before_the_name_and_the_name_before_the_family() -> None:
    frame = pl.DataFrame({
        "model": ["gpt2", "google/mt5-base", "ours", "ours"],
        "family": ["x", "T5", "OPT", "y"],
        "tokenizer": ["abc", None, None, None],
    })  # fmt: skip
    assert with_tokenizers(frame).to_list() == ["abc", "mT5's", "GPT-2's", None]


def test_only_losses_per_token_need_one_tokenizer() -> None:
    frame = pl.DataFrame({"model": ["gpt2", "t5-small"]})
    accuracy = named_score("accuracy", [0.5])
    assert find_tokenizers(frame, TEST_LOSS).differ
    assert accuracy is not None
    assert not find_tokenizers(frame, accuracy).differ


def test_encoders_lose_on_classes_which_compare() -> None:
    frame = pl.DataFrame({"model": ["bert-base-uncased", "roberta-base"]})
    assert not find_tokenizers(frame, TEST_LOSS).differ


def test_a_loss_per_byte_has_its_unit() -> None:
    runs = pl.DataFrame(
        {"finetune_examples": [10, 20], "test_loss": [2.0, 1.9], "test_loss_per_byte": [0.5, 0.4]}
    )
    records = fs.read_records(runs, loss="test_loss_per_byte")
    assert records.outcome.unit == "nats per byte"
    assert records.frame["test_loss_per_byte"].to_list() == [0.5, 0.4]
