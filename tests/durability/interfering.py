"""What workers execute in place of the study's own functions: a run is interfered with once, then let be.

`interference.json` in the study's folder says how: run -> [kind, number]. At the `number`-th moment of its
kind the worker ends with SIGKILL (or the loss is not a number). A run of which nothing is said is left alone
and its moments are counted into `moments/RUN.json`.

Kinds of moments:
  file        just before something in the study's folder is opened to write, renamed or removed
  write       a file is written and not yet synced; half of it is lost
  step        inside a training step
  evaluation  inside a batch of an evaluation (dev or test)
  seconds     so many seconds after the run began, wherever that is; killed by another process
  damage      as `step`, and when the run comes back the newest checkpoint has a flipped bit
  nan         the loss of that step is not a number; nobody is killed
  memory      as `step`, by the kernel: the worker takes more memory than its control group may have
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import memory_group
import torch

from finescale.runs import finetune as run
from finescale.runs import pretrain as pretraining
from finescale.spec.expand import PlannedRun
from finescale.spec.run import PretrainRunSpec
from finescale.tuning.tuned import Tuned

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
"""Audit events of Python's own functions that change a folder."""


class Moments:
    """Counts moments, and interferes at one of them."""

    present: Moments | None = None

    def __init__(self, folder: Path, kind: str = "", number: float = 0.0) -> None:
        self.folder = str(folder)
        self.kind = {"damage": "step", "nan": "step", "memory": "step"}.get(kind, kind)
        self.end = {"nan": "nan", "memory": "memory"}.get(kind, "kill")
        self.number = number
        self.counts: Counter[str] = Counter()

    def due(self, kind: str) -> bool:
        """Notes a moment; whether it is the one to interfere at."""
        self.counts[kind] += 1
        return kind == self.kind and self.counts[kind] == self.number

    def changes(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether an audit event is a change in the study's folder."""
        if not (event in CHANGES or (event == "open" and _writes(*arguments[1:]))):
            return False
        return isinstance(arguments[0], str | os.PathLike) and str(arguments[0]).startswith(self.folder)


def _writes(mode: str | None, flags: int) -> bool:
    return any(letter in mode for letter in "wax+") if mode else bool(flags & (os.O_WRONLY | os.O_RDWR))


def kill() -> None:
    """Ends this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook."""
    now = Moments.present
    if now is not None and now.changes(event, arguments) and now.due("file"):
        kill()


def interfere_with_files_and_batches() -> None:
    """Puts a moment before every sync of a file and every batch; otherwise both do what they did."""
    sync, logits = os.fsync, Tuned.target_logits

    def torn(file: int) -> None:
        now, status = Moments.present, os.fstat(file)
        if now is not None and stat.S_ISREG(status.st_mode) and now.due("write"):
            os.truncate(f"/proc/self/fd/{file}", status.st_size // 2)
            kill()
        sync(file)

    def seen(self: Tuned, batch: Any) -> torch.Tensor:
        now, kind = Moments.present, "step" if torch.is_grad_enabled() else "evaluation"
        if now is not None and now.due(kind):
            if now.end == "nan":
                return logits(self, batch) * float("nan")
            memory_group.exhaust() if now.end == "memory" else kill()
        return logits(self, batch)

    os.fsync, Tuned.target_logits = torn, seen
    sys.addaudithook(watch)


interfere_with_files_and_batches()


@contextmanager
def interfered(study: Path, name: str) -> Iterator[None]:
    """Interferes with a run as its study's folder says, the first time."""
    orders = study / "interference.json"
    order = json.loads(orders.read_text()).get(name) if orders.exists() else None
    marker = study / "interfered" / name
    first = order is not None and not marker.exists()
    began, killer = time.monotonic(), None
    if first:
        marker.parent.mkdir(exist_ok=True)
        marker.touch()
        Moments.present = Moments(study, *order)
        if order[0] == "seconds":
            killer = subprocess.Popen(["sh", "-c", f"sleep {order[1]}; kill -9 {os.getpid()}"])
    elif order is None:
        Moments.present = Moments(study)
    elif order[0] == "damage":
        flip_newest(study / "runs" / name / "checkpoints")
    try:
        yield
    finally:
        counting, Moments.present = Moments.present, None
        if killer is not None:
            killer.kill()
            killer.wait()
    if order is None and counting is not None:
        told = study / "moments" / f"{name}.json"
        told.parent.mkdir(exist_ok=True)
        told.write_text(json.dumps({**counting.counts, "seconds": time.monotonic() - began}))


def flip_newest(checkpoints: Path) -> None:
    """Flips a bit in the middle of the newest checkpoint's tensors."""
    newest = max(checkpoints.glob("state-*.safetensors"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)


def execute(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Stands where `finescale.runs.finetune:execute` does."""
    with interfered(folder.parents[1], planned.run.fingerprint()):
        return run.execute(planned, folder)


def execute_pretraining(
    spec: PretrainRunSpec, folder: Path, text: Path, progress: Callable[[float], None]
) -> list[dict[str, object]]:
    """Stands where `finescale.runs.pretrain:execute_pretraining` does."""
    with interfered(folder, spec.fingerprint()):
        return pretraining.execute_pretraining(spec, folder, text, progress)
