"""What a study asks for (`StudySpec`, `PretrainSpec`) and the runs that it expands to (`RunSpec`).

A finetuning study declares a base setting and stars around it: one factor varies at a time, crossed with
methods, data sizes and seeds. `expand` turns it into runs; a run's `fingerprint` hashes everything that
changes the science (contents of weights, tokenizer and data, resolved hyperparameters) and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from finescale.errors import UsageError

FINGERPRINT_VERSION = 1
METHODS = ("full", "lora", "prompt")
PET_METHODS = ("lora", "prompt")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$")]
Count = Annotated[int, Field(gt=0, le=10**15)]
Rate = Annotated[float, Field(gt=0, le=10)]


class Strict(BaseModel):
    """A frozen model that refuses unknown keys and silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OptimizerSpec(Strict):
    """An optimiser and its constants (T5X's where it is Adafactor)."""

    name: Literal["adafactor", "adamw"] = "adafactor"
    parameter_scaling: bool = False
    """Adafactor: the learning rate is relative to each tensor's RMS (on for full tuning and pretraining)."""
    weight_decay: float = Field(0.0, ge=0, le=1)


class TrainSpec(Strict):
    """How one run is trained; every value is resolved and enters the fingerprint."""

    optimizer: OptimizerSpec
    learning_rate: Rate
    floor: float = Field(0.1, ge=0, le=1)
    """The cosine schedule ends at `floor` x `learning_rate`."""
    batch_size: Count = 16
    epochs: Count = 4
    max_steps: Count = 200_000
    evaluations: Count = 8
    """Dev evaluations over the run, evenly spaced in steps; the best one's weights are tested."""
    dev_examples: Count = 256


class ModelSpec(Strict):
    """A base model: a ladder name (`nano-0.3m`), and which of its pretraining checkpoints."""

    name: str
    pretrain_tokens: Count
    revision: str


class MethodSpec(Strict):
    """A finetuning method with its PET size (LoRA rank or prompt length; None for full tuning)."""

    name: Literal["full", "lora", "prompt"]
    pet_size: Count | None = None


class RunSpec(Strict):
    """One finetuning run: (base model, method, PET size, data subset, seed), fully resolved."""

    task: str
    model: ModelSpec
    method: MethodSpec
    finetune_examples: int = Field(ge=0)
    """0: the untuned model is evaluated (method `none` in the records)."""
    test_examples: Count
    seed: int = Field(ge=0)
    train: TrainSpec
    content: dict[str, str]
    """Content hashes of `weights`, `tokenizer` and `data`."""

    def fingerprint(self) -> str:
        """Twenty hex digits that name the run: equal science gives an equal name, on any machine."""
        return _digest(
            {"kind": "finetune", **self.model_dump(mode="json", exclude={"model": {"name", "revision"}})}
        )


class Objective(Strict):
    """The UL2-style pretraining mixture (Garcia et al. 2023): shares of causal, prefix LM and span corruption."""

    causal: float = Field(0.6, ge=0, le=1)
    prefix: float = Field(0.2, ge=0, le=1)
    spans: float = Field(0.2, ge=0, le=1)
    span_settings: tuple[tuple[float, float], ...] = ((0.15, 3.0), (0.5, 32.0))
    """(corruption rate, mean span length), each with an equal part of `spans`."""

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Objective:
        if abs(self.causal + self.prefix + self.spans - 1) > 1e-9:
            raise ValueError("causal + prefix + spans must be 1")
        return self


class PretrainRunSpec(Strict):
    """One pretraining run of a ladder size: one epoch over the text, with intermediate checkpoints."""

    model: str
    languages: tuple[str, ...]
    context: Count
    objective: Objective
    batch_rows: Count
    optimizer: OptimizerSpec
    learning_rate: Rate
    floor: float
    checkpoint_tokens: tuple[int, ...]
    held_out_rows: Count
    seed: int
    content: dict[str, str]

    def fingerprint(self) -> str:
        """Twenty hex digits that name the run."""
        return _digest({"kind": "pretrain", **self.model_dump(mode="json")})


