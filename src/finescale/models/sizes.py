"""How large a Hugging Face model is, without its weights: counted on torch's meta device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from finescale.models.decoder import read_config


@dataclass(frozen=True)
class Sizes:
    """Parameter counts.

    Attributes:
        params: All parameters; tied ones count once.
        nonembedding_params: Without token and position embeddings and the output head.
        head_params: The output head (tied or not): it costs FLOPs wherever a token is predicted.
    """

    params: int
    nonembedding_params: int
    head_params: int


def sizes_of(model: PreTrainedModel) -> Sizes:
    """Counts a model's parameters."""
    head = model.get_output_embeddings()
    embeddings = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    outside = {id(p): p.numel() for module in [*embeddings, head] if module for p in module.parameters()}
    params = sum(parameter.numel() for parameter in model.parameters())
    weight = getattr(head, "weight", None)
    return Sizes(params, params - sum(outside.values()), 0 if weight is None else weight.numel())


@lru_cache(maxsize=100)
def sizes_of_folder(folder: Path) -> Sizes:
    """The sizes of the model in a folder, from its configuration alone."""
    with torch.device("meta"):
        return sizes_of(AutoModelForCausalLM.from_config(read_config(folder)))
