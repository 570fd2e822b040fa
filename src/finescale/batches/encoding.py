"""From a task's examples to token ids: prompt, target and end of sequence, cut to the task's lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from transformers import PreTrainedTokenizerBase

from finescale.batches.batching import Encoded
from finescale.batches.chat_encoding import encode_chats
from finescale.batches.encoded import EncodedSet, concatenate
from finescale.batches.special_tokens import added_tokens, starts_once
from finescale.batches.unknown import unknown_notes
from finescale.spec.run import FINGERPRINT_VERSION, Version
from finescale.tasks.task import Example, LazyExamples, Task

BLOCK = 10_000
"""Examples that are tokenised at a time."""
SPACE_MARKS = ("\u2581", "\u0120")
"""How SentencePiece's and GPT-2's tokens write the space before a word."""


def encode(task: Task, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> EncodedSet:
    """Tokenises examples for conditional log-likelihood.

    The prompt carries the tokenizer's own special tokens; the target follows after the task's separator and
    ends with the end-of-sequence token. A source that is too long is cut before the template wraps it. What
    differs from version 2 on is at `Version`.

    Args:
        task: Gives template, lengths and version.
        examples: Examples of the task.
        tokenizer: The base model's fast tokenizer, with an end-of-sequence token.

    Returns:
        Token ids with the index of the first target token.
    """
    if not examples:
        return EncodedSet((), np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    if examples[0].chat is not None:
        return encode_chats(task, examples, tokenizer)
    offsets = _offsets([example.source for example in examples], tokenizer)
    source_cut = [len(found) > task.max_source_tokens for found in offsets]
    sources = _cut(task, examples, offsets)
    prompts = [task.prompt(example, source) for example, source in zip(examples, sources, strict=True)]
    texts = [task.separator + example.target for example in examples]
    prompted, spelled = _prompt_ids(prompts, tokenizer, task.version)
    if task.version > 1 and marks_beginnings(tokenizer):
        parts = list(_together(prompts, texts, tokenizer))
        prompted = [
            [*whole[: len(whole) - len(alone)], *prompt]
            for whole, alone, (prompt, _, _) in zip(prompted, _plain(prompts, tokenizer), parts, strict=True)
        ]
        targets = [(target, ends) for _, target, ends in parts]
    else:
        found = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        targets = [
            (ids, [end for _, end in spans])
            for ids, spans in zip(found["input_ids"], found["offset_mapping"], strict=True)
        ]
    most, eos = task.max_target_tokens, _eos(tokenizer)
    ended = sum(task.version > 1 and len(ids) <= most and ids[-1:] == [eos] for ids, _ in targets)
    sides = {"source": (prompted, prompts), "target": ((ids[:most] for ids, _ in targets), texts)}
    return EncodedSet.of(
        (
            _example(prompt, ids, most, eos, task.version)
            for prompt, (ids, _) in zip(prompted, targets, strict=True)
        ),
        source_cut,
        (len(ids) > most for ids, _ in targets),
        (
            len(text[: ends[most - 1] if len(ends) > most else None].encode()) - len(task.separator)
            for text, (_, ends) in zip(texts, targets, strict=True)
        ),
        _notes(spelled, ended, len(examples), tokenizer) + unknown_notes(tokenizer, sides),
    )


def _example(prompt: list[int], target: list[int], most: int, eos: int, version: Version) -> Encoded:
    """Prompt, target and end of sequence in one row; the loss is on the target and its end alone.

    A target that was cut, or spells its end, has no end added (version 1: every target has one).
    """
    kept = target[:most]
    end = [] if version > 1 and (len(target) > most or kept[-1:] == [eos]) else [eos]
    return Encoded(np.array([*prompt, *kept, *end], dtype=np.int32), len(prompt))


def _notes(spelled: int, ended: int, count: int, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    prefix = " ".join(map(str, tokenizer.convert_ids_to_tokens(list(added_tokens(tokenizer)[0]))))
    told = (
        (spelled, f"begin with {prefix} themselves: the tokenizer's is not added again"),
        (ended, f"end with {tokenizer.eos_token} themselves: no other is added"),
    )
    kinds = ("prompts", "targets")
    return tuple(
        f"{many:,} of {count:,} {kind} {words}"
        for kind, (many, words) in zip(kinds, told, strict=True)
        if many
    )


def _eos(tokenizer: PreTrainedTokenizerBase) -> int:
    eos = tokenizer.eos_token_id
    assert isinstance(eos, int)
    return eos


@lru_cache(maxsize=8)
def marks_beginnings(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer puts a space marker before every text, as if a word had ended there."""
    ids = tokenizer("a", add_special_tokens=False)["input_ids"]
    return "".join(tokenizer.convert_ids_to_tokens(ids)).startswith(SPACE_MARKS)


def _together(
    prompts: Sequence[str], texts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> Iterator[tuple[list[int], list[int], list[int]]]:
    """Prompts and targets encoded as one text, and split where the targets begin.

    Yields:
        Token ids of the prompt; those of the target; where in the target's text each of its tokens ends.
    """
    both = [prompt + text for prompt, text in zip(prompts, texts, strict=True)]
    found = tokenizer(both, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    encoded = zip(prompts, texts, found["input_ids"], found["offset_mapping"], strict=True)
    for prompt, text, ids, spans in encoded:
        begins = len(prompt)
        word = begins + len(text) - len(text.lstrip())
        # a token that begins in the prompt is the target's if it holds more of it than a space
        mine = (end > begins and (start >= begins or end > word) for start, end in spans)
        first = next((place for place, its in enumerate(mine) if its), len(ids))
        yield ids[:first], ids[first:], [end - begins for _, end in spans[first:]]


def cut_sources(task: Task, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The examples' sources, each cut to the task's length in tokens."""
    return _cut(task, examples, _offsets([example.source for example in examples], tokenizer))


def prompt_ids(
    prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, version: Version = FINGERPRINT_VERSION
) -> list[list[int]]:
    """Token ids of texts that are to be continued: with the tokenizer's start, without its end.

    Args:
        prompts: The texts.
        tokenizer: The model's tokenizer.
        version: From 2 on a start that a text spells itself is not added again.
    """
    return _prompt_ids(prompts, tokenizer, version)[0]


def _prompt_ids(
    prompts: Sequence[str], tokenizer: PreTrainedTokenizerBase, version: Version
) -> tuple[list[list[int]], int]:
    """The ids, and how many of the texts spell the tokenizer's start themselves."""
    ids = tokenizer(list(prompts), verbose=False)["input_ids"]
    if _ends_prompts(tokenizer):
        ids = [found[:-1] for found in ids]
    return (ids, 0) if version == 1 else starts_once(ids, tokenizer)


def _plain(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


def _offsets(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[tuple[int, int]]]:
    """Begin and end in each text of each of its tokens."""
    encoded = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
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
    return concatenate(blocks)


def _ends_prompts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer puts its end-of-sequence token after every text; a prompt must go on."""
    ids = tokenizer("a")["input_ids"]
    return len(ids) > 1 and ids[-1] == tokenizer.eos_token_id


def frequent_tokens(examples: Sequence[Encoded], special: Sequence[int]) -> list[int]:
    """Token ids in the examples, the most frequent first, special tokens left out.

    Args:
        examples: Encoded examples.
        special: Ids that do not count.
    """
    ids, counts = np.unique(np.concatenate([example.ids for example in examples]), return_counts=True)
    order = np.lexsort((ids, -counts))
    return [int(ids[i]) for i in order if int(ids[i]) not in set(special)]
