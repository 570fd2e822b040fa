"""Fields of a study file: values by method, base setting and stars, training settings, rates to sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from finescale.spec.fields import Count, Rate, Strict
from finescale.spec.resources import Resources
from finescale.spec.run import OptimizerName, OptimizerSpec, TaskSpec, TrainSpec

Value = TypeVar("Value")
Model = Annotated[str, Field(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(ge=0, le=1)]


class ByMethod(Strict, Generic[Value]):
    """A value for each method: the built-in ones, and the names in the study's `methods`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Value] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    def of(self, method: str) -> Value | None:
        """The method's value; None where there is none."""
        if method in type(self).model_fields:
            return getattr(self, method)
        return self.__pydantic_extra__.get(method)


class PerMethod(ByMethod[Value], Generic[Value]):
    """One value for each method, e.g. `{full: 2, lora: 4, prompt: 4}`; None is the default."""

    full: Value | None = None
    lora: Value | None = None
    prompt: Value | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_any_type(cls, data: Any) -> Any:
        return {**dict(data)} if isinstance(data, PerMethod) else data


def _one_or_each(value: Any) -> str:
    """Which of the two shapes a value has; the parentheses keep the tag apart from a field's name."""
    if isinstance(value, PerMethod):
        return "(each)"
    if isinstance(value, Mapping) and not set(value) & {*OptimizerSpec.model_fields, *Resources.model_fields}:
        return "(each)"
    return "(one)"


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    if isinstance(value, list):  # JSON's arrays
        return tuple(value)
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _tokens(value: Any) -> Any:
    if value == "last" or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    raise ValueError("a positive whole number of tokens, or last")


def _rates_or_candidates(value: Any) -> str:
    some = value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else None
    return "(candidates)" if isinstance(some, Mapping | RateCandidates) else "(rates)"


Optimizer = Annotated[
    OptimizerSpec, BeforeValidator(_named, json_schema_input_type=OptimizerSpec | OptimizerName)
]
"""An optimiser, or its name alone: `adamw` is short for `{name: adamw}`."""

OptimizerOrEach = Annotated[
    Annotated[Optimizer, Tag("(one)")] | Annotated[PerMethod[Optimizer], Tag("(each)")],
    Discriminator(_one_or_each),
]
CountOrEach = Annotated[
    Annotated[Count, Tag("(one)")] | Annotated[PerMethod[Count], Tag("(each)")], Discriminator(_one_or_each)
]
ShareOrEach = Annotated[
    Annotated[Share, Tag("(one)")] | Annotated[PerMethod[Share], Tag("(each)")], Discriminator(_one_or_each)
]
"""One value for every method, or one for each."""

ResourcesOrEach = Annotated[
    Annotated[Resources, Tag("(one)")] | Annotated[PerMethod[Resources], Tag("(each)")],
    Discriminator(_one_or_each),
]
"""What a cluster reserves for every run, or for the runs of each method."""

Tokens = Annotated[
    int | Literal["last"], BeforeValidator(_tokens, json_schema_input_type=Count | Literal["last"])
]
"""Pretraining tokens of a checkpoint, or `last`."""


def for_method(value: Any, method: str) -> Any:
    """A method's part of a setting that is one value or one for each method."""
    return value.of(method) if isinstance(value, PerMethod) else value


def _distinct(sizes: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(sizes)) != len(sizes):
        raise ValueError("distinct sizes")
    return sizes


Sizes = Annotated[tuple[Count, ...], AfterValidator(_distinct)]


class DataSizes(ByMethod[Sizes]):
    """Finetuning data sizes (examples) for each method; a method that is left out is not run."""

    full: Sizes = ()
    lora: Sizes = ()
    prompt: Sizes = ()


class PetSizes(ByMethod[tuple[Count, ...]]):
    """PET sizes: LoRA ranks and prompt lengths."""

    lora: tuple[Count, ...] = ()
    prompt: tuple[Count, ...] = ()