def _digest(value: Mapping[str, Any]) -> str:
    text = json.dumps({"version": FINGERPRINT_VERSION, **value}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class PerMethod(Strict):
    """One value for each method, e.g. `{full: 2, lora: 4, prompt: 4}`."""

    full: Any = None
    lora: Any = None
    prompt: Any = None


def _for_method(value: Any, method: str) -> Any:
    return getattr(value, method) if isinstance(value, PerMethod) else value


class DataSizes(Strict):
    """Finetuning data sizes (examples) for each method; a method that is left out is not run."""

    full: tuple[int, ...] = ()
    lora: tuple[int, ...] = ()
    prompt: tuple[int, ...] = ()

    @field_validator("*")
    @classmethod
    def _positive_and_distinct(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if any(size <= 0 for size in sizes) or len(set(sizes)) != len(sizes):
            raise ValueError("data sizes must be distinct positive whole numbers")
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

    model: str
    pretrain_tokens: Count | Literal["last"] = "last"
    pet_size: BasePetSize = BasePetSize()


class Star(Strict):
    """One factor varies around the base setting, crossed with methods, data sizes and seeds."""

    finetune_examples: DataSizes
    seeds: tuple[int, ...] | None = None
    """Seeds of this star only (default: the study's)."""


class ModelStar(Star):
    """Model sizes by name."""

    vary: Literal["model"]
    values: tuple[str, ...] = Field(min_length=1)


class PretrainStar(Star):
    """Pretraining checkpoints of the base model, by tokens."""

    vary: Literal["pretrain_tokens"]
    values: tuple[Count | Literal["last"], ...] = Field(min_length=1)


class PetStar(Star):
    """PET sizes by method."""

    vary: Literal["pet_size"]
    values: PetSizes


class TrainSettings(Strict):
    """Training settings of a study; each field is one value or one value a method."""

    optimizer: OptimizerSpec | PerMethod = OptimizerSpec()
    floor: float | PerMethod = 0.1
    batch_size: int | PerMethod = 16
    epochs: int | PerMethod = 4
    max_steps: int | PerMethod = 200_000
    evaluations: int | PerMethod = 8
    dev_examples: int | PerMethod = 256

    def resolve(self, method: str, choice: Choice) -> TrainSpec:
        """The settings of one method with its chosen optimiser and learning rate."""
        fields = ("floor", "batch_size", "epochs", "max_steps", "evaluations", "dev_examples")
        values = {name: _for_method(getattr(self, name), method) for name in fields}
        return TrainSpec(
            optimizer=choice.optimizer,
            learning_rate=choice.learning_rate,
            **{name: value for name, value in values.items() if value is not None},
        )


class Choice(Strict):
    """An optimiser and a learning rate for a method: chosen by the sweep, or stated."""

    optimizer: OptimizerSpec
    learning_rate: Rate


class Candidates(Strict):
    """Learning rates of one optimiser that the sweep tries."""

    optimizer: OptimizerSpec
    rates: tuple[Rate, ...] = Field(min_length=1)


class LearningRates(Strict):
    """For each method: rates for the study's optimiser, or a list of optimisers with rates of their own.

    One rate in all is taken as it is (`lr_tuned` is false in the records); more are swept.
    """

    full: tuple[Rate, ...] | tuple[Candidates, ...] = ()
    lora: tuple[Rate, ...] | tuple[Candidates, ...] = ()
    prompt: tuple[Rate, ...] | tuple[Candidates, ...] = ()


class SweepSetting(Strict):
    """Where the learning rates are swept: a small model and data size."""

    model: str
    finetune_examples: Count
    seed: int = 0


class StudySpec(Strict):
    """A finetuning study (`kind: finetune`)."""

    kind: Literal["finetune"] = "finetune"
    name: Name
    task: str
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    test_examples: Count
    base: BaseSetting
    grids: tuple[Annotated[ModelStar | PretrainStar | PetStar, Field(discriminator="vary")], ...] = Field(
        min_length=1
    )
    hold_out: str | None = None
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
                optimizer = _for_method(self.train.optimizer, method)
                choices.append(Choice(optimizer=optimizer, learning_rate=item))
        return choices

    @model_validator(mode="after")
    def _learning_rates_and_sweep(self) -> StudySpec:
        for method in self.methods():
            stated = len(self.candidates(method))
            if stated == 0:
                raise ValueError(
                    f"learning_rates.{method} is missing: every method of the grids needs at least one"
                )
            if stated > 1 and self.sweep is None:
                raise ValueError(
                    f"learning_rates.{method} has {stated} candidates, but there is no `sweep` setting"
                )
        return self


class PretrainTrain(Strict):
    """Training settings of a pretraining study (the paper: Adafactor, cosine from 0.01 to 0.001)."""

    optimizer: OptimizerSpec = OptimizerSpec(parameter_scaling=True)
    learning_rate: Rate = 0.01
    floor: float = Field(0.1, ge=0, le=1)
    batch_rows: Count = 4


class TokenizerSpec(Strict):
    """A byte-level BPE tokenizer trained on the study's text."""

    vocabulary: int = Field(2048, ge=512, le=1_000_000)


class PretrainSpec(Strict):
    """A pretraining study (`kind: pretrain`): it makes a ladder of base models."""

    kind: Literal["pretrain"]
    name: Name
    languages: tuple[Name, ...] = Field(min_length=1)
    """Files `LANGUAGE.parquet` (column `text`) in the folder given by `--text`."""
    models: tuple[str, ...] = Field(min_length=1)
    tokenizer: TokenizerSpec = TokenizerSpec()
    context: Count = 1024
    objective: Objective = Objective()
    train: PretrainTrain = PretrainTrain()
    checkpoints: dict[str, tuple[float, ...]] = {}
    """Model name to the shares of the epoch after which an intermediate checkpoint is kept."""
    held_out_rows: Count = 64
    seed: int = 0


class PlannedRun(Strict):
    """A run with its place in the study: what it is for and whether it is held out."""

    run: RunSpec
    purpose: Literal["sweep", "study"]
    lr_tuned: bool


Resolve = Callable[[str, str, int | str], tuple[ModelSpec, dict[str, str]]]
"""(task, model name, pretrain tokens or "last") -> the model and the content hashes of weights, tokenizer, data."""


def sweep_runs(study: StudySpec, resolve: Resolve) -> dict[str, list[tuple[Choice, PlannedRun]]]:
    """The runs of the learning-rate sweep, by method; empty for a method with one candidate."""
    found: dict[str, list[tuple[Choice, PlannedRun]]] = {}
    for method in study.methods():
        choices = study.candidates(method)
        if len(choices) < 2 or study.sweep is None:
            continue
        pet_size = getattr(study.base.pet_size, method) if method in PET_METHODS else None
        setting = (
            study.sweep.model,
            "last",
            method,
            pet_size,
            study.sweep.finetune_examples,
            study.sweep.seed,
        )
        found[method] = [
            (choice, _planned(study, setting, choice, "sweep", False, resolve)) for choice in choices
        ]
    return found


def expand(study: StudySpec, choices: Mapping[str, Choice], resolve: Resolve) -> list[PlannedRun]:
    """The study's runs, sweep apart; equal runs of different stars merge by fingerprint.

    Args:
        study: The study.
        choices: The sweep's choice for each method that was swept; a method with more than one candidate and
            no choice yet is left out (its runs come once the choice is committed).
        resolve: Finds models, checkpoints and content hashes.

    Returns:
        Planned runs in the order of the stars; the untuned models (0 examples) come first.
    """
    planned: dict[str, PlannedRun] = {}
    for setting in _settings(study):
        method = setting[2]
        candidates = study.candidates(method)
        choice = choices.get(method) or (candidates[0] if len(candidates) == 1 else None)
        if choice is not None:
            item = _planned(study, setting, choice, "study", method in choices, resolve)
            planned.setdefault(item.run.fingerprint(), item)
    return list(planned.values())


def untuned_runs(study: StudySpec, resolve: Resolve) -> list[PlannedRun]:
    """One evaluation of each untuned base model that the study uses (0 examples)."""
    planned: dict[str, PlannedRun] = {}
    for model, tokens, *_ in _settings(study):
        choice = study.candidates(study.methods()[0])[0]
        item = _planned(study, (model, tokens, "full", None, 0, 0), choice, "study", False, resolve)
        planned.setdefault(f"{item.run.model.name}@{item.run.model.pretrain_tokens}", item)
    return list(planned.values())


Setting = tuple[str, "int | str", str, "int | None", int, int]


def _settings(study: StudySpec) -> Iterable[Setting]:
    """(model, pretrain tokens, method, PET size, examples, seed) for every point of every star."""
    base = study.base
    for star in study.grids:
        for method in METHODS:
            base_pet = getattr(base.pet_size, method) if method in PET_METHODS else None
            if isinstance(star, PetStar):
                values: tuple[Any, ...] = getattr(star.values, method) if method in PET_METHODS else ()
            else:
                values = star.values
            for value in values:
                for examples in getattr(star.finetune_examples, method):
                    for seed in star.seeds if star.seeds is not None else study.seeds:
                        if star.vary == "model":
                            yield value, base.pretrain_tokens, method, base_pet, examples, seed
                        elif star.vary == "pretrain_tokens":
                            yield base.model, value, method, base_pet, examples, seed
                        else:
                            yield base.model, base.pretrain_tokens, method, value, examples, seed


def _planned(
    study: StudySpec,
    setting: Setting,
    choice: Choice,
    purpose: Literal["sweep", "study"],
    tuned: bool,
    resolve: Resolve,
) -> PlannedRun:
    name, tokens, method, pet_size, examples, seed = setting
    model, content = resolve(study.task, name, tokens)
    run = RunSpec(
        task=study.task,
        model=model,
        method=MethodSpec(name=method, pet_size=pet_size),  # pyright: ignore[reportArgumentType]
        finetune_examples=examples,
        test_examples=study.test_examples,
        seed=seed,
        train=study.train.resolve(method, choice),
        content=content,
    )
    return PlannedRun(run=run, purpose=purpose, lr_tuned=tuned)


def nearest(name: str, known: Iterable[str]) -> str:
    """`'; did you mean X?'` for a misspelt name, or an empty string."""
    import difflib

    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> UsageError:
    """The error for a name that does not exist."""
    known = sorted(known)
    return UsageError(
        f"unknown {kind} {name!r}",
        wanted="one of " + ", ".join(known),
        got=repr(name),
        remedy=nearest(name, known),
        where=where,
    )
