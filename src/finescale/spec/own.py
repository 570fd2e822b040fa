"""What a study may bring of its own: base models (`models`) and finetuning methods (`methods`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from finescale.spec.fields import Count, Strict
from finescale.spec.paths import is_inside, resolve_path
from finescale.spec.run import METHODS, MethodSpec

PROMPTS = ("PrefixTuningConfig", "PromptEncoderConfig", "PromptTuningConfig")
"""PEFT configurations whose PET size is `num_virtual_tokens`; that of the others is `r`."""


REACHED = ("target_modules", "target_parameters")
"""Arguments of PEFT's LoRA that say what gets an adapter: modules, and tensors that are none (experts)."""


UNKNOWN = 0
"""Stands for a number of pretraining tokens that nobody states."""


class FieldError(ValueError):
    """What a field should have been, found out from other fields."""

    def __init__(self, wanted: str, *field: str | int) -> None:
        """Says what is wanted where.

        Args:
            wanted: What would have been right.
            field: The path of the field, from the model that finds out.
        """
        super().__init__(wanted)
        self.field = field


class UnknownKey(FieldError):
    """A key that only other fields could have made known."""

    def __init__(self, known: tuple[str, ...], *field: str | int) -> None:
        """Names the keys that are known there.

        Args:
            known: The keys.
            field: The path of the unknown key, from the model that finds out.
        """
        super().__init__("one of " + ", ".join(known), *field)
        self.known = known


class ModelSource(Strict):
    """A causal language model from the Hugging Face hub or a folder, and how much it was pretrained."""

    model_config = ConfigDict(serialize_by_alias=True)

    source: Annotated[str, Field(min_length=1, max_length=1000)] = Field(alias="from")
    """A folder (relative to the study file), or the model's name on the hub."""
    revision: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Revision of the hub (a branch, tag or commit; default: main) that `pretrain_tokens` is about."""
    pretrain_tokens: Count | None = None
    """Tokens that it was pretrained on, where that is known."""
    revisions: dict[str, Count] = Field(default_factory=dict)
    """Intermediate checkpoints: revision of the hub, or folder inside `from`, to its pretraining tokens."""
    params: Count | None = None
    nonembedding_params: Count | None = None
    """Sizes; read from the model's configuration where they are not stated."""
    active_params: Count | None = None
    """Parameters that a token goes through, of a mixture of experts whose sizes are stated."""

    @property
    def checkpoints(self) -> dict[int, str | None]:
        """Pretraining tokens (`UNKNOWN`: nobody says) to revision (None: as `from` says), in their order."""
        stated: dict[int, str | None] = {tokens: name for name, tokens in self.revisions.items()}
        if self.pretrain_tokens is not None or not stated:
            stated[self.pretrain_tokens or UNKNOWN] = self.revision
        return dict(sorted(stated.items()))

    @property
    def is_folder(self) -> bool:
        """Whether `from` means a folder, not a name on the hub."""
        return self.source.startswith((".", "/", "~")) or Path(self.source).is_dir()

    def resolve_paths(self, folder: Path, where: str = "from") -> ModelSource:
        """The model with a folder relative to `folder` made absolute; a name on the hub stays.

        Args:
            folder: The study file's folder.
            where: The field, for the error.

        Raises:
            UsageError: Neither a folder nor the hub's could have such a name.
        """
        path = resolve_path(folder, self.source, where)
        if not (path.is_dir() or self.is_folder):
            return self
        return self.model_copy(update={"source": str(path)})

    @model_validator(mode="after")
    def _is_complete(self) -> ModelSource:
        stated = [*self.revisions.values()]
        if self.pretrain_tokens is None and self.revision is not None and stated:
            raise FieldError("with `revision` also `pretrain_tokens`", "revision")
        if len({*stated, self.pretrain_tokens}) < len(stated) + 1:
            raise FieldError("a number of tokens of its own for each checkpoint", "revisions")
        for name in self.revisions:
            if not (name and is_inside(name)):
                raise FieldError(
                    "a revision, or a folder inside `from`: no `..`, no absolute path", "revisions", name
                )
        if self.revision is not None and not is_inside(self.revision):
            raise FieldError("a revision, or a folder inside `from`: no `..`, no absolute path", "revision")
        if (self.params is None) != (self.nonembedding_params is None):
            missing = "params" if self.params is None else "nonembedding_params"
            raise FieldError("both params and nonembedding_params, or neither", missing)
        if self.params is not None and self.params < (self.nonembedding_params or 0):
            raise FieldError("at most params", "nonembedding_params")
        if self.active_params is not None and self.active_params > (self.params or 0):
            raise FieldError("at most params, which have to be stated with it", "active_params")
        return self


