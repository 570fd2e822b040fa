"""Hugging Face models: a ladder shape as a plain Llama, and any causal language model from its folder."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import prepare_model_for_kbit_training
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from finescale.errors import UsageError, combine
from finescale.ladder import Shape
from finescale.models.architecture import head_problems, loading_problems
from finescale.models.behaviour import other_positions, sees_ahead

CAUSAL = ("ForCausalLM", "LMHeadModel")
"""How the architectures of causal language models end."""
BOTH_WAYS = frozenset({"xlm", "xlnet"})
"""Kinds of models (`model_type`) in which a token sees those after it."""
POSITIONS_OF_THEIR_OWN = frozenset({
    "roberta", "camembert", "xlm-roberta", "xlm-roberta-xl", "xmod", "data2vec-text", "roberta-prelayernorm",
})  # fmt: skip
"""Kinds whose first position is not 0 but the one after the padding token's id."""
ENCODERS = POSITIONS_OF_THEIR_OWN | {
    "bert", "bert-generation", "big_bird", "electra", "ernie", "megatron-bert", "rembert", "roc_bert",
    "roformer",
}  # fmt: skip
"""Kinds that see both ways unless their configuration says `is_decoder: true`."""


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


def read_config(folder: Path) -> PreTrainedConfig:
    """The configuration of the causal language model in a folder.

    Raises:
        UsageError: The model needs code of its own, or is no causal language model.
    """
    try:
        found = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    except (ValueError, OSError, KeyError) as error:
        raise UsageError(
            "transformers does not know this kind of model",
            wanted="an architecture of the installed transformers (code from repositories is never run)",
            got=" ".join(str(error).split())[:200],
            remedy="a newer transformers may know it",
            where=str(folder),
        ) from None
    made = found.architectures or ["ForCausalLM"]
    if type(found) not in AutoModelForCausalLM._model_mapping or not made[0].endswith(CAUSAL):
        raise UsageError(
            "not a causal language model",
            wanted="a decoder that predicts the next token (GPT-NeoX, Llama, Qwen3, Gemma, GPT-2, ...)",
            got=f"{made[0]} ({found.model_type})",
            where=str(folder),
        )
    kind = found.model_type
    both = kind in BOTH_WAYS or (kind in ENCODERS and not getattr(found, "is_decoder", False))
    if both:
        raise sees_ahead(f"{made[0]} ({kind})", str(folder))
    if kind in POSITIONS_OF_THEIR_OWN:
        raise other_positions(f"{made[0]} ({kind})", str(folder))
    return found


def open_model(folder: Path, quantize: str | None = None) -> PreTrainedModel:
    """The model saved in a folder, in float32 whatever the file holds; safetensors only.

    Args:
        folder: Configuration and weights.
        quantize: `nf4` or `int8`: the weights in 4 or 8 bits (bitsandbytes), for adapters on top.

    Raises:
        UsageError: Weights are missing, of another shape, or of another architecture.
    """
    settings: dict[str, object] = {"dtype": torch.float32}
    if quantize is not None:
        settings = {
            "quantization_config": BitsAndBytesConfig(
                load_in_8bit=quantize == "int8",
                load_in_4bit=quantize == "nf4",
                bnb_4bit_quant_type="nf4",
                bnb_4bit_compute_dtype=torch.bfloat16,
            )
        }
    found = read_config(folder)
    untied = head_problems(folder, found)
    if untied:
        raise untied[0]
    model, info = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues] - a pair
        str(folder),
        config=found,
        output_loading_info=True,
        ignore_mismatched_sizes=True,  # they are refused with all else, with their names
        use_safetensors=True,
        trust_remote_code=False,
        **settings,
    )
    problems = loading_problems(folder, info)
    if problems:
        raise combine(f"{folder}: {len(problems)} problems", problems)
    if quantize is None:
        return model
    # checkpointing costs a second forward pass: only where the study asks for it
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
