"""What a study file may say: `StudySpec` (`kind: finetune`) and `PretrainSpec` (`kind: pretrain`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from finescale.run_spec import METHODS, Count, Name, Objective, OptimizerSpec, Rate, Strict, TrainSpec

Value = TypeVar("Value")
Model = Annotated[str, Field(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Share = Annotated[float, Field(ge=0, le=1)]


class FieldError(ValueError):
    """What a field should have been, found out from other fields."""

    def __init__(self, wanted: str, *field: str) -> None:
        """Says what is wanted where.

        Args:
            wanted: What would have been right.
            field: The path of the field, from the model that finds out.
        """
        super().__init__(wanted)
        self.field = field


class PerMethod(Strict, Generic[Value]):
    """One value for each method, e.g. `{full: 2, lora: 4, prompt: 4}`; None is the default."""

    full: Value | None = None
    lora: Value | None = None
    prompt: Value | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_any_type(cls, data: Any) -> Any:
        return dict(data) if isinstance(data, PerMethod) else data


def _one_or_each(value: Any) -> str:
    """Which of the two shapes a value has; the parentheses keep the tag apart from a field's name."""
    if isinstance(value, PerMethod):
        return "(each)"
    if isinstance(value, Mapping) and not set(value) & set(OptimizerSpec.model_fields):
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
    return "(candidates)" if isinstance(some, Mapping | Candidates) else "(rates)"


Optimizer = Annotated[OptimizerSpec, BeforeValidator(_named)]
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

Tokens = Annotated[int | Literal["last"], BeforeValidator(_tokens)]
"""Pretraining tokens of a checkpoint, or `last`."""


def for_method(value: Any, method: str) -> Any:
    """A method's part of a setting that is one value or one for each method."""
    return getattr(value, method) if isinstance(value, PerMethod) else value


class DataSizes(Strict):
    """Finetuning data sizes (examples) for each method; a method that is left out is not run."""

    full: tuple[Count, ...] = ()
    lora: tuple[Count, ...] = ()
    prompt: tuple[Count, ...] = ()

    @field_validator("*")
    @classmethod
    def _distinct(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(sizes)) != len(sizes):
            raise ValueError("distinct data sizes")
        return sizes


class PetSizes(Strict):
    """PET sizes: LoRA ranks and prompt lengths."""

    lora: tuple[Count, ...] = ()
    prompt: tuple[Count, ...] = ()


class BasePetSize(Strict):
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
    """An optimiser and a learning rate for a method: chosen by the sweep, or stated."""

    optimizer: Optimizer
    learning_rate: Rate


class TrainSettings(Strict):
    """Training settings of a study; each field is one value or one value a method."""

    optimizer: OptimizerOrEach = OptimizerSpec()
    floor: ShareOrEach = 0.1
    batch_size: CountOrEach = 16
    epochs: CountOrEach = 4
    max_steps: CountOrEach = 200_000
    evaluations: CountOrEach = 8
    dev_examples: CountOrEach = 256

    def resolve(self, method: str, choice: Choice) -> TrainSpec:
        """The settings of one method with its chosen optimiser and learning rate."""
        fields = ("floor", "batch_size", "epochs", "max_steps", "evaluations", "dev_examples")
        values = {name: for_method(getattr(self, name), method) for name in fields}
        return TrainSpec(
            optimizer=choice.optimizer,
            learning_rate=choice.learning_rate,
            **{name: value for name, value in values.items() if value is not None},
        )


class Candidates(Strict):
    """Learning rates of one optimiser that the sweep tries."""

    optimizer: Optimizer
    rates: Annotated[tuple[Rate, ...], BeforeValidator(_listed), Field(min_length=1)]


Rates = Annotated[
    Annotated[tuple[Rate, ...], BeforeValidator(_listed), Tag("(rates)")]
    | Annotated[tuple[Candidates, ...], Tag("(candidates)")],
    Discriminator(_rates_or_candidates),
]
"""Rates for the study's optimiser, or optimisers with rates of their own."""


class LearningRates(Strict):
    """For each method: rates for the study's optimiser, or a list of optimisers with rates of their own.

    One rate in all is taken as it is (`lr_tuned` is false in the records); more are swept.
    """

    full: Rates = ()
    lora: Rates = ()
    prompt: Rates = ()


class SweepSetting(Strict):
    """Where the learning rates are swept: a small model and data size."""

    model: Model
    finetune_examples: Count
    seed: Seed = 0


class StudySpec(Strict):
    """A finetuning study (`kind: finetune`)."""

    kind: Literal["finetune"] = "finetune"
    name: Name
    task: Model
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    test_examples: Count
    base: BaseSetting
    grids: tuple[Annotated[ModelStar | PretrainStar | PetStar, Field(discriminator="vary")], ...] = Field(
        min_length=1
    )
    hold_out: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    learning_rates: LearningRates
    sweep: SweepSetting | None = None
    train: TrainSettings = TrainSettings()

    def methods(self) -> tuple[str, ...]:
        """The methods that any star runs, in the order full, lora, prompt."""
        return tuple(m for m in METHODS if any(getattr(star.finetune_examples, m) for star in self.grids))

    def candidates(self, method: str) -> list[Choice]:
        """Every (optimiser, learning rate) that is stated for a method."""
        stated = getattr(self.learning_rates, method)
        choices: list[Choice] = []
        for item in stated:
            if isinstance(item, Candidates):
                choices += [Choice(optimizer=item.optimizer, learning_rate=rate) for rate in item.rates]
            else:
                optimizer = for_method(self.train.optimizer, method) or OptimizerSpec()
                choices.append(Choice(optimizer=optimizer, learning_rate=item))
        return choices

    @model_validator(mode="after")
    def _something_to_run(self) -> StudySpec:
        if not self.methods():
            raise FieldError("data sizes for at least one method in grids[].finetune_examples", "grids")
        for method in self.methods():
            stated = len(self.candidates(method))
            if stated == 0:
                raise FieldError(
                    f"at least one rate for {method}, which the grids run", "learning_rates", method
                )
            if stated > 1 and self.sweep is None:
                raise FieldError(
                    f"one rate, or a `sweep` setting (model, finetune_examples) to choose between {stated}",
                    "learning_rates",
                    method,
                )
        return self


class PretrainTrain(Strict):
    """Training settings of a pretraining study (the paper: Adafactor, cosine from 0.01 to 0.001)."""

    optimizer: Optimizer = OptimizerSpec(parameter_scaling=True)
    learning_rate: Rate = 0.01
    floor: Share = 0.1
    batch_rows: Count = 4


class TokenizerSpec(Strict):
    """A byte-level BPE tokenizer trained on the study's text."""

    vocabulary: int = Field(default=2048, ge=512, le=1_000_000)


class PretrainSpec(Strict):
    """A pretraining study (`kind: pretrain`): it makes a ladder of base models."""

    kind: Literal["pretrain"]
    name: Name
    languages: tuple[Name, ...] = Field(min_length=1)
    """Files `LANGUAGE.parquet` (column `text`) in the folder given by `--text`."""
    models: tuple[Model, ...] = Field(min_length=1)
    tokenizer: TokenizerSpec = TokenizerSpec()
    context: Count = 1024
    objective: Objective = Objective()
    train: PretrainTrain = PretrainTrain()
    checkpoints: dict[str, tuple[Share, ...]] = Field(default_factory=dict)
    """Model name to the shares of the epoch after which an intermediate checkpoint is kept."""
    held_out_rows: Count = 64
    seed: Seed = 0
