"""Which files of a user's are train, dev and test, and which columns are read and learned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.spec.run import TaskSpec
from finescale.tasks.layouts import layout_of
from finescale.tasks.rows import READERS, read_rows

SPLITS = {
    "train": ("train", "training"),
    "dev": ("dev", "valid", "validation", "val", "eval"),
    "test": ("test", "testing", "heldout"),
}
"""Words in files' names that tell their split."""
PAIRS = (
    ("source", "target"), ("src", "tgt"), ("question", "answer"), ("query", "answer"), ("query", "response"),
    ("instruction", "response"), ("instruction", "output"), ("prompt", "response"), ("input", "output"),
    ("input", "target"), ("input", "label"), ("article", "highlights"), ("article", "summary"),
    ("document", "summary"), ("dialogue", "summary"), ("text", "summary"), ("text", "label"),
    ("sentence", "label"), ("review", "label"), ("text", "target"), ("x", "y"),
)  # fmt: skip
"""Names of columns that data sets give to what is read and what is learned."""


def split_files(data: Path) -> dict[str, Path]:
    """The files of each split.

    Args:
        data: A file, beside which others of the same name may have the other splits (`train.jsonl`,
            `test.jsonl`); or a folder with them.

    Returns:
        `train`, and `dev` and `test` where there are files for them.

    Raises:
        UsageError: No such file, or a folder in which no file is the training data.
    """
    if not data.is_dir():
        read_rows(data, "--data")  # says what is wrong with it
        own = _split(data)
        if own != "train":
            return {"train": data}
        found = _by_split(data.parent, data.suffix)
        return {**{split: file for split, file in found.items() if _alike(file, data)}, "train": data}
    found = _by_split(data)
    files = sorted(file for file in data.iterdir() if file.suffix.lower() in READERS)
    if "train" not in found and len(files) == 1:
        return {"train": files[0]}
    if "train" not in found:
        raise UsageError(
            "no file of this folder is the training data",
            wanted="train.jsonl (or .json, .csv, .tsv, .parquet), or one file alone",
            got=", ".join(file.name for file in files[:8]) or "no data file",
            remedy="name the file: --data FOLDER/FILE",
            where=str(data),
        )
    return found


def pair_columns(
    spec: TaskSpec, first: Mapping[str, Any], source: str | None, target: str | None
) -> tuple[str, str] | None:
    """The columns that are read and learned; None where the layout itself says it.

    Args:
        spec: The task, without columns.
        first: The first row.
        source: Column that the user names.
        target: The other one.

    Raises:
        UsageError: They cannot be told.
    """
    if source or target:
        stated = source or spec.source, target or spec.target
        return stated
    if layout_of(spec, first).kind != "pairs" or {"source", "target"} <= first.keys():
        return None
    names = {name.casefold(): name for name in first}
    for one, other in PAIRS:
        if one in names and other in names:
            return names[one], names[other]
    texts = [name for name, value in first.items() if isinstance(value, str)]
    if len(texts) == 2:
        return texts[0], texts[1]
    raise UsageError(
        "which column is read, and which is learned?",
        wanted="--source COLUMN --target COLUMN",
        got=", ".join(map(str, first))[:200],
        where="--data",
    )


def task_name(train: Path) -> str:
    """A name for the task: the file's, or its folder's where the file is just called train."""
    words = _split_word(train.stem)
    stem = train.stem if not words else (train.stem.replace(words, "").strip("-_. ") or train.parent.name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "data"


def _by_split(folder: Path, suffix: str | None = None) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in READERS and suffix in (None, file.suffix) and (split := _split(file)):
            found.setdefault(split, file)
    return found


def _split(file: Path) -> str | None:
    word = _split_word(file.stem)
    return next((split for split, words in SPLITS.items() if word.lower() in words), None) if word else None


def _split_word(stem: str) -> str:
    known = {word for words in SPLITS.values() for word in words}
    return next((word for word in re.findall(r"[A-Za-z]+", stem) if word.lower() in known), "")


def _alike(one: Path, other: Path) -> bool:
    """Whether two files' names differ in the word for their split alone."""
    return one.stem.replace(_split_word(one.stem), "") == other.stem.replace(_split_word(other.stem), "")
