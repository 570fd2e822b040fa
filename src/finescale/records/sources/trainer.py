"""Output folders of the Hugging Face Trainer, and of what is built on it: one row an evaluation of a run.

TRL, axolotl and LLaMA-Factory write the same ``trainer_state.json``; the last also ``trainer_log.jsonl`` and
``training_args.yaml``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from finescale.errors import UsageError
from finescale.records.reading import RawTable
from finescale.records.sources.kind import Kind, Tree, is_number, json_object, table_of
from finescale.records.sources.pickled import saved_arguments
from finescale.records.sources.weights import is_whole_model, parameters

STATE = "trainer_state.json"
_LOG, _RESULTS = "trainer_log.jsonl", "all_results.json"
_CHECKPOINT = "checkpoint-"
_LOSS = re.compile(r"eval_(?:.+_)?loss")
_ARGUMENTS = (
    "learning_rate", "seed", "per_device_train_batch_size", "gradient_accumulation_steps", "weight_decay",
    "warmup_ratio", "warmup_steps",
)  # fmt: skip
"""What is taken from the saved training arguments."""


def find_runs(tree: Tree) -> dict[Path, Path]:
    """The runs below a folder, at any depth: each run's folder, and the folder with its newest state.

    A run's own state goes before its checkpoints'; of the checkpoints the one of the last step counts.
    """
    found: dict[Path, tuple[float, Path]] = {}
    for at, files in tree.folders.items():
        if STATE not in files and _LOG not in files and not (_RESULTS in files and _has_evaluation(at)):
            continue
        number = at.name.removeprefix(_CHECKPOINT)
        nested = at.name.startswith(_CHECKPOINT) and number.isdecimal() and at != tree.root
        own = math.inf if STATE in files else -1.0
        run, step = (at.parent, float(number)) if nested else (at, own)
        if run not in found or found[run][0] < step:
            found[run] = (step, at)
    return {run: state for run, (_, state) in sorted(found.items())}


def _has_evaluation(at: Path) -> bool:
    return bool(_losses(json_object(at / _RESULTS)))


def _losses(entry: Mapping[str, Any]) -> list[str]:
    """The losses of an evaluation: ``eval_loss``, and one for each part of a dictionary of datasets."""
    return [name for name in entry if _LOSS.fullmatch(name)]


def read_runs(folder: Path | str, places: Sequence[Path]) -> RawTable:
    """The evaluations of every run below a folder.

    Args:
        folder: A folder with one or more folders of the Trainer, or a state in one.
        places: The runs' folders; ignored, as each run's newest state is looked for.

    Returns:
        One row for each evaluation; how many rows of a run count is decided where every table is read.

    Raises:
        UsageError: No run has an evaluation; a file that is no JSON.
    """
    folder = Path(folder)
    folder = folder if folder.is_dir() else folder.parent
    runs = find_runs(Tree.of(folder))
    rows: list[dict[str, Any]] = []
    empty = 0
    for run, place in runs.items():
        evaluations = _run(run, place, folder)
        empty += not evaluations
        rows += evaluations
    if not rows:
        raise UsageError(
            "no run of this folder was evaluated",
            wanted="entries with eval_loss (or eval_NAME_loss) in trainer_state.json",
            got=f"{len(runs)} runs without any",
            remedy="train with an eval_dataset and eval_strategy='epoch'",
            where=str(folder),
        )
    rows, notes = _one_loss(rows)
    notes = [f"{folder} holds {len(runs)} runs of the Hugging Face Trainer.", *notes]
    if empty:
        notes.append(f"Left out {empty} runs that have no evaluation.")
    bare = len({row["run"] for row in rows if row["learning_rate"] is None})
    if bare:
        notes.append(
            f"{bare} runs have no training_args.bin that can be read: their learning rates and seeds are not "
            "known, and a sweep over them would count as repeats."
        )
    unknown = sorted({row["run"] for row in rows if row["method"] is None})
    questions = {}
    if unknown:
        shown = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        questions["method"] = (
            f"how were {len(unknown)} runs tuned that saved neither an adapter nor a whole model ({shown})? "
            "--set method=full (or lora, ...)"
        )
    return RawTable(table_of(rows), str(folder), 1, folder, tuple(notes), questions)


def _run(run: Path, place: Path, folder: Path) -> list[dict[str, Any]]:
    """A run's evaluations, each with what the run's files say of it."""
    state = json_object(place / STATE)
    results = json_object(run / _RESULTS)
    adapter = _first(run, place, "adapter_config.json")
    config = _first(run, place, "config.json")
    stated = _training_yaml(run)
    arguments = stated | saved_arguments(run, place)
    ended = bool(results) or state.get("global_step", 0) >= state.get("max_steps", math.inf)
    ended = ended or _stopped_early(state.get("stateful_callbacks") or {})
    method = _method(adapter, stated, run, place)
    said = {
        "run": run.relative_to(folder).as_posix() if run != folder else run.name,
        "status": "finished" if ended else "crashed",
        "method": method,
        "model": _model(adapter, stated, config),
        "pet_size": adapter.get("r") or adapter.get("num_virtual_tokens"),
        "model_params": None if adapter else parameters(place, run),
        "finetune_examples": results.get("train_samples"),
        "num_train_epochs": state.get("num_train_epochs") or arguments.get("num_train_epochs"),
        **{name: _plain(arguments.get(name)) for name in _ARGUMENTS},
    }
    log = state.get("log_history") or _log(run / _LOG)
    log = _evaluations(log)
    last = {name: value for name, value in results.items() if name.startswith(("eval_", "test_", "predict_"))}
    if not log and _losses(last):
        log = [{"step": state.get("global_step")}]
    if log:
        log[-1] = last | log[-1]
    return [said | {"step": entry.get("step")} | _measured(entry) for entry in log]


def _evaluations(log: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The evaluations of a log; those of several datasets at one step, an entry each, are one."""
    found: list[dict[str, Any]] = []
    for entry in log:
        losses = _losses(entry)
        if not losses:
            continue
        if found and entry.get("step") == found[-1].get("step") and not set(losses) & set(found[-1]):
            found[-1] |= entry
        else:
            found.append(dict(entry))
    return found


