"""Where in a chat's text the answers are, and what of the chat the text leaves out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from finescale.batches.rendering import MARK, render
from finescale.errors import UsageError
from finescale.tasks.chats import ANSWER, Chat

LONGEST_TOKEN = 100
"""Characters of a special token, at most."""
ASIDE = ("reasoning_content", "reasoning", "thinking", "function_call")
"""Fields beside the content in which answers carry text that few templates write."""
SHOWN = 40
"""Characters of a message that are shown where it is left out."""


@dataclass(frozen=True)
class Rendered:
    """A chat as text.

    Attributes:
        text: What the model reads.
        answers: Begin and end in the text of what it should have written, for each answer that carries the
            loss: from the end of the generation prompt to the end of what the template puts after an answer.
        messages: Which message of the chat each of them is.
        missing: What of the chat is not in the text, in words.
    """

    text: str
    answers: tuple[tuple[int, int], ...]
    messages: tuple[int, ...]
    missing: tuple[str, ...] = ()


def render_answers(
    chat: Chat, tokenizer: PreTrainedTokenizerBase, answers: Sequence[int] | None = None
) -> Rendered:
    """A chat as text, with its answers found in it.

    An answer begins where the text of the messages before it ends, generation prompt included: what the model
    reads when it is asked. Where a template writes earlier turns otherwise than last ones (it leaves out what
    was thought, or moves the system message), the answer is found by what changes in the text when the answer
    does.

    Args:
        chat: The chat.
        tokenizer: The model's tokenizer.
        answers: Which messages carry the loss. Default: the chat's own.

    Raises:
        UsageError: The template refuses the chat, or renders none of its answers.
    """
    text = render(chat.messages, tokenizer, tools=chat.tools, place=chat.place)
    wanted = chat.answers if answers is None else answers
    found = [(index, _span(chat, index, text, tokenizer)) for index in wanted]
    spans = {
        index: span for index, span in found if span is not None and _says(chat, index, text[slice(*span)])
    }
    if not spans:
        raise UsageError(
            "the model's chat template renders no answer of this chat",
            wanted="a template that writes what the assistant says",
            got=repr(text[-80:]),
            where=chat.place,
        )
    return Rendered(text, tuple(spans.values()), tuple(spans), _missing(chat, text, tokenizer))


def _says(chat: Chat, index: int, text: str) -> bool:
    """Whether a text says something of an answer: of a call alone its tool, or the template has no calls."""
    message = chat.messages[index]
    calls = [str(call["function"]["name"]) for call in message.get("tool_calls") or ()]
    return bool(text) and (bool(message["content"].strip()) or any(name in text for name in calls))


def _span(chat: Chat, index: int, text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int] | None:
    """Where an answer is in a chat's text; None where it is not there."""
    before = _prefix(chat, index, tokenizer)
    through = _through(chat, index, text, tokenizer)
    whole = None
    if before is not None and through is not None:
        asked, silent = before
        if text.startswith(asked) and text.startswith(through):
            whole = len(asked), len(through)
            if asked != silent:
                return whole
    changed = _changed(chat, index, text, tokenizer)
    if changed is None:
        return whole
    start, end = changed
    if before is not None and text.startswith(before[0]) and len(before[0]) <= start:
        header = text[len(before[0]) : start]
        start = len(before[0]) if before[0] != before[1] or not header.strip() else start
    return start, end + len(_closing(chat, index, text[end:], tokenizer))


def _prefix(chat: Chat, index: int, tokenizer: PreTrainedTokenizerBase) -> tuple[str, str] | None:
    """The text before an answer, with the generation prompt and without; None where there is no such text."""
    if index == 0:
        return None
    try:
        return (
            render(chat.messages[:index], tokenizer, tools=chat.tools, generate=True),
            render(chat.messages[:index], tokenizer, tools=chat.tools),
        )
    except UsageError:  # a template that wants an answer after every question
        return None


