"""A task from one's own files: sources and targets in columns, or chats; every row is checked."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from finescale.errors import UsageError, nearest
from finescale.spec.run import TaskSpec
from finescale.tasks.rows import Row, read_rows
from finescale.tasks.task import Example, Task
from finescale.tasks.translation import LANGUAGES

TEMPLATE = "{source}\n"
CHAT_TEMPLATE = "{source}\nAssistant:"
ROLES = {"system": "System", "user": "User", "assistant": "Assistant"}
SET_ASIDE = 10
"""One example of so many is set aside for dev, and for test, where there is no file for it ..."""
MOST_SET_ASIDE = 1_000
"""... but never more than this."""
SHOWN = 5
LANGUAGE_CODE = re.compile(r"\s*|[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*")
"""What is no language's name: nothing, or a code."""


class Read(NamedTuple):
    """An example with the line that it was read from."""

    line: int
    example: Example

    @property
    def pair(self) -> tuple[str, str]:
        """What makes two examples the same."""
        return self.example.source, self.example.target


def local_task(spec: TaskSpec) -> Task:
    """Reads the files of a task and checks every row.

    Args:
        spec: Files, columns and template.

    Returns:
        The task; its notes say what was set aside for dev and test.

    Raises:
        UsageError: A file that cannot be read, a missing column, an empty target, a pair of dev or test that
            is also in train; the message names file, line and field.
    """
    rows = {split: _rows(file, f"task.{split}") for split, file in _files(spec).items()}
    first = rows["train"][0].values
    chats = spec.source not in first and spec.messages in first
    template = spec.template or (CHAT_TEMPLATE if chats else TEMPLATE)
    fields = template_fields(template)
    read: dict[str, list[Read]] = {}
    for split, found in rows.items():
        path = _files(spec)[split]
        read[split] = [_chat(spec, path, row) if chats else _pair(spec, path, row, fields) for row in found]
    for split in ("dev", "test"):
        if split in read:
            _check_overlap(spec, split, read[split], read["train"])
    assert spec.train is not None
    notes = _set_aside(Path(spec.train).name, read)
    examples = {split: tuple(item.example for item in found) for split, found in read.items()}
    return Task(
        name=spec.name,
        template=template,
        max_source_tokens=spec.max_source_tokens,
        max_target_tokens=spec.max_target_tokens,
        train=examples["train"],
        dev=examples["dev"],
        test={"test": examples["test"]},
        notes=notes,
        mix="language" if spec.language is not None and _several_languages(examples["train"]) else None,
    )


def _several_languages(examples: Sequence[Example]) -> bool:
    return len({example.fields.get("language") for example in examples}) > 1


def _files(spec: TaskSpec) -> dict[str, Path]:
    stated = {"train": spec.train, "dev": spec.dev, "test": spec.test}
    return {split: Path(file) for split, file in stated.items() if file is not None}


def _rows(path: Path, where: str) -> list[Row]:
    rows = read_rows(path, where)
    if not rows:
        problem = f"no examples in {path}"
        raise UsageError(problem, wanted="at least one row", got="an empty file", where=where)
    return rows


def template_fields(template: str) -> set[str]:
    """The names that a template fills in beside the source.

    Raises:
        UsageError: A template that cannot be read, or leaves out the source.
    """
    where = "task.template"
    try:
        names = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UsageError(
            "the template cannot be read",
            wanted="columns in braces, e.g. {source}; a brace itself is written twice",
            got=f"{error}: {template[:60]!r}",
            where=where,
        ) from None
    if "source" not in names:
        raise UsageError(
            "the template leaves out the source", wanted="{source}", got=repr(template[:60]), where=where
        )
    for name in names:
        if not name.isidentifier():
            raise UsageError(
                "a field that is no plain name",
                wanted="the name of a column, e.g. {source}",
                got=f"{{{name}}}",
                where=where,
            )
    return names - {"source"}


def _pair(spec: TaskSpec, path: Path, row: Row, fields: set[str]) -> Read:
    source = _text(path, row, spec.source, "source")
    target = _text(path, row, spec.target, "target")
    if not target.strip():
        raise UsageError(
            "an empty target",
            wanted="text to be learned",
            got=repr(target),
            remedy="remove the row",
            where=f"{path}, line {row.line}, {spec.target}",
        )
    values: dict[str, str] = {}
    for name in fields:
        column = spec.language if name == "language" and spec.language is not None else name
        value = _text(path, row, column, "template")
        values[name] = _language(value, f"{path}, line {row.line}, {column}") if name == "language" else value
    return Read(row.line, Example(source, target, values))


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


