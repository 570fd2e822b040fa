"""Any other PEFT method from its configuration: DoRA, rsLoRA, IA3, prefix tuning, ..."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, cast, get_type_hints

import peft
from peft import PeftConfig
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from transformers import PreTrainedModel

from finescale.errors import UsageError, unknown
from finescale.spec.run import MethodSpec
from finescale.tuning.adapting import adapt
from finescale.tuning.tuned import Tuned
from finescale.wording import listed

NEEDS_MORE = {
    "AdaLoraConfig": "a call at every step that moves ranks between weights",
    "CPTConfig": "token types of every example",
    "MultitaskPromptTuningConfig": "a task id for every example",
    "PolyConfig": "a task id for every example",
    "XLoraConfig": "adapters that are trained already",
}
"""Configurations that PEFT cannot train in a plain loop, and what they need besides."""


def configuration(method: MethodSpec) -> PeftConfig:
    """PEFT's configuration of a method.

    A `LoraConfig` without `target_modules` adapts all attention and feed-forward weights, and without
    `lora_alpha` has alpha = rank, as the built-in LoRA.

    Args:
        method: A method with `peft` and its arguments.

    Raises:
        UsageError: No such configuration or argument, or PEFT refuses the arguments.
    """
    kinds = {name: kind for name, kind in vars(peft).items() if _is_configuration(kind)}
    where = f"methods.{method.name}"
    if method.peft not in kinds:
        raise unknown("PEFT configuration", str(method.peft), kinds, f"{where}.peft")
    kind = kinds[method.peft]
    if method.peft in NEEDS_MORE:
        raise UsageError(
            f"{method.peft} cannot be trained here",
            wanted="a PEFT method that a plain training loop can train",
            got=f"{method.peft}: it needs {NEEDS_MORE[method.peft]}",
            where=f"{where}.peft",
        )
    arguments = {field.name for field in dataclasses.fields(kind) if field.init}
    for name in method.settings:
        if name not in arguments:
            raise unknown(f"argument of {method.peft}", name, arguments, f"{where}.{name}")
    _check_types(kind, method)
    settings: dict[str, Any] = {"task_type": "CAUSAL_LM", **method.settings}
    if method.peft == "LoraConfig":
        settings = {"target_modules": "all-linear", "lora_alpha": method.lora_alpha} | settings
    try:
        return kind(**{name: value for name, value in settings.items() if value is not None})
    except (TypeError, ValueError) as error:
        ours = "target_modules" in settings and "target_modules" not in method.settings
        raise UsageError(
            f"PEFT refuses the settings of {method.name!r}",
            wanted=f"arguments of {method.peft} that go together",
            got=str(error) + (" (the study names none: they are all-linear, a str)" if ours else ""),
            remedy=f"change or remove {listed(list(method.settings), 'or')}"
            + (", or name target_modules" * ours),
            where=where,
        ) from None


def _check_types(kind: type[PeftConfig], method: MethodSpec) -> None:
    """Refuses arguments of another type than the configuration declares: PEFT itself does not look.

    What only a type checker could resolve, and words that are one of several, are PEFT's own to look at: it
    knows more of them than it declares (`pissa_niter_16`).
    """
    try:
        declared = get_type_hints(kind)
    except (NameError, AttributeError):
        return
    for name, value in method.settings.items():
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(declared[name])
        except (KeyError, PydanticUserError):
            continue
        try:
            whole = isinstance(value, float) and value.is_integer()
            adapter.validate_json(json.dumps(int(value) if whole else value), strict=True)
        except ValidationError as error:
            kinds = {found["type"] for found in error.errors()}
            if value is None or (isinstance(value, str) and "literal_error" in kinds):
                continue
            wanted = "; or ".join(
                dict.fromkeys(found["msg"].removeprefix("Input should be ") for found in error.errors())
            )
            raise UsageError(
                f"a wrong type for {name} of {method.peft}",
                wanted=wanted,
                got=f"{value!r}",
                where=f"methods.{method.name}.{name}",
            ) from None


def _is_configuration(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, PeftConfig) and kind is not PeftConfig


def wrap_configured(model: PreTrainedModel, method: MethodSpec, seed: int) -> Tuned:
    """Adds a PEFT method to the model (in place).

    Args:
        model: The base model.
        method: A method with `peft` and its arguments.
        seed: Draws the adapter's start.

    Returns:
        The tuned model. One that adds virtual tokens (prefix tuning) does so for every row, so that its
        examples cannot be packed.

    Raises:
        UsageError: The method does not fit the model.
    """
    settings = configuration(method)
    adapted = adapt(model, settings, seed, method.name)
    trainable = {name: p for name, p in adapted.named_parameters() if p.requires_grad}

    def save(folder: Path) -> None:
        adapted.save_pretrained(str(folder), save_embedding_layers=False)

    return Tuned(
        model=cast(PreTrainedModel, adapted),
        trainable=trainable,
        save=save,
        packs=not settings.is_prompt_learning,
    )