class PeftMethod(Strict):
    """Any PEFT method by its configuration: `{peft: LoraConfig, use_dora: true, r: 8}`.

    Every key besides `peft`, `size` and `quantize` is an argument of the configuration. An entry called
    `lora` changes the built-in one: it may state `lora_alpha`, `quantize`, and what it reaches (`REACHED`).
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Any] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    peft: Annotated[str, Field(pattern=r"^[A-Za-z0-9]+Config$")] | None = None
    """The configuration's class in PEFT."""
    size: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    """The argument that is the PET size (default: `r`, or `num_virtual_tokens` of a prefix or prompt)."""
    quantize: Literal["nf4", "int8"] | None = None
    """Load the base model's weights in 4 or 8 bits (QLoRA; needs bitsandbytes and a GPU)."""

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        """Lists as lists, as JSON has them."""
        return _listed(data) if isinstance(data, dict) else data

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration's arguments."""
        return dict(self.__pydantic_extra__)

    @property
    def size_argument(self) -> str:
        """The argument of the configuration that holds the PET size."""
        return self.size or ("num_virtual_tokens" if self.peft in PROMPTS else "r")

    def stated_size(self) -> int | None:
        """The PET size among the settings."""
        value = self.settings.get(self.size_argument)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None

    def resolve(self, name: str, pet_size: int | None) -> MethodSpec:
        """The method with a PET size."""
        if self.peft is None:
            alpha = self.settings.get("lora_alpha")
            return MethodSpec(
                name=name,
                pet_size=pet_size,
                alpha=None if alpha in (None, pet_size) else float(alpha),
                settings={key: self.settings[key] for key in REACHED if key in self.settings},
                quantize=self.quantize,
            )
        settings = self.settings
        if pet_size is not None:
            settings[self.size_argument] = pet_size
        return MethodSpec(
            name=name, pet_size=pet_size, peft=self.peft, settings=settings, quantize=self.quantize
        )

    def check(self, name: str) -> None:
        """Refuses what cannot be right for a method of this name.

        Raises:
            FieldError: With the path inside `methods`.
        """
        if name not in METHODS:
            if name == "none":
                raise FieldError("another name: `none` is the untuned model", name)
            if self.peft is None:
                raise FieldError("the configuration's class in PEFT, e.g. IA3Config", name, "peft")
            return
        if name != "lora":
            raise FieldError(f"another name: {name} is built in", name)
        for key in [key for key in ("peft", "size") if getattr(self, key) is not None] + list(self.settings):
            if key not in ("lora_alpha", *REACHED):
                raise UnknownKey(("lora_alpha", *REACHED, "quantize"), name, key)
        for key in REACHED:
            value = self.settings.get(key, ["..."])
            if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
                raise FieldError("a list with the ends of names, e.g. [q_proj, v_proj]", name, key)
        alpha = self.settings.get("lora_alpha", 1)
        if not isinstance(alpha, int | float) or isinstance(alpha, bool) or alpha <= 0:
            raise FieldError("a number above 0", name, "lora_alpha")


def _listed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value
