"""Encoded examples with what was cut of them, and their fit to what a model reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from finescale.batches.batching import Encoded
from finescale.errors import UsageError


@dataclass(frozen=True)
class EncodedSet:
    """Encoded examples with counts of what was cut.

    Attributes:
        examples: The examples, in the order given.
        source_cut: Whether the source was longer than the task allows [examples].
        target_cut: Whether the target was longer than the task, or the model, allows [examples].
        cut_examples: How many examples lost their end because the model reads no more tokens.
        target_bytes: UTF-8 bytes of the targets as far as they were not cut [examples]; None where they were
            not counted.
        notes: What a reader should know, e.g. which special tokens the texts spell themselves.
    """

    examples: Sequence[Encoded]
    source_cut: np.ndarray
    target_cut: np.ndarray
    cut_examples: int = 0
    target_bytes: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        examples: Iterable[Encoded],
        source_cut: Iterable[bool],
        target_cut: Iterable[bool],
        target_bytes: Iterable[int],
        notes: tuple[str, ...] = (),
    ) -> EncodedSet:
        """A set from what was found example by example."""
        return cls(
            tuple(examples),
            np.array(list(source_cut), dtype=bool),
            np.array(list(target_cut), dtype=bool),
            target_bytes=np.array(list(target_bytes), dtype=np.int64),
            notes=notes,
        )

    @property
    def cut_sources(self) -> int:
        """How many sources were cut."""
        return int(self.source_cut.sum())

    @property
    def cut_targets(self) -> int:
        """How many targets were cut."""
        return int(self.target_cut.sum())

    @property
    def target_tokens(self) -> int:
        """Target tokens of all examples, ends of sequence included."""
        return sum(example.target_tokens for example in self.examples)

    def shares_cut(self, split: str) -> dict[str, float]:
        """The shares of sources and of targets that were cut, as a record's columns.

        Args:
            split: `train`, `dev` or `test`.
        """
        sides = (("sources", self.source_cut), ("targets", self.target_cut))
        return {f"{split}_{side}_truncated": float(cut.mean()) for side, cut in sides if len(cut)}


def concatenate(blocks: Sequence[EncodedSet]) -> EncodedSet:
    """Sets one after another."""
    if len(blocks) == 1:
        return blocks[0]
    return EncodedSet(
        tuple(example for block in blocks for example in block.examples),
        np.concatenate([np.zeros(0, dtype=bool), *(block.source_cut for block in blocks)]),
        np.concatenate([np.zeros(0, dtype=bool), *(block.target_cut for block in blocks)]),
        notes=tuple(dict.fromkeys(note for block in blocks for note in block.notes)),
    )


def fit(encoded: EncodedSet, room: int | None, vocabulary: int) -> EncodedSet:
    """Cuts examples to what a model can read.

    Args:
        encoded: Examples.
        room: Tokens that the model reads (its context, without a soft prompt); None: any number.
        vocabulary: Entries of the model's embedding.

    Returns:
        The same set where everything fits.

    Raises:
        UsageError: An example of which no target token is left, or whose prompt has no token at all, or a
            token that the model does not know.
    """
    for index, example in enumerate(encoded.examples, start=1):
        if example.target_start < 1:
            raise UsageError(
                "a prompt without tokens",
                wanted="at least one token before the target",
                got=f"none in example {index}",
                remedy="state a task.template with words in it",
            )
        if room is not None and example.target_start >= room:
            raise UsageError(
                "no target token is left after truncation",
                wanted=f"prompts below the {room} tokens that the model reads",
                got=f"{example.target_start} tokens in example {index}",
                remedy="lower the task's max_source_tokens, or take a model that reads more",
            )
        if int(example.ids.max()) >= vocabulary:
            raise UsageError(
                "the tokenizer has tokens that the model does not know",
                wanted=f"ids below {vocabulary}, the rows of the model's embedding",
                got=f"{int(example.ids.max())} in example {index}",
                remedy="save the tokenizer that belongs to the model into its folder",
            )
    if room is None:
        return encoded
    long = np.array([len(example.ids) > room for example in encoded.examples], dtype=bool)
    if not long.any():
        return encoded
    counted = encoded.target_bytes
    if counted is not None:  # as many bytes as the share of its target tokens that is left
        left = [
            example.cut(room).target_tokens / example.target_tokens if cut else 1.0
            for example, cut in zip(encoded.examples, long, strict=True)
        ]
        counted = np.round(counted * left).astype(np.int64)
    return replace(
        encoded,
        examples=tuple(example.cut(room) for example in encoded.examples),
        target_cut=encoded.target_cut | long,
        cut_examples=int(long.sum()),
        target_bytes=counted,
    )
