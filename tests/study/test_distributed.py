from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sharing import ADAMW, planned, run_together

from finescale.spec import OptimizerSpec
from finescale.study.run import execute

SCALED = OptimizerSpec(parameter_scaling=True)
RUNS = {
    "full": planned("full", None, 1e-3, ADAMW),
    "full, Adafactor": planned("full", None, 1e-2, SCALED),
    "full, micro-batches": planned(
        "full", None, 1e-3, ADAMW, micro_batch_size=6, gradient_checkpointing=True
    ),
    "LoRA": planned("lora", 4, 1e-2, ADAMW),
    "prompt, Adafactor": planned("prompt", 8, 0.3, OptimizerSpec()),
    "untuned": planned("full", None, 1e-3, ADAMW).model_copy(
        update={"run": planned("full", None, 1e-3, ADAMW).run.model_copy(update={"finetune_examples": 0})}
    ),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[dict]]]:
    folder = tmp_path_factory.mktemp("together")
    return folder, run_together(folder, list(RUNS.values()))


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_make_the_run_that_one_makes(
    name: str, together: tuple[Path, list[list[dict]]], tmp_path: Path
) -> None:
    index = list(RUNS).index(name)
    folder, ranks = together
    alone, (first, second) = execute(RUNS[name], tmp_path), (rank[index] for rank in ranks)
    assert alone["status"] == first["status"] == "done", first
    measured = {"wall_seconds", "tokens_per_second", "test_seconds"}
    assert first.keys() == alone.keys()
    assert {k: v for k, v in first.items() if k not in measured} == {
        k: v for k, v in second.items() if k not in measured
    }
    losses = {"dev_loss", "test_loss", "scores"}
    for column in first.keys() - measured - losses:
        assert first[column] == alone[column], column
    assert first["dev_loss"] == pytest.approx(alone["dev_loss"], abs=1e-5)
    assert first["test_loss"] == pytest.approx(alone["test_loss"], abs=1e-5)
    if name == "untuned":
        return
    curves = [json.loads((place / "curve.json").read_text()) for place in (tmp_path, folder / str(index))]
    for (step, norm), (same, other) in zip(*(curve["gradient_norm"] for curve in curves), strict=True):
        assert step == same
        assert other == pytest.approx(norm, rel=1e-3)
    (file,) = tmp_path.glob("*/*model.safetensors")
    kept = load_file(file)
    shared = load_file(folder / str(index) / file.relative_to(tmp_path))
    assert shared.keys() == kept.keys()
    for key, tensor in kept.items():
        torch.testing.assert_close(shared[key], tensor, atol=2e-4, rtol=2e-3)
