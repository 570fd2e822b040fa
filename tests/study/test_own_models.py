"""A study whose base models are broken in different ways: all is told at once, before anything runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from architectures import save_model
from safetensors.torch import load_file, save_file

from finescale.cli import main

STUDY = """\
kind: finetune
name: broken
task: mini-en-de
test_examples: 10
models:
  good: {from: ./good, pretrain_tokens: 1000}
  short: {from: ./short, pretrain_tokens: 1000}
  cut: {from: ./cut, pretrain_tokens: 1000}
  packed: {from: ./packed, pretrain_tokens: 1000}
base: {model: good}
grids:
  - {vary: model, values: [good, short, cut, packed], finetune_examples: {full: [8]}}
learning_rates: {full: 0.001}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study of four models, one of them whole."""
    good = save_model(tmp_path / "good")
    short, cut, packed = (Path(shutil.copytree(good, tmp_path / name)) for name in ("short", "cut", "packed"))
    tensors = load_file(short / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if ".layers.1." not in name}
    save_file(kept, short / "model.safetensors", {"format": "pt"})
    content = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(content[:-100])
    config = json.loads((packed / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (packed / "config.json").write_text(json.dumps(config))
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_every_problem_of_every_model_is_told_at_once_with_its_line(folder, options, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["finescale", "run", "study.yaml", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "3 of 4 base models cannot be used:" in told
    for line, name, problem in (
        (7, "short", "a layer is missing from the weights"),
        (8, "cut", "model.safetensors is damaged"),
        (9, "packed", "quantised weights (GPTQ)"),
    ):
        assert f"study.yaml, line {line}, models.{name}.from: {problem}" in told
    assert told.count("remedy: ") == 3
    assert not (folder / "results").exists()


def test_a_check_tells_what_only_the_architecture_knows_and_what_a_method_cannot_adapt(
    folder, capsys, monkeypatch
):
    """Headers alone are whole here; the study's folder is not made, and nothing runs."""
    save_model(folder / "packed", "mamba")
    shutil.rmtree(folder / "short")
    short = Path(shutil.copytree(folder / "good", folder / "short"))
    tensors = load_file(short / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, short / "model.safetensors", {"format": "pt"})
    text = STUDY.replace(" [good, short, cut, packed]", " [good, short, packed]")
    text = text.replace("{full: [8]}", "{full: [8], lora: [8]}").replace(
        "{full: 0.001}", "{full: 0.001, lora: 0.01}"
    )
    (folder / "study.yaml").write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["finescale", "run", "study.yaml", "--check"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "2 of 3 base models cannot be used as the study asks:" in told
    assert "study.yaml, line 7, models.short.from: tensors that the model has are not in its weights" in told
    assert "no model.layers.1.mlp.up_proj.weight" in told
    assert "methods.lora: 'lora' cannot adapt out_proj of this architecture (mamba)" in told
    assert "methods: {lora: {target_modules: [in_proj, x_proj]}}" in told
    assert not (folder / "results").exists()
