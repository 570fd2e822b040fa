"""Pretraining text: the documents a ladder learns from, and a sample to measure what finetuning forgets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from finescale.errors import UsageError
from finescale.tasks.rows import READERS, read_rows

REMEDY = "rebuild the text with `make corpus` (docs/corpus.md), then give its folder with --text"


def read_sample(file: str | Path, where: str = "evaluation.forgetting.text") -> list[str]:
    """The documents of a sample.

    Args:
        file: A .txt file (one document), or a .jsonl, .csv, .tsv or .parquet file with a column `text`.
        where: Field of the study, for the error.

    Raises:
        UsageError: A file that cannot be read, or that has no text.
    """
    path = Path(file)
    if not path.is_file():
        raise UsageError("no such file", wanted="a file of text", got=str(path), where=where)
    if path.suffix.lower() in READERS:
        documents = [_text(row.values.get("text"), path, row.line) for row in read_rows(path)]
    else:
        try:
            documents = [path.read_text(encoding="utf-8")]
        except UnicodeDecodeError as error:
            line = error.object[: error.start].count(b"\n") + 1
            raise UsageError(
                "not text", wanted="text in UTF-8", got="other bytes", where=f"{path}, line {line}"
            ) from None
    if not any(document.strip() for document in documents):
        raise UsageError("no text", wanted="text as in pretraining", got="an empty file", where=str(path))
    return documents


def _text(value: object, path: Path, line: int) -> str:
    if isinstance(value, str):
        return value
    raise UsageError(
        "a row without text",
        wanted="a column `text` with text in every row",
        got="nothing" if value is None else repr(value)[:80],
        where=f"{path}, line {line}, text",
    )


def sample_hash(documents: list[str]) -> str:
    """A hash of a sample's content."""
    return hashlib.sha256("\0".join(documents).encode()).hexdigest()


def read_texts(folder: Path, language: str) -> list[str]:
    """A language's pretraining documents, in the file's order."""
    return pl.read_parquet(text_file(folder, language), columns=["text"])["text"].to_list()


def text_file(folder: Path, language: str) -> Path:
    """The Parquet file of a language's pretraining text."""
    file = folder / f"{language}.parquet"
    if not file.is_file():
        raise UsageError(
            f"no pretraining text for {language!r}",
            wanted=f"a file {file}",
            got="no such file",
            remedy=REMEDY,
        )
    return file
