"""Tiny random models of the architectures that finescale is tested on, and a tokenizer, made on the spot."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    GPTBigCodeConfig,
    GPTNeoXConfig,
    JambaConfig,
    LlamaConfig,
    MambaConfig,
    MixtralConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2MoeConfig,
    Qwen3Config,
)

VOCABULARY = 300
IDS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "eos_token_id": 0, "bos_token_id": 0}
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
CONFIGS = {
    "llama": lambda: LlamaConfig(**IDS, **LAYERS, num_key_value_heads=1),
    "gpt-neox": lambda: GPTNeoXConfig(**IDS, **LAYERS),
    "qwen3": lambda: Qwen3Config(**IDS, **LAYERS, num_key_value_heads=2, head_dim=8),
    "gemma": lambda: GemmaConfig(**IDS, **LAYERS, num_key_value_heads=1, head_dim=8),
    "gpt2": lambda: GPT2Config(**IDS, **GPT),
    "gpt-bigcode": lambda: GPTBigCodeConfig(**IDS, **GPT),
}
ARCHITECTURES = sorted(CONFIGS)
MOE = {"num_experts_per_tok": 2, "num_key_value_heads": 2}
OTHERS = {
    "mixtral": lambda: MixtralConfig(**IDS, **LAYERS, **MOE, num_local_experts=8),
    "qwen2-moe": lambda: Qwen2MoeConfig(
        **IDS, **LAYERS, **MOE, num_experts=8, moe_intermediate_size=16, shared_expert_intermediate_size=32
    ),
    "mamba": lambda: MambaConfig(**IDS, hidden_size=32, num_hidden_layers=2, state_size=4),
    "jamba": lambda: JambaConfig(
        **IDS, **LAYERS, **MOE, num_experts=8, attn_layer_period=2, attn_layer_offset=1,
        expert_layer_period=2, expert_layer_offset=1, mamba_d_state=4, mamba_dt_rank=4,
    ),
}  # fmt: skip
"""Mixtures of experts, a state-space model, and a hybrid of all three."""


def tiny(name: str, seed: int = 0) -> PreTrainedModel:
    """A tiny model of an architecture with fresh float32 weights."""
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config((CONFIGS | OTHERS)[name]()).float().eval()


@lru_cache(maxsize=1)
def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer as GPT-2 has it: an end-of-sequence token, but no padding and no start."""
    built = Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    built.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    built.train_from_iterator(["The file is open. Die Datei ist offen. Click the cell."] * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=built, eos_token="<|endoftext|>")


def save_model(folder: Path, name: str = "llama", seed: int = 0) -> Path:
    """A folder as `save_pretrained` writes it: configuration, weights in bf16, tokenizer."""
    tiny(name, seed).to(torch.bfloat16).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
