"""Batches: examples one after another in a row, or padded, and the positions that carry a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from finescale.tasks.mix import mixed_order

LENGTHS = torch.int32
"""A 4-D mask of this type [1, 1, 1, examples] holds the lengths of a row's examples."""


@dataclass(frozen=True)
class Encoded:
    """One example as token ids: the model reads `ids` and is trained to predict those that carry a loss.

    Attributes:
        ids: Token ids [tokens], int32: prompt, target, end of sequence; of a chat all its turns.
        target_start: Index of the first target token (at least 1).
        loss: Which tokens carry a loss [tokens], bool, where there are others after the first target token;
            None: all from `target_start` on.
    """

    ids: np.ndarray
    target_start: int
    loss: np.ndarray | None = None

    @property
    def predicted(self) -> np.ndarray:
        """Indices of the tokens that carry a loss [targets]."""
        return np.arange(self.target_start, len(self.ids)) if self.loss is None else np.flatnonzero(self.loss)

    @property
    def target_tokens(self) -> int:
        """Number of tokens that carry a loss (end of sequence included)."""
        return len(self.ids) - self.target_start if self.loss is None else int(self.loss.sum())

    def cut(self, tokens: int) -> Encoded:
        """Its first tokens."""
        return Encoded(
            self.ids[:tokens], self.target_start, None if self.loss is None else self.loss[:tokens]
        )


@dataclass(frozen=True)
class Batch:
    """Rows of tokens for one forward pass.

    Attributes:
        input_ids: Token ids [rows, tokens], int64.
        positions: Position of each token in its own example [rows, tokens], int64.
        mask: Packed: the examples' lengths [1, 1, 1, examples], int32; attention is then computed example by
            example (`training.attention`). Padded: 1 for tokens, 0 for padding [rows, tokens], int64; the
            model then makes its own mask. None: whole rows.
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

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; lengths stay on the CPU, which cuts the row by them."""
        if device == self.input_ids.device:
            return self
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        if self.mask is not None and self.mask.dtype == LENGTHS:
            del tensors["mask"]
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})


def collate(examples: Sequence[Encoded], pad: int, prompt_length: int = 0, packed: bool = True) -> Batch:
    """Builds one batch.

    Args:
        examples: Encoded examples.
        pad: Token id of padding.
        prompt_length: Soft-prompt positions put before each example (not before each row).
        packed: All examples one after another in one row; otherwise one a row, padded.

    Returns:
        The batch; its loss is the same packed or padded.
    """
    lengths = [len(example.ids) + prompt_length for example in examples]
    everything = range(len(examples))
    rows = [list(everything)] if packed else [[index] for index in everything]
    width = max(sum(lengths[i] for i in row) for row in rows)
    input_ids = np.full((len(rows), width), pad, dtype=np.int64)
    positions = np.zeros((len(rows), width), dtype=np.int64)
    real = np.zeros((len(rows), width), dtype=np.int64)
    predicting: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    prompts: list[np.ndarray] = []
    for r, row in enumerate(rows):
        start = 0
        for index in row:
            example, length = examples[index], lengths[index]
            first = start + prompt_length
            input_ids[r, first : start + length] = example.ids
            positions[r, start : start + length] = np.arange(length)
            real[r, start : start + length] = 1
            prompts.append(r * width + np.arange(start, first))
            predicted = example.predicted
            predicting.append(r * width + first + predicted - 1)
            targets.append(example.ids[predicted])
            start += length
    mask = np.array(lengths, dtype=np.int32)[None, None, None] if packed else real
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


def take_share(batch: Batch, part: int, parts: int) -> Batch | None:
    """Every `parts`-th example of a batch from `part` on (padded or whole: every such row).

    Args:
        batch: A batch on the CPU.
        part: Which part, from 0.
        parts: How many there are; together they are the batch.

    Returns:
        The part's batch; None where nothing is left for it.
    """
    rows, width = batch.input_ids.shape
    packed = batch.mask is not None and batch.mask.dtype == LENGTHS
    lengths = batch.mask.flatten() if packed and batch.mask is not None else torch.full((rows,), width)
    ends = lengths.cumsum(0).tolist()
    chosen = torch.arange(part, len(lengths), parts)
    if len(chosen) == 0:
        return None
    taken = torch.cat([torch.arange(ends[i] - int(lengths[i]), ends[i]) for i in chosen.tolist()])
    place = torch.full((rows * width,), -1).scatter(0, taken, torch.arange(len(taken)))
    predicting = place[batch.predicting]
    mask = batch.mask
    if mask is not None:
        mask = mask[..., chosen] if packed else mask[chosen]
    prompt = None if batch.soft_prompt is None else place[batch.soft_prompt]
    shape = (1, -1) if packed else (-1, width)
    return Batch(
        input_ids=batch.input_ids.reshape(-1)[taken].reshape(shape),
        positions=batch.positions.reshape(-1)[taken].reshape(shape),
        mask=mask,
        predicting=predicting[predicting >= 0],
        targets=batch.targets[predicting >= 0],
        soft_prompt=None if prompt is None else prompt[prompt >= 0],
        tokens=len(taken) if packed or mask is None else int(mask.sum()),
    )


@lru_cache(maxsize=2)
def epoch_order(examples: int, epoch: int, seed: int) -> np.ndarray:
    """The order of the examples in an epoch [examples]: a permutation drawn from the seed and the epoch."""
    return np.random.default_rng([seed, 7, epoch]).permutation(examples)


def subset(train_rows: int, examples: int, seed: int, strata: np.ndarray | None = None) -> np.ndarray:
    """The rows of a data subset [examples]: the beginning of the seed's order, so subsets are nested.

    Args:
        train_rows: Rows to choose from.
        examples: Rows wanted.
        seed: Draws the order.
        strata: Each row's language (or another kind) as a whole number [train_rows]; every subset then has
            the mix of the whole.
    """
    generator = np.random.default_rng([seed, 3])
    order = generator.permutation(train_rows) if strata is None else mixed_order(strata, generator)
    return order[:examples]
