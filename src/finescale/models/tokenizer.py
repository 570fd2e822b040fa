"""The ladder's tokenizer: byte-level BPE trained on the pretraining text, with reserved tokens."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SENTINELS = 64
PAD, EOS = "<|pad|>", "<|eos|>"
MODES = {"causal": "<|causal|>", "prefix": "<|prefix|>", "spans": "<|spans|>", "extreme": "<|extreme|>"}
"""Mode tokens (UL2): the first token of a sequence says the objective; `prefix` also starts every prompt."""


def sentinel(index: int) -> str:
    """The token that stands for the span `index` of a corrupted text."""
    return f"<|span_{index}|>"


def reserved_tokens() -> list[str]:
    """Padding (id 0), end of sequence (id 1), the mode tokens and the sentinels."""
    return [PAD, EOS, *MODES.values(), *(sentinel(i) for i in range(SENTINELS))]


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer.

    Args:
        texts: The training texts.
        vocabulary: Entries in all: reserved tokens, 256 bytes, merges.
        context: Longest sequence in tokens, kept in the tokenizer's configuration.

    Returns:
        A fast tokenizer; a prompt encoded with its special tokens starts with the prefix mode token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=reserved_tokens(),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    start = MODES["prefix"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, tokenizer.token_to_id(start))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=start,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
