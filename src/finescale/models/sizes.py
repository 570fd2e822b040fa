"""How large a Hugging Face model is, without its weights: counted on torch's meta device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from finescale.models.decoder import read_config

CHOSEN_EXPERTS = (
    "num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k", "moe_k", "top_k_experts",
    "num_selected_experts",
)  # fmt: skip
"""What the configurations of mixtures call the number of experts that a token goes through."""


@dataclass(frozen=True)
class Sizes:
    """Parameter counts.

    Attributes:
        params: All parameters; tied ones count once.
        nonembedding_params: Without token and position embeddings and the output head.
        head_params: The output head (tied or not): it costs FLOPs wherever a token is predicted.
        active_params: Parameters that a token goes through: in a mixture of experts those of the chosen
            experts and all that is not an expert's; elsewhere `params`.
    """

    params: int
    nonembedding_params: int
    head_params: int
    active_params: int

    @property
    def active_nonembedding_params(self) -> int:
        """The active ones without embeddings and head: what a token costs FLOPs in."""
        return self.nonembedding_params - (self.params - self.active_params)


def sizes_of(model: PreTrainedModel) -> Sizes:
    """Counts a model's parameters."""
    head = model.get_output_embeddings()
    embeddings = [module for module in model.modules() if isinstance(module, torch.nn.Embedding)]
    outside = {id(p): p.numel() for module in [*embeddings, head] if module for p in module.parameters()}
    params = sum(parameter.numel() for parameter in model.parameters())
    weight = getattr(head, "weight", None)
    return Sizes(
        params=params,
        nonembedding_params=params - sum(outside.values()),
        head_params=0 if weight is None else weight.numel(),
        active_params=params - _idle(model),
    )


def _idle(model: PreTrainedModel) -> int:
    """Parameters of routed experts that a token does not go through.

    A layer's experts are one tensor with a first dimension for them, or modules in a list. Experts that every
    token goes through (`shared_experts`) have a name of their own, or no choice is made between them.
    """
    chosen = _chosen(model.config)
    if chosen is None:
        return 0
    idle = 0.0
    for name, module in model.named_modules():
        parts = name.split(".")
        routed = parts[-1] == "experts" or type(module).__name__.endswith("Experts")
        if not routed or "shared" in parts[-1] or "experts" in parts[:-1]:
            continue
        if isinstance(module, torch.nn.ModuleList):
            among, tensors = len(module), list(module.parameters())
        else:
            stacked = {n: p for n, p in module.named_parameters() if p.dim() == 3}
            among = max((p.shape[0] for p in stacked.values()), default=0)
            biases = [p for n, p in module.named_parameters() if n.endswith("bias") and p.dim() == 2]
            tensors = [*stacked.values(), *(p for p in biases if p.shape[0] == among)]
        if among > chosen:
            idle += sum(tensor.numel() for tensor in tensors) * (1 - chosen / among)
    return round(idle)


def _chosen(config: PreTrainedConfig) -> int | None:
    """Experts that a token goes through, as the configuration (or that of its text model) says."""
    for part in (config, config.get_text_config()):
        for name in CHOSEN_EXPERTS:
            value = getattr(part, name, None)
            if isinstance(value, list) and value:
                value = max(value)
            if isinstance(value, int) and value > 0:
                return value
    return None


@lru_cache(maxsize=100)
def sizes_of_folder(folder: Path) -> Sizes:
    """The sizes of the model in a folder, from its configuration alone."""
    return sizes_of_config(read_config(folder))


def sizes_of_config(config: PreTrainedConfig) -> Sizes:
    """The sizes of the model that a configuration describes."""
    with torch.device("meta"):
        return sizes_of(AutoModelForCausalLM.from_config(config))
