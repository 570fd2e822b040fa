"""A ladder shape as a plain Hugging Face Llama model with one key-value head and tied embeddings."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from finescale.ladder import Shape


def config(shape: Shape, context: int, eos: int, pad: int, bos: int | None = None) -> LlamaConfig:
    """The Hugging Face configuration of a ladder shape.

    Args:
        shape: Layers, heads, head width and vocabulary.
        context: Longest sequence in tokens.
        eos: Token id of end of sequence.
        pad: Token id of padding.
        bos: Token id that starts a prompt, if any.

    Returns:
        A Llama configuration: RMS norm, rotary positions, gated feed-forward, multi-query attention.
    """
    return LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=1,
        head_dim=shape.head_dim,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        initializer_range=shape.width**-0.5,
        bos_token_id=bos,
        eos_token_id=eos,
        pad_token_id=pad,
        use_cache=False,
    )


def build(llama: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A model with fresh float32 weights, drawn from `seed`."""
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(llama).float()
    torch.set_rng_state(generator_state)
    return model


def open_model(folder: Path) -> PreTrainedModel:
    """The model saved in a folder, in float32 (bf16 weights are widened); safetensors only."""
    return AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32, use_safetensors=True)
