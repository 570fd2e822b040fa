"""Event files of TensorBoard, by its own reader: a row for each step at which something was evaluated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.sources.history import evaluations
from finescale.records.sources.kind import Kind, Tree, flat, needs, table_of

_EVENTS = "events.out.tfevents"
_HPARAMS = "_hparams_/session_start_info"
_TEXTS = ("args", "hparams", "config")
"""Texts that hold a run's settings; transformers writes its arguments as ``args``."""


def read_events(source: Path | str, places: Sequence[Path]) -> RawTable:
    """The runs of a log folder.

    Args:
        source: A folder; or one event file.
        places: The folders with event files; or the file.

    Raises:
        UsageError: The package is not installed; no number in any file.
    """
    root = Path(source) if Path(source).is_dir() else Path(source).parent
    runs = {place: _run(place) for place in places}
    for place in sorted(runs, key=lambda at: len(at.parts), reverse=True):
        _, settings = runs[place]
        if settings and place.parent in runs and not runs[place.parent][1]:  # hparams lie in a folder below
            log, _ = runs.pop(place)
            runs[place.parent] = (_merged(runs[place.parent][0], log), settings)
    rows: list[dict[str, Any]] = []
    for place, (log, settings) in runs.items():
        name = place.relative_to(root).as_posix() if place != root and place.is_dir() else place.name
        if log:
            rows += evaluations({"run": name} | settings, sorted(log.items()))
    if not rows:
        raise UsageError("no number in these event files", wanted="scalars", where=str(source))
    many = len({row["run"] for row in rows})
    return RawTable(table_of(rows), str(source), 1, root, (f"{source} holds {many} runs of TensorBoard.",))


_Log = dict[int, dict[str, float]]


def _run(place: Path) -> tuple[_Log, dict[str, Any]]:
    """What was logged at each step, and the settings."""
    try:
        from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415 - an extra
            SCALARS,
            TENSORS,
            EventAccumulator,
        )
        from tensorboard.util import tensor_util  # noqa: PLC0415
    except ImportError:
        raise needs("tensorboard", "tensorboard", "event files") from None
    events = EventAccumulator(str(place), size_guidance={SCALARS: 0, TENSORS: 0}).Reload()
    tags = events.Tags()
    log: _Log = {}
    for tag in tags["scalars"]:
        for event in events.Scalars(tag):
            log.setdefault(event.step, {})[tag] = event.value
    settings: dict[str, Any] = {}
    for tag in tags["tensors"]:
        kind = events.SummaryMetadata(tag).plugin_data.plugin_name
        for event in events.Tensors(tag):
            value = tensor_util.make_ndarray(event.tensor_proto)
            if kind == "scalars" and value.size == 1:
                log.setdefault(event.step, {})[tag] = float(value.reshape(-1)[0])
            elif kind == "text" and tag.partition("/")[0] in _TEXTS and value.size:
                settings |= _text(value.reshape(-1)[0])
    found = _hparams(events)
    return log, flat(settings, "config.") | found


def _text(value: Any) -> dict[str, Any]:
    """A text's settings, where it is an object of JSON."""
    try:
        found = json.loads(value)
    except (ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _hparams(events: Any) -> dict[str, Any]:
    """The hyperparameters that ``add_hparams`` wrote."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import (  # noqa: PLC0415
        HParamsPluginData,  # pyright: ignore[reportAttributeAccessIssue]
    )

    try:
        content = events.SummaryMetadata(_HPARAMS).plugin_data.content
    except KeyError:
        return {}
    data = HParamsPluginData.FromString(content).session_start_info.hparams
    return {f"hparams.{name}": getattr(value, value.WhichOneof("kind")) for name, value in data.items()}


def _merged(one: _Log, other: _Log) -> _Log:
    """The numbers of both; those of ``add_hparams`` have no step of their own and sum the run up."""
    last = max(one, default=0)
    made = {step: dict(found) for step, found in one.items()}
    for found in other.values():
        known = made.setdefault(last, {})
        known |= {name: value for name, value in found.items() if name not in known}
    return made


def _folders(tree: Tree) -> list[Path]:
    """Folders with event files, those of the Trainer's own logs left out: its state says the same."""
    runs = [place for place, files in tree.folders.items() if "trainer_state.json" in files]
    parents = {run.parent if run.name.startswith("checkpoint-") else run for run in runs} | set(runs)
    return [
        place for place, files in tree.folders.items()
        if any(name.startswith(_EVENTS) for name in files)
        and not any(at in parents for at in (place, *place.parents))
    ]  # fmt: skip


KIND = Kind(
    name="tensorboard",
    title="event files of TensorBoard",
    places=_folders,
    read=read_events,
    is_file=lambda file: file.name.startswith(_EVENTS),
)
