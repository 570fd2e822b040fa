"""A run with the default checkpoints, its saves timed: `python durability_overhead.py METHOD SECONDS`."""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from pathlib import Path

import torch

from finescale.runs.finetune import execute, probe
from finescale.spec.expand import PlannedRun, expand
from finescale.spec.file import parse_study
from finescale.spec.study import Study
from finescale.study.resolve import resolver
from finescale.training.checkpoints import Checkpoints

STUDY = """\
name: overhead
task: mini-en-de
seeds: [0]
test_examples: 100
base: {{model: nano-1m, pet_size: {{lora: 4, prompt: 16}}}}
grids:
  - {{vary: model, values: [nano-1m], finetune_examples: {{{method}: [2048]}}}}
learning_rates: {{full: 0.001, lora: 0.01, prompt: 0.1}}
train:
  {{optimizer: adamw, batch_size: 16, epochs: 100000, max_steps: {steps}, evaluations: 10, dev_examples: 100}}
"""
PROBED = 20


def planned(method: str, steps: int) -> PlannedRun:
    """The run, so many steps long."""
    study = parse_study(STUDY.format(method=method, steps=steps))
    assert isinstance(study, Study)
    return expand(study, {}, resolver(study))[-1]


def main(method: str, seconds: float) -> None:
    """Prints share, ms and bytes."""
    torch.set_num_threads(1)
    steps = math.ceil(seconds / probe(planned(method, PROBED))["step"])
    saves: list[float] = []
    sizes: list[int] = []
    save = Checkpoints.save
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def timed(self: Checkpoints, training: object) -> None:
            began = time.monotonic()
            save(self, training)  # pyright: ignore[reportArgumentType]
            saves.append(time.monotonic() - began)
            newest = sorted(folder.rglob("state-*.safetensors"))[-1:]
            sizes.append(sum(file.stat().st_size for file in newest))

        Checkpoints.save = timed
        record = execute(planned(method, steps), folder)
    if record["status"] != "done" or not saves:
        sys.exit(f"no checkpoint was saved in {seconds} s: {record.get('error')}")
    wall = float(record["wall_seconds"])  # pyright: ignore[reportArgumentType]
    figures = {"share": sum(saves) / wall, "ms": 1e3 * sum(saves) / len(saves), "bytes": max(sizes)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
