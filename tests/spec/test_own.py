"""Runs on a study's own models, methods and files: every architecture, from folder to record and adapter."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, save_model, tiny, tokenizer
from peft import PeftModel

from finescale.batches.batching import collate
from finescale.errors import UsageError
from finescale.ladder import train_flops
from finescale.models.decoder import open_model
from finescale.models.sizes import sizes_of
from finescale.runs.finetune import execute
from finescale.runs.prepare import encoded_split, open_base
from finescale.spec.expand import PlannedRun, expand, untuned_runs
from finescale.spec.study import Study
from finescale.study.resolve import resolver
from finescale.tuning.full import wrap_full

pytestmark = pytest.mark.usefixtures("one_thread")
WORDS = {"file": "Datei", "cell": "Zelle", "click": "klicken", "open": "offen", "the": "die", "is": "ist"}

RATES = {"full": 1e-2, "lora": 3e-2, "prompt": 3e-2, "dora": 3e-2, "ia3": 1e-1, "prefix": 3e-2}


def write_task(folder: Path, rows: int = 80) -> Path:
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(rows):
        chosen = rng.choice(list(WORDS), 6)
        lines.append({"source": " ".join(chosen), "target": " ".join(WORDS[word] for word in chosen)})
    file = folder / "train.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def pretrained(folder: Path, architecture: str) -> Path:
    """A model that has seen the words, in another order: so that there is something to adapt."""
    save_model(folder, architecture)
    model = open_model(folder)
    ids = tokenizer()(" ".join([*WORDS, *WORDS.values(), ":"] * 3), return_tensors="pt")["input_ids"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(20):
        model(ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    return folder


def study(folder: Path, model: Path, **changes: Any) -> Study:
    text: dict[str, Any] = {
        "name": "own",
        "task": {"name": "words", "train": str(write_task(folder)), "template": "{source} :"},
        "models": {"mine": {"from": str(model), "pretrain_tokens": 1000}},
        "methods": {
            "dora": {"peft": "LoraConfig", "use_dora": True},
            "ia3": {"peft": "IA3Config"},
            "prefix": {"peft": "PrefixTuningConfig"},
        },
        "test_examples": 8,
        "base": {"model": "mine", "pet_size": {"dora": 4, "prefix": 4, "prompt": 4}},
        "grids": [
            {
                "vary": "model",
                "values": ["mine"],
                "finetune_examples": {name: [32] for name in RATES},
            }
        ],
        "learning_rates": RATES,
        "train": {"optimizer": "adamw", "epochs": 3, "evaluations": 6, "dev_examples": 8, "batch_size": 8},
    }
    return Study.model_validate_json(json.dumps(text | changes))


def planned(spec: Study) -> dict[str, PlannedRun]:
    resolve = resolver(spec)
    runs = {item.run.method.name: item for item in expand(spec, {}, resolve)}
    return {"none": untuned_runs(spec, resolve)[0], **runs}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_method_runs_on_every_architecture(tmp_path: Path, architecture: str) -> None:
    runs = planned(study(tmp_path, pretrained(tmp_path / "model", architecture)))
    records = {method: execute(item, tmp_path / method) for method, item in runs.items()}
    assert {record["status"] for record in records.values()} == {"done"}, [
        record.get("error") for record in records.values()
    ]
    sizes = sizes_of(tiny(architecture))
    for method, record in records.items():
        assert record["model_params"] == sizes.params
        assert record["model_params_nonembedding"] == sizes.nonembedding_params
        assert record["pretrain_tokens"] == 1000
        if method == "none":
            continue
        curve = json.loads((tmp_path / method / "curve.json").read_text())
        losses = [loss for _, loss in curve["dev_loss"]]
        assert record["dev_loss"] == min(losses)
        assert min(losses) < max(losses[0], records["none"]["dev_loss"])  # a prompt's start is a worse model
        assert record["trainable_params"] > 0
        processed, head = record["tokens_processed"], sizes.head_params
        flops = 6 if method == "full" else 4
        per_pass = record["finetune_tokens"]
        assert record["train_flops"] == pytest.approx(
            flops * (sizes.nonembedding_params * processed + head * per_pass * 3)
        )
        assert (tmp_path / method / "adapter" / "adapter_config.json").exists() is (method != "full")
        assert curve["packed"] is (method != "prefix")
    assert records["full"]["trainable_params"] == sizes.params
    for method, gain in (("full", 0.3), ("lora", 0.01), ("dora", 0.01)):
        assert records[method]["test_loss"] < records["none"]["test_loss"] - gain
    assert (records["dora"]["lora_alpha"], records["dora"]["pet_size"]) == (4, 4)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("method", ["lora", "prompt", "dora", "ia3", "prefix"])
def test_a_kept_adapter_gives_the_record_s_loss_in_peft(tmp_path: Path, method: str) -> None:
    model = save_model(tmp_path / "model")
    item = planned(study(tmp_path, model))[method]
    record = execute(item, tmp_path / "run")
    adapted = PeftModel.from_pretrained(open_model(model), str(tmp_path / "run" / "adapter")).eval()
    base = open_base(item.run)
    nats, tokens = 0.0, 0
    for example in encoded_split(item.run, base, "test", 8).examples:
        ids = torch.from_numpy(example.ids.astype(np.int64))[None]
        with torch.no_grad():
            logits = adapted(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -ids.shape[1] :]
        predicted, wanted = logits[example.target_start - 1 : -1], ids[0, example.target_start :]
        nats += float(torch.nn.functional.cross_entropy(predicted, wanted, reduction="sum"))
        tokens += len(wanted)
    assert nats / tokens == pytest.approx(record["test_loss"], abs=1e-6)


def test_weights_are_kept_where_the_study_says_so(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    for keep, kept in (("nothing", False), ("adapters", False), ("weights", True)):
        item = planned(study(tmp_path, model, keep=keep))["full"]
        record = execute(item, tmp_path / keep)
        assert (tmp_path / keep / "weights").exists() is kept
    tuned = wrap_full(open_model(tmp_path / "weights" / "weights"))
    examples = encoded_split(item.run, open_base(item.run), "test", 8).examples
    batch = collate(examples, 0, packed=False)
    with torch.no_grad():
        loss = float(tuned.loss(batch)) / len(batch.targets)
    assert loss == pytest.approx(record["test_loss"], abs=1e-6)
    assert not (tmp_path / "nothing" / "adapter").exists()


def test_dropout_is_drawn_from_the_run_s_seed(tmp_path: Path) -> None:
    item = planned(study(tmp_path, save_model(tmp_path / "model", "gpt2")))["full"]
    first, again = (execute(item, tmp_path / name)["test_loss"] for name in ("a", "b"))
    assert math.isfinite(first)
    assert first == again


def test_the_fingerprint_knows_the_content_not_the_place(tmp_path: Path) -> None:
    here, there = save_model(tmp_path / "here"), save_model(tmp_path / "there")
    other = save_model(tmp_path / "other", seed=1)
    names = [planned(study(tmp_path, model))["full"].run.fingerprint() for model in (here, there, other)]
    assert names[0] == names[1] != names[2]


def test_a_plan_that_is_only_shown_reads_no_weights(tmp_path: Path) -> None:
    model = save_model(tmp_path / "model")
    (model / "model.safetensors").unlink()
    spec = study(tmp_path, model)
    run = expand(spec, {}, resolver(spec, contents=False))[0].run
    assert run.model.params == sizes_of(tiny("llama")).params
    with pytest.raises(UsageError, match=r"no weights(.|\n)*model.safetensors"):
        expand(spec, {}, resolver(spec))


def test_stated_sizes_that_are_wrong_are_told_with_the_right_ones(tmp_path: Path) -> None:
    models = {
        "mine": {
            "from": str(save_model(tmp_path / "model")),
            "pretrain_tokens": 1000,
            "params": 9,
            "nonembedding_params": 5,
        }
    }
    record = execute(planned(study(tmp_path, tmp_path, models=models))["full"], tmp_path / "run")
    assert record["status"] == "failed"
    assert "params: 36768, nonembedding_params: 17568" in record["error"]


def test_examples_are_cut_to_what_the_model_reads(tmp_path: Path) -> None:
    folder = save_model(tmp_path / "model", "gpt2")
    model = tiny("gpt2")
    model.config.n_positions = 40
    model.transformer.wpe = torch.nn.Embedding(40, 32)
    model.save_pretrained(folder)
    record = execute(planned(study(tmp_path, folder))["full"], tmp_path / "run")
    assert record["status"] == "done"
    assert json.loads((tmp_path / "run" / "curve.json").read_text())["cut_examples"] > 0
    task = {"name": "words", "train": str(write_task(tmp_path)), "template": "{source} " + "and " * 60}
    record = execute(planned(study(tmp_path, folder, task=task))["full"], tmp_path / "run")
    assert record["status"] == "failed"
    assert "no target token is left after truncation" in record["error"]
    assert "max_source_tokens" in record["error"]


def test_train_flops_use_the_head_s_own_size() -> None:
    sizes = sizes_of(tiny("gpt-neox"))  # untied: two embeddings, one head
    assert sizes.params == sizes.nonembedding_params + 2 * sizes.head_params
    assert train_flops("pet", sizes.nonembedding_params, sizes.head_params, 10, 5) == 4 * (
        sizes.nonembedding_params * 10 + sizes.head_params * 5
    )
