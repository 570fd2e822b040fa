"""The list of kinds, and which of them a source is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finescale.errors import UsageError, nearest
from finescale.records.reading import RawTable
from finescale.records.sources import (
    lm_eval,
    mlflow,
    optuna,
    peft_comparison,
    tensorboard,
    trackio,
    trainer,
    wandb,
)
from finescale.records.sources.kind import Kind, Tree
from finescale.records.tables import open_table, read_table
from finescale.spec.paths import exists

RECORDS = "records.parquet"
"""The table in a study's folder."""
_LEDGER = "ledger.sqlite"
KINDS: tuple[Kind, ...] = (
    wandb.KIND, mlflow.KIND, tensorboard.KIND, trackio.KIND, optuna.KIND, trainer.KIND, lm_eval.KIND,
    peft_comparison.KIND,
)  # fmt: skip
"""Every kind but tables and studies; a new one is a module and its name here."""
_TABLE, _STUDY = "table", "study"


@dataclass(frozen=True)
class Opened:
    """A source that was opened.

    Attributes:
        raw: What it holds.
        title: Its kind in words.
        holds: Runs, or the scores of runs.
    """

    raw: RawTable
    title: str
    holds: Literal["runs", "scores"] = "runs"


def open_source(source: str | Path | Any, kind: str | None = None) -> RawTable:
    """Opens what an analysis may start from, without interpreting it.

    Args:
        source: A table's file, a study's folder, what a trainer or a tracker left, an address of a tracker,
            or any frame that narwhals knows.
        kind: The kind to read it as (``--source``); None: as its content says.

    Raises:
        UsageError: It is none of these, it is two of them, it cannot be read, or it holds no runs.
    """
    opened = open_any(source, kind)
    if opened.holds == "scores":
        raise UsageError(
            f"{opened.title}: scores, not runs",
            wanted="a source of runs",
            remedy=f"finescale collect {source} --out scores.parquet, then finescale report RUNS --scores",
            where=str(source),
        )
    return opened.raw


def open_any(source: str | Path | Any, kind: str | None = None) -> Opened:
    """Opens runs or scores; see ``open_source``.

    Raises:
        UsageError: As there.
    """
    _check_kind(kind)
    if not isinstance(source, str | Path):
        frame, origin, first_row, notes = open_table(source)
        return Opened(RawTable(frame, origin, first_row, notes=notes), "a table")
    if not exists(source):
        found = None if kind in (_TABLE, _STUDY) else _of_address(str(source), kind)
        return _read(found, str(source), ()) if found else _table(Path(source))
    path = Path(source)
    if path.is_dir():
        return _folder(path, kind)
    if kind != _TABLE:
        for one in KINDS:
            if kind == one.name or (kind is None and one.is_file(path)):
                return _read(one, path, (path,))
    return _table(path)


def _read(kind: Kind, source: Path | str, places: Sequence[Path]) -> Opened:
    return Opened(kind.read(source, places), kind.title, kind.holds)


def _table(path: Path) -> Opened:
    frame, origin, first_row, notes = open_table(path)
    return Opened(RawTable(frame, origin, first_row, path.parent, notes), "a table")


def _folder(path: Path, kind: str | None) -> Opened:
    """The one kind that lies below a folder; a study goes before all, as it may hold its own trackers'.

    Raises:
        UsageError: Two kinds, or none.
    """
    if kind in (_TABLE, _STUDY) or (kind is None and is_study(path)):
        frame, origin, first_row = read_table(table_in(path))
        return Opened(RawTable(frame, origin, first_row, path), "a study")
    tree = Tree.of(path)
    found = {one.name: (one, places) for one in KINDS if (places := one.places(tree))}
    if kind is not None:
        if kind not in found:
            title = next(one.title for one in KINDS if one.name == kind)
            raise UsageError(f"no {title} here", wanted=f"--source {kind}", where=str(path))
    elif len(found) > 1:
        raise UsageError(
            f"this folder holds {len(found)} kinds of source",
            wanted="one",
            got="; ".join(f"{one.title} ({_shown(places, path)})" for one, places in found.values()),
            remedy=f"name a folder below it, or say which: --source {' or --source '.join(found)}",
            where=str(path),
        )
    if not found:
        return _table(table_in(path))
    one, places = found[kind] if kind else next(iter(found.values()))
    return _read(one, path, places)


def _shown(places: Sequence[Path], root: Path) -> str:
    first = places[0].relative_to(root).as_posix() if places[0] != root else "."
    return f"{first} and {len(places) - 1} more" if len(places) > 1 else first


def _of_address(text: str, kind: str | None) -> Kind | None:
    """The kind that an address is of; None where it is a path that leads nowhere.

    Raises:
        UsageError: Several kinds have such addresses.
    """
    fits = [one for one in KINDS if one.is_address(text) and kind in (None, one.name)]
    if len(fits) > 1:
        raise UsageError(
            "an address of two kinds", wanted=" or ".join(f"--source {one.name}" for one in fits), got=text
        )
    return fits[0] if fits else None


def _check_kind(kind: str | None) -> None:
    names = [_TABLE, _STUDY, *(one.name for one in KINDS)]
    if kind is not None and kind not in names:
        raise UsageError(f"--source {kind}", wanted=", ".join(names), got=kind, remedy=nearest(kind, names))


def is_study(folder: Path) -> bool:
    """Whether a folder is a study's: it has records, or a ledger."""
    return any((folder / name).exists() for name in (RECORDS, _LEDGER))


def table_in(folder: Path) -> Path:
    """The table of a study's folder.

    Raises:
        UsageError: There is none.
    """
    table = folder / RECORDS
    if not table.exists():
        ledger = (folder / _LEDGER).exists()
        raise UsageError(
            "no records in this folder",
            wanted=RECORDS if ledger else f"{RECORDS}, or " + ", ".join(one.title for one in KINDS),
            got=f"a ledger, but no {RECORDS}" if ledger else f"neither {RECORDS} nor a ledger",
            remedy=f"finescale status {folder} --export {table}" if ledger else "finescale run STUDY",
            where=str(folder),
        )
    return table
