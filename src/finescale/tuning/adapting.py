"""PEFT's adapters around a model, drawn from a seed; an error of PEFT names the modules."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

import torch
from peft import PeftConfig, PeftMixedModel, PeftModel, get_peft_model
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from finescale.errors import UsageError


def adapt(model: PreTrainedModel, settings: PeftConfig, seed: int, name: str) -> PeftModel | PeftMixedModel:
    """The model with a method's adapters (in place).

    Args:
        model: The base model.
        settings: PEFT's configuration.
        seed: Draws the adapters' start.
        name: The method's name in the study, for the error.

    Raises:
        UsageError: The method does not fit the model.
    """
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    try:
        return get_peft_model(model, settings)
    except (ValueError, TypeError, AttributeError, KeyError, NotImplementedError) as error:
        said = str(error)
        incompatible = re.search(r"Incompatible modules: \{(.*?)\}", said)
        if incompatible is not None:
            kept_out = [part.strip(" '\"") for part in incompatible[1].split(",")]
            raise unusable(name, model, kept_out, "PEFT: their weights are read by fused kernels") from None
        have = ", ".join(linear_modules(model))
        raise UsageError(
            f"PEFT cannot add {name!r} ({type(settings).__name__}) to this model",
            wanted="a method that fits its architecture",
            got=said,
            remedy=f"state `target_modules`, of {have}; or take another method" if have else "full tuning",
            where=f"methods.{name}",
        ) from None
    finally:
        torch.set_rng_state(state)


def unusable(name: str, model: PreTrainedModel, modules: Iterable[str], why: str) -> UsageError:
    """The error for modules that a method cannot adapt, with those that it can.

    Args:
        name: The method's name in the study.
        model: The model.
        modules: Last parts of the modules' names.
        why: Why they cannot.
    """
    out, plain = {*modules, *unadapted_modules(model)}, set(linear_modules(model))
    others = ", ".join(sorted(plain - out))
    there = sorted(set(modules) & plain) or sorted(modules)
    return UsageError(
        f"{name!r} cannot adapt {', '.join(there)} of this architecture ({model.config.model_type})",
        wanted="modules that PEFT can adapt",
        got=why,
        remedy=f"methods: {{{name}: {{target_modules: [{others}]}}}}" if others else "full tuning",
        where=f"methods.{name}",
    )


def linear_modules(model: PreTrainedModel) -> list[str]:
    """Last parts of the names of the model's linear modules, its head left out."""
    head = model.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    layers = [n for n, m in model.named_modules() if isinstance(m, kinds) and m is not head]
    plain = {layer.removesuffix(".base_layer").rpartition(".")[2] for layer in layers if "lora_" not in layer}
    return sorted(plain - {"lm_head"})


def unadapted_modules(model: PreTrainedModel) -> tuple[str, ...]:
    """Linear modules whose weight the architecture multiplies by itself: an adapter would do nothing."""
    found = set()
    for module in model.modules():
        own = [name for name, child in module.named_children() if isinstance(child, torch.nn.Linear)]
        if own and any(name.endswith("proj") for name in own):
            source = _source(type(module))
            found |= {name for name in own if re.search(rf"self\.{re.escape(name)}\.weight\s*@", source)}
    return tuple(sorted(found))


def _source(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""
