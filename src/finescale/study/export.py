"""From the ledger to tables: every record with every column of `records.py`, written aside and renamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finescale.errors import UsageError
from finescale.study.filesystem import REMEDIES
from finescale.study.ledger import Ledger

if TYPE_CHECKING:
    import polars as pl

FRACTIONS = (
    "learning_rate", "lora_alpha", "train_flops", "wall_seconds", "test_seconds", "generation_seconds",
    "few_shot_seconds", "zero_shot_seconds", "forgetting_seconds", "tokens_per_second",
)  # fmt: skip


def records_frame(ledger: Ledger) -> pl.DataFrame:
    """Every record of the present plan; the columns of `records.py` first, in their order.

    Args:
        ledger: The study's ledger.

    Returns:
        A row a record. Columns that a run added come last.
    """
    import polars as pl  # noqa: PLC0415 - only where a table is made

    from finescale.records.records import COLUMNS  # noqa: PLC0415

    rows = list(ledger.rows())
    schema: dict[str, Any] = {}
    for column in COLUMNS:
        if column.kind == "text":
            schema[column.name] = pl.String
        elif column.kind == "flag":
            schema[column.name] = pl.Boolean
        elif column.kind in ("loss", "number") or column.name in FRACTIONS:
            schema[column.name] = pl.Float64
        else:
            schema[column.name] = pl.Int64
    more = sorted({name for row in rows for name in row} - schema.keys())
    known = pl.DataFrame(
        [[row.get(name) for name in schema] for row in rows], schema, orient="row", strict=False
    )
    return known.with_columns(pl.Series(name, [row.get(name) for row in rows], strict=False) for name in more)


def export_study(ledger: Ledger, folder: Path) -> None:
    """Writes records.parquet, and scores.parquet where there are scores, into the study's folder."""
    export_tables(ledger, folder / "records.parquet")


def export_tables(ledger: Ledger, path: Path) -> list[tuple[int, str, Path]]:
    """Writes the records, and beside them the scores where there are any.

    Args:
        ledger: The study's ledger.
        path: A .parquet or .csv file for the records; the scores' file is called `scores` where this one is
            called `records`, otherwise NAME_scores.

    Returns:
        For each file: how many rows, of what, where.
    """
    import polars as pl  # noqa: PLC0415

    frame = records_frame(ledger)
    write_table(frame, path)
    written = [(frame.height, "records", path)]
    scores = ledger.scores()
    if scores:
        stem = path.stem.replace("records", "scores") if "records" in path.stem else f"{path.stem}_scores"
        beside = path.with_stem(stem)
        write_table(pl.DataFrame(scores, infer_schema_length=None), beside)
        written.append((len(scores), "scores", beside))
    return written


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Writes a table whole or not at all.

    Args:
        frame: The table.
        path: A .parquet or .csv file.

    Raises:
        UsageError: Another kind of file, or a folder that cannot be written.
    """
    from finescale.records.defused import csv_text  # noqa: PLC0415 - polars only where a table is made

    writers: dict[str, Callable[[BytesIO], Any]] = {
        ".parquet": frame.write_parquet,
        ".csv": lambda file: file.write(csv_text(frame).encode()),
    }
    write = writers.get(path.suffix.lower())
    if write is None:
        raise UsageError(
            "unknown kind of file",
            wanted="a name that ends in .parquet or .csv",
            got=path.name,
            remedy=f"try {path.stem}.parquet",
        )
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    table = BytesIO()  # polars itself says "invalid thrift" where the disk is full
    write(table)
    try:
        with aside.open("wb") as written:
            written.write(table.getbuffer())
            written.flush()
            os.fsync(written.fileno())
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise UsageError(
            "the table cannot be written",
            wanted="a folder that can be written",
            got=str(error),
            remedy=REMEDIES.get(error.errno or 0, "name another folder"),
            where=str(path),
        ) from None
