"""Runs of Weights & Biases: local ``wandb/`` folders, and projects where the package is logged in.

A local run is a log of protocol buffers in LevelDB's log format; the package brings the messages, but no
reader of its own for files.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.sources.history import evaluations, tuning
from finescale.records.sources.kind import Kind, begins, flat, needs, table_of, told_apart

_MAGIC = b":W&B"
_BLOCK, _HEADER = 32768, 7
_WHOLE, _LAST = 1, 4
_ADDRESS = re.compile(r"(?:wandb:|https?://(?:www\.)?wandb\.ai/)([^/?#]+/[^/?#]+)")


def read_runs(source: Path | str, places: Sequence[Path]) -> RawTable:
    """The runs of a folder, or of a project.

    Args:
        source: The folder; or ``wandb:ENTITY/PROJECT``, or a project's web address.
        places: The runs' files; empty for a project.

    Raises:
        UsageError: The package is not installed; a file that cannot be read; a project that is out of reach.
    """
    if not places:
        return _project(str(source))
    rows: list[dict[str, Any]] = []
    for file in places:
        rows += _run(file)
    rows = told_apart(rows, "wandb_project")
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    return RawTable(table_of(rows), str(source), 1, folder, (f"{source} holds {len(places)} runs of W&B.",))


def _run(file: Path) -> list[dict[str, Any]]:
    """The evaluations of one run's file."""
    name, status, config, summary = file.stem.removeprefix("run-"), "running", {}, {}
    said: dict[str, Any] = {"run_id": name}
    log: list[tuple[int | float | None, dict[str, Any]]] = []
    for record in _records(file):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            said |= {"Name": record.run.display_name or name, "wandb_project": record.run.project}
            said |= {"run_group": record.run.run_group} if record.run.run_group else {}
            config |= _values(record.run.config.update)
        elif kind == "config":
            config |= _values(record.config.update)
        elif kind == "summary":
            summary |= _values(record.summary.update)
        elif kind == "history":
            values = flat(_values(record.history.item))
            log.append((values.get("_step"), values))
        elif kind == "exit":
            status = "crashed" if record.exit.exit_code else "finished"
    return evaluations(said | {"State": status} | _settings(config), log, flat(summary))


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration under the names that an export has; an adapter's settings stand out."""
    adapter = config.get("peft_config")
    found = tuning(adapter) if isinstance(adapter, dict) else {}
    plain = {name: value for name, value in config.items() if name[0] != "_" and name not in found}
    plain.pop("peft_config", None)
    return flat(plain, "config.") | found


def _values(items: Any) -> dict[str, Any]:
    """Keys and values of a message; a value that is no JSON is left out."""
    found: dict[str, Any] = {}
    for item in items:
        keys = list(item.nested_key) or [item.key]
        try:
            value = json.loads(item.value_json)
        except ValueError:
            continue
        at = found
        for key in keys[:-1]:
            inner = at.setdefault(key, {})
            at = inner if isinstance(inner, dict) else {}
        at[keys[-1]] = value
    return found


def _records(file: Path) -> Iterator[Any]:
    """The messages of a run's file; a file that is still written, or was cut off, ends early."""
    try:
        from wandb.proto import wandb_internal_pb2 as messages  # noqa: PLC0415 - an extra
    except ImportError:
        raise needs("wandb", "wandb", "W&B's local runs") from None
    raw = file.read_bytes()
    if not raw.startswith(_MAGIC):
        raise UsageError("not a run of W&B", wanted="a file that begins with :W&B", where=str(file))
    at, message = _HEADER, b""
    while at + _HEADER <= len(raw):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER:  # the rest of a block is too short for a header
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", raw[at : at + _HEADER])
        at += _HEADER
        if kind == 0 or at + length > len(raw):
            return
        message += raw[at : at + length]
        at += length
        if kind in (_WHOLE, _LAST):
            record = messages.Record()  # pyright: ignore[reportAttributeAccessIssue]
            try:
                record.ParseFromString(message)
            except Exception as error:  # the error is one of whichever implementation protobuf has
                raise UsageError("a damaged run of W&B", got=str(error), where=str(file)) from None
            yield record
            message = b""


def _project(address: str) -> RawTable:
    """The runs of a project, each by its summary."""
    found = _ADDRESS.match(address)
    if found is None:
        raise UsageError("no project of W&B", wanted="wandb:ENTITY/PROJECT", got=address)
    try:
        import wandb  # noqa: PLC0415 - an extra
    except ImportError:
        raise needs("wandb", "wandb", "a project of W&B") from None
    try:
        rows = [
            {"Name": run.name, "run_id": run.id, "State": run.state}
            | _settings(dict(run.config))
            | flat({name: value for name, value in dict(run.summary).items() if name[0] != "_"})
            for run in wandb.Api().runs(found.group(1))
        ]
    except Exception as error:  # whatever the service or the network says
        raise UsageError(
            "W&B gave no runs", wanted=found.group(1), got=str(error),
            remedy="wandb login; or export the runs table to CSV",
        ) from None  # fmt: skip
    return RawTable(table_of(rows), address, 1, None, (f"{address} has {len(rows)} runs.",))


KIND = Kind(
    name="wandb",
    title="runs of W&B",
    places=lambda tree: tree.files(lambda name: name.startswith("run-") and name.endswith(".wandb")),
    read=read_runs,
    is_file=lambda file: begins(file, 4) == _MAGIC,
    is_address=lambda text: _ADDRESS.match(text) is not None,
)
