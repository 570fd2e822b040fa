"""Attention over a row of several examples in one kernel, on a GPU.

Example by example it would be a kernel for each of them in each layer: so short that the GPU waits for the
next. A dense mask would compute what it hides. Two kernels know where examples begin: flash attention for
rows of variable length (float16 and bfloat16), and torch's memory-efficient attention, which takes float32,
through nested tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from inspect import signature
from itertools import accumulate
from typing import Any

import torch
from transformers.integrations.sdpa_attention import repeat_kv

HALF = (torch.float16, torch.bfloat16)
FLASH_FROM = (8, 0)
"""CUDA capability from which on torch's flash attention runs."""
WIDEST_HEAD = 256
UNKNOWN = ("softcap", "position_bias", "s_aux", "cache")
"""What these kernels do not compute; attention with one of them goes example by example."""


def attend_at_once(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Sequence[int],
    options: Mapping[str, Any],
) -> torch.Tensor | None:
    """Causal attention inside each example of a row, in one kernel where the device has one that fits.

    Args:
        query: [1, heads, tokens, width].
        key: [1, key heads, tokens, width].
        value: As `key`.
        lengths: Tokens of each example; together the row.
        options: transformers' options of an attention function.

    Returns:
        The values [1, tokens, heads, width]; None where no kernel fits.
    """
    if query.device.type != "cuda" or options.get("dropout"):
        return None
    if any(options.get(name) is not None for name in UNKNOWN) or key.shape[-1] != value.shape[-1]:
        return None
    window, scale = options.get("sliding_window"), options.get("scaling")
    if window is not None and max(lengths) <= window:
        window = None
    kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    width = query.shape[-1]
    aligned = width % 8 == 0 and width <= WIDEST_HEAD
    if kind in HALF and aligned and flash_by_lengths() and _capable(query.device):
        # autocast knows nothing of this kernel, and rotary positions come out in float32
        return varlen(query.to(kind), key.to(kind), value.to(kind), lengths, scale, window)
    return nested(query, key, value, lengths, scale) if window is None else None


def varlen(  # noqa: PLR0917 - attention's own arguments
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Sequence[int],
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    """By torch's flash attention for rows of variable length.

    Args:
        query: [1, heads, tokens, width], half precision.
        key: [1, key heads, tokens, width].
        value: As `key`.
        lengths: Tokens of each example.
        scale: Of the scores; None: 1 / sqrt(width).
        window: A token sees itself and so many less one before it; None: all.

    Returns:
        The values [1, tokens, heads, width].
    """
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - not in every torch that is supported

    ends, longest = _ends(tuple(lengths), query.device), max(lengths)
    rows = [part[0].transpose(0, 1).contiguous() for part in (query, key, value)]
    seen = (-1 if window is None else window - 1, 0)
    grouped = query.shape[1] != key.shape[1]
    attended = varlen_attn(
        *rows, ends, ends, longest, longest, scale=scale, window_size=seen, enable_gqa=grouped
    )
    assert isinstance(attended, torch.Tensor)  # nothing else was asked for
    return attended[None]


def nested(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: Sequence[int], scale: float | None
) -> torch.Tensor:
    """By torch's scaled dot product attention over nested tensors (arguments as `varlen`, any precision)."""
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    ends = _ends(tuple(lengths), query.device).long()
    parts = [
        torch.nested.nested_tensor_from_jagged(
            part[0].transpose(0, 1).contiguous(), ends, min_seqlen=min(lengths), max_seqlen=max(lengths)
        ).transpose(1, 2)
        for part in (query, key, value)
    ]
    attended = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=True, scale=scale)
    return attended.transpose(1, 2).values()[None]


@lru_cache(maxsize=1)
def flash_by_lengths() -> bool:
    """Whether this torch has the kernel, with windows and with fewer key heads than heads."""
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415
    except ImportError:
        return False
    return {"window_size", "enable_gqa", "scale"} <= signature(varlen_attn).parameters.keys()


@lru_cache(maxsize=8)
def _capable(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device) >= FLASH_FROM


@lru_cache(maxsize=8)
def _ends(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Where each example begins, and where the last one ends [examples + 1]; all layers ask for the same."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
