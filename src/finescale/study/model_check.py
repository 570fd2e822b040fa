"""Compares a study's own models with their architectures once, before anything runs (no torch here)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from finescale.errors import UsageError, combine
from finescale.executors.local import Job, LocalExecutor
from finescale.spec.expand import PlannedRun
from finescale.spec.run import MethodSpec, ModelSpec

EXAMINE = "finescale.tuning.reach:examine"
REMEMBERED = "checked.json"
"""In the study's folder: what was found of models that were compared already, by their contents."""


def check_models(runs: Iterable[PlannedRun], folder: Path | None, say: Callable[[str], None]) -> None:
    """Refuses models whose weights are not their architecture's, and methods that cannot adapt them.

    Args:
        runs: The study's runs.
        folder: The study's folder, where results are remembered; None: nowhere.
        say: Prints a sentence.

    Raises:
        UsageError: Every problem of every model, together.
    """
    models: dict[str, tuple[ModelSpec, str, dict[str, MethodSpec]]] = {}
    for item in runs:
        model, method = item.run.model, item.run.method
        if model.folder is not None and "weights" in item.run.content:
            kept = models.setdefault(model.folder, (model, _contents(item.run.content), {}))
            if item.run.finetune_examples:
                kept[2].setdefault(method.science_json, method)
    known = _read(folder)
    keys = {place: _key(contents, methods) for place, (_, contents, methods) in models.items()}
    new = [place for place, key in keys.items() if key not in known]
    known |= _examined({keys[place]: (place, [*models[place][2].values()]) for place in new})
    problems = []
    for place, (model, _, _) in models.items():
        for parts in known[keys[place]]["problems"]:
            where = parts["where"] if parts["where"].startswith("methods.") else f"models.{model.name}.from"
            error = UsageError(**{**parts, "where": where})
            if str(error) not in map(str, problems):
                problems.append(error)
    if problems:
        bad = sum(bool(known[key]["problems"]) for key in keys.values())
        raise combine(f"{bad} of {len(models)} base models cannot be used as the study asks", problems)
    for note, names in _notes(models, known, keys).items():
        say(f"{', '.join(names)}: {note}")
    if new and folder is not None:
        _write(folder, {key: value for key, value in known.items() if not value["problems"]})


def _notes(
    models: Mapping[str, tuple[ModelSpec, str, Any]], known: Mapping[str, Any], keys: Mapping[str, str]
) -> dict[str, list[str]]:
    """Each note once, with the models that it is about."""
    notes: dict[str, list[str]] = {}
    for place, (model, _, _) in models.items():
        for note in known[keys[place]]["notes"]:
            notes.setdefault(note, []).append(model.name)
    return {note: list(dict.fromkeys(names)) for note, names in notes.items()}


def _examined(waiting: Mapping[str, tuple[str, list[MethodSpec]]]) -> dict[str, Any]:
    """What a process of its own finds of each model."""
    found: dict[str, Any] = {}
    if not waiting:
        return found
    executor = LocalExecutor(1)
    try:
        jobs = [Job(key, EXAMINE, arguments) for key, arguments in waiting.items()]
        while len(found) < len(waiting):
            while jobs and executor.free():
                executor.submit(jobs.pop(0))
            for result in executor.wait(0.5):
                found[result.run] = result.value or _broken(waiting[result.run][0], str(result.error))
    finally:
        executor.close()
    return found


def _broken(place: str, error: str) -> dict[str, Any]:
    """The result for a model at which the libraries themselves failed."""
    words = {"problem": "the model cannot be opened", "wanted": "a model that transformers can build"}
    return {
        "problems": [{**words, "got": error[:300], "remedy": "the same with the library alone shows where it "
        "happens: AutoModelForCausalLM.from_pretrained(FOLDER)", "where": place}],
        "notes": [],
    }  # fmt: skip


def _contents(content: Mapping[str, str]) -> str:
    return "\0".join(str(content.get(name)) for name in ("weights", "tokenizer"))


def _key(contents: str, methods: Mapping[str, MethodSpec]) -> str:
    """What a result is about: contents, methods and the libraries that looked."""
    versions = []
    for name in ("transformers", "peft", "finescale"):
        with suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    return hashlib.sha256("\0".join([contents, *sorted(methods), *versions]).encode()).hexdigest()[:20]


def _read(folder: Path | None) -> dict[str, Any]:
    if folder is not None:
        with suppress(OSError, ValueError):
            found = json.loads((folder / REMEMBERED).read_text(encoding="utf-8"))
            return {
                k: v for k, v in found.items() if isinstance(v, dict) and {"problems", "notes"} <= v.keys()
            }
    return {}


def _write(folder: Path, known: Mapping[str, Any]) -> None:
    """Remembers aside and renamed; a folder that cannot be written is looked at again next time."""
    aside = folder / f".{REMEMBERED}.{os.getpid()}"
    with suppress(OSError):
        aside.write_text(json.dumps(known), encoding="utf-8")
        aside.replace(folder / REMEMBERED)
