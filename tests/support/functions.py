"""Small real functions that the tests execute in real worker processes."""

from __future__ import annotations

import math
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finescale.runs.expected import planned_steps
from finescale.runs.leg import PAUSED, Leg
from finescale.spec.expand import PlannedRun
from finescale.spec.run import ModelSpec, Objective, OptimizerSpec, PretrainRunSpec


def resolve(task: str, name: str, tokens: int | str) -> tuple[ModelSpec, dict[str, str]]:
    """A resolver without models: contents are named after what they are."""
    count = 1_000_000 if tokens == "last" else int(tokens)
    model = ModelSpec(name=name, pretrain_tokens=count, revision=f"tokens-{count}")
    return model, {"weights": f"{name}@{count}", "tokenizer": "t", "data": task}


def resolver(study: object, contents: bool = True) -> Any:
    """Stands where `finescale.study.resolve:resolver` does."""
    del study, contents
    return resolve


def loss(planned: PlannedRun) -> float:
    """A loss that falls with data; the learning rate 3e-3 is the best one, and the smallest batch."""
    run = planned.run
    miss = abs(run.train.learning_rate - 3e-3)
    return 3.0 + miss + 1.0 / (1 + run.finetune_examples) + run.seed * 1e-3 + run.train.batch_size * 1e-6


def instant(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """A finished run at once."""
    del folder
    scores = [{"dataset": "d", "split": "test", "shots": 0, "metric": "loss", "value": loss(planned)}]
    return {
        "status": "done",
        "dev_loss": loss(planned),
        "test_loss": loss(planned),
        "steps": 1,
        "scores": scores,
    }


def lawful(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """A power law of data and model a method, with the noise of a seed; full tuning wins with much data."""
    value = noted(planned, folder)
    run, tuned = planned.run, planned.run.finetune_examples > 0
    floor, scale, power = {"full": (1.5, 12.0, 0.45), "lora": (2.3, 2.5, 0.25)}[run.method.name]
    size = {"nano-0.05m": 0.1, "nano-0.1m": 0.05}.get(run.model.name, 0.0)
    noise = random.Random(run.fingerprint()).gauss(0, 0.004)
    loss = floor + scale * run.finetune_examples**-power + size + noise if tuned else 5.0 + size
    return {**value, "dev_loss": loss, "test_loss": loss, "train_flops": 1e9 * run.finetune_examples}


def noted(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Notes in the run's folder that it was executed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"began-{os.getpid()}-{time.monotonic_ns()}").touch()
    return instant(planned, folder)


def slow(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """A fifth of a second of work; notes in the run's folder that it was executed."""
    value = noted(planned, folder)
    time.sleep(0.2)
    return value


def killed_once(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Kills its own worker the first time (128 examples), finishes the second time."""
    marker = folder / "was-killed"
    if planned.run.finetune_examples == 128 and not marker.exists():
        folder.mkdir(parents=True, exist_ok=True)
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return instant(planned, folder)


def broken(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Raises for 128 examples, always."""
    if planned.run.finetune_examples == 128:
        raise RuntimeError("no such device")
    return instant(planned, folder)


def stopped_early(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """The candidate 1e-3 of the sweep is ended before its last step."""
    if planned.run.train.learning_rate != 1e-3 or not planned.run.finetune_examples:
        return instant(planned, folder)
    return {"status": "stopped", "dev_loss": 2.5, "test_loss": 2.5, "steps": 1}


def diverging(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Says `done` with a loss that is not a number at the learning rate 1e-3."""
    value = instant(planned, folder)
    if planned.run.train.learning_rate == 1e-3 and planned.run.finetune_examples:
        value["dev_loss"] = value["test_loss"] = float("nan")
    return value


def never(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Fails whatever it is asked."""
    raise RuntimeError("no such device")


def forever(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Never ends."""
    del planned
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"pid-{os.getpid()}").touch()
    while True:
        time.sleep(0.05)


def held(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Ends once there is a file `go` beside the runs' folders."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"pid-{os.getpid()}").touch()
    while not (folder.parent / "go").exists():
        time.sleep(0.02)
    return instant(planned, folder)


def pretrain_spec() -> PretrainRunSpec:
    """A pretraining run."""
    return PretrainRunSpec(
        model="nano-0.05m",
        languages=("en",),
        context=64,
        objective=Objective(),
        batch_rows=2,
        optimizer=OptimizerSpec(),
        learning_rate=0.01,
        floor=0.1,
        checkpoints=(0.5,),
        held_out_rows=2,
        seed=0,
        content={"text": "t"},
    )


def pretrain(
    spec: PretrainRunSpec, folder: Path, text: Path, progress: Callable[[float], None]
) -> list[dict[str, object]]:
    """Two checkpoints."""
    del folder, text
    progress(0.5)
    return [
        {"status": "done", "model": spec.model, "pretrain_tokens": tokens, "test_loss": 4.0}
        for tokens in (1000, 2000)
    ]


def raced(planned: PlannedRun, folder: Path, leg: Leg = Leg()) -> dict[str, object]:  # noqa: B008 - frozen
    """A candidate of a race: its loss falls from 5 to `loss` with the square of the steps that are left.

    It notes each leg that it makes, and goes on where the one before ended.
    """
    steps = planned_steps(planned.run)
    if not steps or planned.run.finetune_examples == 128:
        return noted(planned, folder)
    folder.mkdir(parents=True, exist_ok=True)
    notes = folder / "legs"
    until = min(leg.until or steps, steps)
    with notes.open("a") as file:
        file.write(f"{until}\n")
    best = loss(planned) + 500 * abs(planned.run.train.learning_rate - 3e-3)
    curve = [(step, best + (1 - step / steps) ** 2) for step in sorted({*leg.looks, steps}) if step <= until]
    if until < steps:
        return {"status": PAUSED, "dev_loss": curve[-1][1], "steps": until, "curve": curve}
    return {**instant(planned, folder), "dev_loss": best, "steps": steps, "curve": curve}


def raced_slowly(planned: PlannedRun, folder: Path, leg: Leg = Leg()) -> dict[str, object]:  # noqa: B008
    """The same, a tenth of a second a leg."""
    time.sleep(0.1)
    return raced(planned, folder, leg)


def drifting(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """The best rate is 4e-3 for nano-0.1m on 256 examples.

    It halves with four times the data, and is four times as high for nano-0.05m.
    """
    run = planned.run
    if not run.finetune_examples:
        return noted(planned, folder)
    best = 4e-3 * (256 / run.finetune_examples) ** 0.5 * (4 if run.model.name == "nano-0.05m" else 1)
    value = noted(planned, folder)
    return {**value, "dev_loss": 3.0 + 0.05 * math.log2(run.train.learning_rate / best) ** 2}
