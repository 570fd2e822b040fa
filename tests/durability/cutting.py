"""Whole runs that SIGKILL cuts at a chosen or random moment and that go on: do they end with the same bits?

A small study sweeps both optimisers for every method, so that its six sweep runs are full tuning, LoRA and
prompt tuning with Adafactor and with AdamW. The runner drives real worker processes; they execute the runs
through `interfering.py`, which ends the worker once in each run. What is compared with the undisturbed study
is the whole record, the dev curve, the gradient norms and the bytes of the saved weights.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from killing import MEASURED

from finescale.executors.local import LocalExecutor
from finescale.spec.file import parse_study
from finescale.spec.study import PretrainStudy, Study
from finescale.study.ledger import Ledger
from finescale.study.plan import FinetunePlan, PretrainPlan
from finescale.study.resolve import pretrain_runs, resolver
from finescale.study.runner import run_study

STUDY = """\
name: cut
task: mini-en-de
seeds: [0]
test_examples: 48
base: {model: nano-0.05m, pet_size: {lora: 2, prompt: 4}}
grids:
  - {vary: model, values: [nano-0.05m], finetune_examples: {full: [40], lora: [40], prompt: [40]}}
learning_rates:
  full: [{optimizer: adafactor, rates: 0.01}, {optimizer: adamw, rates: 0.001}]
  lora: [{optimizer: adafactor, rates: 0.02}, {optimizer: adamw, rates: 0.01}]
  prompt: [{optimizer: adafactor, rates: 0.3}, {optimizer: adamw, rates: 0.1}]
sweep: {model: nano-0.05m, finetune_examples: 40}
train: {batch_size: 4, epochs: 3, evaluations: 5, dev_examples: 24}
resume: {every_seconds: null, every_steps: 3}
keep: weights
"""
LADDER = """\
kind: pretrain
name: cut-ladder
languages: [en]
models: [nano-0.05m, nano-0.1m]
tokenizer: {vocabulary: 512}
context: 64
train: {learning_rate: 0.05, batch_rows: 4}
checkpoints: {nano-0.05m: [0.3, 0.7], nano-0.1m: [0.5]}
held_out_rows: 4
resume: {every_seconds: null, every_steps: 2}
"""
SETTINGS = [(method, name) for name in ("adafactor", "adamw") for method in ("full", "lora", "prompt")]
KINDS = ("file", "write", "step", "evaluation", "seconds")
"""The kinds of moments at which runs are cut (`interfering.py`)."""

Setting = tuple[str, str]


@dataclass(frozen=True)
class Cut:
    """A run that was to be cut once.

    Attributes:
        setting: Method and optimiser.
        kind, number: The moment.
        killed: Its worker was killed in it (a run may be over before its second has come).
        resumed: The step of the checkpoint that it went on from; 0: it began again.
        identical: It ended with the same bits.
    """

    setting: Setting
    kind: str
    number: float
    killed: bool
    resumed: int
    identical: bool


WORKERS = 2


def make(
    folder: Path,
    orders: Mapping[str, tuple[str, float]] | None = None,
    text: str = STUDY,
    *,
    workers: int = WORKERS,
) -> None:
    """Runs a study to its end on worker processes.

    Args:
        folder: A new folder.
        orders: Run to (kind, number): how it is interfered with.
        text: The study.
        workers: Worker processes.
    """
    study = parse_study(text)
    assert isinstance(study, Study)
    folder.mkdir(parents=True, exist_ok=True)
    if orders is not None:
        (folder / "interference.json").write_text(json.dumps(orders))
    run_study(
        FinetunePlan(study, resolver(study), folder, "interfering:execute"), folder, LocalExecutor(workers)
    )


def pretrain(folder: Path, text: Path, orders: Mapping[str, tuple[str, float]] | None = None) -> None:
    """Runs the pretraining study `LADDER` to its end on worker processes.

    Args:
        folder: A new folder.
        text: The folder with its text.
        orders: Run to (kind, number): how it is interfered with.
    """
    study = parse_study(LADDER)
    assert isinstance(study, PretrainStudy)
    folder.mkdir(parents=True, exist_ok=True)
    if orders is not None:
        (folder / "interference.json").write_text(json.dumps(orders))
    runs, function = pretrain_runs(study, text), "interfering:execute_pretraining"
    run_study(PretrainPlan(study.name, runs, folder, text, function), folder, LocalExecutor(WORKERS))


def runs_of(folder: Path) -> dict[Setting, str]:
    """The run of each method and optimiser."""
    with Ledger(folder / "ledger.sqlite", create=False) as ledger:
        rows = ledger.plan()
    fields = {row["run"]: row["fields"] for row in rows}
    return {
        (item["method"], item["optimizer"]): run for run, item in fields.items() if item["finetune_examples"]
    }


def evidence(folder: Path, run: str) -> dict[str, Any]:
    """All of a run that must not depend on interruptions."""
    with Ledger(folder / "ledger.sqlite", create=False) as ledger:
        record = ledger.record(run)
    assert record is not None
    curve = json.loads((folder / "runs" / run / "curve.json").read_text())
    files = sorted(file for file in (folder / "runs" / run).rglob("*.safetensors"))
    return {
        "record": {name: value for name, value in record.items() if not MEASURED.fullmatch(name)},
        "curve": [curve["dev_loss"], curve["gradient_norm"]],
        "weights": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files},
    }


def moments(folder: Path, run: str) -> dict[str, float]:
    """How many moments of each kind an undisturbed run had."""
    return json.loads((folder / "moments" / f"{run}.json").read_text())


def drawn(undisturbed: Path, kinds: Mapping[Setting, str], chance: random.Random) -> dict[str, Any]:
    """Orders for `make`: a moment of each setting's kind, all those of the undisturbed run as likely."""
    orders = {}
    for setting, run in runs_of(undisturbed).items():
        kind, most = kinds[setting], moments(undisturbed, run)[kinds[setting]]
        orders[run] = (kind, chance.uniform(0, most) if kind == "seconds" else chance.randint(1, int(most)))
    return orders


def outcomes(undisturbed: Path, folder: Path, orders: Mapping[str, tuple[str, float]]) -> list[Cut]:
    """What became of the runs that `make` cut."""
    found = []
    for setting, run in runs_of(folder).items():
        with Ledger(folder / "ledger.sqlite", create=False) as ledger:
            errors = [attempt["error"] or "" for attempt in ledger.attempts(run)]
        history = json.loads((folder / "runs" / run / "curve.json").read_text())["checkpoints"]
        steps = [int(told.split()[-1]) for told in history if told.startswith("resumed at step")]
        identical = evidence(folder, run) == evidence(undisturbed, run)
        killed = sum("SIGKILL" in error for error in errors) == 1
        found.append(Cut(setting, *orders[run], killed, steps[-1] if steps else 0, identical))
    return found
