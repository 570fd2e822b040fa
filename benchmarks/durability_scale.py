"""A study of a hundred thousand runs: one part of `durability.py`, in a process whose peak is its own.

Usage: python benchmarks/durability_scale.py FOLDER RUNS expand|status
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

STUDY = """\
kind: finetune
name: large
task: mini-en-de
seeds: [{seeds}]
test_examples: 64
base: {{model: nano-0.3m, pet_size: {{lora: 4}}}}
grids:
  - {{vary: model, values: [nano-0.05m, nano-0.1m, nano-0.3m, nano-1m],
      finetune_examples: {{full: [{sizes}], lora: [{sizes}]}}}}
learning_rates: {{full: 0.001, lora: 0.01}}
"""
SIZES = 250


def study(runs: int) -> str:
    """The study file: 4 models x 2 methods x 250 data sizes x as many seeds as it takes."""
    seeds = ", ".join(str(seed) for seed in range(round(runs / (8 * SIZES))))
    return STUDY.format(seeds=seeds, sizes=", ".join(str(64 + 8 * i) for i in range(SIZES)))


def expand(folder: Path, runs: int) -> dict[str, float]:
    """From the study file to its runs with names, costs and columns; then into the ledger."""
    from finescale.spec.file import load_study  # noqa: PLC0415
    from finescale.spec.study import Study  # noqa: PLC0415
    from finescale.study.ledger import Ledger  # noqa: PLC0415
    from finescale.study.plan import FinetunePlan  # noqa: PLC0415
    from finescale.study.resolve import resolver  # noqa: PLC0415

    (folder / "large.yaml").write_text(study(runs), encoding="utf-8")
    spec = load_study(folder / "large.yaml")
    assert isinstance(spec, Study)
    resolve = resolver(spec)  # reads the corpus: the same for a study of one run
    began = time.perf_counter()
    tasks = FinetunePlan(spec, resolve, folder).tasks()
    expanded = time.perf_counter() - began
    began = time.perf_counter()
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.sync_plan(spec.name, [task.entry for task in tasks])
    return {
        "expand_runs": len(tasks),
        "expand_100k_seconds": expanded,
        "store_100k_seconds": time.perf_counter() - began,
        "expand_100k_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def status(folder: Path, _: int) -> dict[str, float]:
    """The whole command, three times; the median."""
    command = [sys.executable, "-c", "from finescale.cli import main; main()", "status", str(folder)]
    taken = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    return {"status_100k_seconds": sorted(taken)[1], "status_100k_bytes": peak}


if __name__ == "__main__":
    part = {"expand": expand, "status": status}[sys.argv[3]]
    print(json.dumps(part(Path(sys.argv[1]), int(sys.argv[2]))))
