"""Whole runs as `finescale run` makes them, on the GPU."""

import json
import math

import pytest
import torch
from architectures import save_model
from nano_run import planned

from finescale.runs.finetune import execute
from finescale.spec.run import EvaluationSpec, ForgettingSpec, MethodSpec, ModelSpec


@pytest.mark.parametrize(
    ("method", "size", "rate"), [("full", None, 1e-3), ("lora", 2, 1e-2), ("prompt", 4, 0.3)]
)
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_every_method_learns(tmp_path, device, method, size, rate, precision):
    untuned = execute(planned(examples=0), tmp_path / "untuned")
    train = {"precision": precision}
    record = execute(planned(method, size, learning_rate=rate, train=train), tmp_path / "run")
    assert record["status"] == "done"
    assert record["test_loss"] < untuned["test_loss"]
    assert json.loads((tmp_path / "run" / "curve.json").read_text())["packed"] is True
    if device.type == "cuda":
        assert torch.cuda.max_memory_allocated() > 0


def test_text_is_generated_and_forgetting_measured(tmp_path):
    item = planned("lora", 2, learning_rate=1e-2)
    wanted = EvaluationSpec(
        metrics=("chrf",), examples=8, max_new_tokens=16, forgetting=ForgettingSpec(rows=2)
    )
    item = item.model_copy(update={"run": item.run.model_copy(update={"evaluation": wanted})})
    record = execute(item, tmp_path)
    assert record["status"] == "done"
    assert math.isfinite(record["pretrain_loss_before"])
    assert math.isfinite(record["pretrain_loss_after"])
    assert {score["metric"] for score in record["scores"]} == {"loss", "chrf"}


@pytest.mark.parametrize("bits", ["nf4", "int8"])
@pytest.mark.usefixtures("on_gpu")
def test_quantised_weights_under_lora(tmp_path, bits):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    folder = save_model(tmp_path / "model")
    text = tmp_path / "sample.txt"
    text.write_text("The file is open. Click the cell. " * 100)
    base = ModelSpec(name="own", pretrain_tokens=1, revision="main", folder=str(folder))
    item = planned("lora", 4, learning_rate=1e-2)
    changes = {
        "model": base,
        "method": MethodSpec(name="lora", pet_size=4, quantize=bits),
        "evaluation": EvaluationSpec(forgetting=ForgettingSpec(rows=2, text=str(text))),
    }
    record = execute(item.model_copy(update={"run": item.run.model_copy(update=changes)}), tmp_path / "run")
    assert record["status"] == "done", record.get("error")
    assert record["dev_loss"] < math.log(300)
    assert math.isfinite(record["pretrain_loss_before"])
    assert json.loads((tmp_path / "run" / "curve.json").read_text())["packed"] is True
