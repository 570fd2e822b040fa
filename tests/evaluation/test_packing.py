from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GraniteMoeHybridConfig,
    Lfm2Config,
    Llama4TextConfig,
    LlamaConfig,
    RecurrentGemmaConfig,
)

from finescale.batches.batching import Encoded, collate
from finescale.evaluation.packing import packing_agrees
from finescale.tuning.full import wrap_full

SMALL = {"vocab_size": 300, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
ELSEWHERE = {
    "convolutions": Lfm2Config(
        **SMALL, **LAYERS, num_key_value_heads=2, layer_types=["conv", "full_attention"]
    ),
    "a state space": GraniteMoeHybridConfig(
        **SMALL,
        **LAYERS,
        num_key_value_heads=2,
        num_local_experts=2,
        num_experts_per_tok=1,
        shared_intermediate_size=32,
        layer_types=["mamba", "attention"],
        mamba_n_heads=4,
        mamba_d_head=16,
        mamba_d_state=8,
        mamba_chunk_size=16,
    ),
    "recurrences": RecurrentGemmaConfig(**SMALL, **LAYERS, block_types=["recurrent", "attention"]),
    "chunks": Llama4TextConfig(
        **SMALL,
        **LAYERS,
        intermediate_size_mlp=64,
        num_key_value_heads=2,
        head_dim=8,
        num_local_experts=2,
        attention_chunk_size=8,
    ),
}


def example(length, seed=0):
    return Encoded(np.random.default_rng(seed).integers(3, 300, length).astype(np.int32), 4)


@pytest.fixture
def tuned():
    torch.manual_seed(0)
    config = LlamaConfig(**SMALL, **LAYERS, max_position_embeddings=64)
    return wrap_full(AutoModelForCausalLM.from_config(config).float())


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_tokens_that_meet_outside_attention_are_never_packed_however_little_leaks_at_first(kind):
    torch.manual_seed(0)
    built = AutoModelForCausalLM.from_config(ELSEWHERE[kind]).float().eval()
    tuned = wrap_full(built)
    assert not tuned.packs
    assert not packing_agrees(tuned, [example(12)], pad=0)


def test_one_example_a_batch_is_packed_where_examples_stay_apart(tuned):
    assert packing_agrees(tuned, [example(12)], pad=0)


def test_a_row_that_is_one_example_to_the_model_is_found_out_by_a_batch_of_one(tuned, monkeypatch):
    def mixed(chosen, pad, prompt_length, packed):
        batch = collate(chosen, pad, prompt_length, packed)
        one = torch.tensor([[[[batch.tokens]]]], dtype=torch.int32)
        return replace(batch, mask=one) if packed else batch

    monkeypatch.setattr("finescale.evaluation.packing.collate", mixed)
    assert not packing_agrees(tuned, [example(12)], pad=0)


def test_a_leak_far_below_the_loss_s_rounding_is_found_out(tuned):
    def leak(module, inputs, output):
        return output + 0.01 * output.roll(1, dims=1)

    assert packing_agrees(tuned, [example(12)], pad=0)
    tuned.model.model.layers[0].mlp.register_forward_hook(leak)
    assert not packing_agrees(tuned, [example(12)], pad=0)


def test_a_model_that_cannot_read_lengths_is_padded(tuned):
    def read(module, arguments, options):
        mask = options.get("attention_mask")
        if mask is not None and mask.dim() == 4 and mask.shape[-1] != options["hidden_states"].shape[1]:
            raise RuntimeError("the size of tensor a must match the size of tensor b")

    tuned.model.model.layers[0].self_attn.register_forward_pre_hook(read, with_kwargs=True)
    assert not packing_agrees(tuned, [example(12)], pad=0)


def test_made_up_examples_fit_what_the_model_reads(tuned):
    tuned.model.config.max_position_embeddings = 8
    assert packing_agrees(tuned, [example(6)], pad=0)
