"""Output folders of the Hugging Face Trainer, and of what is built on it: one row an evaluation of a run."""

from __future__ import annotations

import json
import math
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import polars as pl

from finescale.errors import UsageError
from finescale.records.reading import RawTable

STATE = "trainer_state.json"
_CHECKPOINT = "checkpoint-"
_LONGEST_HEADER = 100_000_000
_ARGUMENTS = {
    "learning_rate": "learning_rate",
    "seed": "seed",
    "per_device_train_batch_size": "per_device_train_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "weight_decay": "weight_decay",
    "warmup_ratio": "warmup_ratio",
    "warmup_steps": "warmup_steps",
}
"""What is taken from the saved training arguments."""


def find_runs(folder: Path) -> dict[Path, Path]:
    """The runs below a folder, at any depth: each run's folder, and the folder with its newest state.

    A run's own state goes before its checkpoints'; of the checkpoints the one of the last step counts.
    """
    found: dict[Path, tuple[float, Path]] = {}
    for place, _, files in os.walk(folder):
        if STATE not in files:
            continue
        at = Path(place)
        number = at.name.removeprefix(_CHECKPOINT)
        nested = at.name.startswith(_CHECKPOINT) and number.isdecimal() and at != folder
        run, step = (at.parent, float(number)) if nested else (at, math.inf)
        if run not in found or found[run][0] < step:
            found[run] = (step, at)
    return {run: state for run, (_, state) in sorted(found.items())}


def read_runs(folder: Path) -> RawTable:
    """The evaluations of every run below a folder.

    Args:
        folder: A folder with one or more folders of the Trainer.

    Returns:
        One row for each evaluation; how many rows of a run count is decided where every table is read.

    Raises:
        UsageError: No run has an evaluation; a file that is no JSON.
    """
    rows: list[dict[str, Any]] = []
    empty = 0
    runs = find_runs(folder)
    for run, place in runs.items():
        evaluations = _run(run, place, folder)
        empty += not evaluations
        rows += evaluations
    if not rows:
        raise UsageError(
            "no run of this folder was evaluated",
            wanted="entries with eval_loss in trainer_state.json",
            got=f"{len(runs)} runs without any",
            remedy="train with an eval_dataset and eval_strategy='epoch'",
            where=str(folder),
        )
    notes = [f"{folder} holds {len(runs)} runs of the Hugging Face Trainer."]
    if empty:
        notes.append(f"Left out {empty} runs that have no evaluation.")
    bare = len({row["run"] for row in rows if row["learning_rate"] is None})
    if bare:
        notes.append(
            f"{bare} runs have no training_args.bin that can be read: their learning rates and seeds are not "
            "known, and a sweep over them would count as repeats."
        )
    frame = pl.DataFrame(rows, infer_schema_length=None)
    frame = frame.select(one for one in frame if one.null_count() < one.len())
    return RawTable(frame, str(folder), 1, folder, tuple(notes))


def _run(run: Path, place: Path, folder: Path) -> list[dict[str, Any]]:
    """A run's evaluations, each with what the run's files say of it."""
    state = _object(place / STATE)
    results = _object(run / "all_results.json")
    adapter = _first(run, place, "adapter_config.json")
    config = _first(run, place, "config.json")
    arguments = _arguments(run, place)
    ended = bool(results) or state.get("global_step", 0) >= state.get("max_steps", 0)
    ended = ended or "EarlyStoppingCallback" in (state.get("stateful_callbacks") or {})
    said = {
        "run": run.relative_to(folder).as_posix() if run != folder else run.name,
        "status": "finished" if ended else "crashed",
        "method": _method(adapter),
        "model": adapter.get("base_model_name_or_path") if adapter else config.get("_name_or_path"),
        "pet_size": adapter.get("r") or adapter.get("num_virtual_tokens"),
        "model_params": None if adapter else parameters(place, run),
        "finetune_examples": results.get("train_samples"),
        "num_train_epochs": state.get("num_train_epochs"),
        **{name: _plain(arguments.get(theirs)) for theirs, name in _ARGUMENTS.items()},
    }
    log = [entry for entry in state.get("log_history", []) if "eval_loss" in entry]
    return [
        said
        | {"step": entry.get("step")}
        | {name: value for name, value in entry.items() if name.startswith("eval_") and _is_number(value)}
        for entry in log
    ]


def _method(adapter: dict[str, Any]) -> str:
    kind = str(adapter.get("peft_type", "")).lower()
    return {"": "full", "prompt_tuning": "prompt"}.get(kind, kind)


def parameters(*places: Path) -> int | None:
    """The parameters in the first safetensors files that there are, from their headers alone.

    Args:
        places: Folders in which they may lie.

    Returns:
        Their number; None where there is no such file, or its numbers are packed (quantized).

    Raises:
        UsageError: A file without a header of safetensors.
    """
    for place in places:
        whole = place / "model.safetensors"
        files = [whole] if whole.is_file() else sorted(place.glob("model-*-of-*.safetensors"))
        if not files:
            continue
        if files[0] != whole and int(files[0].stem.rpartition("-")[2]) != len(files):
            return None  # a part of the weights is not there
        sizes = [_tensors(file) for file in files]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    return None


def _tensors(file: Path) -> int | None:
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length)) if length <= _LONGEST_HEADER else None
        tensors = [one for name, one in header.items() if name != "__metadata__"]  # type: ignore[union-attr]
        if not all(one["dtype"] in {"F64", "F32", "F16", "BF16"} for one in tensors):
            return None
        return sum(math.prod(one["shape"]) for one in tensors)
    except (OSError, ValueError, struct.error, AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            "not a file of safetensors", wanted="weights", got=str(error), where=str(file)
        ) from None


class _Inert:
    """Stands for every class of a pickle: holds what is set, and runs nothing."""

    def __init__(self, *values: object) -> None:
        self.values = values


class _InertUnpickler(pickle.Unpickler):
    """Reads attributes of saved objects; imports and calls nothing that the file names."""

    def find_class(self, module: str, name: str, /) -> Any:
        return _Inert

    def persistent_load(self, pid: Any, /) -> Any:
        return None


def _arguments(*places: Path) -> dict[str, Any]:
    """The training arguments that the Trainer saved, as plain values; empty where they cannot be read."""
    for place in places:
        file = place / "training_args.bin"
        if not file.is_file():
            continue
        try:
            with zipfile.ZipFile(file) as archive:
                name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                with archive.open(name) as stream:
                    return dict(vars(_InertUnpickler(stream).load()))
        except (
            OSError,
            StopIteration,
            zipfile.BadZipFile,
            pickle.UnpicklingError,
            EOFError,
            TypeError,
            ValueError,
            AttributeError,
            LookupError,
        ):
            continue
    return {}


def _first(run: Path, place: Path, name: str) -> dict[str, Any]:
    return _object(run / name) or _object(place / name)


def _object(file: Path) -> dict[str, Any]:
    """The object of a JSON file; empty where there is no file."""
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("not JSON", wanted="an object", got=str(error), where=str(file)) from None
    if not isinstance(found, dict):
        raise UsageError("not an object", wanted="an object", got=type(found).__name__, where=str(file))
    return found


def _plain(value: Any) -> Any:
    return value if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
