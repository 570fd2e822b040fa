from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sharing import ADAMW, planned, run_together
from torch.multiprocessing import ProcessExitedException

from finescale.runs.finetune import execute
from finescale.spec.run import OptimizerSpec, ResumeSpec

SCALED = OptimizerSpec(parameter_scaling=True)
RUNS = {
    "full": planned("full", None, 1e-3, ADAMW),
    "full, Adafactor": planned("full", None, 1e-2, SCALED),
    "full, micro-batches": planned(
        "full", None, 1e-3, ADAMW, micro_batch_size=6, gradient_checkpointing=True
    ),
    "full, best before the last step": planned("full", None, 1e-2, ADAMW, epochs=3, evaluations=3),
    "LoRA": planned("lora", 4, 1e-2, ADAMW),
    "prompt, Adafactor": planned("prompt", 8, 0.3, OptimizerSpec()),
    "untuned": planned("full", None, 1e-3, ADAMW).model_copy(
        update={"run": planned("full", None, 1e-3, ADAMW).run.model_copy(update={"finetune_examples": 0})}
    ),
}


def science(record: dict) -> dict:
    return {name: value for name, value in record.items() if name not in MEASURED}


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


MEASURED = {"wall_seconds", "tokens_per_second", "test_seconds"}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_make_the_run_that_one_makes(
    name: str, together: tuple[Path, list[list[dict]]], tmp_path: Path
) -> None:
    index = list(RUNS).index(name)
    folder, ranks = together
    alone, (first, second) = execute(RUNS[name], tmp_path), (rank[index] for rank in ranks)
    assert alone["status"] == first["status"] == "done", first
    assert first.keys() == alone.keys()
    assert science(first) == science(second)
    losses = {"dev_loss", "test_loss", "test_loss_per_byte", "scores"}
    for column in first.keys() - MEASURED - losses:
        assert first[column] == alone[column], column
    assert first["dev_loss"] == pytest.approx(alone["dev_loss"], abs=1e-5)
    for column in ("test_loss", "test_loss_per_byte"):
        assert first[column] == pytest.approx(alone[column], abs=1e-5)
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


def told(folder: Path) -> list[str]:
    return json.loads((folder / "curve.json").read_text())["checkpoints"]


@pytest.mark.slow
def test_a_shared_run_goes_on_from_the_parts_that_each_process_saved_with_the_same_bits(
    together: tuple[Path, list[list[dict]]], tmp_path: Path
) -> None:
    names = ["full", "full, Adafactor", "LoRA", "prompt, Adafactor"]
    resume = ResumeSpec(every_seconds=None, every_steps=2)
    runs = [RUNS[name].model_copy(update={"resume": resume}) for name in names]
    assert run_together(tmp_path, runs, cut_at=5) == [[{}] * 4] * 2
    with pytest.raises(ProcessExitedException, match="SIGKILL"):
        run_together(tmp_path, runs[:1], cut_at=7, kill=True)
    newest = max((tmp_path / "1" / "checkpoints").glob("step-*.json"))
    files = json.loads(newest.read_text())["content"]["files"]
    assert {"state-0", "state-1"} <= files.keys()
    part = tmp_path / "1" / "checkpoints" / files["state-1"]["name"]
    content = bytearray(part.read_bytes())
    content[-1] ^= 1
    part.write_bytes(content)
    ends = run_together(tmp_path, runs)
    folder, wanted = together
    for at, name in enumerate(names):
        before = list(RUNS).index(name)
        assert [science(rank[at]) for rank in ends] == [science(rank[before]) for rank in wanted], name
        (file,) = (tmp_path / str(at)).glob("*/*model.safetensors")
        kept = load_file(folder / str(before) / file.relative_to(tmp_path / str(at)))
        assert all(torch.equal(tensor, kept[key]) for key, tensor in load_file(file).items()), name
        assert not (tmp_path / str(at) / "checkpoints").exists()
    assert told(tmp_path / "0") == ["resumed at step 4", "resumed at step 6"]
    skipped, resumed = told(tmp_path / "1")
    assert skipped.startswith("the checkpoint of step 4 was skipped: the checksum of state-")
    assert resumed == "resumed at step 2"
    assert told(tmp_path / "2") == told(tmp_path / "3") == ["resumed at step 4"]
