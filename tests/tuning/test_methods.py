import numpy as np
import pytest
import torch
from peft import PeftModel

from finescale.batches.batching import Encoded, collate
from finescale.models.decoder import build, config
from finescale.tuning.full import wrap_full
from finescale.tuning.lora import wrap_lora
from finescale.tuning.prompt import wrap_prompt


@pytest.fixture
def fresh(tiny_shape):
    return lambda: build(config(tiny_shape, context=128, eos=1, pad=0), seed=0)


@pytest.fixture
def examples():
    rng = np.random.default_rng(0)
    return [Encoded(rng.integers(70, 600, rng.integers(8, 30)).astype(np.int32), 4) for _ in range(6)]


def train_a_little(tuned, examples, steps=3):
    optimizer = torch.optim.SGD(tuned.trainable.values(), lr=0.1)
    for _ in range(steps):
        batch = collate(examples, 0, tuned.prompt_length)
        (tuned.loss(batch) / len(batch.targets)).backward()
        optimizer.step()
        optimizer.zero_grad()


@torch.no_grad()
def test_lora_and_prompt_start_where_they_should(fresh, examples, tiny_shape):
    base = float(wrap_full(fresh()).loss(collate(examples, 0)))
    lora = wrap_lora(fresh(), rank=3, seed=0)
    assert float(lora.loss(collate(examples, 0))) == pytest.approx(base, rel=1e-6)
    assert lora.trainable_params == tiny_shape.lora_params(3)
    prompt = wrap_prompt(fresh(), length=5, seed=0, frequent=range(70, 200))
    assert prompt.trainable_params == tiny_shape.prompt_params(5)
    embedding = prompt.model.get_input_embeddings().weight
    rows = {tuple(row.tolist()) for row in embedding[70:200]}
    assert all(tuple(row.tolist()) in rows for row in prompt.soft_prompt)


def test_only_the_adapter_is_trained(fresh, examples):
    for tuned in (wrap_lora(fresh(), 2, 0), wrap_prompt(fresh(), 4, 0, range(70, 200))):
        frozen = {n: p.detach().clone() for n, p in tuned.model.named_parameters() if not p.requires_grad}
        before = tuned.state()
        train_a_little(tuned, examples)
        now = dict(tuned.model.named_parameters())
        assert all(torch.equal(now[name], value) for name, value in frozen.items())
        assert all(not torch.equal(tuned.trainable[name], value) for name, value in before.items())


def test_a_saved_lora_gives_the_same_logits_in_peft(fresh, examples, tmp_path):
    tuned = wrap_lora(fresh(), rank=3, seed=1)
    train_a_little(tuned, examples)
    tuned.save(tmp_path)
    again = PeftModel.from_pretrained(fresh(), str(tmp_path))
    ids = torch.from_numpy(examples[0].ids.astype(np.int64))[None]
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, tuned.model(ids).logits)


def test_a_saved_prompt_gives_the_same_loss_in_peft(fresh, examples, tmp_path):
    tuned = wrap_prompt(fresh(), length=5, seed=1, frequent=range(70, 200))
    train_a_little(tuned, examples)
    example = examples[0]
    with torch.no_grad():
        ours = float(tuned.loss(collate([example], 0, tuned.prompt_length)))
    tuned.save(tmp_path)
    again = PeftModel.from_pretrained(fresh(), str(tmp_path))
    ids = torch.from_numpy(example.ids.astype(np.int64))[None]
    with torch.no_grad():
        logits = again(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 5:]
    start = example.target_start
    theirs = torch.nn.functional.cross_entropy(logits[start - 1 : -1], ids[0, start:], reduction="sum")
    assert ours == pytest.approx(float(theirs), rel=1e-5)


def test_the_seed_draws_the_adapter(fresh):
    same = [wrap_lora(fresh(), 2, seed=7).state() for _ in range(2)]
    other = wrap_lora(fresh(), 2, seed=8).state()
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0])
    assert any(not torch.equal(same[0][name], other[name]) for name in other)
