"""Data sets of the Hugging Face hub: found in a folder of copies, in the cache or on the hub, and mapped.

A folder of copies (`data_dir` of the study's task, or the environment's FINESCALE_DATA) holds each data set
under its name on the hub, `DATA_DIR/org/name/...parquet`, and sacrebleu's sets under `DATA_DIR/sacrebleu`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finescale.errors import UsageError, nearest
from finescale.spec.run import TaskSpec
from finescale.tasks.arrow import Part
from finescale.tasks.published import HubSet

if TYPE_CHECKING:
    import datasets

DATA = "FINESCALE_DATA"
LAYOUTS = ("{config}/{split}-*.parquet", "{config}/{split}/*.parquet", "{split}/{config}.parquet")
PLAIN_LAYOUTS = (
    "data/{split}-*.parquet",
    "{split}-*.parquet",
    "{split}/*.parquet",
    "default/{split}/*.parquet",
)
"""Where repositories on the hub keep a split: with configurations, and without."""


def open_split(hub: HubSet, split: str, folder: Path | None) -> datasets.Dataset:
    """One split of a data set, memory-mapped.

    Args:
        hub: The data set.
        split: One of `hub.splits`.
        folder: A folder of copies; what it lacks is looked for in the hub's cache and on the hub.

    Raises:
        UsageError: It is nowhere.
    """
    import datasets  # noqa: PLC0415 - half a second

    stated = hub.splits[split]
    name, part = re.fullmatch(r"([^\[]*)(\[.*\])?", stated, re.DOTALL).groups()  # pyright: ignore[reportOptionalMemberAccess] - matches any text
    looked: list[str] = []
    files: list[str] = []
    if folder is not None:
        for layout in LAYOUTS if hub.config else PLAIN_LAYOUTS:
            pattern = layout.format(config=hub.config, split=name)
            files = files or sorted(str(file) for file in (folder / hub.dataset).glob(pattern))
            looked.append(pattern)
        looked = [f"in {folder / hub.dataset}: no {' or '.join(looked)}"]
    try:
        if files:
            found = datasets.load_dataset("parquet", data_files={name: files}, split=f"{name}{part or ''}")
        else:
            found = datasets.load_dataset(hub.dataset, hub.config, split=stated, revision=hub.revision)
    except Exception as error:  # the hub's client raises dozens of kinds
        said = " ".join(str(error).split())[:200]
        looked.append(f"in {len(files)} files under {folder}: {said}" if files else f"on the hub: {said}")
        raise _missing(hub, split, looked) from None
    assert isinstance(found, datasets.Dataset)
    return found


def _missing(hub: HubSet, split: str, looked: Sequence[str]) -> UsageError:
    words = [
        hub.dataset,
        hub.config,
        f"split {hub.splits[split]}",
        hub.revision and f"revision {hub.revision}",
    ]
    revision = f" --revision {hub.revision}" if hub.revision else ""
    remedy = (
        f"where there is a network: hf download {hub.dataset} --repo-type dataset{revision} --local-dir "
        f"DATA/{hub.dataset}; then `data_dir: DATA` in the study's task, or {DATA}=DATA in the environment"
    )
    if hub.gated:
        remedy += " (its page on the hub asks to accept its terms first; then `hf auth login`)"
    return UsageError(
        "a data set cannot be loaded",
        wanted=", ".join(word for word in words if word),
        got="not found; looked " + "; ".join(looked),
        remedy=remedy,
        where="task",
    )


def data_folder(spec: TaskSpec) -> Path | None:
    """The folder of copies: the task's own, or the environment's; None where none is stated.

    Raises:
        UsageError: It is not there.
    """
    stated = spec.data_dir or os.environ.get(DATA)
    if not stated:
        return None
    folder = Path(stated).expanduser()
    if not folder.is_dir():
        raise UsageError(
            "no such folder of data",
            wanted="a folder with DATA_DIR/org/name/... as on the hub",
            got=str(folder),
            where="task.data_dir" if spec.data_dir else DATA,
        )
    return folder


def part_of(
    rows: datasets.Dataset,
    hub: HubSet,
    constants: Mapping[str, str],
    columns: Mapping[str, str] | None = None,
) -> Part:
    """Rows of a data set with the columns that a task reads.

    Args:
        rows: A split.
        hub: Names the columns of source and target.
        constants: Fields of the template that are the same in every row.
        columns: Field of the template to the column that has it.

    Raises:
        UsageError: A column that is not there, or holds no text.
    """
    import pyarrow as pa  # noqa: PLC0415

    part = Part(rows.flatten(), hub.source, hub.target, constants, columns or {})
    types = {field.name: field.type for field in part.rows.data.schema}
    for column in part.read:
        if column not in types:
            raise UsageError(
                f"no column {column!r}",
                wanted="a column of the data set with text",
                got=", ".join(types)[:200],
                remedy=nearest(column, types) or "name the columns: task: {source: COLUMN, target: COLUMN}",
                where=f"{hub.dataset}, {column}",
            )
        if not (pa.types.is_string(types[column]) or pa.types.is_large_string(types[column])):
            raise UsageError(
                "not text", wanted="text", got=str(types[column]), where=f"{hub.dataset}, {column}"
            )
    return Part(part.rows.select_columns(part.read), hub.source, hub.target, constants, columns or {})
