"""Folders that the real Trainer wrote, in full and with LoRA, are read as runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

import finescale as fs
from finescale import cli
from finescale.errors import UsageError
from finescale.records.sources import open_source


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    root = tmp_path_factory.mktemp("outputs")
    data = [{"input_ids": torch.arange(8) + i, "labels": torch.arange(8) + i} for i in range(8)]
    count = 0
    for method, seed in (("full", 1), ("lora", 2)):
        model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=16, vocab_size=32, n_positions=16))
        if method == "lora":
            model = get_peft_model(model, LoraConfig(r=4, target_modules=["c_attn"], fan_in_fan_out=True))
        else:
            count = sum(one.numel() for one in model.parameters())
        arguments = TrainingArguments(
            output_dir=str(root / "deep" / method), num_train_epochs=2, per_device_train_batch_size=4,
            learning_rate=3e-3, seed=seed, eval_strategy="epoch", save_strategy="epoch", use_cpu=True,
            report_to=[], disable_tqdm=True,
        )  # fmt: skip
        trainer = Trainer(model=model, args=arguments, train_dataset=data, eval_dataset=data)
        result = trainer.train()
        trainer.save_metrics("train", result.metrics | {"train_samples": 8})
    return root, count


def test_method_size_and_hyperparameters_are_those_of_the_run(folders: tuple[Path, int]):
    root, count = folders
    frame = open_source(root).frame.sort("run", "step")
    assert frame["run"].unique().sort().to_list() == ["deep/full", "deep/lora"]
    full, lora = frame.row(1, named=True), frame.row(3, named=True)
    assert (full["method"], full["model_params"], full["pet_size"]) == ("full", count, None)
    assert (lora["method"], lora["model_params"], lora["pet_size"]) == ("lora", None, 4)
    for row, seed in ((full, 1), (lora, 2)):
        assert row["learning_rate"] == 3e-3
        assert (row["seed"], row["num_train_epochs"], row["step"]) == (seed, 2, 4)
        assert (row["per_device_train_batch_size"], row["finetune_examples"]) == (4, 8)
        assert row["status"] == "finished"


def test_the_last_evaluation_of_each_run_counts(folders: tuple[Path, int]):
    raw = open_source(folders[0])
    last = raw.frame.sort("run", "step")["eval_loss"].gather([1, 3])
    records = fs.read_records(folders[0], loss="eval_loss")
    assert sorted(records.frame["eval_loss"]) == sorted(last)


def test_a_state_that_is_cut_off_is_named(tmp_path: Path):
    (tmp_path / "trainer_state.json").write_text('{"log_history": [')
    with pytest.raises(UsageError, match=r"trainer_state.json: not JSON"):
        open_source(tmp_path)


def test_a_run_that_saved_no_weights_is_of_unknown_method_until_it_is_set(
    folders: tuple[Path, int], tmp_path: Path
):
    for name in ("full", "lora"):
        source = folders[0] / "deep" / name / "checkpoint-4"
        shutil.copytree(source, tmp_path / name / "checkpoint-4")
    for file in (tmp_path / "full").rglob("*.safetensors"):
        file.unlink()
    raw = open_source(tmp_path)
    assert dict(raw.frame.select("run", "method").unique().iter_rows()) == {"full": None, "lora": "lora"}
    told = {"loss": "eval_loss", "constants": {"finetune_examples": "8", "model_params": "1k"}}
    records = fs.read_records(tmp_path, **told)
    assert any("how were 1 runs tuned" in doubt for doubt in records.reading.doubts)
    told["constants"]["method"] = "full"
    records = fs.read_records(tmp_path, **told)
    assert not records.reading.doubts
    assert sorted(records.frame["method"]) == ["full", "lora"]
    assert any("--set method=full filled 2 rows; 2 rows say something else" in note for note in records.notes)


def test_the_page_takes_such_a_folder_too(folders: tuple[Path, int], tmp_path: Path):
    words = ["report", str(folders[0]), "--out", str(tmp_path / "page"), "--bootstrap", "0"]
    done = CliRunner().invoke(cli.app, [*words, "--set", "model_params=7B"], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "runs of the Hugging Face Trainer" in (tmp_path / "page" / "index.html").read_text()
