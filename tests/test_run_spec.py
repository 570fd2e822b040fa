import pytest
from pydantic import ValidationError

from finescale.run_spec import MethodSpec, ModelSpec, Objective, OptimizerSpec, RunSpec, TrainSpec


def run(**changes):
    train = TrainSpec(
        optimizer=OptimizerSpec(name="adamw"), **{"learning_rate": 1e-3} | changes.pop("train", {})
    )
    fields = {
        "task": "mini-en-de",
        "model": ModelSpec(name="nano-0.3m", pretrain_tokens=100, revision="r"),
        "method": MethodSpec(name="full"),
        "finetune_examples": 128,
        "test_examples": 600,
        "seed": 0,
        "train": train,
        "content": {"weights": "w", "tokenizer": "t", "data": "d"},
    }
    return RunSpec(**fields | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"finetune_examples": 256},
        {"method": MethodSpec(name="lora", pet_size=4)},
        {"content": {"weights": "other", "tokenizer": "t", "data": "d"}},
        {"train": {"learning_rate": 2e-3}},
        {"train": {"epochs": 5}},
        {"test_examples": 500},
    ],
)
def test_what_changes_the_science_changes_the_fingerprint(changes):
    assert run(**changes).fingerprint() != run().fingerprint()


def test_names_do_not_enter_the_fingerprint():
    renamed = run(model=ModelSpec(name="elsewhere", pretrain_tokens=100, revision="main"))
    assert renamed.fingerprint() == run().fingerprint()


def test_the_fingerprint_is_stable():
    assert run().fingerprint() == "f6f76c3c6de5c91de2a7"


def test_training_settings_do_not_name_an_untuned_evaluation():
    untuned = run(finetune_examples=0)
    assert (
        run(finetune_examples=0, train={"learning_rate": 0.5}, seed=3).fingerprint() == untuned.fingerprint()
    )
    assert run(finetune_examples=0, train={"dev_examples": 99}).fingerprint() != untuned.fingerprint()


def test_the_mixtures_shares_sum_to_one():
    with pytest.raises(ValidationError, match="causal"):
        Objective(causal=0.5)
