"""Trains every candidate of sweeps to its end and keeps the dev losses where a race would look.

Usage: python benchmarks/race_sweeps.py [MODEL:EXAMPLES:SEED ...]   (a quarter of an hour a sweep on one core)

What benchmarks/races.py replays. Every rate of studies/nano.yaml and some beside them, on the bundled task,
with its settings; looks change no training. Sweeps that examples/nano_sweeps_curves.parquet has are kept, and
every new one is added to it once it is finished.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import polars as pl
import torch

from finescale.runs.expected import planned_steps
from finescale.runs.finetune import execute
from finescale.runs.leg import Leg
from finescale.spec.expand import sweep_runs
from finescale.spec.file import parse_study
from finescale.spec.study import Study
from finescale.study.race_rule import RUNGS
from finescale.study.resolve import resolver

TABLE = Path(__file__).parent.parent / "examples" / "nano_sweeps_curves.parquet"
SWEEPS = ("nano-0.05m:256:1", "nano-0.05m:256:3", "nano-0.05m:256:7", "nano-0.1m:256:0", "nano-0.3m:256:0")
LOOKS = (*RUNGS, 3 / 8)
STUDY = """\
name: sweeps
task: mini-en-de
test_examples: 1
base: {{model: {model}, pet_size: {{lora: 4, prompt: 16}}}}
grids:
  - {{vary: model, values: [{model}], finetune_examples: {{full: [128], lora: [128], prompt: [128]}}}}
learning_rates:
  full:
    - {{optimizer: {{name: adafactor, parameter_scaling: true}}, rates: [0.0025, 0.005, 0.01, 0.02]}}
    - {{optimizer: adamw, rates: [0.0005, 0.001, 0.002, 0.004]}}
  lora:
    - {{optimizer: adafactor, rates: [0.005, 0.01, 0.02, 0.04]}}
    - {{optimizer: adamw, rates: [0.0025, 0.005, 0.01]}}
  prompt:
    - {{optimizer: adafactor, rates: [0.1, 0.3, 1.0, 3.0]}}
sweep: {{model: {model}, finetune_examples: {examples}, seed: {seed}}}
train: {{batch_size: 16, epochs: 3, evaluations: 3, dev_examples: 128, floor: 0.1}}
keep: nothing
"""


def sweep(model: str, examples: int, seed: int) -> pl.DataFrame:
    """The dev losses of every candidate of the three methods, a row a step."""
    study = parse_study(STUDY.format(model=model, examples=examples, seed=seed))
    assert isinstance(study, Study)
    rows = []
    for tried in sweep_runs(study, resolver(study)).values():
        for choice, item in tried:
            steps = planned_steps(item.run)
            looks = tuple(round(share * steps) for share in LOOKS)
            with tempfile.TemporaryDirectory() as folder:
                record = execute(item, Path(folder), Leg(None, looks))
                curve = json.loads((Path(folder) / "curve.json").read_text(encoding="utf-8"))
            setting = {"run": item.run.fingerprint(), "purpose": "sweep", "status": record["status"]}
            named = ("task", "model", "method", "pet_size", "finetune_examples", "seed", "optimizer")
            setting |= {name: record[name] for name in (*named, "learning_rate", "batch_size", "steps")}
            for name in ("dev_loss", "looks"):
                points = [{"step": step, "dev_loss": loss} for step, loss in curve[name]]
                rows += [{**setting, **point, "look": name == "looks"} for point in points]
            print(f"{item.run.method.name} {choice.learning_rate:g}: {record['dev_loss']:.4f}", flush=True)
    return pl.DataFrame(rows)


def main() -> None:
    """Makes the sweeps that the table lacks."""
    torch.set_num_threads(1)
    for asked in sys.argv[1:] or SWEEPS:
        model, examples, seed = asked.split(":")
        parts = [pl.read_parquet(TABLE)] if TABLE.exists() else []
        there = pl.col("model").eq(model) & pl.col("finetune_examples").eq(int(examples))
        if parts and parts[0].filter(there & pl.col("seed").eq(int(seed))).height:
            continue
        print(f"{model}, {examples} examples, seed {seed}", flush=True)
        parts.append(sweep(model, int(examples), int(seed)))
        pl.concat(parts, how="diagonal_relaxed").write_parquet(TABLE)


if __name__ == "__main__":
    main()
