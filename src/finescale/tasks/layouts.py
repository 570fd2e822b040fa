"""How a data file's rows are laid out (columns, chats, Alpaca ...), and each row as an example."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from finescale.errors import UsageError, nearest
from finescale.spec.run import TaskSpec, Version
from finescale.tasks.chats import Chat, chat_lines, read_chat
from finescale.tasks.rows import Row
from finescale.tasks.task import Example
from finescale.tasks.translation import LANGUAGES

TEMPLATE = "{source}\n"
CHAT_TEMPLATE = "{source}\nAssistant:"
ALPACA_TEMPLATE = "{preamble}\n\n### Instruction:\n{source}\n\n### Response:"
ALPACA = {
    False: "Below is an instruction that describes a task."
    " Write a response that appropriately completes the request.",
    True: "Below is an instruction that describes a task, paired with an input that provides further context."
    " Write a response that appropriately completes the request.",
}
"""What comes before an instruction, by whether it has an input (Taori et al. 2023, Stanford Alpaca)."""
CONVERSATIONS = ("conversations", "conversation")
RECOGNISED = "messages; conversations; prompt, completion; instruction, (input,) output"
USUAL = {
    "source": ("question", "instruction", "prompt", "query", "problem", "document", "article", "dialogue"),
    "target": ("answer", "response", "output", "completion", "solution", "summary", "highlights"),
}
"""Columns of public data sets that are often meant, for the remedy where nothing is recognised."""
LANGUAGE_CODE = re.compile(r"\s*|[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*")
"""What is no language's name: nothing, or a code."""


@dataclass(frozen=True)
class Layout:
    """How the rows of a task's files are read.

    Attributes:
        kind: Columns with source and target; a column of chats; `prompt` and `completion`; `instruction`,
            `input` and `output`.
        column: The column of the chats.
        template: The task's template where the study states none.
        separator: What stands between prompt and target.
        words: What was recognised, for a note; empty where the study names the columns.
        columns: All columns of the first training row.
    """

    kind: Literal["pairs", "chat", "completion", "chat completion", "alpaca"]
    column: str = ""
    template: str = TEMPLATE
    separator: str = " "
    words: str = ""
    columns: tuple[str, ...] = field(default=(), compare=False)


def layout_of(spec: TaskSpec, first: Mapping[str, Any]) -> Layout:
    """The layout of a task's files, by the columns of their first row; a study's own columns come first.

    A column `source` alone says where a row is from, as in Tulu 3: a pair has `target`, too.

    Args:
        spec: The task.
        first: The first training row.

    Raises:
        UsageError: What is read is also what is learned.
    """
    if spec.source == spec.target:
        raise UsageError(
            "what is read is also what is learned",
            wanted="two columns: the loss of a text that was just read says nothing",
            got=f"source and target are both {spec.source!r}",
            where="task.target",
        )
    return replace(_recognised(spec, first), columns=tuple(first))


def _recognised(spec: TaskSpec, first: Mapping[str, Any]) -> Layout:  # noqa: PLR0911 - one return a layout
    named = (spec.source, spec.target) != ("source", "target")
    if spec.source in first and (named or spec.target in first):
        return Layout("pairs")
    if spec.messages in first:
        return Layout("chat", spec.messages, CHAT_TEMPLATE)
    if named:
        return Layout("pairs")
    for column in CONVERSATIONS:
        if column in first:
            return Layout("chat", column, CHAT_TEMPLATE, words=f"chats in `{column}`")
    if {"prompt", "completion"} <= first.keys():
        if isinstance(first["prompt"], list):
            return Layout("chat completion", "prompt", words="chats in `prompt` and `completion`")
        words = "`prompt` and `completion`, one after the other as they are"
        return Layout("completion", template="{source}", separator="", words=words)
    if {"instruction", "output"} <= first.keys():
        words = "Alpaca (`instruction`, `input`, `output`), with Alpaca's prompt"
        return Layout("alpaca", template=ALPACA_TEMPLATE, words=words)
    return Layout("pairs")


