"""From chats to token ids: the tokenizer's template makes the text, the loss is on the answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from finescale.batches.answers import ASIDE, Rendered, cut_messages, render_answers
from finescale.batches.batching import Encoded
from finescale.batches.encoded import EncodedSet
from finescale.batches.rendering import has_template, prompt_text
from finescale.batches.special_tokens import added_tokens
from finescale.batches.unknown import unknown_notes
from finescale.tasks.chats import Chat
from finescale.tasks.task import Example, Task

SHOWN = 4
"""Parts that a template leaves out, and rows of each, that are named."""


def encode_chats(task: Task, examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase) -> EncodedSet:
    """Tokenises chats; every answer carries the loss, or the last one where the task says so.

    A message is cut to the task's lengths, each for itself; an answer that was cut has no loss on what the
    template puts after it. What follows the last token with a loss is left out.

    Args:
        task: Gives lengths, and which answers carry the loss.
        examples: Examples with chats.
        tokenizer: The base model's tokenizer.

    Returns:
        Token ids with the tokens that carry a loss.

    Raises:
        UsageError: The tokenizer's template refuses a chat, or renders no answer of it.
    """
    chats = [example.chat for example in examples if example.chat is not None]
    limits = (task.max_source_tokens, task.max_target_tokens)
    cut = [cut_messages(chat, limits, tokenizer) for chat in chats]
    wanted = [chat.answers[-1:] if task.answers == "last" else chat.answers for chat in chats]
    made = [
        render_answers(chat, tokenizer, answers) for (chat, _, _), answers in zip(cut, wanted, strict=True)
    ]
    spans = [
        _without_ends(found, chat, shortened) for found, (chat, _, shortened) in zip(made, cut, strict=True)
    ]
    encoded = tokenizer(
        [found.text for found in made], add_special_tokens=False, return_offsets_mapping=True, verbose=False
    )
    start = () if has_template(tokenizer) else added_tokens(tokenizer)[0]
    found = zip(encoded["input_ids"], encoded["offset_mapping"], made, spans, strict=True)
    rows = [_encoded(start, ids, offsets, one.text, own, tokenizer) for ids, offsets, one, own in found]
    return EncodedSet.of(
        rows,
        (source for _, source, _ in cut),
        (bool(shortened & set(answers)) for (_, _, shortened), answers in zip(cut, wanted, strict=True)),
        (
            _answer_bytes(one, chat, own, tokenizer)
            for one, (chat, _, _), own in zip(made, cut, spans, strict=True)
        ),
        _notes(chats, made, has_template(tokenizer)) + _unknown(rows, made, spans, tokenizer),
    )


def _without_ends(found: Rendered, chat: Chat, shortened: frozenset[int]) -> list[tuple[int, int]]:
    """The answers' places, those that were cut without what the template puts after them."""
    spans = list(found.answers)
    for place, index in enumerate(found.messages):
        if index in shortened:
            start, end = spans[place]
            content = str(chat.messages[index].get("content") or "").strip()
            at = found.text.rfind(content, start, end)
            spans[place] = (start, at + len(content) if at >= 0 else end)
    return spans


def _answer_bytes(
    found: Rendered, chat: Chat, spans: Sequence[tuple[int, int]], tokenizer: PreTrainedTokenizerBase
) -> int:
    """UTF-8 bytes of the answers as the text has them: what it leaves out carries no loss.

    An answer that the text holds as it is counts with its own bytes, without what the template adds; another
    one (a call, a part of an answer, what was thought) with the bytes that are there, special tokens apart.
    """
    specials = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    count = 0
    for index, (start, end) in zip(found.messages, spans, strict=True):
        message, text = chat.messages[index], found.text[start:end]
        content = str(message.get("content") or "")
        more = any(message.get(key) for key in ("tool_calls", *ASIDE))
        if more or not content.strip() or content not in text:
            for special in specials:
                text = text.replace(special, "")
            content = text.strip()
        count += len(content.encode())
    return count


