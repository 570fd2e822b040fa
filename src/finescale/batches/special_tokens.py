"""The special tokens that a tokenizer adds to every text, added once where a text spells them itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from transformers import PreTrainedTokenizerBase


@lru_cache(maxsize=8)
def added_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids that a tokenizer puts before and after every text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    for start in range(len(whole) - len(plain) + 1):
        if whole[start : start + len(plain)] == plain:
            return tuple(whole[:start]), tuple(whole[start + len(plain) :])
    return (), ()


def starts_once(ids: Sequence[list[int]], tokenizer: PreTrainedTokenizerBase) -> tuple[list[list[int]], int]:
    """Encoded texts without a second start where a text spells the tokenizer's own.

    Args:
        ids: Token ids, each with the tokenizer's start.
        tokenizer: The tokenizer.

    Returns:
        The ids, and how many of them had two starts.
    """
    start = list(added_tokens(tokenizer)[0])
    twice = [bool(start) and found[: 2 * len(start)] == start * 2 for found in ids]
    made = [found[len(start) :] if two else found for found, two in zip(ids, twice, strict=True)]
    return made, sum(twice)
