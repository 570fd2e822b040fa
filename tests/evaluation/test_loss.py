import weakref

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    GPT2Config,
    GPTBigCodeConfig,
    GPTNeoXConfig,
    LlamaConfig,
    Qwen3Config,
)

from finescale.batches.batching import Encoded, collate
from finescale.evaluation.loss import evaluate, evaluation_batches, example_losses
from finescale.evaluation.packing import packing_agrees
from finescale.tuning.full import wrap_full

SMALL = {"vocab_size": 300, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
CONFIGS = {
    "llama": LlamaConfig(**SMALL, **LAYERS, num_key_value_heads=1),
    "gpt-neox": GPTNeoXConfig(**SMALL, **LAYERS),
    "qwen3": Qwen3Config(**SMALL, **LAYERS, num_key_value_heads=2, head_dim=8),
    "gemma": GemmaConfig(**SMALL, **LAYERS, num_key_value_heads=1, head_dim=8),
    "gpt2": GPT2Config(**SMALL, **GPT),
    "gpt-bigcode": GPTBigCodeConfig(**SMALL, **GPT),
}


def examples(count=12, seed=0):
    rng = np.random.default_rng(seed)
    return [Encoded(rng.integers(3, 300, rng.integers(6, 60)).astype(np.int32), 4) for _ in range(count)]


def model(config):
    torch.manual_seed(0)
    built = AutoModelForCausalLM.from_config(config).float().eval()
    with torch.no_grad():  # fresh weights are so small that attention hardly matters: make it matter
        for parameter in built.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return built


def plain_loss(built, given):
    """Each example alone, full logits, the library's own forward pass."""
    nats = 0.0
    for example in given:
        ids = torch.from_numpy(example.ids.astype(np.int64))[None]
        logits = built(ids, use_cache=False).logits[0, example.target_start - 1 : -1]
        nats += float(
            torch.nn.functional.cross_entropy(logits, ids[0, example.target_start :], reduction="sum")
        )
    return nats / sum(e.target_tokens for e in given)


@pytest.mark.parametrize("name", CONFIGS)
@torch.no_grad()
def test_packed_loss_on_target_positions_equals_one_example_at_a_time(name):
    built, given = model(CONFIGS[name]), examples()
    expected = plain_loss(built, given)
    tuned = wrap_full(built)
    for packed in (True, False):
        loss = evaluate(tuned, evaluation_batches(given, pad=0, packed=packed))
        assert loss.mean == pytest.approx(expected, abs=1e-5)
        assert loss.target_tokens == sum(e.target_tokens for e in given)
    assert packing_agrees(tuned, given, pad=0)


SLIDING = {
    "gemma2": Gemma2Config(**SMALL, **LAYERS, num_key_value_heads=1, head_dim=8, sliding_window=4),
    "gemma3": Gemma3TextConfig(**SMALL, **LAYERS, num_key_value_heads=1, head_dim=8, sliding_window=4),
    "qwen3": Qwen3Config(
        **SMALL,
        **LAYERS,
        num_key_value_heads=2,
        head_dim=8,
        use_sliding_window=True,
        sliding_window=4,
        max_window_layers=0,
    ),
}


@pytest.mark.parametrize("name", SLIDING)
@torch.no_grad()
def test_a_model_with_a_sliding_window_is_right_packed_or_padded(name):
    built, given = model(SLIDING[name]), examples()
    expected = plain_loss(built, given)
    tuned = wrap_full(built)
    assert packing_agrees(tuned, given, pad=0) is (name != "gemma2")  # whose attention is its own
    for packed in {tuned.packs, False}:
        loss = evaluate(tuned, evaluation_batches(given, pad=0, packed=packed))
        assert loss.mean == pytest.approx(expected, abs=1e-5)


def test_evaluation_batches_cover_every_example_once():
    given = examples(200)
    batches = evaluation_batches(given, pad=0)
    assert sum(len(batch.targets) for batch in batches) == sum(e.target_tokens for e in given)
    assert max(batch.tokens for batch in batches) <= 4096


def test_example_losses_are_those_of_each_example_alone():
    tuned, given = wrap_full(model(CONFIGS["llama"])), examples(30)
    nats, tokens = example_losses(tuned, given, pad=0)
    for example, loss, count in zip(given, nats, tokens, strict=True):
        alone = evaluate(tuned, evaluation_batches([example], pad=0))
        assert (loss, count) == (pytest.approx(alone.nats, abs=1e-4), alone.target_tokens)


def test_an_evaluation_holds_one_batch_at_a_time_whatever_the_size_of_the_set(monkeypatch):
    tuned, given = wrap_full(model(CONFIGS["llama"])), examples(300)
    made, alive = [], []

    def watched(*arguments):
        batch = collate(*arguments)
        made.append(weakref.ref(batch))
        alive.append(sum(reference() is not None for reference in made))
        return batch

    monkeypatch.setattr("finescale.evaluation.loss.collate", watched)
    evaluate(tuned, evaluation_batches(given, pad=0))
    example_losses(tuned, given, pad=0)
    assert len(made) >= 6
    assert max(alive) <= 2  # the next one is made before the last one is let go
