"""Queries, keys and values of rows that hold several examples, and attention to each example alone."""

from __future__ import annotations

import torch

LENGTHS_OF = [(5,), (7, 1, 12, 3), (1, 1, 2)]


def parts(lengths: tuple[int, ...]) -> list[torch.Tensor]:
    """Query of six heads, key and value of two, width 16: [1, heads, tokens, width]."""
    generator = torch.Generator().manual_seed(sum(lengths))
    return [
        torch.randn(1, heads, sum(lengths), 16, generator=generator).requires_grad_() for heads in (6, 2, 2)
    ]


def apart(
    given: list[torch.Tensor], lengths: tuple[int, ...], scale: float | None = None, window: int | None = None
) -> torch.Tensor:
    """The textbook's attention, an example at a time: [1, tokens, heads, width]."""
    made = []
    heads = [given[0], *(part.repeat_interleave(3, dim=1) for part in given[1:])]
    for query, key, value in zip(*(part.split(lengths, 2) for part in heads), strict=True):
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        back = torch.arange(query.shape[2])[:, None] - torch.arange(query.shape[2])
        hidden = (back < 0) | (back >= (window or len(back)))
        scores = scores.masked_fill(hidden.to(scores.device), float("-inf"))
        made.append((scores.softmax(-1) @ value).transpose(1, 2))
    return torch.cat(made, 1)
