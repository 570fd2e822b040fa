import json
import math
import re

import pytest
import torch
from nano_run import planned

from finescale.errors import UsageError
from finescale.models.bundled import find_checkpoint
from finescale.runs.finetune import execute, probe
from finescale.runs.leg import Leg
from finescale.spec.run import (
    EvaluationSpec,
    ForgettingSpec,
    ModelSpec,
)
from finescale.spec.study import Study
from finescale.study.resolve import resolver


@pytest.mark.parametrize(
    ("method", "size", "rate"), [("full", None, 1e-3), ("lora", 2, 1e-2), ("prompt", 4, 0.3)]
)
def test_every_method_learns_and_fills_its_record(tmp_path, method, size, rate):
    untuned = execute(planned(examples=0), tmp_path)
    record = execute(planned(method, size, learning_rate=rate), tmp_path)
    assert record["status"] == "done"
    assert record["test_loss"] < untuned["test_loss"]
    assert (record["method"], record["pet_size"], record["steps"]) == (method, size, 6)
    assert record["tokens_processed"] > 2 * record["finetune_tokens"] > 0
    assert record["train_flops"] > 0
    assert record["trainable_params"] == {"full": 111_840, "lora": 4_224, "prompt": 128}[method]
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert len(curve["dev_loss"]) == 2
    assert curve["packed"] is True


def test_the_untuned_model_is_method_none_with_no_training(tmp_path):
    record = execute(planned(examples=0), tmp_path)
    assert (record["method"], record["finetune_examples"], record["trainable_params"]) == ("none", 0, 0)
    assert record["learning_rate"] is None
    assert math.isfinite(record["test_loss"])


