"""The study that the tests of the runner execute: 2 sweep runs, 2 untuned models, 8 + 4 study runs."""

from __future__ import annotations

from pathlib import Path

from functions import resolve

from finescale.spec.file import parse_study
from finescale.spec.study import Study
from finescale.study.plan import FinetunePlan

TEXT = """\
name: small
task: some-task
seeds: [0, 1]
test_examples: 100
base: {model: nano-0.1m}
grids:
  - vary: model
    values: [nano-0.05m, nano-0.1m]
    finetune_examples: {full: [128, 256], lora: [128]}
hold_out: finetune_examples >= 256
learning_rates: {full: [1e-3, 3e-3], lora: 1e-2}
sweep: {model: nano-0.05m, finetune_examples: 64}
train: {epochs: {full: 1, lora: 2}}
"""
RUNS = 16


def study(text: str = TEXT) -> Study:
    spec = parse_study(text)
    assert isinstance(spec, Study)
    return spec


def plan(folder: Path, function: str, text: str = TEXT) -> FinetunePlan:
    return FinetunePlan(study(text), resolve, folder, f"functions:{function}")
