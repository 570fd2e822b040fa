"""Encoded examples on disk: what one run of a study has tokenised, no other run tokenises again.

A file is named by what it was made from, its number of examples and its own digest. It holds the first
examples of one seed's order: a run with fewer examples reads the beginning of it. Files are written aside and
renamed; one whose digest is not its name's is made again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import overload

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from finescale.batches.batching import Encoded
from finescale.batches.encoded import EncodedSet


class StoredExamples(Sequence[Encoded]):
    """Examples that are read from a file one by one, so that memory does not grow with the data."""

    def __init__(self, file: Path, count: int) -> None:
        """Opens a file.

        Args:
            file: A file of `TokenStore`.
            count: How many of its examples, from the first.
        """
        self._file = safe_open(file, framework="numpy")
        self._ids = self._file.get_slice("ids")
        self._ends = self._file.get_slice("ends")[:count]
        self._starts = self._file.get_slice("target_starts")[:count]
        self._loss = self._file.get_slice("loss") if "loss" in self._file.keys() else None  # noqa: SIM118 - no mapping

    def __len__(self) -> int:
        """How many examples."""
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Encoded]: ...
    def __getitem__(self, index: int | slice) -> Encoded | Sequence[Encoded]:
        """One example, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        first = int(self._ends[index - 1]) if index else 0
        last = int(self._ends[index])
        loss = None if self._loss is None else self._loss[first:last].astype(bool)
        return Encoded(self._ids[first:last], int(self._starts[index]), loss)

    def __iter__(self) -> Iterator[Encoded]:
        """Every example."""
        return (self[i] for i in range(len(self)))


class TokenStore:
    """A folder of encoded examples."""

    def __init__(self, folder: Path) -> None:
        """Takes a folder; it is made with the first file.

        Args:
            folder: Where the files are.
        """
        self._folder = folder

    def first(
        self, contents: Mapping[str, object], examples: int, make: Callable[[], EncodedSet]
    ) -> EncodedSet:
        """The first examples of what `contents` names, made where no file has them.

        Args:
            contents: What the tokens follow from: content hashes of data and tokenizer, the order's seed.
            examples: How many.
            make: Encodes them.

        Returns:
            The examples. Where they cannot be kept (a full disk), they are in memory.
        """
        name = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:20]
        files = {int(file.stem.split("-")[1]): file for file in self._folder.glob(f"{name}-*.safetensors")}
        for size in sorted(size for size in files if size >= examples):
            found = _open(files[size], examples)
            if found is not None:
                return found
        made = make()
        with suppress(OSError, SafetensorError):
            _write(made, self._folder / f"{name}-{examples}")
            for size, file in files.items():
                if size < examples:
                    file.unlink(missing_ok=True)
        return made


def _write(made: EncodedSet, stem: Path) -> None:
    tensors = {
        "ids": np.concatenate([example.ids for example in made.examples]),
        "ends": np.cumsum([len(example.ids) for example in made.examples]),
        "target_starts": np.array([example.target_start for example in made.examples], dtype=np.int32),
        "source_cut": made.source_cut.astype(np.uint8),
        "target_cut": made.target_cut.astype(np.uint8),
    }
    if any(example.loss is not None for example in made.examples):
        carried = [np.isin(np.arange(len(example.ids)), example.predicted) for example in made.examples]
        tensors["loss"] = np.concatenate(carried).astype(np.uint8)
    stem.parent.mkdir(parents=True, exist_ok=True)
    aside = stem.with_suffix(f".{os.getpid()}")
    try:
        save_file(tensors, aside)
        aside.replace(stem.with_name(f"{stem.name}-{_digest(aside)}.safetensors"))
    finally:
        aside.unlink(missing_ok=True)


def _open(file: Path, examples: int) -> EncodedSet | None:
    """The first examples of a file; None where it is damaged or gone."""
    try:
        if _digest(file) != file.stem.split("-")[2]:
            return None
        with safe_open(file, framework="numpy") as opened:
            source_cut, target_cut = (
                opened.get_slice(f"{side}_cut")[:examples] for side in ("source", "target")
            )
        return EncodedSet(StoredExamples(file, examples), source_cut.astype(bool), target_cut.astype(bool))
    except (OSError, SafetensorError):
        return None


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:20]
