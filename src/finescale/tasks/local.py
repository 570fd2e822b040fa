"""A task from one's own files, of any layout that is recognised; every row is checked."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finescale.errors import UsageError
from finescale.spec.run import FINGERPRINT_VERSION, TaskSpec, Version
from finescale.tasks.layouts import layout_of, read_example, unread_note
from finescale.tasks.rows import Row, read_rows
from finescale.tasks.task import Example, Task

SET_ASIDE = 10
"""One example of so many is set aside for dev, and for test, where there is no file for it ..."""
MOST_SET_ASIDE = 1_000
"""... but never more than this."""
SHOWN = 5
LOOKED = 1_000
"""Rows in which columns are looked for that are not read."""


class NumberedExample(NamedTuple):
    """An example with the line that it was read from, and what makes two examples the same."""

    line: int
    example: Example
    pair: tuple[str, ...]


def local_task(spec: TaskSpec, version: Version = FINGERPRINT_VERSION) -> Task:
    """Reads the files of a task and checks every row.

    Args:
        spec: Files, columns and template.
        version: Of the study: what its chats mean.

    Returns:
        The task; its notes say what was recognised, and what was set aside for dev and test.

    Raises:
        UsageError: A file that cannot be read, a missing column, an empty target, a pair of dev or test that
            is also in train; the message names file, line and field.
    """
    files = _files(spec)
    rows = {split: _rows(file, f"task.{split}") for split, file in files.items()}
    layout = layout_of(spec, rows["train"][0].values)
    template = spec.template or layout.template
    fields = template_fields(template)
    read = {
        split: [
            NumberedExample(row.line, example, same_pair(example, version))
            for row in found
            for example in [read_example(spec, layout, files[split], row, fields, version)]
        ]
        for split, found in rows.items()
    }
    for split in ("dev", "test"):
        if split in read:
            _check_overlap(spec, split, read[split], read["train"])
    notes = (f"{files['train'].name}: {layout.words}",) if layout.words else ()
    notes += unread_note(spec, layout, fields, version, (row.values for row in rows["train"][:LOOKED]))
    notes += _chosen_on_test(read)
    notes += _set_aside(files["train"].name, read)
    examples = {split: tuple(item.example for item in found) for split, found in read.items()}
    return Task(
        name=spec.name,
        template=template,
        max_source_tokens=spec.max_source_tokens,
        max_target_tokens=spec.max_target_tokens,
        train=examples["train"],
        dev=examples["dev"],
        test={"test": examples["test"]},
        notes=notes + dropped_turns_note(examples),
        mix="language" if spec.language is not None and _several_languages(examples["train"]) else None,
        separator=layout.separator,
        answers=spec.answers,
        version=version,
    )


def same_pair(example: Example, version: Version) -> tuple[str, ...]:
    """What makes two examples the same: source and target, and from version 2 on the template's fields.

    Args:
        example: The example.
        version: Of the study.
    """
    pair = example.source, example.target
    return pair if version == 1 else (*pair, *(value for _, value in sorted(example.fields.items())))


def dropped_turns_note(examples: Mapping[str, Sequence[Example]]) -> tuple[str, ...]:
    """What is said of chats that go on after their last answer.

    Args:
        examples: A task's splits.
    """
    chats = [example.chat for found in examples.values() for example in found if example.chat is not None]
    longer = [chat for chat in chats if chat.dropped]
    if not longer:
        return ()
    first = longer[0].place
    return (
        f"{len(longer):,} of {len(chats):,} chats go on after their last answer: that is left out ({first})",
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


def _check_overlap(
    spec: TaskSpec, split: str, read: Sequence[NumberedExample], train: Sequence[NumberedExample]
) -> None:
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


def _chosen_on_test(read: Mapping[str, Sequence[NumberedExample]]) -> tuple[str, ...]:
    """What is said of pairs of test by which the checkpoint is chosen, too."""
    chosen = {item.pair for item in read.get("dev", ())}
    twice = sum(item.pair in chosen for item in read.get("test", ()))
    if not twice:
        return ()
    many = f"{twice} of {len(read['test'])} pairs of test are also in dev"
    return (f"{many}: dev chooses the checkpoint, so their test loss is too low",)


def _set_aside(name: str, read: dict[str, list[NumberedExample]]) -> tuple[str, ...]:
    """Moves a seeded part of train to each of dev and test that has no file; says so.

    A pair that train has twice stays there, so that the parts never overlap. Where too few pairs are there
    once, as in data that is oversampled, a pair leaves train with all of its repeats.
    """
    missing = [split for split in ("dev", "test") if split not in read]
    if not missing:
        return ()
    train = read["train"]
    count = min(MOST_SET_ASIDE, len(train) // SET_ASIDE)
    seen = Counter(item.pair for item in train)
    order = np.random.default_rng(13).permutation(len(train))
    once = [int(index) for index in order if seen[train[index].pair] == 1]
    repeats: dict[tuple[str, ...], list[int]] = {}
    if count == 0 or len(once) < count * len(missing):  # repeated rows: pairs go with all of their repeats
        for index in order:
            repeats.setdefault(train[index].pair, []).append(int(index))
        once = [places[0] for places in repeats.values()]
        count = min(count, len(once) // SET_ASIDE)
    if count == 0:
        raise UsageError(
            f"too few examples to set {' and '.join(missing)} aside",
            wanted=f"at least {SET_ASIDE} different examples in train for each",
            got=f"{len(seen)} different examples in {len(train)} rows",
            remedy=f"state files for {' and '.join(missing)}",
            where="task",
        )
    taken: set[int] = set()
    notes: list[str] = []
    for position, split in enumerate(missing):
        chosen = once[position * count : (position + 1) * count]
        gone = {place for index in chosen for place in repeats.get(train[index].pair, [index])}
        read[split] = [train[index] for index in chosen]
        taken |= gone
        note = f"{split}: {count:,} of the {len(train):,} examples in {name}, set aside"
        again = len(gone) - count
        notes.append(note + (f"; {again:,} repeats of them are left out of train" if again else ""))
    read["train"] = [item for index, item in enumerate(train) if index not in taken]
    return tuple(notes)
