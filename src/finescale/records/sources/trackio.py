"""Projects of trackio: the SQLite files that it writes, and the Parquet files that it exports.

Both are read as files: the package would have to be told a project, and knows only those of its own folder.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.sources.history import evaluations, tuning
from finescale.records.sources.kind import Kind, Tree, flat, is_sqlite, sqlite_tables, table_of, told_apart

_TABLES = {"metrics", "configs", "system_metrics"}
_OTHERS = ("_configs", "_system", "_traces")
_OWN = {"id", "run_id", "run_name", "timestamp", "step", "log_id", "space_id", "created_at"}
_Log = dict[tuple[str, str], list[tuple[int, dict[str, Any]]]]


def read_projects(source: Path | str, places: Sequence[Path]) -> RawTable:
    """The runs of the projects in files.

    Args:
        source: The folder or file.
        places: The projects' files.

    Raises:
        UsageError: A file that cannot be read; no run.
    """
    rows: list[dict[str, Any]] = []
    for file in places:
        configs, log = _database(file) if is_sqlite(file) else _parquet(file)
        for (run, name), steps in log.items():
            config = configs.get(run) or configs.get(name) or {}
            rows += evaluations(_said(run, name, config, file.stem), steps)
    if not rows:
        raise UsageError("no run in this store of trackio", wanted="runs that logged", where=str(source))
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    runs = len({(row["trackio_project"], row["run_id"]) for row in rows})
    rows = told_apart(rows, "trackio_project")
    return RawTable(table_of(rows), str(source), 1, folder, (f"{source} holds {runs} runs of trackio.",))


def _said(run: str, name: str, config: dict[str, Any], project: str) -> dict[str, Any]:
    adapter = config.get("peft_config")
    found = tuning(adapter) if isinstance(adapter, dict) else {}
    plain = {key: value for key, value in config.items() if key[0] != "_" and key not in found}
    plain.pop("peft_config", None)
    return {"run_id": run, "name": name, "trackio_project": project} | flat(plain, "config.") | found


def _database(file: Path) -> tuple[dict[str, dict[str, Any]], _Log]:
    """Configurations by run, and what was logged at each step."""
    configs: dict[str, dict[str, Any]] = {}
    log: _Log = {}
    try:
        with sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True) as database:
            for run, config in _pairs(database, "configs", "config"):
                configs |= dict.fromkeys(run[:1], json.loads(config))
            for (run, name, step), metrics in _pairs(database, "metrics", "metrics", "step"):
                log.setdefault((run, name), []).append((step, _numbers(json.loads(metrics))))
    except (sqlite3.Error, ValueError) as error:
        raise UsageError("not a store of trackio", got=str(error), where=str(file)) from None
    return configs, log


def _pairs(
    database: sqlite3.Connection, table: str, value: str, *more: str
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Rows of a table: who (older stores know runs by their names alone), and a text of JSON."""
    columns = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
    run = "run_id" if "run_id" in columns else "run_name"
    names = ", ".join((run, "run_name", *more))
    for *who, text in database.execute(f"SELECT {names}, {value} FROM {table} ORDER BY id"):
        yield tuple(who), text


def _parquet(file: Path) -> tuple[dict[str, dict[str, Any]], _Log]:
    """The same from an export: metrics in one file, configurations in another beside it."""
    configs: dict[str, dict[str, Any]] = {}
    beside = next((at for at in _beside(file) if at.is_file()), None)
    for row in pl.read_parquet(beside).iter_rows(named=True) if beside else ():
        plain = {name: value for name, value in row.items() if name not in _OWN and value is not None}
        configs |= dict.fromkeys((str(row.get("run_id") or row["run_name"]), row["run_name"]), plain)
    log: _Log = {}
    for row in pl.read_parquet(file).iter_rows(named=True):
        run, name = str(row.get("run_id") or row["run_name"]), row["run_name"]
        metrics = {key: value for key, value in row.items() if key not in _OWN and value is not None}
        log.setdefault((run, name), []).append((row["step"], _numbers(metrics)))
    return configs, log


def _beside(file: Path) -> tuple[Path, Path]:
    return file.with_name(f"{file.stem}_configs.parquet"), file.parent / "aux" / "configs.parquet"


def _numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    """Numbers as they are; trackio writes what JSON cannot hold as words."""
    words = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
    return {
        name: words.get(value, value) if isinstance(value, str) else value for name, value in metrics.items()
    }


def _is_export(file: Path) -> bool:
    """Whether a Parquet file is the metrics of a project: runs, steps, and a time for each."""
    if file.suffix != ".parquet" or file.stem.endswith(_OTHERS):
        return False
    try:
        return {"run_name", "step", "timestamp"} <= set(pl.read_parquet_schema(file))
    except (pl.exceptions.PolarsError, OSError):
        return False


def _places(tree: Tree) -> list[Path]:
    stores = [file for file, tables in tree.databases.items() if tables >= _TABLES]
    known = {file.with_suffix("") for file in stores}  # an export beside its store says nothing more
    exports = tree.files(lambda name: name.endswith(".parquet"))
    return stores + [file for file in exports if file.with_suffix("") not in known and _is_export(file)]


KIND = Kind(
    name="trackio",
    title="projects of trackio",
    places=_places,
    read=read_projects,
    is_file=lambda file: (is_sqlite(file) and sqlite_tables(file) >= _TABLES) or _is_export(file),
)
