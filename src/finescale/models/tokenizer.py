"""Tokenizers: the ladder's (byte-level BPE trained on the pretraining text), and any model's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from finescale.errors import UsageError

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


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a model's folder; it needs neither padding nor a start token, but an end.

    Args:
        folder: A folder with a tokenizer; where that names no end of sequence, the model's configuration may.

    Raises:
        UsageError: No end-of-sequence token, or a tokenizer that gives no offsets.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:  # the Rust library's errors have no class of their own
        raise UsageError(
            "the tokenizer cannot be opened",
            wanted="a fast tokenizer (tokenizer.json), as tokenizer.save_pretrained writes it",
            got=" ".join(str(error).split())[:200],
            remedy="save it again there, or copy it again from where the model is from",
            where=str(folder),
        ) from None
    if tokenizer.eos_token_id is None and (folder / "config.json").is_file():
        stated = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("eos_token_id")
        first = stated[0] if isinstance(stated, list) and stated else stated
        if isinstance(first, int):
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(first)
    for right, wanted in (
        (tokenizer.is_fast, "a fast tokenizer (tokenizer.json)"),
        (isinstance(tokenizer.eos_token_id, int), "an end-of-sequence token (eos_token)"),
    ):
        if not right:
            raise UsageError(
                "this tokenizer cannot be used",
                wanted=wanted,
                got=type(tokenizer).__name__,
                remedy="save a tokenizer that has one: tokenizer.save_pretrained(FOLDER)",
                where=str(folder),
            )
    return tokenizer


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Twenty hex digits that name how a tokenizer divides text; losses per token compare within one alone.

    What it puts around a text, and a chat template, are no part of it.

    Args:
        tokenizer: A fast tokenizer.
    """
    stated = json.loads(tokenizer.backend_tokenizer.to_str())  # pyright: ignore[reportAttributeAccessIssue, reportOptionalMemberAccess]
    parts = {name: stated.get(name) for name in ("model", "normalizer", "pre_tokenizer", "added_tokens")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
