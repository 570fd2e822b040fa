"""From a task's examples to token ids: prompt, target and end of sequence, cut to the task's lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from finescale.tasks.task import Example, Task
from finescale.training.batching import Encoded
from finescale.training.objectives import conditional


@dataclass(frozen=True)
class EncodedSet:
    """Encoded examples with counts of what was cut.

    Attributes:
        examples: The examples, in the order given.
        cut_sources: How many sources were longer than the task allows.
        cut_targets: How many targets were.
    """

    examples: tuple[Encoded, ...]
    cut_sources: int
    cut_targets: int

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
        return EncodedSet((), 0, 0)
    sources = [example.source for example in examples]
    encoded = tokenizer(sources, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    cut_sources = 0
    prompts: list[str] = []
    for example, offsets in zip(examples, encoded["offset_mapping"], strict=True):
        if len(offsets) > task.max_source_tokens:
            cut_sources += 1
            prompts.append(task.prompt(example, example.source[: offsets[task.max_source_tokens - 1][1]]))
        else:
            prompts.append(task.prompt(example))
    prompt_ids = tokenizer(prompts, verbose=False)["input_ids"]
    target_ids = tokenizer(
        [" " + example.target for example in examples], add_special_tokens=False, verbose=False
    )["input_ids"]
    eos = tokenizer.eos_token_id
    assert isinstance(eos, int)
    cut_targets = sum(len(ids) > task.max_target_tokens for ids in target_ids)
    return EncodedSet(
        tuple(
            conditional(prompt, target[: task.max_target_tokens], eos)
            for prompt, target in zip(prompt_ids, target_ids, strict=True)
        ),
        cut_sources,
        cut_targets,
    )


def frequent_tokens(examples: Sequence[Encoded], special: Sequence[int]) -> list[int]:
    """Token ids in the examples, the most frequent first, special tokens left out.

    Args:
        examples: Encoded examples.
        special: Ids that do not count.
    """
    ids, counts = np.unique(np.concatenate([example.ids for example in examples]), return_counts=True)
    order = np.lexsort((ids, -counts))
    return [int(ids[i]) for i in order if int(ids[i]) not in set(special)]