class BasePetSize(ByMethod[Count]):
    """The PET size of the base setting."""

    lora: Count = 4
    prompt: Count = 16


class BaseSetting(Strict):
    """The centre of the stars."""

    model: Model
    pretrain_tokens: Tokens = "last"
    pet_size: BasePetSize = BasePetSize()


class Star(Strict):
    """One factor varies around the base setting, crossed with methods, data sizes and seeds."""

    finetune_examples: DataSizes
    seeds: tuple[Seed, ...] | None = None
    """Seeds of this star only (default: the study's)."""


class ModelStar(Star):
    """Model sizes by name."""

    vary: Literal["model"]
    values: tuple[Model, ...] = Field(min_length=1)


class PretrainStar(Star):
    """Pretraining checkpoints of the base model, by tokens."""

    vary: Literal["pretrain_tokens"]
    values: tuple[Tokens, ...] = Field(min_length=1)


class PetStar(Star):
    """PET sizes by method."""

    vary: Literal["pet_size"]
    values: PetSizes


class Choice(Strict):
    """An optimiser, a learning rate and a batch size for a method: chosen by the sweep, or stated."""

    optimizer: Optimizer
    learning_rate: Rate
    batch_size: Count | None = None
    """None: the one of `train`."""


class TrainSettings(Strict):
    """Training settings of a study; each field is one value or one value a method."""

    optimizer: OptimizerOrEach = OptimizerSpec()
    floor: ShareOrEach = 0.1
    batch_size: CountOrEach = 16
    epochs: CountOrEach = 4
    max_steps: CountOrEach = 200_000
    evaluations: CountOrEach = 8
    dev_examples: CountOrEach = 256
    patience: CountOrEach | None = None
    precision: Literal["float32", "bf16"] = "float32"
    micro_batch_size: CountOrEach | None = None
    gradient_checkpointing: bool = False

    def resolve(self, method: str, choice: Choice) -> TrainSpec:
        """The settings of one method with what its sweep chose."""
        values = {name: for_method(getattr(self, name), method) for name in type(self).model_fields}
        values |= choice.model_dump(exclude_none=True)
        return TrainSpec(**{name: value for name, value in values.items() if value is not None})


RateList = Annotated[
    tuple[Rate, ...], BeforeValidator(_listed, json_schema_input_type=Rate | tuple[Rate, ...])
]
"""Learning rates; one alone is a list of it."""


class RateCandidates(Strict):
    """Learning rates of one optimiser that the sweep tries."""

    optimizer: Optimizer
    rates: Annotated[RateList, Field(min_length=1)]


Rates = Annotated[
    Annotated[RateList, Tag("(rates)")] | Annotated[tuple[RateCandidates, ...], Tag("(candidates)")],
    Discriminator(_rates_or_candidates),
]
"""Rates for the study's optimiser, or optimisers with rates of their own."""


class LearningRates(ByMethod[Rates]):
    """For each method: rates for the study's optimiser, or a list of optimisers with rates of their own.

    One rate in all is taken as it is (`lr_tuned` is false in the records); more are swept.
    """

    full: Rates = ()
    lora: Rates = ()
    prompt: Rates = ()


class BatchSizes(ByMethod[Sizes]):
    """For each method: batch sizes that the sweep tries with every learning rate."""

    full: Sizes = ()
    lora: Sizes = ()
    prompt: Sizes = ()


class SweepSetting(Strict):
    """Where learning rates and batch sizes are swept: a small model and data size."""

    model: Model
    finetune_examples: Count
    seed: Seed = 0
    race: bool = False
    """Stop candidates early that will not win, by their dev losses so far; the others stay what they are."""


def _named_or_own(value: Any) -> str:
    return "(own)" if isinstance(value, Mapping | TaskSpec) else "(named)"


TaskOf = Annotated[
    Annotated[Model, Tag("(named)")] | Annotated[TaskSpec, Tag("(own)")], Discriminator(_named_or_own)
]
"""A task's name, or a mapping with files, a data set, or where a published task's data lies."""
