"""LoRA (Hu et al. 2021) on attention and feed-forward weights, W + BA with scale 1 as in the paper."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from peft import LoraConfig, get_peft_model
from transformers import PreTrainedModel

from finescale.tuning.low_rank import fuse
from finescale.tuning.tuned import Tuned


def wrap_lora(model: PreTrainedModel, rank: int, seed: int, alpha: float | None = None) -> Tuned:
    """Adds adapters of a rank to all linear weights of the blocks (in place); the output head has none.

    Args:
        model: The base model.
        rank: LoRA rank.
        seed: Draws A; B starts at zero.
        alpha: The update is scaled by alpha / rank (default: 1).

    Returns:
        The tuned model; only the adapters are trained.
    """
    settings = LoraConfig(
        r=rank,
        lora_alpha=rank if alpha is None else alpha,  # pyright: ignore[reportArgumentType]
        target_modules="all-linear",
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
    )
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    adapted = get_peft_model(model, settings)
    torch.set_rng_state(state)
    fuse(model)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def save(folder: Path) -> None:
        adapted.save_pretrained(str(folder), save_embedding_layers=False)

    return Tuned(model=cast(PreTrainedModel, model), trainable=trainable, save=save)
