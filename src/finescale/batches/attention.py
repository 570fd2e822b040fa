"""Attention for examples that follow one another in one row: each attends to itself only, nothing is padded.

Registered with transformers under `ATTENTION`, so that every architecture that takes its attention from
there can use it. The examples' lengths come where a prepared 4-D mask would; models hand that on as it is.
On a GPU one kernel takes the whole row (`fused`); elsewhere each example is a call of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from finescale.batches.batching import LENGTHS
from finescale.batches.fused import attend_at_once

ATTENTION = "finescale"
WITHIN = frozenset({"full_attention", "sliding_attention"})
"""Kinds of layers (`layer_types` of a configuration) whose tokens meet nowhere but in this attention."""
ACROSS = (torch.nn.Conv1d, torch.nn.RNNBase)
"""Modules that mix a row's tokens without a look at where an example ends."""


def attend_by_example(model: PreTrainedModel) -> bool:
    """Lets a model attend example by example where a batch says so; everything else stays as it was.

    Args:
        model: The model, changed in place.

    Returns:
        False for an architecture with attention of its own, or whose tokens meet elsewhere, too: its examples
        have to be padded.
    """
    if mixes_elsewhere(model):
        return False
    if model.config._attn_implementation == "sdpa" and model._supports_attention_backend:
        model.set_attn_implementation(ATTENTION)
    return model.config._attn_implementation == ATTENTION


def mixes_elsewhere(model: PreTrainedModel) -> bool:
    """Whether a model's tokens meet outside attention by example: convolutions, recurrences, chunks.

    How much leaks between the examples of a row depends on weights that training changes: no loss before it
    tells. So the architecture is asked.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    chunks = bool(getattr(config, "attention_chunk_size", None))
    return chunks or not kinds <= WITHIN or any(isinstance(module, ACROSS) for module in model.modules())


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention in each example of the row (query, key, value: [1, heads, tokens, head width]).

    Returns:
        The values [1, tokens, heads, head width]. Any other mask, or none: the library's attention.
    """
    if attention_mask is None or attention_mask.dtype != LENGTHS:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    lengths = attention_mask.flatten().tolist()
    at_once = attend_at_once(query, key, value, lengths, options)
    if at_once is not None:
        return at_once, None
    parts = zip(query.split(lengths, 2), key.split(lengths, 2), value.split(lengths, 2), strict=True)
    options["is_causal"] = True
    attended = []
    for q, k, v in parts:
        mask = _window(q, options.get("sliding_window"))
        attended.append(sdpa_attention_forward(module, q, k, v, mask, **options)[0])
    return torch.cat(attended, dim=1), None


def _window(query: torch.Tensor, width: int | None) -> torch.Tensor | None:
    """The mask of a sliding window [1, 1, tokens, tokens], where the example is longer than it."""
    tokens = query.shape[2]
    if width is None or tokens <= width:
        return None
    seen = torch.ones(tokens, tokens, dtype=torch.bool, device=query.device)
    return seen.tril().triu(1 - width)[None, None]


AttentionInterface.register(ATTENTION, _attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)
