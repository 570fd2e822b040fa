"""Cross-entropy on target tokens, token-weighted, with memory that does not grow with the set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from finescale.training.batching import Batch, Encoded, collate
from finescale.tuning.tuned import Tuned

BATCH_TOKENS = 4_096
"""Tokens of an evaluation batch: enough to fill the cores, little memory."""


@dataclass(frozen=True)
class Loss:
    """A loss over a set.

    Attributes:
        nats: Summed cross-entropy of the target tokens, in nats.
        target_tokens: Number of target tokens.
    """

    nats: float
    target_tokens: int

    @property
    def mean(self) -> float:
        """Nats per target token (token-weighted)."""
        return self.nats / self.target_tokens


def evaluation_batches(
    examples: Sequence[Encoded], pad: int, prompt_length: int = 0, packed: bool = True
) -> list[Batch]:
    """Batches of similar lengths with about `BATCH_TOKENS` tokens each; they can be used again and again."""
    order = sorted(range(len(examples)), key=lambda i: (len(examples[i].ids), i))
    batches = []
    for group in _groups(order, examples, prompt_length):
        batches.append(collate([examples[i] for i in group], pad, prompt_length, packed))
    return batches


def _groups(order: Sequence[int], examples: Sequence[Encoded], prompt_length: int) -> Iterator[list[int]]:
    group: list[int] = []
    tokens = 0
    for index in order:
        length = len(examples[index].ids) + prompt_length
        if group and tokens + length > BATCH_TOKENS:
            yield group
            group, tokens = [], 0
        group.append(index)
        tokens += length
    if group:
        yield group


@torch.no_grad()
def evaluate(tuned: Tuned, batches: Iterable[Batch]) -> Loss:
    """The loss of a tuned model over batches, summed in float64."""
    nats, tokens = 0.0, 0
    tuned.model.eval()
    for batch in batches:
        nats += float(tuned.loss(batch))
        tokens += len(batch.targets)
    return Loss(nats, tokens)


@torch.no_grad()
def packing_agrees(tuned: Tuned, examples: Sequence[Encoded], pad: int, tolerance: float = 1e-4) -> bool:
    """Whether a first batch has the same mean loss packed and padded (models with sliding windows differ)."""
    if not tuned.packs:
        return False
    packed = collate(examples, pad, tuned.prompt_length, packed=True)
    padded = collate(examples, pad, tuned.prompt_length, packed=False)
    difference = float(tuned.loss(packed)) - float(tuned.loss(padded))
    return abs(difference) / len(packed.targets) <= tolerance
