"""Attention over a row of several examples in one kernel, on a GPU.

Example by example it would be a kernel for each of them in each layer: so short that the GPU waits for the
next. A dense mask would compute what it hides. Two kernels know where examples begin: flash attention for
rows of variable length (float16 and bfloat16), and torch's memory-efficient attention, which takes float32,
through nested tensors. A kernel is used on a device only if it gave there what textbook attention gives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from inspect import signature
from itertools import accumulate
from typing import Any

import torch
from transformers.integrations.sdpa_attention import repeat_kv

_log = logging.getLogger(__name__)
Kernel = Callable[..., torch.Tensor]
HALF = (torch.float16, torch.bfloat16)
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
    # autocast knows nothing of these kernels, and rotary positions come out in float32
    kind = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else query.dtype
    shape = query.shape[1], key.shape[1], query.shape[-1]
    for kernel in (varlen, nested):
        fitting = fits(kernel, kind, shape[-1], window)
        if fitting and agrees(kernel, query.device, kind, shape, window is not None):
            with torch.autocast("cuda", enabled=False):
                return kernel(query.to(kind), key.to(kind), value.to(kind), lengths, scale, window)
    return None


def fits(kernel: Kernel, kind: torch.dtype, width: int, window: int | None) -> bool:
    """Whether a kernel is made for a precision, a width of heads and a window."""
    if kernel is nested:
        return window is None
    return kind in HALF and width % 8 == 0 and width <= WIDEST_HEAD and flash_by_lengths()


@lru_cache(maxsize=64)
def agrees(
    kernel: Kernel, device: torch.device, kind: torch.dtype, shape: tuple[int, int, int], windowed: bool
) -> bool:
    """Whether a kernel runs on a device, and gives values and gradients of textbook attention.

    Args:
        kernel: `varlen` or `nested`.
        device: The device.
        kind: Precision.
        shape: Heads, key heads and width.
        windowed: With a sliding window.
    """
    window = 2 if windowed else None
    heads, key_heads, width = shape
    lengths = (3, 1, 7)
    generator = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, many, sum(lengths), width, generator=generator).to(device, kind).requires_grad_()
        for many in (heads, key_heads, key_heads)
    )
    weights = torch.randn(1, sum(lengths), heads, width, generator=generator).to(device, kind)
    found = []
    try:
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            for attend in (kernel, textbook):
                made = attend(query, key, value, lengths, None, window)
                gradients = torch.autograd.grad((made * weights).sum(), (query, key, value))
                found.append([made.detach(), *gradients])
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, NotImplementedError, ValueError) as error:
        _log.warning("%s cannot be used on %s: %s", kernel.__name__, device, error)
        return False
    rounding = 5e-2 if kind in HALF else 1e-3
    return all(torch.allclose(a, b, rtol=rounding, atol=rounding) for a, b in zip(*found, strict=True))


def textbook(  # noqa: PLR0917 - attention's own arguments
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Sequence[int],
    scale: float | None,
    window: int | None,
) -> torch.Tensor:
    """The formula, with all scores of the row (arguments and values as `varlen`)."""
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    tokens = torch.arange(sum(lengths), device=query.device)
    back = tokens[:, None] - tokens
    example = torch.bucketize(tokens, _ends(tuple(lengths), query.device), right=True)
    seen = (back >= 0) & (example[:, None] == example)
    if window is not None:
        seen &= back < window
    return (scores.masked_fill(~seen, float("-inf")).softmax(-1) @ value).transpose(1, 2)


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
    q, k, v = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    seen = (-1 if window is None else window - 1, 0)
    grouped = query.shape[1] != key.shape[1]
    attended = varlen_attn(
        q, k, v, ends, ends, longest, longest, scale=scale, window_size=seen, enable_gqa=grouped
    )
    assert isinstance(attended, torch.Tensor)  # nothing else was asked for
    return attended[None]


def nested(  # noqa: PLR0917 - attention's own arguments
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    lengths: Sequence[int],
    scale: float | None,
    window: None = None,
) -> torch.Tensor:
    """By torch's scaled dot product attention over nested tensors, in any precision, without a window."""
    del window
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    ends = _ends(tuple(lengths), query.device).long()
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(
            part[0].transpose(0, 1).contiguous(), ends, min_seqlen=min(lengths), max_seqlen=max(lengths)
        ).transpose(1, 2)
        for part in (query, key, value)
    )
    attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)
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
def _ends(lengths: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Where each example begins, and where the last one ends [examples + 1]; all layers ask for the same."""
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
