"""Chats as data files have them: messages with roles, ShareGPT's, tools, parts of content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finescale.errors import UsageError, nearest
from finescale.tasks.rows import refuse_half

ANSWER = "assistant"
ROLES = ("system", "developer", "user", ANSWER, "tool", "function", "ipython")
"""Roles that chat templates know."""
LINES = {"system": "System", "user": "User", ANSWER: "Assistant"}
"""Roles of version 1, and how its lines begin."""
SHAREGPT = {
    "human": "user", "user": "user", "gpt": ANSWER, "chatgpt": ANSWER, "assistant": ANSWER, "model": ANSWER,
    "bing": ANSWER, "bard": ANSWER, "system": "system", "tool": "tool", "observation": "tool",
    "function_response": "tool", "function_call": "function_call",
}  # fmt: skip
"""Who speaks in ShareGPT's `from`, as a role."""
EXAMPLE = '[{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]'
VERSION_2 = "state `version: 2` in the study: then chats go through the tokenizer's own template"

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Chat:
    """A chat that ends with an answer.

    Attributes:
        messages: What chat templates take: `role`, `content` (text), `tool_calls` and what else one knows.
        tools: Descriptions of tools, as templates take them.
        answers: Which messages carry the loss.
        place: File and line, for messages about it.
        dropped: How many messages after the last answer are left out.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    answers: tuple[int, ...]
    place: str
    dropped: int = 0

    def plain(self) -> list[Any]:
        """What makes two chats the same, as JSON has it."""
        return [list(self.messages), list(self.tools), list(self.answers)]

    def text(self) -> tuple[str, str]:
        """What comes before the last answer, one line a message, and that answer."""
        lines = [f"{message['role']}: {message_text(message)}" for message in self.messages[:-1]]
        return "\n".join(lines), message_text(self.messages[-1])


def message_text(message: Message) -> str:
    """A message's text; a call of tools as JSON where it has none."""
    content = message.get("content") or ""
    return content or (json.dumps(message["tool_calls"], default=str) if message.get("tool_calls") else "")


def read_chat(value: Any, place: str, field: str, *, tools: Any = None, system: Any = None) -> Chat:
    """A chat from a row of a data file.

    Args:
        value: Messages: `role` and `content`, or ShareGPT's `from` and `value`; JSON of them.
        place: File and line.
        field: The column, for messages.
        tools: Descriptions of tools; JSON of them.
        system: Text that comes first as a system message.

    Returns:
        The chat up to its last answer; every answer carries the loss but those with `weight: 0` or
        `train: false`.

    Raises:
        UsageError: No chat, an unknown role, an empty answer, no answer at all, a weight between 0 and 1.
    """
    where = f"{place}, {field}"
    messages = [_message(item, f"{where}[{index}]") for index, item in enumerate(_listed(value, where))]
    if isinstance(system, str) and system.strip() and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    learned = [_learned(message, f"{where}[{index}]") for index, message in enumerate(messages)]
    answers = [index for index, one in enumerate(messages) if one["role"] == ANSWER and learned[index]]
    if not answers:
        raise UsageError(
            "a chat without an answer",
            wanted="at least one message with the role assistant: the answers are the targets",
            got=", ".join(message["role"] for message in messages)[:120],
            remedy="remove the row",
            where=where,
        )
    for index in answers:
        if not message_text(messages[index]).strip():
            raise UsageError(
                "an empty answer",
                wanted="text to be learned",
                got=f"{messages[index]!r}"[:80],
                remedy="remove the message or the row",
                where=f"{where}[{index}]",
            )
    end = answers[-1] + 1
    return Chat(tuple(messages[:end]), _tools(tools, place), tuple(answers), place, len(messages) - end)


def _learned(message: dict[str, Any], where: str) -> bool:
    """Whether a message carries a loss, as its `weight` (taken out) and its `train` say."""
    return _switch(message.pop("weight", 1), "weight", where) and _switch(
        message.get("train", True), "train", where
    )


def _switch(value: Any, name: str, where: str) -> bool:
    """0 or 1, false or true, as a number or as text.

    Raises:
        UsageError: Anything between: a loss is carried or not.
    """
    said = str(value).strip().lower()
    try:
        number = {"false": 0.0, "true": 1.0}.get(said)
        number = float(said) if number is None else number
    except ValueError:
        number = None
    if number in (0, 1):
        return number == 1
    raise UsageError(
        f"a {name} that is neither 0 nor 1",
        wanted=f"{name}: 1 for an answer that carries the loss, 0 for one that does not",
        got=f"{value!r}"[:80],
        remedy="an answer counts wholly or not at all: round the weight, or remove it",
        where=where,
    )


