"""What a source is, told by its content: a table in a file, a study's folder, a frame of another library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.tables import read_table
from finescale.records.trainer_folders import find_runs, read_runs
from finescale.spec.paths import exists

RECORDS = "records.parquet"
"""The table in a study's folder."""


def open_source(source: str | Path | Any) -> RawTable:
    """Opens what an analysis may start from, without interpreting it.

    Args:
        source: A table's file, a study's folder, a folder of the Trainer's, or any frame that narwhals knows.

    Raises:
        UsageError: It is none of these, or cannot be read.
    """
    folder: Path | None = None
    if isinstance(source, str | Path) and exists(source):
        path = Path(source)
        folder = path if path.is_dir() else path.parent
        study = any((path / name).exists() for name in (RECORDS, "ledger.sqlite"))
        if path.is_dir() and not study and find_runs(path):
            return read_runs(path)
        source = table_in(path) if path.is_dir() else path
    frame, origin, first_row = read_table(source)
    return RawTable(frame, origin, first_row, folder)


def table_in(folder: Path) -> Path:
    """The table of a study's folder.

    Raises:
        UsageError: There is none.
    """
    table = folder / RECORDS
    if not table.exists():
        ledger = (folder / "ledger.sqlite").exists()
        raise UsageError(
            "no records in this folder",
            wanted=RECORDS,
            got=f"a ledger, but no {RECORDS}" if ledger else f"neither {RECORDS} nor a ledger",
            remedy=f"finescale status {folder} --export {table}" if ledger else "finescale run STUDY",
            where=str(folder),
        )
    return table
