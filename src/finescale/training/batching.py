"""Batches: examples packed into rows with block-diagonal attention, and the positions that carry a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

ROW_TOKENS = 128
"""A row holds at least this many tokens where examples are packed (longer examples make longer rows)."""


@dataclass(frozen=True)
class Encoded:
    """One example as token ids: the model reads `ids` and is trained to predict `ids[target_start:]`.

    Attributes:
        ids: Token ids [tokens], int32: prompt, target, end of sequence.
        target_start: Index of the first target token (at least 1).
    """

    ids: np.ndarray
    target_start: int

    @property
    def target_tokens(self) -> int:
        """Number of tokens that carry a loss (end of sequence included)."""
        return len(self.ids) - self.target_start


@dataclass(frozen=True)
class Batch:
    """Rows of tokens for one forward pass.

    Attributes:
        input_ids: Token ids [rows, tokens], int64.
        positions: Position of each token in its own example [rows, tokens], int64.
        mask: Packed: added to attention scores, 0 where a query sees a key and -inf elsewhere
            [rows, 1, tokens, tokens], float32. Padded: 1 for tokens, 0 for padding [rows, tokens], int64; the
            model then makes its own mask (with its sliding window, if it has one). None: whole rows.
        predicting: Flat indices [targets] into rows x tokens of the positions whose logits are needed.
        targets: The token ids to be predicted there [targets], int64.
        soft_prompt: Flat indices [examples x prompt length] that a soft prompt fills; None without one.
        tokens: Real tokens in the batch (no padding).
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor | None
    predicting: torch.Tensor
    targets: torch.Tensor
    soft_prompt: torch.Tensor | None
    tokens: int


def pack(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """First-fit decreasing: groups indices so that the lengths of a group sum to at most the row's tokens.

    Args:
        lengths: Tokens of each example.
        row_tokens: Tokens of a row; the longest example makes it longer if needed.

    Returns:
        Lists of indices, one a row.
    """
    capacity = max(row_tokens, *lengths)
    rows: list[list[int]] = []
    space: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        row = next((r for r, free in enumerate(space) if free >= lengths[index]), None)
        if row is None:
            rows.append([])
            space.append(capacity)
            row = len(rows) - 1
        rows[row].append(index)
        space[row] -= lengths[index]
    return rows


def collate(examples: Sequence[Encoded], pad: int, prompt_length: int = 0, packed: bool = True) -> Batch:
    """Builds one batch.

    Args:
        examples: Encoded examples.
        pad: Token id of padding.
        prompt_length: Soft-prompt positions put before each example (not before each row).
        packed: Several examples a row with block-diagonal attention; otherwise one a row, padded.

    Returns:
        The batch; its loss is the same packed or padded.
    """
    lengths = [len(example.ids) + prompt_length for example in examples]
    rows = pack(lengths, ROW_TOKENS) if packed else [[index] for index in range(len(examples))]
    width = max(sum(lengths[i] for i in row) for row in rows)
    input_ids = np.full((len(rows), width), pad, dtype=np.int64)
    positions = np.zeros((len(rows), width), dtype=np.int64)
    segments = np.zeros((len(rows), width), dtype=np.int32)
    predicting: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    prompts: list[np.ndarray] = []
    for r, row in enumerate(rows):
        start = 0
        for segment, index in enumerate(row, start=1):
            example, length = examples[index], lengths[index]
            first = start + prompt_length
            input_ids[r, first : start + length] = example.ids
            positions[r, start : start + length] = np.arange(length)
            segments[r, start : start + length] = segment
            prompts.append(r * width + np.arange(start, first))
            predicting.append(r * width + np.arange(first + example.target_start - 1, start + length - 1))
            targets.append(example.ids[example.target_start :])
            start += length
    if packed:
        visible = np.tril(segments[:, :, None] == segments[:, None, :])
        mask = np.where(visible, np.float32(0), np.float32(-np.inf))[:, None]
    else:
        mask = (segments > 0).astype(np.int64)
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        positions=torch.from_numpy(positions),
        mask=torch.from_numpy(mask),
        predicting=torch.from_numpy(np.concatenate(predicting)),
        targets=torch.from_numpy(np.concatenate(targets).astype(np.int64)),
        soft_prompt=torch.from_numpy(np.concatenate(prompts)) if prompt_length else None,
        tokens=sum(lengths),
    )


def whole_rows(rows: np.ndarray, loss: np.ndarray) -> Batch:
    """A batch of full rows with causal attention (pretraining).

    Args:
        rows: Token ids [rows, tokens].
        loss: True where the token is to be predicted [rows, tokens]; the first column is never predicted.

    Returns:
        The batch.
    """
    wanted = loss.copy()
    wanted[:, 0] = False
    flat = np.flatnonzero(wanted.ravel())
    count, width = rows.shape
    return Batch(
        input_ids=torch.from_numpy(rows.astype(np.int64)),
        positions=torch.arange(width).expand(count, width),
        mask=None,
        predicting=torch.from_numpy(flat - 1),
        targets=torch.from_numpy(rows.ravel()[flat].astype(np.int64)),
        soft_prompt=None,
        tokens=rows.size,
    )


@lru_cache(maxsize=2)
def epoch_order(examples: int, epoch: int, seed: int) -> np.ndarray:
    """The order of the examples in an epoch [examples]: a permutation drawn from the seed and the epoch."""
    return np.random.default_rng([seed, 7, epoch]).permutation(examples)


def subset(train_rows: int, examples: int, seed: int) -> np.ndarray:
    """The rows of a data subset [examples]: a prefix of the seed's permutation, so subsets are nested."""
    return np.random.default_rng([seed, 3]).permutation(train_rows)[:examples]
