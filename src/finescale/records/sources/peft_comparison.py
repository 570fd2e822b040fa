"""Results of PEFT's method comparison: one JSON file a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.sources.history import tuning
from finescale.records.sources.kind import Kind, begins, flat, is_number, json_object, table_of

_HEAD = 200


def read_results(source: Path | str, places: Sequence[Path]) -> RawTable:
    """The runs of such files: what they were tested by, and their settings.

    Args:
        source: A folder, or one file.
        places: The files.

    Raises:
        UsageError: A file without what they all have.
    """
    rows = [_row(file) for file in places]
    folder = Path(source) if Path(source).is_dir() else Path(source).parent
    note = f"{source} holds {len(rows)} results of PEFT's method comparison."
    return RawTable(table_of(rows), str(source), 1, folder, (note,))


def _row(file: Path) -> dict[str, Any]:
    """One run: tested at its end, or not at all where it failed."""
    found = json_object(file)
    run, train = found.get("run_info"), found.get("train_info")
    if not isinstance(run, dict) or not isinstance(train, dict):
        raise UsageError(
            "no result of a method comparison", wanted="run_info and train_info", where=str(file)
        )
    config = dict(run.get("train_config") or {})
    optimizer = config.pop("optimizer_kwargs", None) or {}
    adapter = run.get("peft_config") or {}
    metrics = train.get("metrics") or [{}]
    last = {name: value for name, value in metrics[-1].items() if is_number(value)}
    examples = last.pop("train samples", None)  # batches times steps, every pass
    row: dict[str, Any] = {
        "name": file.stem, "status": train.get("status"), "model": config.pop("model_id", None),
        "model_params": _base_params(train, adapter), "trainable_params": train.get("num_trainable_params"),
        "finetune_examples": examples, "learning_rate": optimizer.pop("lr", None),
        "wall_seconds": train.get("train_time"), "file_size": train.get("file_size"),
    }  # fmt: skip
    row |= {"method": "full"} if not adapter else tuning(adapter)
    memory = next((train[key] for key in _MEMORY if key in train), None)
    row |= {"peak_memory_bytes": memory, "tokens_processed": last.pop("train total tokens", None)}
    row |= {name.replace(" ", "_"): value for name, value in last.items() if name != "step"}
    plain = {name: value for name, value in config.items() if name not in ("query_template", "eval_steps")}
    return row | flat(plain | optimizer, "config.") | _variant(adapter)


_MEMORY = ("accelerator_memory_max", "cuda_memory_max")
_VARIANT = ("init_lora_weights", "use_rslora", "lora_alpha", "lora_dropout", "bias", "target_modules")


def _base_params(train: dict[str, Any], adapter: dict[str, Any]) -> int | None:
    """The base model's parameters: all less those of the adapter."""
    total, tuned = train.get("num_total_params"), train.get("num_trainable_params")
    if not is_number(total):
        return None
    return int(total - tuned) if adapter and is_number(tuned) else int(total)  # type: ignore[operator]


def _variant(adapter: dict[str, Any]) -> dict[str, Any]:
    found = {name: adapter[name] for name in _VARIANT if adapter.get(name) is not None}
    return {
        name: ",".join(sorted(value)) if isinstance(value, list) else value for name, value in found.items()
    }


KIND = Kind(
    name="peft-comparison",
    title="results of PEFT's method comparison",
    places=lambda tree: [f for f in tree.files(lambda name: name.endswith(".json")) if _is_result(f)],
    read=read_results,
    is_file=lambda file: file.suffix == ".json" and _is_result(file),
)


def _is_result(file: Path) -> bool:
    head = begins(file, _HEAD)
    return head.lstrip()[:1] == b"{" and b'"run_info"' in head
