"""Cross-entropy on target tokens, token-weighted, with memory that does not grow with the set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from finescale.batches.batching import Batch, Encoded, collate
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


class EvaluationBatches(Iterable[Batch]):
    """Batches of similar lengths with about `BATCH_TOKENS` tokens each, built one at a time.

    They can be gone through again and again; memory is that of one batch, whatever the size of the set.
    """

    def __init__(self, examples: Sequence[Encoded], pad: int, prompt_length: int, packed: bool) -> None:
        """Takes examples.

        Args:
            examples: Encoded examples.
            pad: Token id of padding.
            prompt_length: Soft-prompt positions put before each example.
            packed: All examples of a batch in one row; otherwise one a row, padded.
        """
        self._examples = examples
        self._settings = (pad, prompt_length, packed)
        self._groups = list(_groups(_by_length(examples), examples, prompt_length))

    def __len__(self) -> int:
        """How many batches."""
        return len(self._groups)

    def __iter__(self) -> Iterator[Batch]:
        """Every batch."""
        for group in self._groups:
            yield collate([self._examples[i] for i in group], *self._settings)


def evaluation_batches(
    examples: Sequence[Encoded], pad: int, prompt_length: int = 0, packed: bool = True
) -> EvaluationBatches:
    """Batches to evaluate a set with (`EvaluationBatches`)."""
    return EvaluationBatches(examples, pad, prompt_length, packed)


def _by_length(examples: Sequence[Encoded]) -> list[int]:
    lengths = [len(example.ids) for example in examples]
    return sorted(range(len(lengths)), key=lambda i: (lengths[i], i))


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
def example_losses(
    tuned: Tuned, examples: Sequence[Encoded], pad: int, packed: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each example; memory is that of one batch.

    Returns:
        Summed cross-entropy in nats, and target tokens, of each example [examples], in the order given.
    """
    nats = np.zeros(len(examples))
    tokens = np.array([example.target_tokens for example in examples], dtype=np.int64)
    tuned.model.eval()
    for group in _groups(_by_length(examples), examples, tuned.prompt_length):
        batch = collate([examples[i] for i in group], pad, tuned.prompt_length, packed)
        batch = batch.to(tuned.model.device)
        each = torch.nn.functional.cross_entropy(tuned.target_logits(batch), batch.targets, reduction="none")
        starts = np.concatenate([[0], np.cumsum(tokens[group])[:-1]])
        nats[group] = np.add.reduceat(each.double().cpu().numpy(), starts)
    return nats, tokens
