"""Prompts for generation: the task's own, after no, one or several demonstrations from the dev set.

The format is that of Garcia et al. (2023): each demonstration is the task's prompt, a space and the target;
a blank line stands after each. A translation prompt then reads

    English: Open the file.
    German: Die Datei öffnen.

    English: Close the file.
    German:

A text generated after demonstrations ends with its first line. Demonstrations before a chat are turns of it,
and what is generated ends where the template ends an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from finescale.batches.chat_encoding import chat_prompt_ids
from finescale.batches.encoding import cut_sources, prompt_ids
from finescale.tasks.task import Example, Task

SEPARATOR = "\n\n"


@dataclass(frozen=True)
class Prompts:
    """Prompts as token ids.

    Attributes:
        ids: Token ids of each prompt.
        dropped: Demonstrations that had no room, of all prompts.
    """

    ids: list[list[int]]
    dropped: int


def demonstrations(task: Task, example: Example, index: int, shots: int) -> tuple[Example, ...]:
    """The demonstrations before a test example: drawn from the dev set without replacement.

    The draw is seeded by the example's index, so that every run sees the same ones, and each example its own.
    They have the example's languages wherever the dev set has enough of them.

    Args:
        task: The task.
        example: The test example.
        index: Its index in its set.
        shots: How many; fewer where the dev set has fewer.
    """
    return _drawn(task, _alike(task, example), index, shots)


def _alike(task: Task, example: Example) -> list[Example]:
    """The dev examples with an example's languages."""
    return [other for other in task.dev if other.fields == example.fields]


def _drawn(task: Task, alike: Sequence[Example], index: int, shots: int) -> tuple[Example, ...]:
    pool = alike if len(alike) >= shots else task.dev
    chosen = np.random.default_rng([11, index]).permutation(len(pool))[:shots]
    return tuple(pool[i] for i in chosen)


def few_shot_prompts(
    task: Task,
    examples: Sequence[Example],
    shots: int,
    tokenizer: PreTrainedTokenizerBase,
    room: int | None,
) -> Prompts:
    """Prompts for a set of examples; sources are cut as in training.

    Args:
        task: Gives template, lengths and demonstrations.
        examples: Test examples.
        shots: Demonstrations before each.
        tokenizer: The model's tokenizer.
        room: Tokens that a prompt may have; a longer one loses demonstrations, the first one first. None: any
            number.
    """
    blocks: list[list[Any]] = []
    chats = bool(examples) and examples[0].chat is not None
    alike: dict[tuple[tuple[str, str], ...], list[Example]] = {}
    for index, example in enumerate(examples):
        shown: tuple[Example, ...] = ()
        if shots:
            languages = tuple(sorted(example.fields.items()))
            if languages not in alike:
                alike[languages] = _alike(task, example)
            shown = _drawn(task, alike[languages], index, shots)
        if chats:
            blocks.append([*shown, example])
            continue
        cut = cut_sources(task, [*shown, example], tokenizer)
        known = [
            f"{task.prompt(item, text)}{task.separator}{item.target}"
            for item, text in zip(shown, cut, strict=False)
        ]
        blocks.append([*known, task.prompt(example, cut[-1])])
    ids: list[list[int]] = [[] for _ in examples]
    dropped = 0
    waiting = list(range(len(examples)))
    while waiting:
        now = [blocks[index] for index in waiting]
        encoded = chat_prompt_ids(task, now, tokenizer) if chats else _texts(task, now, tokenizer)
        again = []
        for index, tokens in zip(waiting, encoded, strict=True):
            ids[index] = tokens
            if room is not None and len(tokens) > room and len(blocks[index]) > 1:
                blocks[index] = blocks[index][1:]
                dropped += 1
                again.append(index)
        waiting = again
    return Prompts(ids, dropped)


def _texts(task: Task, blocks: Sequence[list[str]], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return prompt_ids([SEPARATOR.join(block) for block in blocks], tokenizer, task.version)