def unread_note(
    spec: TaskSpec, layout: Layout, fields: set[str], version: Version, rows: Iterable[Mapping[str, Any]]
) -> tuple[str, ...]:
    """What is said of columns that have something in them and that no example is made of.

    Args:
        spec: The task.
        layout: How its rows are laid out.
        fields: What the template fills in besides the source.
        version: Of the study.
        rows: Some training rows.
    """
    read = _columns_read(spec, layout, fields, version)
    left = {
        str(name) or "(no name)": None
        for values in rows
        for name, value in values.items()
        if name not in read and value not in (None, "", [], {})
    }
    if not left:
        return ()
    more = "" if "chat" in layout.kind else " (a `template` may name further columns of text)"
    return (f"columns that are not read: {', '.join(left)[:200]}{more}",)


def _columns_read(spec: TaskSpec, layout: Layout, fields: set[str], version: Version) -> set[str]:
    """The columns that examples are made of."""
    if layout.kind == "chat":
        return {layout.column} if version == 1 else {layout.column, "tools", "system"}
    if layout.kind == "chat completion":
        return {"prompt", "completion", "tools"}
    filled = {spec.language if name == "language" and spec.language is not None else name for name in fields}
    own = {
        "pairs": {spec.source, spec.target},
        "completion": {"prompt", "completion"},
        "alpaca": {"instruction", "input", "output"},
    }
    return own[layout.kind] | filled


def read_example(  # noqa: PLR0917 - one call
    spec: TaskSpec, layout: Layout, path: Path, row: Row, fields: set[str], version: Version
) -> Example:
    """A row as an example.

    Args:
        spec: The task.
        layout: How its rows are laid out.
        path: The file.
        row: The row.
        fields: What the template fills in besides the source.
        version: Of the study.

    Raises:
        UsageError: A missing column, an empty target, a value that is no text, a wrong chat; with file, line
            and field.
    """
    if layout.kind == "chat":
        return _chat(layout, path, row, version)
    if layout.kind == "chat completion":
        return _chat_completion(path, row)
    if layout.kind == "alpaca":
        return _alpaca(spec, layout, path, row, fields)
    names = ("prompt", "completion") if layout.kind == "completion" else (spec.source, spec.target)
    source = _text(layout, path, row, names[0], "source")
    return Example(source, _target(layout, path, row, names[1]), _fields(spec, layout, path, row, fields))


def _chat(layout: Layout, path: Path, row: Row, version: Version) -> Example:
    place, column = f"{path}, line {row.line}", layout.column
    if column not in row.values:
        raise _no_column(layout, path, row, column, "messages")
    value = row.values[column]
    if version == 1:
        source, target = chat_lines(value, place, column)
        return Example(source, target, {})
    tools, system = row.values.get("tools"), row.values.get("system")
    chat = read_chat(value, place, column, tools=tools, system=system)
    return Example(*chat.text(), {}, chat)


def _chat_completion(path: Path, row: Row) -> Example:
    """Messages before, and messages that carry the loss (as TRL's conversational prompt and completion)."""
    place, values = f"{path}, line {row.line}", row.values
    for name in ("prompt", "completion"):
        if not isinstance(values.get(name), list):
            raise UsageError(
                "not messages",
                wanted='[{"role": "user", "content": "..."}], as in the first row',
                got=f"{values.get(name)!r}"[:80],
                where=f"{place}, {name}",
            )
    both = read_chat(
        [*values["prompt"], *values["completion"]], place, "prompt and completion", tools=values.get("tools")
    )
    answers = tuple(index for index in both.answers if index >= len(values["prompt"]))
    if not answers:
        raise UsageError(
            "a completion without an answer",
            wanted="a message with the role assistant",
            got=f"{values['completion']!r}"[:80],
            where=f"{place}, completion",
        )
    chat = Chat(both.messages, both.tools, answers, place, both.dropped)
    return Example(*chat.text(), {}, chat)


