"""Files and folders that are no data files as they are: what they are, and the line that makes them some."""

from __future__ import annotations

import shlex
from pathlib import Path

from finescale.errors import UsageError

POINTER = b"version https://git-lfs"
"""How a file begins that stands for one that git-lfs did not fetch."""
LINES = 'write it as lines of {"source": "...", "target": "..."} into a .jsonl file'
SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")
"""What `save_to_disk` of the library datasets writes beside its Arrow files."""


def refuse_pointer(path: Path) -> None:
    """Refuses a file that git-lfs did not fetch.

    Raises:
        UsageError: It is one.
    """
    with path.open("rb") as file:
        if file.read(len(POINTER)) != POINTER:
            return
    raise UsageError(
        "a pointer of git-lfs, not the data",
        wanted="the file that it stands for",
        got=f"{path.stat().st_size} bytes",
        remedy=f"git -C {_quoted(path.absolute().parent)} lfs pull",
        where=str(path),
    )


def refuse_saved(folder: Path) -> None:
    """Refuses a folder that `save_to_disk` wrote: its JSON files are no data.

    Raises:
        UsageError: It is one.
    """
    found = [name for name in SAVED if (folder / name).is_file()]
    if "dataset_dict.json" not in found and not (len(found) == 2 and any(folder.glob("*.arrow"))):
        return
    raise UsageError(
        "a folder that `save_to_disk` wrote",
        wanted="JSONL, JSON, CSV, TSV or Parquet files",
        got=", ".join(sorted(item.name for item in folder.iterdir())[:8]),
        remedy=_parquet_of(folder, several="dataset_dict.json" in found),
        where=str(folder),
    )


def remedy_of(path: Path) -> str:
    """How a file whose name ends otherwise becomes one that can be read; empty where nobody knows."""
    file, kind = _quoted(path), path.suffix.lower()
    if kind == ".arrow":
        return _parquet_of(path.parent, several=False)
    return {
        ".gz": f"gunzip --keep {file}",
        ".bz2": f"bunzip2 --keep {file}",
        ".xz": f"unxz --keep {file}",
        ".zst": f"zstd -d {file}",
        ".zip": f"unzip {file}",
        ".tar": f"tar xf {file}",
        ".txt": LINES,
        ".md": LINES,
        ".xlsx": "save the sheet as CSV",
        ".xls": "save the sheet as CSV",
        ".ndjson": "the name of lines of JSON ends in .jsonl: rename it",
    }.get(kind, "")


def _parquet_of(folder: Path, *, several: bool) -> str:
    made = f"datasets.load_from_disk({str(folder)!r})"
    if not several:
        return f'python -c "import datasets; {made}.to_parquet({"train.parquet"!r})"'
    each = "[rows.to_parquet(split + '.parquet') for split, rows in"
    return f'python -c "import datasets; {each} {made}.items()]"'


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
