"""What one run is, fully resolved (`RunSpec`, `PretrainRunSpec`), and the fingerprint that names it.

A fingerprint hashes everything that changes the science (contents of weights, tokenizer and data, resolved
hyperparameters) and nothing else: no path, device or worker count.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from finescale.spec.fields import (
    Column,
    Count,
    File,
    Hashed,
    Metric,
    Name,
    Rate,
    Shots,
    Strict,
    canonical,
    distinct,
)
from finescale.spec.paths import is_inside, resolve_path

FINGERPRINT_VERSION = 1
"""Of every run whose study states no version: what it meant before there were any."""
Version = Literal[1, 2]
"""What a study file means. 2: chats go through the tokenizer's template, special tokens that a text spells
are not added again, a cut target has no end token, and micro-batches count where a model has dropout."""
METHODS = ("full", "lora", "prompt")
PET_METHODS = ("lora", "prompt")


def _without_way_up(url: str) -> str:
    if not is_inside(url.partition("://")[2]):
        raise ValueError("a folder without `..`")
    return url


def _switched(value: Any) -> Any:
    """`true` is short for the default settings, `false` for none."""
    return {} if value is True else None if value is False else value


OptimizerName = Literal["adafactor", "adamw"]


class OptimizerSpec(Strict):
    """An optimiser and its constants (T5X's where it is Adafactor)."""

    name: OptimizerName = "adafactor"
    parameter_scaling: bool = False
    """Adafactor: the learning rate is relative to each tensor's RMS (on for full tuning and pretraining)."""
    weight_decay: float = Field(default=0.0, ge=0, le=1)


class TrainSpec(Hashed):
    """How one run is trained; every value is resolved."""

    added: ClassVar[frozenset[str]] = frozenset({"patience", "precision"})
    ignored: ClassVar[frozenset[str]] = frozenset({"micro_batch_size", "gradient_checkpointing"})

    optimizer: OptimizerSpec
    learning_rate: Rate
    floor: float = Field(default=0.1, ge=0, le=1)
    """The cosine schedule ends at `floor` x `learning_rate`."""
    batch_size: Count = 16
    epochs: Count = 4
    max_steps: Count = 200_000
    evaluations: Count = 8
    """Dev evaluations over the run, evenly spaced in steps; the best one's weights are tested."""
    dev_examples: Count = 256
    patience: Count | None = None
    """Training stops after so many dev evaluations in a row without a new lowest loss; None: it does not."""
    precision: Literal["float32", "bf16"] = "float32"
    """bf16: the forward pass in bfloat16 where it is safe (autocast); weights and optimiser stay float32."""
    micro_batch_size: Count | None = None
    """Examples of one forward pass; their gradients add up to the whole batch's. None: the whole batch."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more time."""


class ResumeSpec(Strict):
    """Which checkpoints a run keeps while it trains, to go on from after an interruption."""

    every_seconds: float | None = Field(default=60.0, gt=0)
    """Seconds of training between two; they take at most a twentieth of the time. None: not by time."""
    every_steps: Count | None = None
    """Also after so many steps."""
    url: (
        Annotated[
            str,
            Field(pattern=r"^(s3|gs|az|abfs)://\w[\w./-]*$", max_length=1000),
            AfterValidator(_without_way_up),
        ]
        | None
    ) = None
    """A folder of an object store; each run has its own in it. None: the run's folder in the study's."""


class ModelSpec(Strict):
    """A base model and which checkpoint of it; of these only `pretrain_tokens` enters the fingerprint.

    Example:
        >>> fs.ModelSpec(name="nano-0.3m", pretrain_tokens=6_800_000, revision="bundled").folder is None
        True
    """

    name: str
    pretrain_tokens: Count | None
    """None: nobody says."""
    revision: str
    folder: str | None = None
    """Where a model of one's own lies (configuration, weights, tokenizer); None: it is bundled."""
    params: Count | None = None
    nonembedding_params: Count | None = None
    """The sizes of a model of one's own; a ladder model's follow from its name."""
    active_params: Count | None = None
    """Parameters that a token goes through, where they are fewer (a mixture of experts)."""
    random: bool = False
    """Whether a forward pass in training draws random numbers (dropout, a router's jitter)."""


class MethodSpec(Hashed):
    """A finetuning method with its PET size (LoRA rank or prompt length; None for full tuning)."""

    added: ClassVar[frozenset[str]] = frozenset({"alpha", "peft", "settings", "quantize"})

    name: Name
    """`full`, `lora`, `prompt`, or the name that a study gives to another PEFT method."""
    pet_size: Count | None = None
    alpha: float | None = Field(default=None, gt=0)
    """LoRA's alpha where it is not the rank."""
    peft: str | None = None
    """The class of PEFT's configuration, e.g. `IA3Config`, for any other method."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """That configuration's arguments, the PET size among them."""
    quantize: Literal["nf4", "int8"] | None = None
    """Load the base model's weights in 4 or 8 bits (bitsandbytes)."""

    @property
    def kind(self) -> Literal["full", "pet"]:
        """Whether all weights are trained, or a parameter-efficient part."""
        return "full" if self.name == "full" else "pet"

    @property
    def lora_alpha(self) -> float | None:
        """LoRA's alpha: by default the rank, so that the update W + (alpha / rank) BA has scale 1."""
        if self.name == "lora" or self.peft == "LoraConfig":
            alpha = self.alpha if self.alpha is not None else self.settings.get("lora_alpha", self.pet_size)
            return None if alpha is None else float(alpha)
        return None


class TaskSpec(Strict):
    """A task of one's own - files, or a data set of the hub - or where the data of a published task lies."""

    name: Name
    """The task's name in the records; alone with `data_dir` a published task's, e.g. `wmt14-en-de`."""
    train: File | None = None
    dev: File | None = None
    test: File | None = None
    """Files (CSV, JSONL, Parquet), relative to the study file; without `dev` or `test` a seeded part of
    `train` is set aside. With `dataset` the names of its splits."""
    dataset: File | None = None
    """A data set of the Hugging Face hub, `org/name`."""
    config: Column | None = None
    """The data set's configuration."""
    revision: Column | None = None
    """The data set's revision on the hub."""
    data_dir: File | None = None
    """A folder with copies of the hub's data sets (`DATA_DIR/org/name/...`), relative to the study file."""
    source: Column = "source"
    target: Column = "target"
    """Columns with the text that the model reads and the text that it learns to give. In a data set
    `translation.en` is the key `en` of the column `translation`."""
    messages: Column = "messages"
    """Column with chats, in files without the source column."""
    answers: Literal["all", "last"] = "all"
    """Which answers of a chat carry the loss (`version: 2`; before it the last one)."""
    language: Column | None = None
    """Column whose value the template may use as `{language}` (`de` becomes `German`)."""
    template: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    """What the model reads; `{source}` and other columns are filled in (default: the source, a new line)."""
    max_source_tokens: Count = 256
    max_target_tokens: Count = 256

    def resolve_paths(self, folder: Path) -> TaskSpec:
        """The task with files relative to `folder` made absolute."""
        names = ("data_dir",) if self.dataset else ("train", "dev", "test", "data_dir")
        files = {name: getattr(self, name) for name in names}
        found = {
            name: str(resolve_path(folder, file, f"task.{name}"))
            for name, file in files.items()
            if file is not None
        }
        return self.model_copy(update=found)


class ForgettingSpec(Hashed):
    """Loss on a sample of the pretraining text, before and after finetuning."""

    added: ClassVar[frozenset[str]] = frozenset({"rows"})
    ignored: ClassVar[frozenset[str]] = frozenset({"text"})

    rows: Count = 16
    """Rows of up to 1,024 tokens."""
    text: File | None = None
    """A text file, relative to the study file; the bundled models have a sample of their own. What is in it
    enters the fingerprint by `content`."""


EVALUATION_CONTENT = ("zero_shot", "pretraining_text", "bleurt", "comet")
"""Content hashes that only an evaluation needs."""


class EvaluationSpec(Hashed):
    """What is measured beside the loss; nothing by default."""

    added: ClassVar[frozenset[str]] = frozenset(
        {"metrics", "examples", "max_new_tokens", "shots", "zero_shot", "forgetting"}
    )
    ignored: ClassVar[frozenset[str]] = frozenset({"checkpoints"})

    metrics: Annotated[tuple[Metric, ...], AfterValidator(distinct)] = ()
    """Scores of generated text; nothing is generated without any."""
    examples: Count = 100
    """Examples of each test set that are generated, from the first; fewer where it has fewer."""
    max_new_tokens: Count = 128
    """Longest generated text."""
    shots: Annotated[tuple[Shots, ...], Field(min_length=1), AfterValidator(distinct)] = (0,)
    """Numbers of demonstrations before each test example."""
    zero_shot: bool = False
    """Also the task's zero-shot sets: language pairs that finetuning never saw."""
    forgetting: Annotated[
        ForgettingSpec | None, BeforeValidator(_switched, json_schema_input_type=ForgettingSpec | bool | None)
    ] = None
    """`true`, or its settings."""
    checkpoints: dict[Literal["bleurt", "comet"], File] = Field(default_factory=dict)
    """Folder (or hub name) of a learned metric, where it is not the usual one; its content is hashed."""

    def science(self) -> dict[str, Any]:
        """What of it changes a record; empty where nothing is measured."""
        if not (self.metrics or self.zero_shot or self.forgetting):
            return {}
        plain = super().science()
        if self.forgetting is not None:
            plain["forgetting"] = self.forgetting.science()
        return plain

    def resolve_paths(self, folder: Path) -> EvaluationSpec:
        """The settings with files relative to `folder` made absolute; a hub's names stay."""
        changes: dict[str, Any] = {}
        if self.forgetting is not None and self.forgetting.text is not None:
            text = str(resolve_path(folder, self.forgetting.text, "evaluation.forgetting.text"))
            changes["forgetting"] = self.forgetting.model_copy(update={"text": text})
        paths = {
            name: resolve_path(folder, stated, f"evaluation.checkpoints.{name}")
            for name, stated in self.checkpoints.items()
        }
        local = {name: str(path) for name, path in paths.items() if path.exists()}
        return self.model_copy(update={**changes, "checkpoints": {**self.checkpoints, **local}})


class RunSpec(Strict):
    """One finetuning run: (base model, method, PET size, data subset, seed), fully resolved.

    Example:
        >>> fs.RunSpec.model_fields["seed"].annotation
        <class 'int'>
    """

    task: str
    data: TaskSpec | None = None
    """The files of a task of one's own; what is in them enters the fingerprint by `content`."""
    model: ModelSpec
    method: MethodSpec
    finetune_examples: int = Field(ge=0)
    """0: the untuned model is evaluated (method `none` in the records)."""
    test_examples: Count
    seed: int = Field(ge=0)
    train: TrainSpec
    content: dict[str, str]
    """Content hashes of `weights`, `tokenizer` and `data`, and of what else the evaluation reads."""
    evaluation: EvaluationSpec = EvaluationSpec()
    version: Version = FINGERPRINT_VERSION
    """The version of the study's file; it says how the examples become tokens."""

    def fingerprint(self) -> str:
        """Twenty hex digits that name the run: equal science gives an equal name, on any machine."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        parts = {
            "kind": '"finetune"',
            "task": _shared(self.task),
            "test_examples": _shared(self.test_examples),
            "model": _shared((("pretrain_tokens", self.model.pretrain_tokens),)),
            "content": _shared(tuple(self.content.items())),
        }
        if self.finetune_examples == 0:  # nothing is trained: only the evaluation counts
            parts["dev_examples"] = _shared(self.train.dev_examples)
        else:
            parts["finetune_examples"] = _shared(self.finetune_examples)
            parts["seed"] = _shared(self.seed)
            parts["method"] = self.method.science_json
            parts["train"] = self.train.science_json
            if self.version > 1 and self._drawn_by_parts():
                parts["micro_batch_size"] = _shared(self.train.micro_batch_size or 0)
        if self.evaluation.science_json != "{}":
            parts["evaluation"] = self.evaluation.science_json
        return _digest(parts, self.version)

    def _drawn_by_parts(self) -> bool:
        """Whether micro-batches change what dropout draws, and so the result by more than rounding."""
        parts = self.train.micro_batch_size or self.train.batch_size
        drops = any("dropout" in name and value for name, value in self.method.settings.items())
        return parts < self.train.batch_size and (self.model.random or drops)


class Objective(Strict):
    """The UL2-style mixture (Garcia et al. 2023): shares of causal LM, prefix LM and span corruption."""

    causal: float = Field(default=0.6, ge=0, le=1)
    prefix: float = Field(default=0.2, ge=0, le=1)
    spans: float = Field(default=0.2, ge=0, le=1)
    span_settings: tuple[tuple[float, float], ...] = ((0.15, 3.0), (0.5, 32.0))
    """(corruption rate, mean span length), each with an equal part of `spans`."""

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> Objective:
        if abs(self.causal + self.prefix + self.spans - 1) > 1e-9:
            raise ValueError("shares with causal + prefix + spans = 1")
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
    checkpoints: tuple[float, ...]
    held_out_rows: Count
    seed: int
    content: dict[str, str]
    resume: ResumeSpec = ResumeSpec()
    """Not in the fingerprint."""

    def fingerprint(self) -> str:
        """Twenty hex digits that name the run."""
        plain = {"kind": "pretrain", **self.model_dump(mode="json", exclude={"resume"})}
        return _digest({name: canonical(value) for name, value in plain.items()})


@lru_cache(maxsize=10_000)
def _shared(value: str | int | tuple[tuple[str, str | int], ...]) -> str:
    """A value, or a mapping's items, as canonical JSON; the runs of a study share most of them."""
    return canonical(dict(value) if isinstance(value, tuple) else value)


def _digest(parts: Mapping[str, str], version: int = FINGERPRINT_VERSION) -> str:
    """The name of what is said by these parts, each as canonical JSON."""
    texts = {"version": _shared(version), **parts}
    text = "{" + ",".join([f'"{name}":{texts[name]}' for name in sorted(texts)]) + "}"
    return hashlib.sha256(text.encode()).hexdigest()[:20]
