"""LoRA (Hu et al. 2021) on attention and feed-forward weights, W + BA with scale 1 as in the paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from peft import LoraConfig
from transformers import PreTrainedModel

from finescale.tuning.adapting import adapt
from finescale.tuning.low_rank import fuse
from finescale.tuning.tuned import Tuned


def wrap_lora(
    model: PreTrainedModel,
    rank: int,
    seed: int,
    alpha: float | None = None,
    reached: Mapping[str, Any] | None = None,
) -> Tuned:
    """Adds adapters of a rank to all linear weights of the blocks (in place); the output head has none.

    Args:
        model: The base model.
        rank: LoRA rank.
        seed: Draws A; B starts at zero.
        alpha: The update is scaled by alpha / rank (default: 1).
        reached: `target_modules` instead of all linear ones, `target_parameters` besides (experts).

    Returns:
        The tuned model; only the adapters are trained.

    Raises:
        UsageError: PEFT cannot adapt some of these weights.
    """
    settings = LoraConfig(
        r=rank,
        lora_alpha=rank if alpha is None else alpha,  # pyright: ignore[reportArgumentType]
        lora_dropout=0.0,
        task_type="CAUSAL_LM",
        **{"target_modules": "all-linear", **(reached or {})},
    )
    adapted = adapt(model, settings, seed, "lora")
    fuse(model)
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def save(folder: Path) -> None:
        adapted.save_pretrained(str(folder), save_embedding_layers=False)

    return Tuned(model=cast(PreTrainedModel, model), trainable=trainable, save=save)
