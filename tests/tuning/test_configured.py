import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES, VOCABULARY, tiny
from peft import PeftModel
from peft.tuners.lora import LoraLayer

from finescale.batches.batching import Encoded, collate
from finescale.errors import UsageError
from finescale.evaluation.packing import packing_agrees
from finescale.spec.run import MethodSpec
from finescale.tuning.configured import configuration, wrap_configured
from finescale.tuning.lora import wrap_lora

pytestmark = pytest.mark.usefixtures("one_thread")
LORA = {"peft": "LoraConfig", "pet_size": 4}
METHODS = {
    "dora": MethodSpec(name="dora", **LORA, settings={"r": 4, "use_dora": True}),
    "rslora": MethodSpec(name="rslora", **LORA, settings={"r": 4, "use_rslora": True, "lora_alpha": 8}),
    "ia3": MethodSpec(name="ia3", peft="IA3Config"),
    "prefix": MethodSpec(name="prefix", peft="PrefixTuningConfig", settings={"num_virtual_tokens": 5}),
    "p-tuning": MethodSpec(
        name="p-tuning",
        peft="PromptEncoderConfig",
        settings={"num_virtual_tokens": 5, "encoder_hidden_size": 16},
    ),
}
GPT = {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}
GATED = {f"self_attn.{name}_proj" for name in "qkvo"} | {
    f"mlp.{name}_proj" for name in ("gate", "up", "down")
}
WEIGHTS = {
    "gpt2": GPT,
    "gpt-bigcode": GPT,
    "gpt-neox": {
        "attention.query_key_value",
        "attention.dense",
        "mlp.dense_h_to_4h",
        "mlp.dense_4h_to_h",
    },
    "llama": GATED,
    "qwen3": GATED,
    "gemma": GATED,
}


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    return [Encoded(rng.integers(3, VOCABULARY, rng.integers(6, 40)).astype(np.int32), 4) for _ in range(6)]


def train_a_little(tuned, examples, steps=4):
    optimizer = torch.optim.Adam(tuned.trainable.values(), lr=3e-2)
    for _ in range(steps):
        batch = collate(examples, 0, packed=tuned.packs)
        (tuned.loss(batch) / len(batch.targets)).backward()
        optimizer.step()
        optimizer.zero_grad()
    tuned.model.eval()