def _stopped_early(callbacks: Mapping[str, Any]) -> bool:
    """Whether the state of the callbacks says that training ended before its last step."""
    control = _state_of(callbacks.get("TrainerControl"), "attributes")
    if any(one.get("should_training_stop") is True for one in control):
        return True
    early = callbacks.get("EarlyStoppingCallback")
    counters = [one.get("early_stopping_patience_counter", 0) for one in _state_of(early, "attributes")]
    patiences = [one.get("early_stopping_patience", math.inf) for one in _state_of(early, "args")]
    told = zip(counters, patiences, strict=False)
    return any(is_number(many) and is_number(most) and many >= most for many, most in told)


def _state_of(callback: Any, part: str) -> list[dict[str, Any]]:
    """What is saved of a callback; of several of one kind it is a list."""
    each = callback if isinstance(callback, list) else [callback]
    return [one[part] for one in each if isinstance(one, dict) and isinstance(one.get(part), dict)]


def _one_loss(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows with the only loss of any dataset as ``eval_loss`` too; of several it is the user's choice."""
    names = list(dict.fromkeys(name for row in rows for name in _losses(row)))
    if len(names) != 1 or names[0] == "eval_loss":
        return rows, []
    return [row | {"eval_loss": row[names[0]]} for row in rows], [f"The loss is {names[0]}, the only one."]


def _measured(entry: dict[str, Any]) -> dict[str, Any]:
    starts = ("eval_", "test_", "predict_")
    return {name: value for name, value in entry.items() if name.startswith(starts) and is_number(value)}


def _method(adapter: dict[str, Any], stated: dict[str, Any], run: Path, place: Path) -> str | None:
    """The method, where the files show it: an adapter, a stated type, or the weights of a whole model."""
    kind = str(adapter.get("peft_type", "")).lower()
    if kind:
        kind = "dora" if kind == "lora" and adapter.get("use_dora") else kind
        return {"prompt_tuning": "prompt"}.get(kind, kind)
    if stated.get("finetuning_type"):
        return str(stated["finetuning_type"])
    return "full" if is_whole_model(run, place) else None


def _model(adapter: dict[str, Any], stated: dict[str, Any], config: dict[str, Any]) -> Any:
    if adapter:
        return adapter.get("base_model_name_or_path")
    return stated.get("model_name_or_path") or config.get("_name_or_path")


def _training_yaml(run: Path) -> dict[str, Any]:
    """The arguments that LLaMA-Factory keeps; empty where there are none."""
    file = run / "training_args.yaml"
    if not file.is_file():
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError("not YAML", wanted="training arguments", got=str(error), where=str(file)) from None
    return found if isinstance(found, dict) else {}


def _log(file: Path) -> list[dict[str, Any]]:
    """The evaluations of LLaMA-Factory's log, one object a line; a line that is cut off ends it."""
    found: list[dict[str, Any]] = []
    if not file.is_file():
        return found
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            break
        if isinstance(entry, dict):
            found.append({"step": entry.get("current_steps")} | entry)
    return found


def _first(run: Path, place: Path, name: str) -> dict[str, Any]:
    return json_object(run / name) or json_object(place / name)


def _plain(value: Any) -> Any:
    return value if is_number(value) else None


KIND = Kind(
    name="trainer",
    title="output folders of the Hugging Face Trainer",
    places=lambda tree: list(find_runs(tree)),
    read=read_runs,
    is_file=lambda file: file.name in (STATE, _LOG),
)