def _alpaca(spec: TaskSpec, layout: Layout, path: Path, row: Row, fields: set[str]) -> Example:
    source = _text(layout, path, row, "instruction", "source")
    more = "" if row.values.get("input") is None else _text(layout, path, row, "input", "source")
    given = bool(more.strip())
    if given:
        source = f"{source}\n\n### Input:\n{more}" if spec.template is None else f"{source}\n\n{more}"
    values = _fields(spec, layout, path, row, fields - {"preamble"})
    if "preamble" in fields:
        values["preamble"] = ALPACA[given]
    return Example(source, _target(layout, path, row, "output"), values)


def _fields(spec: TaskSpec, layout: Layout, path: Path, row: Row, fields: set[str]) -> dict[str, str]:
    """What a row gives the template besides its source."""
    values: dict[str, str] = {}
    for name in fields:
        column = spec.language if name == "language" and spec.language is not None else name
        value = _text(layout, path, row, column, "template")
        values[name] = _language(value, f"{path}, line {row.line}, {column}") if name == "language" else value
    return values


def _target(layout: Layout, path: Path, row: Row, column: str) -> str:
    target = _text(layout, path, row, column, "target")
    if not target.strip():
        raise UsageError(
            "an empty target",
            wanted="text to be learned",
            got=repr(target),
            remedy="remove the row",
            where=f"{path}, line {row.line}, {column}",
        )
    return target


def _language(value: str, where: str) -> str:
    """A language's name, from its code or as it is written.

    Raises:
        UsageError: What looks like a code is none that is known.
    """
    if value in LANGUAGES:
        return LANGUAGES[value]
    if not LANGUAGE_CODE.fullmatch(value):
        return value
    raise UsageError(
        f"unknown language code {value!r}",
        wanted="one of " + ", ".join(LANGUAGES) + ", or a language's name",
        got=repr(value),
        remedy=nearest(value[:2].lower(), LANGUAGES) or "write the name, e.g. German",
        where=where,
    )


def _text(layout: Layout, path: Path, row: Row, column: str, key: str) -> str:
    """The text in a row's column."""
    if column not in row.values:
        raise _no_column(layout, path, row, column, key)
    value = row.values[column]
    if not isinstance(value, str):
        raise UsageError(
            "not text",
            wanted="text",
            got="nothing" if value is None else f"{value!r}"[:80],
            remedy=_without(key) if value is None else "write it as text",
            where=f"{path}, line {row.line}, {column}",
        )
    return value


def _without(key: str) -> str:
    """What to do about a row that has nothing in a column."""
    return "remove the row" if key != "template" else 'remove the row, or write an empty text: ""'


def _no_column(layout: Layout, path: Path, row: Row, column: str, key: str) -> UsageError:
    wanted, remedy = f"the column that the study's task.{key} names", nearest(column, row.values)
    if column in layout.columns:  # other names in the study would not fit the rows that have it
        wanted = f"the columns of the first training row: {', '.join(layout.columns)[:200]}"
        remedy = remedy or "give it the same columns in every row of every file"
    elif key == "template":
        remedy = remedy or "a template says {source} and names of columns"
    elif column == key:  # the study names none, and no layout was recognised
        wanted = f"columns as one of: source, target; {RECOGNISED}"
    return UsageError(
        f"no column {column!r}",
        wanted=wanted,
        got=", ".join(str(name) for name in row.values)[:200] or "no columns",
        remedy=remedy or _columns_to_name(row.values),
        where=f"{path}, line {row.line}, {column}",
    )


def _columns_to_name(values: Mapping[str, Any]) -> str:
    """What to write into the study, with this file's columns where their names tell what they are."""
    found = []
    for key, names in USUAL.items():
        usual = next((name for name in names if isinstance(values.get(name), str)), "COLUMN")
        found.append(f"{key}: {usual}")
    more = "; `template` takes further columns" if len(values) > len(found) else ""
    return f"name the columns: task: {{{', '.join(found)}, ...}}{more}"