@torch.no_grad()
def loss_in_peft(adapted, examples):
    """Each example alone, by PEFT's own forward pass."""
    nats = 0.0
    for example in examples:
        ids = torch.from_numpy(example.ids.astype(np.int64))[None]
        logits = adapted(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -ids.shape[1] :]
        predicted = logits[example.target_start - 1 : -1]
        nats += float(
            torch.nn.functional.cross_entropy(predicted, ids[0, example.target_start :], reduction="sum")
        )
    return nats


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_peft_method_learns_and_its_saved_adapter_gives_the_same_loss(
    tmp_path, examples, architecture, name
):
    tuned = wrap_configured(tiny(architecture), METHODS[name], seed=0)
    batch = collate(examples, 0, packed=tuned.packs)
    start = tuned.state()
    with torch.no_grad():
        before = float(tuned.loss(batch))
    train_a_little(tuned, examples)
    with torch.no_grad():
        after = float(tuned.loss(batch))
    assert after < before
    assert all(not torch.equal(tuned.trainable[key], value) for key, value in start.items())
    tuned.save(tmp_path)
    again = PeftModel.from_pretrained(tiny(architecture), str(tmp_path)).eval()
    with torch.no_grad():
        alone = sum(float(tuned.loss(collate([example], 0, packed=False))) for example in examples)
    tokens = len(batch.targets)
    assert loss_in_peft(again, examples) / tokens == pytest.approx(alone / tokens, abs=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_what_adds_virtual_tokens_to_rows_is_not_packed(examples, name):
    tuned = wrap_configured(tiny("llama"), METHODS[name], seed=0)
    assert packing_agrees(tuned, examples, pad=0) is (name not in ("prefix", "p-tuning"))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lora_adapts_attention_and_feed_forward_weights_and_no_head(architecture):
    for tuned in (
        wrap_lora(tiny(architecture), 2, 0),
        wrap_configured(tiny(architecture), METHODS["dora"], 0),
    ):
        layers = {name.split(".lora_")[0].split(".0.")[-1] for name in tuned.trainable if ".0." in name}
        assert layers == WEIGHTS[architecture]
        assert not any(name.startswith(("lm_head", "embed_out")) for name in tuned.trainable)


def test_lora_s_alpha_is_the_rank_unless_it_is_stated():
    for stated, scale in ((None, 1.0), (8.0, 2.0)):
        settings = {"r": 4} | ({"lora_alpha": stated} if stated else {})
        for tuned in (
            wrap_lora(tiny("llama"), 4, 0, stated),
            wrap_configured(tiny("llama"), MethodSpec(name="mine", **LORA, settings=settings), 0),
        ):
            layers = [module for module in tuned.model.modules() if isinstance(module, LoraLayer)]
            assert {layer.scaling["default"] for layer in layers} == {scale}


def test_the_seed_draws_the_adapter_and_leaves_other_draws_alone():
    state = torch.get_rng_state()
    same = [wrap_configured(tiny("llama"), METHODS["dora"], seed=7).state() for _ in range(2)]
    other = wrap_configured(tiny("llama"), METHODS["dora"], seed=8).state()
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    assert any(not torch.equal(same[0][name], other[name]) for name in other)
    torch.set_rng_state(state)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"peft": "Ia3Config"}, ["mine.peft", "unknown PEFT configuration", "did you mean 'IA3Config'?"]),
        ({"settings": {"use_dorra": True}}, ["mine.use_dorra", "argument of LoraConfig", "'use_dora'?"]),
        ({"settings": {"r": -1}}, ["methods.mine", "PEFT", "-1"]),
        ({"peft": "AdaLoraConfig"}, ["methods.mine.peft", "cannot be trained here", "every step"]),
        (
            {"settings": {"target_modules": ["nothing_like_it"]}},
            ["cannot add 'mine' (LoraConfig)", "of dense, dense_4h_to_h, dense_h_to_4h, query_key_value; or"],
        ),
        ({"peft": "LNTuningConfig"}, ["cannot add 'mine' (LNTuningConfig)", "target_modules"]),
    ],
)
def test_a_method_that_cannot_be_is_told(changes, told):
    method = MethodSpec(**{"name": "mine", "peft": "LoraConfig"} | changes)
    with pytest.raises(UsageError) as caught:
        wrap_configured(tiny("gpt-neox"), method, 0)
    for words in told:
        assert words in str(caught.value)


def test_every_configuration_that_needs_more_is_one_of_peft_s():
    from finescale.tuning.configured import NEEDS_MORE

    for name in NEEDS_MORE:
        with pytest.raises(UsageError, match="it needs"):
            configuration(MethodSpec(name="mine", peft=name))


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [("r", "8", "integer"), ("use_dora", "yes", "boolean"), ("lora_dropout", [0.1], "number")],
)
def test_arguments_of_a_wrong_type_are_told_by_field(name: str, value: object, wanted: str) -> None:
    with pytest.raises(
        UsageError, match=rf"methods\.m\.{name}: a wrong type for {name} of LoraConfig"
    ) as told:
        configuration(MethodSpec(name="m", pet_size=None, peft="LoraConfig", settings={name: value}))
    assert wanted in str(told.value)


def test_words_that_peft_knows_and_does_not_declare_are_taken() -> None:
    settings = {"init_lora_weights": "pissa_niter_16", "lora_dropout": 0, "target_modules": ["q_proj"]}
    configuration(MethodSpec(name="m", pet_size=None, peft="LoraConfig", settings=settings))
