"""A chat as text, by the template of the model's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from finescale.errors import UsageError
from finescale.tasks.chats import ANSWER, Chat, Message

TODAY = {
    "%d": "26", "%-d": "26", "%b": "Jul", "%B": "July", "%m": "07", "%Y": "2024", "%y": "24", "%a": "Fri",
    "%A": "Friday", "%H": "00", "%M": "00", "%S": "00",
}  # fmt: skip
"""The date for templates that write one: the same in every run of every day."""
DATED = (
    "{% macro strftime_now(form) %}{{ form"
    + "".join(f".replace('{code}', '{value}')" for code, value in TODAY.items())
    + " }}{% endmacro %}{{ '' }}"
)
"""Goes before a template that asks for the date: values that are no text do not reach a template."""
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: "
    "{{ message['content'] or (message['tool_calls'] | tojson) }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""For tokenizers without a template: lines, each answer with an end of sequence after it."""
MARK = "\ue000"
"""Stands where an answer was, to see what a template puts around it; of Unicode's private use."""
_REFUSED = (TemplateError, TypeError, ValueError, KeyError, AttributeError, IndexError)


def has_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer has a chat template of its own."""
    return bool(tokenizer.chat_template)


def render(
    messages: Sequence[Message],
    tokenizer: PreTrainedTokenizerBase,
    *,
    tools: Sequence[Mapping[str, Any]] = (),
    generate: bool = False,
    place: str = "",
) -> str:
    """Messages as text.

    Args:
        messages: The messages.
        tokenizer: The model's tokenizer; one without a chat template gets `PLAIN_TEMPLATE`.
        tools: Descriptions of tools.
        generate: Add what comes before the model's answer.
        place: File and line, for the error.

    Raises:
        UsageError: The template refuses the chat, e.g. a system message, or two messages of a user in a row.
    """
    given = [dict(message) for message in messages]
    if _reads_parts(tokenizer):
        given = [{**item, "content": [{"type": "text", "text": item["content"]}]} for item in given]
    try:
        return _applied(given, tokenizer, tools, generate)
    except _REFUSED as error:
        roles = ", ".join(str(message["role"]) for message in messages)
        raise UsageError(
            "the model's chat template does not take this chat",
            wanted="messages as the template has them",
            got=f"{' '.join(str(error).split())[:200]} (roles: {roles[:120]})",
            remedy="change or remove the row, or take a model whose template takes it",
            where=place,
        ) from None


def _applied(
    messages: list[dict[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    tools: Sequence[Mapping[str, Any]] = (),
    generate: bool = False,
) -> str:
    given: Any = list(tools) or None
    template = tokenizer.get_chat_template(None, given) if has_template(tokenizer) else PLAIN_TEMPLATE
    made = tokenizer.apply_chat_template(
        messages,
        tools=given,
        chat_template=DATED + template if "strftime_now" in template else template,
        add_generation_prompt=generate,
        tokenize=False,
    )
    return str(made)


@lru_cache(maxsize=8)
def _reads_parts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a template wants content in parts, as those of models for text and images do."""
    for content, parts in ((MARK, False), ([{"type": "text", "text": MARK}], True)):
        try:
            if MARK in _applied([{"role": "user", "content": content}], tokenizer):
                return parts
        except _REFUSED:
            continue
    return False


def prompt_text(chat: Chat, tokenizer: PreTrainedTokenizerBase, before: Sequence[Chat] = ()) -> str:
    """What the model reads before a chat's last answer, after the turns of other chats.

    Args:
        chat: The chat.
        tokenizer: The model's tokenizer.
        before: Chats that are shown first, without their system messages.
    """
    shown = [message for other in before for message in other.messages if message["role"] != "system"]
    own = list(chat.messages[:-1])
    systems = 1 if own and own[0]["role"] == "system" else 0
    messages = [*own[:systems], *shown, *own[systems:]]
    return render(messages, tokenizer, tools=chat.tools, generate=True, place=chat.place)


def ends_of_answers(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The special token that the template puts after an answer: what the model stops with."""
    question = {"role": "user", "content": "a"}
    try:
        text = render([question, {"role": ANSWER, "content": MARK}], tokenizer)
    except UsageError:
        return frozenset()
    after = text[text.rindex(MARK) + len(MARK) :] if MARK in text else ""
    known = tokenizer.added_tokens_decoder
    ids = [token for token in tokenizer(after, add_special_tokens=False)["input_ids"] if token in known]
    return frozenset(ids[:1])