def test_the_same_run_gives_the_same_loss_and_another_seed_another(tmp_path):
    first, again, other = (execute(planned(seed=seed), tmp_path)["test_loss"] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_run_that_diverges_says_at_which_step(tmp_path):
    record = execute(planned(learning_rate=10.0), tmp_path)
    assert record["status"] == "diverged"
    assert re.search(
        r"dev loss was \d\.\d+ nats before the first step and never lower after it: .* at step \d",
        record["error"],
    )
    assert "(a uniform guess has 7.62)" in record["error"]
    assert "test_loss" not in record


@pytest.mark.parametrize(
    ("rate", "status"), [(1e-4, "done"), (3e-3, "done"), (10.0, "diverged")], ids=["slow", "well", "too fast"]
)
def test_a_run_that_improves_a_base_model_above_a_uniform_guess_is_done(tmp_path, rate, status):
    from architectures import save_model, tiny

    folder = save_model(tmp_path / "sure")
    model = tiny("llama")
    with torch.no_grad():
        model.lm_head.weight.mul_(300.0)  # sure of wrong tokens: far above ln 300 = 5.7 nats
    model.save_pretrained(folder)
    base = ModelSpec(name="sure", pretrain_tokens=1, revision="main", folder=str(folder))
    item = planned(learning_rate=rate, examples=16)
    item = item.model_copy(update={"run": item.run.model_copy(update={"model": base})})
    untuned = item.run.model_copy(update={"finetune_examples": 0})
    start = execute(item.model_copy(update={"run": untuned}), tmp_path)["dev_loss"]
    record = execute(item, tmp_path / "run")
    assert start > math.log(300)
    assert record["status"] == status
    if status == "done":
        assert math.log(300) < record["dev_loss"] < start


def test_a_run_that_needs_too_much_memory_says_how_much_it_took_and_what_to_lower(tmp_path, monkeypatch):
    monkeypatch.setattr("finescale.runs.finetune.train", lambda *_, **__: torch.empty(1 << 55))
    record = execute(planned(train={"micro_batch_size": 8}), tmp_path)
    assert record["status"] == "failed"
    assert re.search(
        r"out of memory at a peak of \d+\.\d\d GB, with 8 examples in one forward pass; "
        r"lower train\.micro_batch_size, set train\.gradient_checkpointing",
        record["error"],
    )


def test_any_other_error_is_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("finescale.runs.finetune.train", lambda *_, **__: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match="size"):
        execute(planned(), tmp_path)


def test_a_study_tokenises_its_examples_once(tmp_path, monkeypatch):
    checkpoint = find_checkpoint("nano-0.05m", "last")
    content = {"weights": checkpoint.weights, "tokenizer": checkpoint.tokenizer, "data": "d"}

    def run(examples, name):
        item = planned(examples=examples)
        item = item.model_copy(update={"run": item.run.model_copy(update={"content": content})})
        return execute(item, tmp_path / "runs" / name)["test_loss"]

    large, small = run(48, "a"), execute(planned(examples=32), tmp_path)["test_loss"]
    monkeypatch.setattr("finescale.runs.prepare.subset", lambda *_: pytest.fail("tokenised again"))
    assert (run(48, "b"), run(32, "c")) == (large, small)
    assert len(list((tmp_path / "tokens").iterdir())) == 1


def test_what_saves_memory_does_not_change_the_losses(tmp_path):
    plain = execute(planned(), tmp_path)
    saving = execute(planned(train={"micro_batch_size": 5, "gradient_checkpointing": True}), tmp_path)
    assert saving["dev_loss"] == pytest.approx(plain["dev_loss"], abs=1e-5)
    assert saving["tokens_processed"] == plain["tokens_processed"]


def test_patience_ends_a_run_early_and_the_record_has_the_steps_taken(tmp_path):
    settings = {"epochs": 8, "evaluations": 8, "patience": 1}
    record = execute(planned(learning_rate=0.02, train=settings), tmp_path)
    assert record["best_step"] + 3 == record["steps"] < 24


def test_a_probe_measures_the_parts_of_a_run_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = probe(planned())
    assert set(parts) == {"step", "example", "setup", "generated", "forgetting"}
    assert all(parts[name] > 0 for name in ("step", "example", "setup"))
    assert parts["generated"] == parts["forgetting"] == 0.0
    assert list(tmp_path.iterdir()) == []
    assert "uniform guess" in probe(planned(learning_rate=10.0))["error"]
    beside = EvaluationSpec(
        metrics=("chrf",), examples=2, max_new_tokens=4, forgetting=ForgettingSpec(rows=1)
    )
    whole = planned()
    parts = probe(whole.model_copy(update={"run": whole.run.model_copy(update={"evaluation": beside})}))
    assert parts["generated"] > 0
    assert parts["forgetting"] > 0


STUDY = {
    "name": "s",
    "task": "mini-en-de",
    "test_examples": 600,
    "base": {"model": "nano-0.3m"},
    "grids": ({"vary": "model", "values": ("nano-0.3m",), "finetune_examples": {"full": (128,)}},),
    "learning_rates": {"full": (0.001,)},
}


def test_a_study_that_asks_for_too_much_is_refused_before_anything_runs():
    grids = ({**STUDY["grids"][0], "finetune_examples": {"full": (128, 40_000)}},)
    with pytest.raises(UsageError, match=r"grids\[0\]\.finetune_examples\.full"):
        resolver(Study(**STUDY | {"grids": grids}))
    with pytest.raises(UsageError, match="unknown task"):
        resolver(Study(**STUDY | {"task": "wmt"}))


def test_content_hashes_name_weights_tokenizer_and_data():
    model, content = resolver(Study(**STUDY))("mini-en-de", "nano-0.3m", 3_532_800)
    assert (model.pretrain_tokens, model.revision) == (3_532_800, "tokens-3532800")
    assert set(content) == {"weights", "tokenizer", "data"}
    assert all(len(value) == 64 for value in content.values())


def test_a_run_in_legs_ends_with_the_same_bits_as_a_whole_one(tmp_path):
    item, measured = planned(), {"wall_seconds", "tokens_per_second", "test_seconds", "curve"}
    whole = execute(item, tmp_path / "whole")
    looks = (1, 2, 4)
    first = execute(item, tmp_path / "legs", Leg(1, looks))
    second = execute(item, tmp_path / "legs", Leg(4, looks))
    last = execute(item, tmp_path / "legs", Leg(None, looks))
    assert (first["status"], second["status"], last["status"]) == ("paused", "paused", "done")
    assert (first["steps"], second["steps"]) == (1, 4)
    assert first["train_flops"] < second["train_flops"] < last["train_flops"]
    curves = [json.loads((tmp_path / name / "curve.json").read_text()) for name in ("whole", "legs")]
    assert curves[0]["dev_loss"] == curves[1]["dev_loss"]
    assert [step for step, _ in curves[1]["looks"]] == [1, 2, 4]
    assert last["curve"] == sorted([*map(tuple, curves[1]["looks"]), *map(tuple, curves[1]["dev_loss"])])
    assert curves[1]["checkpoints"] == ["resumed at step 1", "resumed at step 4"]
    assert {k: v for k, v in last.items() if k not in measured} == {
        k: v for k, v in whole.items() if k not in measured
    }
    weights = [(tmp_path / name / "weights").exists() for name in ("whole", "legs")]
    assert weights == [False, False]
    assert not (tmp_path / "legs" / "checkpoints").exists()
