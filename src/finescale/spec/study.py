"""What a study file may say: `Study` (`kind: finetune`) and `PretrainStudy` (`kind: pretrain`).

The types of its fields are in `parts` (base setting, stars, rates), `own` (models and methods of one's own),
`run` and `resources`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from finescale.spec.fields import Count, Name, Rate, Strict
from finescale.spec.own import FieldError, ModelSource, PeftMethod, UnknownKey
from finescale.spec.parts import (
    BaseSetting,
    BatchSizes,
    ByMethod,
    Choice,
    LearningRates,
    Model,
    ModelStar,
    Optimizer,
    PerMethod,
    PetStar,
    PretrainStar,
    RateCandidates,
    ResourcesOrEach,
    Seed,
    Share,
    SweepSetting,
    TaskOf,
    TrainSettings,
    for_method,
)
from finescale.spec.resources import Resources, Retries, RetriesOrBroken, Trackers
from finescale.spec.run import (
    FINGERPRINT_VERSION,
    METHODS,
    PET_METHODS,
    EvaluationSpec,
    MethodSpec,
    Objective,
    OptimizerSpec,
    ResumeSpec,
    TaskSpec,
    Version,
)

MAX_RUNS = 1_000_000
"""A few lists in a small file may ask for any number; the ledger was tried with a tenth of this."""


class Study(Strict):
    """A finetuning study (`kind: finetune`).

    Example:
        >>> study = fs.load_study("studies/nano.yaml")
        >>> study.methods(), study.task_name
        (('full', 'lora', 'prompt'), 'mini-en-de')
        >>> shorter = fs.Study(**{**study.model_dump(by_alias=True), "name": "shorter", "seeds": (0,)})
        >>> shorter.name
        'shorter'
    """

    model_config = ConfigDict(serialize_by_alias=True)

    kind: Literal["finetune"] = "finetune"
    version: Version = FINGERPRINT_VERSION
    """What the file means; a file without it means what it did before there were versions: 1."""
    name: Name
    task: TaskOf
    models: dict[Name, ModelSource] = Field(default_factory=dict)
    """Base models of one's own, by the name that the rest of the study uses."""
    own_methods: dict[Name, PeftMethod] = Field(default_factory=dict, alias="methods")
    """PEFT methods besides the built-in ones, by the name that the rest of the study uses."""
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1)
    test_examples: Count
    base: BaseSetting
    grids: tuple[Annotated[ModelStar | PretrainStar | PetStar, Field(discriminator="vary")], ...] = Field(
        min_length=1
    )
    hold_out: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    learning_rates: LearningRates
    batch_sizes: BatchSizes = BatchSizes()
    sweep: SweepSetting | None = None
    train: TrainSettings = TrainSettings()
    evaluation: EvaluationSpec = EvaluationSpec()
    """What is measured beside the loss, of every run but the sweep's."""
    keep: Literal["nothing", "adapters", "weights"] = "adapters"
    """What a run's folder keeps of what was trained: PET adapters, or full tuning's weights too."""
    resume: ResumeSpec = ResumeSpec()
    resources: ResourcesOrEach = Resources()
    retries: RetriesOrBroken = Retries()
    tracking: Trackers = ()
    """Where finished runs are shown besides; it changes no run."""
    prepare: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The command that makes the study's files; named where one is missing, never run."""
    order: Literal["longest", "shortest"] = "longest"
    """Which runs come first after the sweep: the longest, so that workers end together, or the shortest, so
    that there is an answer soon; it changes no run."""

    @property
    def task_name(self) -> str:
        """The task's name in the records."""
        return self.task if isinstance(self.task, str) else self.task.name

    def files(self) -> list[Path]:
        """Files and folders that the study names: data, models, text on which forgetting is measured."""
        task, forgetting = self.task, self.evaluation.forgetting
        named = [] if isinstance(task, str) else [task.train, task.dev, task.test]
        named += [None if forgetting is None else forgetting.text]
        named += [model.source for model in self.models.values() if model.is_folder]
        return [Path(name) for name in named if name is not None]

    def resolve_paths(self, folder: Path) -> Study:
        """The study with files and folders relative to `folder` made absolute."""
        changes: dict[str, Any] = {}
        if isinstance(self.task, TaskSpec):
            changes["task"] = self.task.resolve_paths(folder)
        changes["models"] = {
            name: model.resolve_paths(folder, f"models.{name}.from") for name, model in self.models.items()
        }
        changes["evaluation"] = self.evaluation.resolve_paths(folder)
        return self.model_copy(update=changes)

    def known_methods(self) -> tuple[str, ...]:
        """The built-in methods, then the study's own."""
        return (*METHODS, *(name for name in self.own_methods if name not in METHODS))

    def methods(self) -> tuple[str, ...]:
        """The methods that any star runs, in the order of `METHODS`, then the study's own."""
        return tuple(
            m for m in self.known_methods() if any(star.finetune_examples.of(m) for star in self.grids)
        )

    def method(self, name: str, pet_size: int | None) -> MethodSpec:
        """A method with a PET size."""
        own = self.own_methods.get(name)
        return MethodSpec(name=name, pet_size=pet_size) if own is None else own.resolve(name, pet_size)

    def base_size(self, method: str) -> int | None:
        """The PET size of the base setting."""
        own = self.own_methods.get(method)
        stated = self.base.pet_size.of(method)
        return own.stated_size() if own is not None and stated is None else stated

    def candidates(self, method: str) -> list[Choice]:
        """Every (optimiser, learning rate, batch size) that is stated for a method."""
        stated = self.learning_rates.of(method) or ()
        choices: list[Choice] = []
        for item in stated:
            if isinstance(item, RateCandidates):
                choices += [Choice(optimizer=item.optimizer, learning_rate=rate) for rate in item.rates]
            else:
                optimizer = for_method(self.train.optimizer, method) or OptimizerSpec()
                choices.append(Choice(optimizer=optimizer, learning_rate=item))
        sizes = self.batch_sizes.of(method)
        if not sizes:
            return choices
        return [item.model_copy(update={"batch_size": size}) for item in choices for size in sizes]

    @model_validator(mode="after")
    def _methods_are_known(self) -> Study:
        for name, own in self.own_methods.items():
            try:
                own.check(name)
            except FieldError as error:
                error.field = ("methods", *error.field)
                raise
        known = self.known_methods()
        sized = (*PET_METHODS, *(name for name in known if name not in METHODS))
        stated: list[tuple[ByMethod[Any], tuple[str, ...], tuple[str | int, ...]]] = [
            (self.base.pet_size, sized, ("base", "pet_size")),
            (self.learning_rates, known, ("learning_rates",)),
            (self.batch_sizes, known, ("batch_sizes",)),
        ]
        for index, star in enumerate(self.grids):
            stated.append((star.finetune_examples, known, ("grids", index, "finetune_examples")))
            if isinstance(star, PetStar):
                stated.append((star.values, sized, ("grids", index, "values")))
        for name in TrainSettings.model_fields:
            setting = getattr(self.train, name)
            if isinstance(setting, PerMethod):
                stated.append((setting, known, ("train", name)))
        if isinstance(self.resources, PerMethod):
            stated.append((self.resources, known, ("resources",)))
        for values, names, field in stated:
            for key in values.__pydantic_extra__:
                if key not in names:
                    raise UnknownKey(names, *field, key)
        for name, own in self.own_methods.items():
            if own.size_argument in own.settings and self.base.pet_size.of(name) is not None:
                argument = own.size_argument
                raise FieldError(
                    f"the size once: here or as methods.{name}.{argument}", "base", "pet_size", name
                )
        return self

    @model_validator(mode="after")
    def _task_has_data(self) -> Study:
        if isinstance(self.task, TaskSpec) and not (
            self.task.train or self.task.dataset or self.task.data_dir
        ):
            wanted = "a file, or `dataset` (org/name on the hub), or the `data_dir` of a published task"
            raise FieldError(wanted, "task", "train")
        return self

    @model_validator(mode="after")
    def _answers_have_a_meaning(self) -> Study:
        if self.version == 1 and isinstance(self.task, TaskSpec) and "answers" in self.task.model_fields_set:
            raise FieldError(
                "with it `version: 2`: before it the last answer alone is learned", "task", "answers"
            )
        return self

    @model_validator(mode="after")
    def _something_to_run(self) -> Study:
        if not self.methods():
            raise FieldError("data sizes for at least one method in grids[].finetune_examples", "grids")
        asked = sum(self._asked(star, method) for star in self.grids for method in self.methods())
        if asked > MAX_RUNS:
            raise FieldError(f"at most {MAX_RUNS:,} runs in a study, not {asked:,}", "grids")
        for method in self.methods():
            stated = len(self.candidates(method))
            if stated == 0:
                raise FieldError(
                    f"at least one rate for {method}, which the grids run", "learning_rates", method
                )
            if stated > 1 and self.sweep is None:
                sizes = len(self.batch_sizes.of(method) or ())
                field, one = ("batch_sizes", "size") if sizes == stated else ("learning_rates", "rate")
                raise FieldError(
                    f"one {one}, or a `sweep` setting (model, finetune_examples) to choose between {stated}",
                    field,
                    method,
                )
        return self

    def _asked(self, star: ModelStar | PretrainStar | PetStar, method: str) -> int:
        """How many runs a star asks for with a method, equal ones counted again."""
        values = (star.values.of(method) or ()) if isinstance(star, PetStar) else star.values
        seeds = star.seeds if star.seeds is not None else self.seeds
        return len(values) * len(star.finetune_examples.of(method) or ()) * len(seeds)

    @model_validator(mode="after")
    def _evaluation_has_metrics(self) -> Study:
        stated = {
            name
            for name, field in EvaluationSpec.model_fields.items()
            if getattr(self.evaluation, name) != field.get_default(call_default_factory=True)
        }
        for name in ("examples", "max_new_tokens", "shots", "checkpoints"):
            needed = name in stated and not (name == "examples" and self.evaluation.zero_shot)
            if needed and not self.evaluation.metrics:
                raise FieldError("with it evaluation.metrics, e.g. [chrf]", "evaluation", name)
        for name in self.evaluation.checkpoints:
            if name not in self.evaluation.metrics:
                raise FieldError(f"with it {name} in evaluation.metrics", "evaluation", "checkpoints", name)
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


class PretrainStudy(Strict):
    """A pretraining study (`kind: pretrain`): it makes a ladder of base models.

    Example:
        >>> ladder = fs.load_study("studies/nano_ladder.yaml")
        >>> isinstance(ladder, fs.PretrainStudy), ladder.kind
        (True, 'pretrain')
    """

    kind: Literal["pretrain"]
    version: Version = FINGERPRINT_VERSION
    """A pretraining study means the same under both."""
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
    expected_tokens: Count | None = None
    """Tokens that the text is meant to have: a dry run without the text counts FLOPs from it."""
    held_out_rows: Count = 64
    seed: Seed = 0
    resume: ResumeSpec = ResumeSpec()
    retries: RetriesOrBroken = Retries()
    tracking: Trackers = ()
