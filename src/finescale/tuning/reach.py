"""What a method reaches in a model, known before anything is trained: which weights have no adapter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from finescale.errors import UsageError, unknown
from finescale.models.architecture import weight_problems
from finescale.models.checks import first_names
from finescale.models.decoder import read_config
from finescale.models.tokenizer import open_tokenizer
from finescale.spec.run import MethodSpec
from finescale.tuning.adapting import unadapted_modules, unusable
from finescale.tuning.configured import configuration, wrap_configured
from finescale.tuning.lora import wrap_lora

WORTH_TELLING = 0.05
"""Share of the weight matrices (embeddings and head apart) that has no adapter, from which on it is said."""
MODULES = ("target_modules", "modules_to_save", "exclude_modules")
"""Settings of PEFT that name modules, by the end of their names."""
FORMER = frozenset({"gate", "w1", "w2", "w3", "gate_proj", "up_proj", "down_proj"})
"""What experts were made of before their weights were stacked: PEFT knows the stacked ones by these names."""
PARTS = ("problem", "wanted", "got", "remedy", "where")


@dataclass(frozen=True)
class Reach:
    """What a method reaches.

    Attributes:
        trainable: Parameters that are trained.
        share: Share of the weight matrices, embeddings and head apart, that have an adapter.
        bare: Those that have none, by name with `*` for the layers' numbers, the largest first.
        stacked: Of these the tensors that are no module of their own (experts): LoRA's `target_parameters`.
    """

    trainable: int
    share: float
    bare: tuple[str, ...]
    stacked: tuple[str, ...]


def examine(folder: str, methods: Iterable[MethodSpec]) -> dict[str, Any]:
    """Compares a model's weights with its architecture, and its methods with its modules. Reads no data.

    Args:
        folder: The model's folder.
        methods: The methods that the study trains it with.

    Returns:
        `problems` (parts of errors), and `notes` in sentences.
    """
    problems, notes = [], []
    path = Path(folder)
    try:
        config = read_config(path)
        problems += weight_problems(path, config)
        open_tokenizer(path)
    except UsageError as error:
        return {"problems": [*map(_parts, problems), _parts(error)], "notes": []}
    for method in methods:
        try:
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(config)
            found = reach(model, method)
        except UsageError as error:
            problems.append(error)
        else:
            notes += [] if found is None else _reach_note(method, found)
    return {"problems": [_parts(problem) for problem in problems], "notes": notes}


def reach(model: PreTrainedModel, method: MethodSpec) -> Reach | None:
    """What an adapter method reaches in a model.

    Args:
        model: The model, without data (torch's meta device); it is changed.
        method: The method.

    Returns:
        None for methods that are no adapters of weights: full and prompt tuning, prefixes.

    Raises:
        UsageError: PEFT cannot adapt the architecture, or an adapter would never be used; modules are named.
    """
    adapts = method.name == "lora" if method.peft is None else not configuration(method).is_prompt_learning
    if not adapts:
        return None
    outside = {id(p) for m in model.modules() if isinstance(m, torch.nn.Embedding) for p in m.parameters()}
    head = model.get_output_embeddings()
    outside |= set() if head is None else {id(p) for p in head.parameters()}
    matrices = {id(p): p for p in model.parameters() if p.dim() >= 2 and id(p) not in outside}
    total = sum(p.numel() for p in matrices.values())
    passed = unadapted_modules(model)
    _check_names(method, model)
    if method.peft is not None:
        tuned = wrap_configured(model, _plain(method), 0)
    else:
        tuned = wrap_lora(model, method.pet_size or 1, 0, method.lora_alpha, method.settings)
    adapted = tuned.model
    idle = sorted({name for name in passed if any(f".{name}.lora_" in f".{key}" for key in tuned.trainable)})
    if idle:
        raise unusable(
            method.name, model, idle, "the model reads the weights of these modules without calling them"
        )
    names = {id(p): name for name, p in adapted.named_parameters()}
    bare = {
        names[key]: p
        for key, p in matrices.items()
        if key in names and not _has_adapter(names[key], tuned.trainable)
    }
    sizes: dict[str, int] = {}
    for name, p in bare.items():
        short = re.sub(r"\.\d+\.", ".*.", name.removeprefix("base_model.model."))
        sizes[short] = sizes.get(short, 0) + p.numel()
    ordered = tuple(sorted(sizes, key=lambda name: -sizes[name]))
    return Reach(
        trainable=tuned.trainable_params,
        share=1 - sum(p.numel() for p in bare.values()) / total,
        bare=ordered,
        stacked=tuple(
            name for name in ordered if not name.endswith((".weight", ".bias")) and "experts" in name
        ),
    )


def _check_names(method: MethodSpec, model: PreTrainedModel) -> None:
    """Refuses names that nothing in the model has: PEFT passes over them as long as another one is found."""
    parameters = [name for name, _ in model.named_parameters()]
    weights = {re.sub(r".*\.\d+\.", "", name) for name, p in model.named_parameters() if p.dim() >= 2}
    modules = [name for name, _ in model.named_modules() if name]
    stacked = any(name.endswith(".experts.gate_up_proj") for name in parameters)
    modules += FORMER if stacked else ()
    layers = {
        re.sub(r".*\.\d+\.", "", name)
        for name, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    }
    fields = {
        "target_parameters": ("parameter", parameters, weights),
        **dict.fromkeys(MODULES, ("module", modules, {name.rpartition(".")[2] for name in layers})),
    }
    for field, (kind, have, offered) in fields.items():
        stated = method.settings.get(field)
        for name in stated if isinstance(stated, list | tuple) else ():
            if not any(f".{known}".endswith(f".{name}") for known in have):
                raise unknown(kind, str(name), offered, f"methods.{method.name}.{field}")


def _has_adapter(name: str, trainable: Iterable[str]) -> bool:
    """Whether a weight is trained, or is that of a layer with an adapter beside it."""
    if ".base_layer." in name:
        return True
    module = name.rpartition(".")[0]
    return any(
        key == name or key.startswith(f"{module}.{kind}") for key in trainable for kind in ("lora_", "ia3_")
    )


def _plain(method: MethodSpec) -> MethodSpec:
    """The method with a start that needs no data of the weights."""
    if "init_lora_weights" not in method.settings:
        return method
    return method.model_copy(update={"settings": {**method.settings, "init_lora_weights": True}})


def _reach_note(method: MethodSpec, found: Reach) -> list[str]:
    """A sentence on the weights that LoRA leaves alone; other methods adapt few on purpose."""
    if 1 - found.share < WORTH_TELLING or method.peft not in (None, "LoraConfig"):
        return []
    words = f"{method.name} adapts {found.share:.0%} of the weight matrices;"
    words += f" without adapter: {first_names(found.bare)}."
    if found.stacked:
        names = ", ".join(name.rpartition("*.")[2] for name in found.stacked if not name.endswith("bias"))
        words += f" To adapt the experts too: methods: {{{method.name}: {{target_parameters: [{names}]}}}}."
    return [words]


def _parts(error: UsageError) -> dict[str, str]:
    return {part: getattr(error, part) for part in PARTS}
