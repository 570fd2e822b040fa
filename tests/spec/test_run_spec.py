import pytest
from pydantic import ValidationError

from finescale.spec.run import MethodSpec, ModelSpec, Objective, OptimizerSpec, RunSpec, TrainSpec


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
        {"train": {"patience": 2}},
        {"train": {"precision": "bf16"}},
        {"test_examples": 500},
        {"version": 2},
    ],
)
def test_what_changes_the_science_changes_the_fingerprint(changes):
    assert run(**changes).fingerprint() != run().fingerprint()


def test_names_do_not_enter_the_fingerprint():
    renamed = run(model=ModelSpec(name="elsewhere", pretrain_tokens=100, revision="main"))
    assert renamed.fingerprint() == run().fingerprint()


@pytest.mark.parametrize("change", [{"micro_batch_size": 4}, {"gradient_checkpointing": True}])
def test_what_only_saves_memory_does_not_enter_the_fingerprint(change):
    assert run(train=change).fingerprint() == run().fingerprint()


@pytest.mark.parametrize(
    "dropout",
    [
        {"model": ModelSpec(name="gpt2", pretrain_tokens=100, revision="r", random=True)},
        {"method": MethodSpec(name="lora", peft="LoraConfig", settings={"r": 4, "lora_dropout": 0.1})},
    ],
)
def test_micro_batches_count_where_something_is_dropped_and_the_study_says_version_2(dropout):
    def names(version, **train):
        return run(version=version, train=train, **dropout).fingerprint()

    assert names(2, micro_batch_size=4) != names(2)
    assert names(2, micro_batch_size=4) != names(2, micro_batch_size=8)
    assert names(2, micro_batch_size=16) == names(2)  # the whole batch
    assert names(1, micro_batch_size=4) == names(1)
    plain = {"version": 2, "train": {"micro_batch_size": 4}}
    assert run(**plain).fingerprint() == run(version=2).fingerprint()


def test_the_fingerprint_is_stable():
    assert run().fingerprint() == "f6f76c3c6de5c91de2a7"


def test_version_1_is_what_a_run_without_a_version_is():
    assert run(version=1).fingerprint() == run().fingerprint()
    assert run(finetune_examples=0, version=2).fingerprint() != run(finetune_examples=0).fingerprint()


def test_training_settings_do_not_name_an_untuned_evaluation():
    untuned = run(finetune_examples=0)
    assert (
        run(finetune_examples=0, train={"learning_rate": 0.5}, seed=3).fingerprint() == untuned.fingerprint()
    )
    assert run(finetune_examples=0, train={"dev_examples": 99}).fingerprint() != untuned.fingerprint()


def test_the_mixtures_shares_sum_to_one():
    with pytest.raises(ValidationError, match="causal"):
        Objective(causal=0.5)


def test_a_later_field_enters_the_fingerprint_only_where_it_is_used():
    lora = run(method=MethodSpec(name="lora", pet_size=4))
    assert set(lora.method.science()) == {"name", "pet_size"}
    assert run(method=MethodSpec(name="lora", pet_size=4, alpha=8.0)).fingerprint() != lora.fingerprint()
    dora = {"name": "dora", "pet_size": 4, "peft": "LoraConfig"}
    first = run(method=MethodSpec(**dora, settings={"r": 4, "use_dora": True}))
    assert set(first.method.science()) == {"name", "pet_size", "peft", "settings"}
    assert first.fingerprint() != run(method=MethodSpec(**dora, settings={"r": 4})).fingerprint()


def test_where_a_model_lies_does_not_enter_the_fingerprint():
    elsewhere = ModelSpec(name="nano-0.3m", pretrain_tokens=100, revision="r", folder="/models/x", params=9)
    assert run(model=elsewhere).fingerprint() == run().fingerprint()


def test_lora_has_scale_one_unless_alpha_is_stated():
    assert MethodSpec(name="lora", pet_size=4).lora_alpha == 4
    assert MethodSpec(name="lora", pet_size=4, alpha=16.0).lora_alpha == 16
    assert MethodSpec(name="dora", pet_size=8, peft="LoraConfig", settings={"r": 8}).lora_alpha == 8
    assert MethodSpec(name="ia3", peft="IA3Config").lora_alpha is None