def _text(path: Path, row: Row, column: str, key: str) -> str:
    """The text in a row's column."""
    where = f"{path}, line {row.line}, {column}"
    if column not in row.values:
        remedy = nearest(column, row.values)
        if key == "template":
            remedy = remedy or "a template says {source} and names of columns"
        raise UsageError(
            f"no column {column!r}",
            wanted=f"the column that the study's task.{key} names",
            got=", ".join(str(name) for name in row.values)[:200] or "no columns",
            remedy=remedy or "name the columns: task: {source: COLUMN, target: COLUMN, ...}",
            where=where,
        )
    value = row.values[column]
    if not isinstance(value, str):
        raise UsageError(
            "not text",
            wanted="text",
            got="nothing" if value is None else f"{value!r}"[:80],
            remedy="remove the row" if value is None else "write it as text",
            where=where,
        )
    return value


def _chat(spec: TaskSpec, path: Path, row: Row) -> Read:
    """A chat as an example: the last answer is the target, everything before it is the source."""
    messages: Any = row.values.get(spec.messages)
    where = f"{path}, line {row.line}, {spec.messages}"
    if not isinstance(messages, list) or len(messages) < 2:
        raise UsageError(
            "not a chat",
            wanted='at least two messages, e.g. [{"role": "user", "content": "..."}, ...]',
            got=f"{messages!r}"[:80],
            where=where,
        )
    lines: list[str] = []
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        content = message.get("content") if isinstance(message, Mapping) else None
        if role not in ROLES or not isinstance(content, str):
            raise UsageError(
                "not a message",
                wanted=f"a role ({', '.join(ROLES)}) and its content as text",
                got=f"{message!r}"[:80],
                where=f"{where}[{index}]",
            )
        lines.append(content if index == len(messages) - 1 else f"{ROLES[role]}: {content}")
    if messages[-1]["role"] != "assistant" or not lines[-1].strip():
        raise UsageError(
            "a chat that ends without an answer",
            wanted="a last message with the role assistant and text: it is the target",
            got=f"{messages[-1]!r}"[:80],
            where=f"{where}[{len(messages) - 1}]",
        )
    return Read(row.line, Example("\n".join(lines[:-1]), lines[-1], {}))


def _check_overlap(spec: TaskSpec, split: str, read: Sequence[Read], train: Sequence[Read]) -> None:
    """Refuses pairs of dev or test that are also in train: their loss would be measured on known answers."""
    lines = {item.pair: item.line for item in train}
    twice = [(item.line, lines[item.pair]) for item in read if item.pair in lines]
    if twice:
        shown = ", ".join(f"line {line} is line {known} of train" for line, known in twice[:SHOWN])
        raise UsageError(
            f"{len(twice)} of {len(read)} pairs of {split} are also in train",
            wanted=f"a {split} set that the training never sees",
            got=shown + (", ..." if len(twice) > SHOWN else ""),
            remedy="remove them from one of the two files",
            where=str(_files(spec)[split]),
        )


def _set_aside(name: str, read: dict[str, list[Read]]) -> tuple[str, ...]:
    """Moves a seeded part of train to each of dev and test that has no file; says so.

    A pair that train has twice stays there, so that the parts never overlap.
    """
    missing = [split for split in ("dev", "test") if split not in read]
    train = read["train"]
    count = min(MOST_SET_ASIDE, len(train) // SET_ASIDE)
    seen = Counter(item.pair for item in train)
    order = np.random.default_rng(13).permutation(len(train))
    once = [int(index) for index in order if seen[train[index].pair] == 1]
    if missing and (count == 0 or len(once) < count * len(missing)):
        raise UsageError(
            f"too few examples to set {' and '.join(missing)} aside",
            wanted=f"at least {SET_ASIDE} different examples in train for each",
            got=f"{len(seen)} different examples",
            remedy=f"state files for {' and '.join(missing)}",
            where="task",
        )
    taken: set[int] = set()
    for position, split in enumerate(missing):
        chosen = once[position * count : (position + 1) * count]
        read[split] = [train[index] for index in chosen]
        taken |= set(chosen)
    if taken:
        read["train"] = [item for index, item in enumerate(train) if index not in taken]
    return tuple(
        f"{split}: {count:,} of the {len(train):,} examples in {name}, set aside" for split in missing
    )
