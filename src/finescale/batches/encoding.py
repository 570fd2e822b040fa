"""From a task's examples to token ids: prompt, target and end of sequence, cut to the task's lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from transformers import PreTrainedTokenizerBase

from finescale.batches.batching import Encoded
from finescale.batches.objectives import conditional
from finescale.errors import UsageError
from finescale.tasks.task import Example, LazyExamples, Task

BLOCK = 10_000
"""Examples that are tokenised at a time."""


@dataclass(frozen=True)
class EncodedSet:
    """Encoded examples with counts of what was cut.

    Attributes:
        examples: The examples, in the order given.
        source_cut: Whether the source was longer than the task allows [examples].
        target_cut: Whether the target was [examples].
        cut_examples: How many examples lost the end of their target because the model reads no more tokens.
    """

    examples: Sequence[Encoded]
    source_cut: np.ndarray
    target_cut: np.ndarray
    cut_examples: int = 0

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


def encode(task: Task, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> EncodedSet:
    """Tokenises examples for conditional log-likelihood.

    The prompt carries the tokenizer's own special tokens; the target follows after one space and ends with
    the end-of-sequence token. A source that is too long is cut before the template wraps it.

    Args:
        task: Gives template and lengths.
        examples: Examples of the task.
        tokenizer: The base model's fast tokenizer, with an end-of-sequence token.

    Returns:
        Token ids with the index of the first target token.
    """
    if not examples:
        return EncodedSet((), np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    offsets = _offsets(examples, tokenizer)
    source_cut = np.array([len(found) > task.max_source_tokens for found in offsets])
    sources = _cut(task, examples, offsets)
    prompts = [task.prompt(example, source) for example, source in zip(examples, sources, strict=True)]
    prompted = prompt_ids(prompts, tokenizer)
    target_ids = tokenizer(
        [" " + example.target for example in examples], add_special_tokens=False, verbose=False
    )["input_ids"]
    eos = tokenizer.eos_token_id
    assert isinstance(eos, int)
    return EncodedSet(
        tuple(
            conditional(prompt, target[: task.max_target_tokens], eos)
            for prompt, target in zip(prompted, target_ids, strict=True)
        ),
        source_cut,
        np.array([len(ids) > task.max_target_tokens for ids in target_ids]),
    )


def cut_sources(task: Task, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The examples' sources, each cut to the task's length in tokens."""
    return _cut(task, examples, _offsets(examples, tokenizer))


def prompt_ids(prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Token ids of texts that are to be continued: with the tokenizer's start, without its end."""
    ids = tokenizer(list(prompts), verbose=False)["input_ids"]
    return [found[:-1] for found in ids] if _ends_prompts(tokenizer) else ids


def _offsets(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[list[tuple[int, int]]]:
    """Begin and end in the source of each of its tokens."""
    sources = [example.source for example in examples]
    encoded = tokenizer(sources, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return encoded["offset_mapping"]


def _cut(task: Task, examples: Sequence[Example], offsets: list[list[tuple[int, int]]]) -> list[str]:
    most = task.max_source_tokens
    return [
        example.source if len(found) <= most else example.source[: found[most - 1][1]]
        for example, found in zip(examples, offsets, strict=True)
    ]


def encode_rows(
    task: Task, examples: Sequence[Example], rows: np.ndarray, tokenizer: PreTrainedTokenizerBase
) -> EncodedSet:
    """Tokenises some of many examples block by block, so that only token ids stay in memory.

    Args:
        task: Gives template and lengths.
        examples: The task's examples.
        rows: Which of them, in which order.
        tokenizer: The base model's tokenizer.
    """
    blocks = []
    for start in range(0, len(rows), BLOCK):
        chosen = rows[start : start + BLOCK]
        read = examples.take(chosen) if isinstance(examples, LazyExamples) else [examples[i] for i in chosen]
        blocks.append(encode(task, read, tokenizer))
    if len(blocks) == 1:
        return blocks[0]
    return EncodedSet(
        tuple(example for block in blocks for example in block.examples),
        np.concatenate([np.zeros(0, dtype=bool), *(block.source_cut for block in blocks)]),
        np.concatenate([np.zeros(0, dtype=bool), *(block.target_cut for block in blocks)]),
    )


def _ends_prompts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer puts its end-of-sequence token after every text; a prompt must go on."""
    ids = tokenizer("a")["input_ids"]
    return len(ids) > 1 and ids[-1] == tokenizer.eos_token_id


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
    long = sum(room is not None and len(example.ids) > room for example in encoded.examples)
    if not long:
        return encoded
    cut = tuple(replace(example, ids=example.ids[:room]) for example in encoded.examples)
    return replace(encoded, examples=cut, cut_examples=long)


def frequent_tokens(examples: Sequence[Encoded], special: Sequence[int]) -> list[int]:
    """Token ids in the examples, the most frequent first, special tokens left out.

    Args:
        examples: Encoded examples.
        special: Ids that do not count.
    """
    ids, counts = np.unique(np.concatenate([example.ids for example in examples]), return_counts=True)
    order = np.lexsort((ids, -counts))
    return [int(ids[i]) for i in order if int(ids[i]) not in set(special)]
