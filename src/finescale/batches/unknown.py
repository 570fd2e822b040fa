"""Text for which a tokenizer has no tokens: the model reads and learns its unknown token instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from transformers import PreTrainedTokenizerBase

from finescale.batches.special_tokens import added_tokens

WARNED = 0.01
"""Share of a side's tokens from which on unknown ones are a warning."""
Side = tuple[Iterable[np.ndarray | list[int]], Iterable[str]]
"""Token ids of one side of examples, and the texts that they are of."""


def unknown_notes(tokenizer: PreTrainedTokenizerBase, sides: Mapping[str, Side]) -> tuple[str, ...]:
    """A sentence on the tokens that stand for text which the tokenizer does not know, if there are any.

    What a text spells itself, and what the tokenizer puts before every source, does not count.

    Args:
        tokenizer: The base model's tokenizer.
        sides: Token ids and texts of `source` and `target`.
    """
    unknown, word = tokenizer.unk_token_id, tokenizer.unk_token
    if not isinstance(unknown, int) or not isinstance(word, str):
        return ()
    before = added_tokens(tokenizer)[0].count(unknown)
    told, shares = [], [0.0]
    for name, (ids, texts) in sides.items():
        rows = [np.asarray(row) for row in ids]
        spelled = sum(text.count(word) for text in texts) + before * len(rows) * (name == "source")
        count = sum(int((row == unknown).sum()) for row in rows) - spelled
        total = sum(len(row) for row in rows)
        if count > 0:
            told.append(f"{count:,} of {total:,} {name} tokens ({count / total:.1%})")
            shares.append(count / total)
    if not told:
        return ()
    many = "warning: " if max(shares) > WARNED else ""
    return (f"{many}{' and '.join(told)} are {word}: the tokenizer has no tokens for that text",)