def _listed(value: Any, where: str) -> list[Any]:
    """The messages of a chat, at least two."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                "not a chat", wanted=EXAMPLE, got=f"{error}: {value[:60]}", where=where
            ) from None
        refuse_half(value, where)
    if not isinstance(value, list) or len(value) < 2:
        raise UsageError(
            "not a chat",
            wanted=f"at least two messages, e.g. {EXAMPLE}",
            got=f"{value!r}"[:80],
            where=where,
        )
    return value


def _message(item: Any, where: str) -> dict[str, Any]:
    """A message as chat templates take it; keys without a value (other rows have one) are left out."""
    if not isinstance(item, Mapping):
        raise _not_a_message(item, where)
    found = {str(key): value for key, value in item.items() if value is not None}
    if "from" in found and "role" not in found:
        found = _sharegpt(found, where)
    role, content = found.get("role"), found.get("content", "")
    if not isinstance(role, str) or ("content" not in found and "tool_calls" not in found):
        raise _not_a_message(item, where)
    role = ANSWER if role == "model" else role
    if role not in ROLES:
        raise UsageError(
            f"unknown role {role[:40]!r}",
            wanted="one of " + ", ".join(ROLES),
            got=repr(role[:40]),
            remedy=nearest(role, ROLES),
            where=where,
        )
    found |= {"role": role, "content": _content(content, where)}
    if found.get("tool_calls"):
        found["tool_calls"] = [
            _call(call, where) for call in _array(found["tool_calls"], "tool_calls", where)
        ]
    else:
        found.pop("tool_calls", None)
    return found


def _not_a_message(item: Any, where: str) -> UsageError:
    return UsageError(
        "not a message",
        wanted=f"a role ({', '.join(ROLES)}) and its content",
        got=f"{item!r}"[:80],
        where=where,
    )


def _sharegpt(item: dict[str, Any], where: str) -> dict[str, Any]:
    """ShareGPT's `from` and `value` as role and content; a `function_call` as a call of a tool."""
    who, value = item["from"], item.get("value", "")
    role = SHAREGPT.get(str(who).strip().lower())
    if role is None:
        raise UsageError(
            f"unknown speaker {str(who)[:40]!r}",
            wanted="one of " + ", ".join(SHAREGPT),
            got=repr(who)[:40],
            remedy=nearest(str(who), SHAREGPT),
            where=where,
        )
    rest = {key: item[key] for key in ("weight",) if key in item}
    if not _switch(item.get("train", True), "train", where):
        rest["weight"] = 0
    if role != "function_call":
        return {"role": role, "content": value, **rest}
    return {"role": ANSWER, "content": "", "tool_calls": _array(value, "value", where), **rest}


def _content(content: Any, where: str) -> str:
    """A message's text; of parts the texts, one after another."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else None
    texts: list[str] = []
    for part in parts or ():
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
        kind = part.get("type", "text") if isinstance(part, Mapping) else "text"
        if kind != "text" or not isinstance(text, str):
            parts = None
            break
        texts.append(text)
    if parts is None:
        raise UsageError(
            "content that is no text",
            wanted='text, or parts of text: [{"type": "text", "text": "..."}]',
            got=f"{content!r}"[:80],
            remedy="remove the row: a language model reads text alone",
            where=where,
        )
    return "".join(texts)


def _call(call: Any, where: str) -> dict[str, Any]:
    """A call of a tool as templates take it: arguments as a mapping, where they are JSON of one."""
    if isinstance(call, Mapping):
        inner = call.get("function", call)
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
            arguments = inner.get("arguments", {})
            if isinstance(arguments, str):
                try:
                    parsed = json.loads(arguments)
                except (ValueError, RecursionError):
                    parsed = None
                refuse_half(parsed, where)
                arguments = parsed if isinstance(parsed, dict) else arguments
            function = {**_stated(inner), "arguments": arguments}
            outer = _stated(call) if "function" in call else {}
            return {"type": "function", **outer, "function": function}
    raise UsageError(
        "not a call of a tool",
        wanted='{"type": "function", "function": {"name": "...", "arguments": {...}}}',
        got=f"{call!r}"[:80],
        where=where,
    )


def _stated(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


def _array(value: Any, name: str, where: str) -> Sequence[Any]:
    """A list, one object as a list, or JSON of either."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UsageError(
                f"{name} that cannot be read", wanted="JSON", got=f"{error}: {value[:60]}", where=where
            ) from None
        refuse_half(value, where)
    return value if isinstance(value, list) else [value]


def _tools(value: Any, place: str) -> tuple[Mapping[str, Any], ...]:
    if value is None or value in ("", [], ()):
        return ()
    found = _array(value, "tools", f"{place}, tools")
    for tool in found:
        if not isinstance(tool, Mapping):
            raise UsageError(
                "not the description of a tool",
                wanted='{"type": "function", "function": {"name": "...", "parameters": {...}}}',
                got=f"{tool!r}"[:80],
                where=f"{place}, tools",
            )
    return tuple(found)


def chat_lines(value: Any, place: str, field: str) -> tuple[str, str]:
    """A chat as version 1 reads it: lines `User: ...` before the last answer, and that answer.

    Raises:
        UsageError: No chat, a message that is no text of a known role, no answer at the end.
    """
    where = f"{place}, {field}"
    if not isinstance(value, list) or len(value) < 2:
        raise UsageError(
            "not a chat", wanted=f"at least two messages, e.g. {EXAMPLE}", got=f"{value!r}"[:80], where=where
        )
    lines: list[str] = []
    role, content = None, None
    for index, item in enumerate(value):
        found = item if isinstance(item, Mapping) else {}
        if "from" in found and "role" not in found:
            found = _sharegpt(dict(found), f"{where}[{index}]")
        role, content = found.get("role"), found.get("content")
        if role not in LINES or not isinstance(content, str):
            raise UsageError(
                "not a message",
                wanted=f"a role ({', '.join(LINES)}) and its content as text",
                got=f"{item!r}"[:80],
                remedy=VERSION_2 if role in ROLES or isinstance(content, list) else "",
                where=f"{where}[{index}]",
            )
        lines.append(f"{LINES[role]}: {content}")
    if role != ANSWER or not str(content).strip():
        raise UsageError(
            "a chat that ends without an answer",
            wanted="a last message with the role assistant and text: it is the target",
            got=f"{value[-1]!r}"[:80],
            remedy=f"{VERSION_2}, and what follows the last answer is left out",
            where=f"{where}[{len(value) - 1}]",
        )
    return "\n".join(lines[:-1]), str(content)
