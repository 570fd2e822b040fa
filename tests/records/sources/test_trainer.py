"""Folders that the real Trainer wrote, in full and with LoRA, are read as runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def saved(
    folder: Path, datasets: Sequence[str], callbacks: dict[str, Any] | None = None, step: int = 300
) -> None:
    """What the Trainer writes of a run that was evaluated on a dictionary of datasets every 100 steps."""
    folder.mkdir(parents=True)
    log = [
        {"step": at, f"eval_{name}_loss": 3 - at / 300 + index, f"eval_{name}_runtime": 1.0}
        for at in range(100, step + 1, 100)
        for index, name in enumerate(datasets)
    ]
    state = {"global_step": step, "max_steps": 300, "log_history": log, "stateful_callbacks": callbacks or {}}
    (folder / "trainer_state.json").write_text(json.dumps(state), encoding="utf-8")


def test_the_only_dataset_of_a_dictionary_is_the_loss(tmp_path: Path) -> None:
    saved(tmp_path / "a", ["wiki"])
    saved(tmp_path / "b", ["wiki"])
    options: dict[str, Any] = {"constants": {"method": "full", "finetune_examples": "100"}}
    for loss in (None, "eval_wiki_loss"):
        records = fs.read_records(tmp_path, loss=loss, **options)
        assert records.frame[records.loss].to_list() == [2.0, 2.0]
        assert "The loss is eval_wiki_loss, the only one." in records.notes


def test_of_several_datasets_one_is_to_be_named(tmp_path: Path) -> None:
    saved(tmp_path / "a", ["wiki", "c4"])
    options: dict[str, Any] = {"constants": {"method": "full", "finetune_examples": "100"}}
    with pytest.raises(UsageError, match="no column `test_loss`") as told:
        fs.read_records(tmp_path, **options)
    assert "--loss eval_wiki_loss" in told.value.remedy
    assert fs.read_records(tmp_path, loss="eval_wiki_loss", **options).frame["eval_wiki_loss"].to_list() == [
        2.0
    ]
    assert fs.read_records(tmp_path, loss="eval_c4_loss", **options).frame["eval_c4_loss"].to_list() == [3.0]


@pytest.mark.parametrize(("counter", "status"), [(0, "crashed"), (2, "crashed"), (3, "finished")])
@pytest.mark.parametrize("several", [False, True])
def test_a_run_was_stopped_early_where_its_patience_was_at_an_end(
    tmp_path: Path, counter: int, status: str, several: bool
) -> None:
    early = {
        "args": {"early_stopping_patience": 3, "early_stopping_threshold": 0.0},
        "attributes": {"early_stopping_patience_counter": counter},
    }
    saved(
        tmp_path / "a" / "checkpoint-100",
        ["wiki"],
        {"EarlyStoppingCallback": [early] if several else early},
        100,
    )
    assert open_source(tmp_path).frame["status"].to_list() == [status]


def test_a_run_whose_control_says_stop_has_ended(tmp_path: Path) -> None:
    saved(tmp_path / "a", ["wiki"], {"TrainerControl": {"attributes": {"should_training_stop": True}}}, 100)
    assert open_source(tmp_path).frame["status"].to_list() == ["finished"]
