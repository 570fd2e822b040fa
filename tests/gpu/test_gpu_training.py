"""A GPU trains to the losses of the CPU in float32: 1e-3 nats apart in float32, 0.03 in bfloat16."""

import functools

import numpy as np
import pytest
import torch
from transformers import LlamaConfig

from finescale.batches.batching import Encoded, collate
from finescale.evaluation.decoding import decode
from finescale.evaluation.loss import evaluate, evaluation_batches
from finescale.evaluation.packing import packing_agrees
from finescale.models.decoder import build
from finescale.spec.run import OptimizerSpec
from finescale.training.checkpoints import Checkpoints
from finescale.training.loop import train
from finescale.tuning.full import wrap_full
from finescale.tuning.lora import wrap_lora
from finescale.tuning.prompt import wrap_prompt

TOLERANCE = {False: 1e-3, True: 3e-2}
"""Nats a token, by whether the forward pass is in bfloat16."""
STEPS, BATCH = 6, 4
METHODS = {
    "full": (wrap_full, 1e-4),
    "lora": (functools.partial(wrap_lora, rank=4, seed=0), 3e-3),
    "prompt": (functools.partial(wrap_prompt, length=4, seed=0, frequent=range(70, 600)), 0.1),
}
IDS = {"eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": True}
SMALL = LlamaConfig(
    vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=1, max_position_embeddings=128, **IDS,
)  # fmt: skip
SMOLLM2 = LlamaConfig(
    vocab_size=49_152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, max_position_embeddings=8192, **IDS,
)  # fmt: skip
SHAPES = {"small": SMALL, "135m": SMOLLM2}


@functools.cache
def examples():
    rng = np.random.default_rng(0)
    return tuple(Encoded(rng.integers(70, 600, rng.integers(8, 40)).astype(np.int32), 4) for _ in range(24))


def trained(shape, method, device, bf16=False, checkpoints=None, cut_at=None, checkpointing=False):
    """Six steps of four examples; the dev losses after each second step, and the model."""
    wrap, rate = METHODS[method]
    torch.manual_seed(0)
    tuned = wrap(build(SHAPES[shape], seed=0).to(device))
    if checkpointing:
        tuned.model.gradient_checkpointing_enable({"use_reentrant": False})
    dev = evaluation_batches(examples()[16:], 0, tuned.prompt_length)

    def batches_at(step):
        if step == cut_at:
            raise InterruptedError
        rows = [examples()[i % 16] for i in range(step * BATCH, step * BATCH + BATCH)]
        return [collate(rows, 0, tuned.prompt_length)]

    progress = train(
        tuned, batches_at, STEPS, optimizer=OptimizerSpec(name="adamw"), learning_rate=rate, floor=0.1,
        evaluate_at={2, 4, 6}, evaluate=lambda _: evaluate(tuned, dev).mean, keep_best=False, bf16=bf16,
        checkpoints=checkpoints,
    )  # fmt: skip
    return np.array([loss for _, loss in progress.dev_curve]), tuned


@functools.cache
def on_cpu(shape, method):
    return trained(shape, method, torch.device("cpu"))[0]


@pytest.mark.parametrize("bf16", [False, True], ids=["float32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_losses_are_those_of_the_cpu(device, shape, method, bf16):
    losses, tuned = trained(shape, method, device, bf16)
    assert tuned.model.device.type == device.type
    assert np.abs(losses - on_cpu(shape, method)).max() < TOLERANCE[bf16]
    assert all(tensor.dtype == torch.float32 for tensor in tuned.trainable.values())


@pytest.mark.parametrize("method", METHODS)
def test_packed_rows_are_trusted(device, method):
    _, tuned = trained("small", method, device)
    assert packing_agrees(tuned, examples()[:8], pad=0)


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_training_goes_on(device, method, tmp_path):
    whole, _ = trained("small", method, device)
    with pytest.raises(InterruptedError):
        trained(
            "small", method, device, checkpoints=Checkpoints(str(tmp_path), "run", every_steps=2), cut_at=5
        )
    again = Checkpoints(str(tmp_path), "run", every_steps=2)
    losses, _ = trained("small", method, device, checkpoints=again)
    assert again.history == ["resumed at step 4"]
    assert np.abs(losses - whole).max() < 1e-4  # sums over a GPU's threads come in any order


@pytest.mark.parametrize("method", METHODS)
def test_checkpointing_changes_nothing_but_rounding(device, method):
    plain, checkpointed = (trained("small", method, device, checkpointing=on)[0] for on in (False, True))
    assert np.abs(plain - checkpointed).max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_decoding_gives_the_tokens_of_generate(device, method):
    _, tuned = trained("small", method, device)
    prompts = [example.ids[:6] for example in examples()[:5]]
    made = decode(tuned, prompts, pad=0, eos=1, limit=8)
    assert [len(one) <= 8 for one in made] == [True] * 5
    if method != "prompt":
        ids = torch.from_numpy(np.stack(prompts)).long().to(device)
        wanted = tuned.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False
        )
        for ours, theirs in zip(made, wanted[:, 6:].tolist(), strict=True):
            assert ours == theirs[: len(ours)]