def _unknown(
    rows: Sequence[Encoded],
    made: Sequence[Rendered],
    spans: Sequence[Sequence[tuple[int, int]]],
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[str, ...]:
    """What is said of text without tokens, of the answers and of all before them."""
    answers = ["".join(one.text[a:b] for a, b in own) for one, own in zip(made, spans, strict=True)]
    word = str(tokenizer.unk_token)
    others = [
        word * (one.text.count(word) - text.count(word)) for one, text in zip(made, answers, strict=True)
    ]
    return unknown_notes(
        tokenizer,
        {
            "source": ([np.delete(row.ids, row.predicted) for row in rows], others),
            "target": ([row.ids[row.predicted] for row in rows], answers),
        },
    )


def _encoded(  # noqa: PLR0917 - one call
    start: Sequence[int],
    ids: list[int],
    offsets: list[tuple[int, int]],
    text: str,
    spans: Sequence[tuple[int, int]],
    tokenizer: PreTrainedTokenizerBase,
) -> Encoded:
    """A chat's tokens up to the last one with a loss."""
    begins, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    loss = np.zeros(len(ids), dtype=bool)
    named = tokenizer.added_tokens_decoder
    for first, last in spans:
        answered = first + len(text[first:last]) - len(text[first:last].lstrip())
        # a token that begins before the answer belongs to it if it holds more of it than a space
        inside = np.flatnonzero(
            ((begins >= first) | (ends > answered)) & (ends > first) & (begins < last) & (begins < ends)
        )
        trimmed = first + len(text[first:last].rstrip())
        kept = inside[begins[inside] < trimmed]
        # a line break after a token that ends the turn is never generated
        loss[kept if len(kept) and ids[kept[-1]] in named else inside] = True
    known = [*start, *ids]
    carried = np.concatenate([np.zeros(len(start), dtype=bool), loss])
    end = int(np.flatnonzero(carried)[-1]) + 1
    carried = carried[:end]
    first_target = int(np.flatnonzero(carried)[0])
    whole = bool(carried[first_target:].all())
    return Encoded(np.array(known[:end], dtype=np.int32), first_target, None if whole else carried)


def chat_prompt_ids(
    task: Task, blocks: Sequence[Sequence[Example]], tokenizer: PreTrainedTokenizerBase
) -> list[list[int]]:
    """Token ids of chats up to their last answer, each after the turns of others.

    Args:
        task: Gives the lengths to which messages are cut.
        blocks: Examples that are shown first, then the one that is asked.
        tokenizer: The base model's tokenizer.
    """
    limits = (task.max_source_tokens, task.max_target_tokens)
    texts = []
    for block in blocks:
        *shown, own = [
            cut_messages(example.chat, limits, tokenizer)[0] for example in block if example.chat is not None
        ]
        texts.append(prompt_text(own, tokenizer, shown))
    start = () if has_template(tokenizer) else added_tokens(tokenizer)[0]
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return [[*start, *ids] for ids in encoded]


def _notes(chats: Sequence[Chat], made: Sequence[Rendered], template: bool) -> tuple[str, ...]:
    """What the model's template (or the lines in its place) leaves out, by row."""
    places: dict[str, list[str]] = {}
    for chat, found in zip(chats, made, strict=True):
        for what in dict.fromkeys(found.missing):
            places.setdefault(what, []).append(chat.place)
    if not places:
        return ()
    most = sorted(places.items(), key=lambda item: -len(item[1]))
    shown = "; ".join(f"{what} ({_rows(rows)})" for what, rows in most[:SHOWN])
    more = f"; and {len(most) - SHOWN:,} more" if len(most) > SHOWN else ""
    count = f"{sum(bool(found.missing) for found in made):,} of {len(chats):,} chats"
    by = "the model's chat template, which leaves"
    if not template:
        by = "the lines for a model without a chat template, which leave"
    return (f"{count} are not rendered whole by {by} out: {shown}{more}",)


def _rows(places: Sequence[str]) -> str:
    """The rows of a file, the first ones by their lines."""
    lines = ", ".join(place.rpartition("line ")[2] for place in places[1:SHOWN])
    return (
        places[0]
        + (f", {lines}" if lines else "")
        + (f" and {len(places) - SHOWN:,} more" if len(places) > SHOWN else "")
    )