def _through(chat: Chat, index: int, text: str, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The text of the messages up to an answer."""
    if index == len(chat.messages) - 1:
        return text
    try:
        return render(chat.messages[: index + 1], tokenizer, tools=chat.tools)
    except UsageError:
        return None


def _changed(chat: Chat, index: int, text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[int, int] | None:
    """What of a text changes with an answer: begin and end; None where nothing does."""
    messages = [*chat.messages[:index], {"role": ANSWER, "content": MARK}, *chat.messages[index + 1 :]]
    try:
        changed = render(messages, tokenizer, tools=chat.tools)
    except UsageError:
        return None
    if MARK not in changed:
        return None
    start = _same_start(text, changed)
    after = changed[changed.rindex(MARK) + len(MARK) :]
    same = _same_start(text[::-1], after[::-1])
    return (start, len(text) - same) if start < len(text) - same else None


def _closing(chat: Chat, index: int, rest: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """What the template puts after an answer, as far as the text goes on so."""
    last = [*chat.messages[:index], {"role": ANSWER, "content": MARK}]
    try:
        alone = render(last, tokenizer, tools=chat.tools)
    except UsageError:
        return ""
    if MARK not in alone:
        return ""
    same = _same_start(rest, alone[alone.rindex(MARK) + len(MARK) :])
    encoded = tokenizer(rest[: same + LONGEST_TOKEN], add_special_tokens=False, return_offsets_mapping=True)
    whole = [
        end for _, end in encoded["offset_mapping"] if end <= same
    ]  # `<|user|>` may begin as `</s>` does
    return rest[: max(whole, default=0)]


def _same_start(one: str, other: str) -> int:
    """How many characters two texts have in common from the first."""
    most = min(len(one), len(other))
    return next((place for place in range(most) if one[place] != other[place]), most)


def _missing(chat: Chat, text: str, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """What of a chat its text does not hold.

    A tool's name proves nothing where the chat calls it: its description is there if the text is another one
    without it.
    """
    found: list[str] = []
    for index, message in enumerate(chat.messages):
        content = str(message.get("content") or "").strip()
        if content and content not in text and json.dumps(content, ensure_ascii=False)[1:-1] not in text:
            article = "an" if message["role"][0] in "aeiou" else "a"
            found.append(f"of {article} {message['role']} message {content[:SHOWN]!r}")
        for call in message.get("tool_calls") or ():
            name = str(call["function"]["name"])
            if name not in text:
                found.append(f"the call of the tool {name!r}")
        found += [
            f"the {key} {_shown(message[key])!r}"
            for key in ASIDE
            if message.get(key) and _same_without(chat, index, key, text, tokenizer)
        ]
    described = bool(chat.tools) and _differs_without_tools(chat, text, tokenizer)
    for tool in chat.tools:
        inner = tool.get("function", tool)
        name = str(inner.get("name", "")) if isinstance(inner, Mapping) else ""
        if name and (name not in text or not described):
            found.append(f"the tool {name!r}")
    return tuple(found)


def _shown(value: object) -> str:
    """A field in few characters: its text, or a call's name."""
    return str(value.get("name") if isinstance(value, Mapping) else value).strip()[:SHOWN]


def _same_without(chat: Chat, index: int, key: str, text: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a template writes the same without a message's field."""
    bare = {name: value for name, value in chat.messages[index].items() if name != key}
    messages = [*chat.messages[:index], bare, *chat.messages[index + 1 :]]
    try:
        return render(messages, tokenizer, tools=chat.tools, place=chat.place) == text
    except UsageError:  # it does not take the chat without it
        return False


def _differs_without_tools(chat: Chat, text: str, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a template reads the descriptions of tools at all."""
    try:
        return render(chat.messages, tokenizer, place=chat.place) != text
    except UsageError:  # it does not take the chat without them
        return True


def cut_messages(
    chat: Chat, limits: tuple[int, int], tokenizer: PreTrainedTokenizerBase
) -> tuple[Chat, bool, frozenset[int]]:
    """A chat whose messages are cut, each to its limit.

    Args:
        chat: The chat.
        limits: Tokens of a message that is no answer, and of an answer.
        tokenizer: The model's tokenizer.

    Returns:
        The chat, whether a message that is no answer was cut, and which answers were.
    """
    texts = [str(message.get("content") or "") for message in chat.messages]
    offsets = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    messages = list(chat.messages)
    source_cut, answers_cut = False, set[int]()
    for index, found in enumerate(offsets["offset_mapping"]):
        answer = messages[index]["role"] == ANSWER
        most = limits[1 if answer else 0]
        if len(found) > most:
            messages[index] = {**messages[index], "content": texts[index][: found[most - 1][1]]}
            answers_cut |= {index} if answer else set()
            source_cut |= not answer
    return Chat(tuple(messages), chat.tools, chat.answers, chat.place), source_cut, frozenset(answers_cut)
