"""Which files of a user's are train, dev and test."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from finescale.errors import UsageError
from finescale.tasks.foreign import refuse_saved, remedy_of
from finescale.tasks.rows import READERS, read_rows

SPLITS = {
    "train": ("train", "training"),
    "dev": ("dev", "valid", "validation", "val", "eval"),
    "test": ("test", "testing", "heldout"),
}
"""Words in files' names that tell their split."""
WHOLE = "whole"
"""The folder that remedies write concatenated shards into."""


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
        if _split(data) != "train":
            return {"train": data}
        beside = [file for file in _data_files(data.parent) if _alike(file, data) and _split(file) != "train"]
        return {"train": data, **_by_split(beside)}
    refuse_saved(data)
    files = _data_files(data)
    found = _by_split(files)
    if "train" not in found and len(files) == 1:
        return {"train": files[0]}
    if "train" not in found:
        raise _no_train(data, files)
    return found


def _data_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in READERS)


def _no_train(folder: Path, files: list[Path]) -> UsageError:
    there = sorted(item.name for item in folder.iterdir())
    remedy = "name the file: --data FOLDER/FILE"
    if len(files) > 1 and len({_unnumbered(file) for file in files}) == 1:
        remedy = _concatenate(files, "train")
    elif not files:
        inner = [item for item in sorted(folder.iterdir()) if item.is_dir() and _data_files(item)]
        remedies = [f"--data {item}" for item in inner]
        remedies += filter(None, (remedy_of(folder / name) for name in there if name != "README.md"))
        remedy = remedies[0] if remedies else ""
    return UsageError(
        "no file of this folder is the training data",
        wanted="train.jsonl (or .json, .csv, .tsv, .parquet), or one file alone",
        got=", ".join(file.name for file in files[:8])
        or f"no data file, but {', '.join(there[:8]) or 'nothing'}",
        remedy=remedy,
        where=str(folder),
    )


def other_shards(train: Path) -> tuple[str, ...]:
    """What is said of files beside the training data whose names differ from its own in numbers alone.

    Args:
        train: The file with the training data.
    """
    if not re.search(r"\d", train.stem):
        return ()
    alike = [file for file in _data_files(train.parent) if _unnumbered(file) == _unnumbered(train)]
    if len(alike) < 2:
        return ()
    return (f"{train.name} is one of {len(alike)} files of that name in its folder: the others are not used",)


def task_name(train: Path) -> str:
    """A name for the task: the file's, or its folder's where the file is just called train."""
    words = _split_word(train.stem)
    stem = train.stem if not words else (train.stem.replace(words, "").strip("-_. ") or train.parent.name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "data"


def _by_split(files: Iterable[Path]) -> dict[str, Path]:
    """The file of each split.

    Raises:
        UsageError: Several for one: a study names one file, and one of several shards would be a part.
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        if split := _split(file):
            found.setdefault(split, []).append(file)
    for split, several in found.items():
        if len(several) > 1:
            shards = len({_unnumbered(file) for file in several}) == 1
            raise UsageError(
                f"{len(several)} files for {split}",
                wanted="one: a study names one file for each split",
                got=", ".join(file.name for file in several[:5]) + (", ..." if len(several) > 5 else ""),
                remedy=_concatenate(several, split)
                if shards
                else "leave one of them there, or name the training data: --data FOLDER/FILE",
                where=str(several[0].parent),
            )
    return {split: several[0] for split, several in found.items()}


def _concatenate(shards: Sequence[Path], split: str) -> str:
    """The line that makes one file of shards."""
    folder, suffix = shards[0].parent, shards[0].suffix
    whole = folder / WHOLE
    into, kind = whole / f"{split}{suffix}", suffix.lower()
    every = folder / (re.sub(r"\d+", "*", shards[0].stem) + suffix)
    listed, quoted = f"{shlex.quote(str(folder))}/{every.name}", shlex.quote(str(into))
    if kind == ".jsonl":
        line = f"awk 1 {listed} > {quoted}"  # cat, with a line end after each
    elif kind in (".csv", ".tsv"):
        line = f"awk 'FNR > 1 || NR == 1' {listed} > {quoted}"  # one header
    elif kind == ".parquet":
        code = f"import polars; polars.read_parquet('{every}').write_parquet('{into}')"
        line = f'python -c "{code}"'
    else:
        rows = f"[row for file in sorted(glob.glob('{every}')) for row in json.load(open(file))]"
        line = f"python -c \"import glob, json; json.dump({rows}, open('{into}', 'w'))\""
    return f"mkdir -p {shlex.quote(str(whole))}; {line}, the other splits beside it, and --data {whole}"


def _split(file: Path) -> str | None:
    word = _split_word(file.stem)
    return next((split for split, words in SPLITS.items() if word.lower() in words), None) if word else None


def _split_word(stem: str) -> str:
    known = {word for words in SPLITS.values() for word in words}
    return next((word for word in re.findall(r"[A-Za-z]+", stem) if word.lower() in known), "")


def _alike(one: Path, other: Path) -> bool:
    """Whether two files' names differ in the word for their split alone, or in how many shards it has."""
    rest = [re.sub(r"\d+-of-\d+", "", file.stem.replace(_split_word(file.stem), "")) for file in (one, other)]
    return rest[0] == rest[1] and one.suffix == other.suffix


def _unnumbered(file: Path) -> str:
    """A file's name without its numbers."""
    return re.sub(r"\d+", "#", file.name)
