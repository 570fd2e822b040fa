"""Prompt tuning (Lester et al. 2021): trained vectors before the input embeddings of every example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch
from peft import PromptTuningConfig, PromptTuningInit, TaskType, get_peft_model
from transformers import PreTrainedModel

from finescale.errors import UsageError
from finescale.tuning.tuned import Tuned

START_FROM = 5_000
"""A soft prompt starts as rows of the most frequent tokens (Lester et al. 2021: of 5,000)."""


def wrap_prompt(model: PreTrainedModel, length: int, seed: int, frequent: Sequence[int]) -> Tuned:
    """Freezes the model and adds a soft prompt.

    Args:
        model: The base model.
        length: Soft-prompt tokens.
        seed: Draws the vocabulary rows that the prompt starts from, without replacement.
        frequent: Token ids, the most frequent first.

    Returns:
        The tuned model; only the prompt [length, width] is trained.

    Raises:
        UsageError: Fewer tokens in `frequent` than the prompt is long.
    """
    if len(frequent) < length:
        raise UsageError(
            "the training data has too few distinct tokens to start a soft prompt from",
            wanted=f"at least {length}, the prompt's length",
            got=str(len(frequent)),
            remedy="lower the prompt's length (pet_size)",
        )
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    pool = torch.tensor(list(frequent[:START_FROM]))
    rows = pool[torch.randperm(len(pool), generator=generator)[:length]]
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    prompt = torch.nn.Parameter(weight[rows].detach().clone())

    def save(folder: Path) -> None:
        settings = PromptTuningConfig(
            task_type=TaskType.CAUSAL_LM,
            num_virtual_tokens=length,
            prompt_tuning_init=PromptTuningInit.RANDOM,
            num_attention_heads=getattr(model.config, "num_attention_heads", 1),  # asked for, not used
        )
        adapted = get_peft_model(model, settings)
        encoder = cast(torch.nn.ModuleDict, adapted.prompt_encoder)["default"]
        with torch.no_grad():
            cast(torch.nn.Embedding, encoder.embedding).weight.copy_(prompt)
        adapted.save_pretrained(str(folder), save_embedding_layers=False)

    return Tuned(model=model, trainable={"soft_prompt": prompt}, save=save, soft_prompt=prompt)
