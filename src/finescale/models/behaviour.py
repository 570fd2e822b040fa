"""What every causal language model does, tried on the opened model: no look ahead, positions from 0 on.

A loss of a model that does not is no loss of a language model, whatever its architecture is called.
"""

from __future__ import annotations

import torch
from transformers import PreTrainedModel

from finescale.errors import UsageError

TOKENS = 8
"""Tokens of the row that is tried, at most."""
ROUNDING, ROUNDING_QUANTIZED = 1e-5, 0.1
"""Share of the largest logit by which logits may change that should not."""


def sees_ahead(got: str, where: str) -> UsageError:
    """The error for a model in which a token sees those after it."""
    return UsageError(
        "not a causal language model: its tokens see those after them",
        wanted="a decoder, whose tokens see only those before them",
        got=got,
        remedy="take a decoder; `is_decoder: true` in config.json only where the model was trained as one",
        where=where,
    )


def other_positions(got: str, where: str) -> UsageError:
    """The error for a model that does not count positions from 0 on."""
    return UsageError(
        "a model that counts positions in a way of its own",
        wanted="positions from 0 on, as decoders count them",
        got=got,
        remedy="take another base model (GPT-NeoX, Llama, Qwen3, Gemma, GPT-2, ...)",
        where=where,
    )


@torch.no_grad()
def check_behaviour(model: PreTrainedModel, where: str) -> None:
    """Refuses a model that looks ahead, or that reads other positions than it is given.

    Args:
        model: The opened model, before a method has wrapped it.
        where: Its folder or its field of the study, for the error.

    Raises:
        UsageError: The last token changes what is predicted before it; or the model alone counts otherwise.
    """
    config = model.config.get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    length = min(TOKENS, context) if isinstance(context, int) and context > 1 else TOKENS
    device, name = model.device, type(model).__name__
    ids = torch.arange(2, length + 2, device=device)[None] % config.vocab_size
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % config.vocab_size
    positions = torch.arange(length, device=device)[None]
    mask = torch.ones_like(ids)

    def logits(tokens: torch.Tensor, **given: torch.Tensor) -> torch.Tensor:
        return model(input_ids=tokens, attention_mask=mask, use_cache=False, **given).logits[0].float()

    first = logits(ids, position_ids=positions)
    allowed = ROUNDING_QUANTIZED if getattr(model, "is_quantized", False) else ROUNDING
    ahead = _changed(first[:-1], logits(other, position_ids=positions)[:-1])
    if ahead > allowed:
        raise sees_ahead(
            f"{name}: another last token changes the logits before it by {ahead:.1%} of the largest", where
        )
    counted = _changed(first, logits(ids))
    if counted > allowed:
        raise other_positions(
            f"{name}: the logits without given positions differ by {counted:.1%} of the largest", where
        )


def _changed(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, as a share of the largest logit."""
    return float((one - other).abs().max() / one.abs().max())
