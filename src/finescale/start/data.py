"""A look at a user's data: layout, splits, repeats, languages, and lengths in the models' own tokens."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from finescale.errors import UsageError
from finescale.spec.run import TaskSpec
from finescale.start.columns import pair_columns
from finescale.start.files import other_shards, split_files, task_name
from finescale.start.languages import languages
from finescale.tasks.catalog import open_task
from finescale.tasks.chats import message_text
from finescale.tasks.local import same_pair
from finescale.tasks.rows import read_rows
from finescale.tasks.task import Example, Task

VERSION = 2
LOOKED = 2000
"""Examples whose lengths are measured, evenly over the file."""
TOLD = 500
"""Examples whose languages are told."""
ROUNDED = 16
"""Limits of lengths are multiples of this."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of one kind of text in tokens: percentiles, and the limit that was chosen.

    Attributes:
        half: The median.
        most: The 95th percentile.
        nearly_all: The 99th percentile.
        longest: The longest.
        limit: Longer texts are cut to this.
        cut: The share that is.
    """

    half: int
    most: int
    nearly_all: int
    longest: int
    limit: int
    cut: float

    @property
    def words(self) -> str:
        """The percentiles and what the limit does, in words."""
        cut = f"{self.cut:.1%} are cut" if self.cut else "none is cut"
        return (
            f"half are up to {self.half} tokens, 95% up to {self.most}, 99% up to {self.nearly_all}, "
            f"the longest {self.longest}: {cut}"
        )


@dataclass(frozen=True)
class DataLook:
    """What was found in the data.

    Attributes:
        spec: The task for the study file, without limits of lengths.
        task: Its examples.
        repeats: Training examples that are there before.
        scripts: Scripts of the sources and of the targets.
        languages: Their languages; empty where that is not told.
        one_word: The share of targets that are one word.
    """

    spec: TaskSpec
    task: Task
    repeats: int
    scripts: tuple[str, str]
    languages: tuple[str, str]
    one_word: float


def look_at_data(data: Path, source: str | None = None, target: str | None = None) -> DataLook:
    """Opens a user's data and looks at it; every row is checked.

    Args:
        data: A file or folder.
        source: Column that is read, where the layout does not say it.
        target: Column that is learned.

    Raises:
        UsageError: Data that cannot be used; with file, line and field.
    """
    files = split_files(data)
    name = task_name(files["train"].absolute())
    stated: dict[str, str] = {split: str(file.absolute()) for split, file in files.items()}
    plain = TaskSpec(name=name).model_copy(update=stated)
    rows = read_rows(files["train"], "--data")
    if not rows:
        raise UsageError(
            "no examples", wanted="at least one row", got="an empty file", where=str(files["train"])
        )
    spec = plain.model_copy(update=pair_columns(plain, rows, files["train"], source, target))
    task = open_task(spec, VERSION)  # pyright: ignore[reportArgumentType] - frozen, so it has a hash
    task = replace(task, notes=(*task.notes, *other_shards(files["train"])))
    seen = Counter(same_pair(example, VERSION) for example in task.train)
    some, fewer = spread(task.train), spread(task.train, TOLD)
    return DataLook(
        spec=spec,
        task=task,
        repeats=sum(count - 1 for count in seen.values()),
        scripts=(scripts(e.source for e in some), scripts(e.target for e in some)),
        languages=(languages(e.source for e in fewer), languages(e.target for e in fewer)),
        one_word=sum(len(e.target.split()) == 1 for e in task.train) / len(task.train),
    )


def spread(examples: Sequence[Example], most: int = LOOKED) -> list[Example]:
    """At most so many examples, evenly over all."""
    places = np.linspace(0, len(examples) - 1, min(most, len(examples))).round().astype(int)
    return [examples[int(place)] for place in places]


def scripts(texts: Iterable[str]) -> str:
    """The scripts that texts are written in, the most frequent first, those of at least a twentieth."""
    found: Counter[str] = Counter()
    for text in texts:
        letters = [letter for letter in text[:200] if letter.isalpha()]
        found.update(unicodedata.name(letter, "?").split()[0].split("-")[0].title() for letter in letters)
    whole = sum(found.values())
    named = {"Cjk": "Chinese characters"}
    return ", ".join(named.get(name, name) for name, many in found.most_common(4) if many >= whole / 20)


def read_texts(examples: Iterable[Example]) -> tuple[list[str], list[str]]:
    """The texts that are cut one by one: what is read, and what is learned; of chats each message."""
    sources, targets = [], []
    for example in examples:
        if example.chat is None:
            sources.append(example.source)
            targets.append(example.target)
            continue
        for place, message in enumerate(example.chat.messages):
            (targets if place in example.chat.answers else sources).append(message_text(message))
    return sources, targets


def lengths(tokens: Sequence[int], most: int) -> Lengths:
    """Percentiles of lengths, and a limit: nothing is cut where the longest is not far off, else 1%.

    Args:
        tokens: Of each text.
        most: The highest limit that the models allow.
    """
    half, many, nearly_all, longest = (
        int(value) for value in np.quantile(tokens, (0.5, 0.95, 0.99, 1.0), method="higher")
    )
    wanted = longest if longest <= 2 * many else nearly_all
    limit = max(1, min(-(-wanted // ROUNDED) * ROUNDED, most))
    return Lengths(half, many, nearly_all, longest, limit, float(np.mean(np.asarray(tokens) > limit)))
