"""What a run starts from - base model, tokenizer, encoded examples, method - and what of it is kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from finescale.batches.batching import subset
from finescale.batches.encoded import EncodedSet, fit
from finescale.batches.encoding import encode, encode_rows, frequent_tokens
from finescale.batches.token_store import TokenStore
from finescale.errors import UsageError
from finescale.models.bundled import find_checkpoint
from finescale.models.decoder import open_model, read_config
from finescale.models.sizes import Sizes, sizes_of, sizes_of_folder
from finescale.models.tokenizer import open_tokenizer, tokenizer_fingerprint
from finescale.spec.expand import PlannedRun
from finescale.spec.run import ModelSpec, ResumeSpec, RunSpec, TaskSpec, Version
from finescale.tasks.catalog import open_task
from finescale.tasks.task import Task
from finescale.training.checkpoint_store import sync_folder
from finescale.training.checkpoints import Checkpoints
from finescale.training.sharding import is_first, ranks
from finescale.training.state import TrainingProgress
from finescale.tuning.configured import wrap_configured
from finescale.tuning.full import wrap_full
from finescale.tuning.lora import wrap_lora
from finescale.tuning.prompt import wrap_prompt
from finescale.tuning.tuned import Tuned

POOL_FOR_FREQUENCIES = 2_000
"""Training examples in which token frequencies are counted for a soft prompt's start."""


@dataclass(frozen=True)
class LoadedBase:
    """An opened base model.

    Attributes:
        model: The model in float32 (or with quantised weights).
        sizes: Its parameters, counted before a method adds its own.
        tokenizer: Its tokenizer.
        tokenizer_folder: Where that is from.
    """

    model: PreTrainedModel
    sizes: Sizes
    tokenizer: PreTrainedTokenizerBase
    tokenizer_folder: Path

    @property
    def pad(self) -> int:
        """An id to fill rows with; no token ever attends to it."""
        pad = self.tokenizer.pad_token_id
        return pad if isinstance(pad, int) else int(self.tokenizer.eos_token_id)  # pyright: ignore[reportArgumentType]

    @property
    def tokenizer_fingerprint(self) -> str:
        """What the losses of two models have to have in common to be comparable per token."""
        return _fingerprint(self.tokenizer_folder)

    @property
    def context(self) -> int | None:
        """Tokens that the model reads at most; None: any number."""
        return context_of(self.model.config)

    def fit(self, encoded: EncodedSet, prompt_length: int = 0) -> EncodedSet:
        """Examples cut to what the model reads beside a soft prompt."""
        room = None if self.context is None else self.context - prompt_length
        return fit(encoded, room, self.model.get_input_embeddings().num_embeddings)  # pyright: ignore[reportArgumentType]


def context_of(config: PreTrainedConfig) -> int | None:
    """Tokens that a model reads at most, as its configuration says; None: any number."""
    context = getattr(config, "max_position_embeddings", None)
    return context if isinstance(context, int) and context > 0 else None


def room_of(spec: RunSpec) -> tuple[int | None, int]:
    """Tokens that a run's model reads beside virtual ones (None: any number), and how many it knows."""
    config = read_config(_folders(spec.model)[0])
    context = context_of(config)
    room = None if context is None else context - virtual_tokens(spec)
    return room, config.get_text_config().vocab_size


def virtual_tokens(spec: RunSpec) -> int:
    """Positions that a method's soft prompt or prefix takes."""
    if spec.method.name == "prompt" and spec.finetune_examples:
        return spec.method.pet_size or 0
    return int(spec.method.settings.get("num_virtual_tokens", 0))


def open_base(spec: RunSpec) -> LoadedBase:
    """Opens a run's base model.

    Raises:
        UsageError: The model is not the one that the study states.
    """
    weights, tokenizer = _folders(spec.model)
    model = open_model(weights, spec.method.quantize)
    quantized = spec.method.quantize is not None  # several parameters in one element
    sizes = sizes_of_folder(weights) if quantized else sizes_of(model)
    stated = (spec.model.params, spec.model.nonembedding_params)
    if stated[0] is not None:
        counted = (sizes.params, sizes.nonembedding_params)
        if stated != counted:
            raise UsageError(
                f"{spec.model.name!r} has other sizes than the study states",
                wanted=f"params: {counted[0]}, nonembedding_params: {counted[1]}",
                got=f"params: {stated[0]}, nonembedding_params: {stated[1]}",
                remedy="correct them, or leave both out: they are read from the configuration",
                where=f"models.{spec.model.name}",
            )
    return LoadedBase(model, sizes, _tokenizer(tokenizer), tokenizer)


def to_device(model: PreTrainedModel) -> None:
    """Moves a model to the GPU if there is one; shards go there one by one, quantised models are there."""
    if ranks() > 1:
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if model.device.type != device.type:
        model.to(device)  # pyright: ignore[reportArgumentType]


def _folders(model: ModelSpec) -> tuple[Path, Path]:
    """Where weights and tokenizer are."""
    if model.folder is not None:
        return Path(model.folder), Path(model.folder)
    checkpoint = find_checkpoint(model.name, model.pretrain_tokens or "last")
    return checkpoint.folder, checkpoint.tokenizer_folder


def tokenizer_of(model: ModelSpec) -> PreTrainedTokenizerBase:
    """A model's tokenizer, opened once per worker process."""
    return _tokenizer(_folders(model)[1])


@lru_cache(maxsize=8)
def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return open_tokenizer(folder)


@lru_cache(maxsize=8)
def _fingerprint(folder: Path) -> str:
    return tokenizer_fingerprint(_tokenizer(folder))


def task_of(spec: RunSpec) -> Task:
    """A run's task, opened once per worker process."""
    return open_task(spec.data or spec.task, spec.version)  # pyright: ignore[reportArgumentType] - frozen, so it has a hash


def encoded_subset(spec: RunSpec, base: LoadedBase, folder: Path) -> EncodedSet:
    """A run's training examples as token ids, tokenised once for all runs of a study.

    Args:
        spec: The run.
        base: Its base model.
        folder: The run's folder; the study's `tokens` folder is beside its parent `runs`.
    """
    task = task_of(spec)

    def make() -> EncodedSet:
        chosen = subset(len(task.train), spec.finetune_examples, spec.seed, task.strata())
        return encode_rows(task, task.train, chosen, base.tokenizer)

    contents: dict[str, object] = {name: spec.content.get(name) for name in ("data", "tokenizer")}
    if folder.parent.name != "runs" or None in contents.values():  # no run of a study: a probe
        return make()
    if spec.version > 1:
        contents["version"] = spec.version
    store = TokenStore(folder.parents[1] / "tokens")
    return store.first({**contents, "seed": spec.seed}, spec.finetune_examples, make)


def encoded_split(spec: RunSpec, base: LoadedBase, split: str, count: int) -> EncodedSet:
    """The first examples of a split, tokenised once per worker process."""
    return _encoded(spec.data or spec.task, spec.version, split, base.tokenizer_folder, count)  # pyright: ignore[reportArgumentType]


@lru_cache(maxsize=8)
def _encoded(
    task: str | TaskSpec, version: Version, split: str, tokenizer_folder: Path, count: int
) -> EncodedSet:
    opened = open_task(task, version)  # pyright: ignore[reportArgumentType]
    examples = {
        "train": opened.train,
        "dev": opened.dev,
        "test": tuple(example for name in sorted(opened.test) for example in opened.test[name]),
    }[split]
    return encode(opened, examples[:count], _tokenizer(tokenizer_folder))


def wrap(spec: RunSpec, base: LoadedBase) -> Tuned:
    """The base model under the run's method (in place)."""
    method, size = spec.method, spec.method.pet_size
    if method.peft is not None:
        return wrap_configured(base.model, method, spec.seed)
    if method.name == "lora" and size:
        return wrap_lora(base.model, size, spec.seed, method.lora_alpha, method.settings)
    if method.name == "prompt" and size:
        pool = encoded_split(spec, base, "train", POOL_FOR_FREQUENCIES).examples
        return wrap_prompt(base.model, size, spec.seed, frequent_tokens(pool, base.tokenizer.all_special_ids))
    if method.name != "full":
        raise UsageError(f"the method `{method.name}` cannot be made", wanted="a method that `wrap` knows")
    return wrap_full(base.model)


def checkpoints_of(resume: ResumeSpec, run: str, folder: Path) -> Checkpoints:
    """A run's checkpoints, in its folder or at the study's URL.

    Args:
        resume: What the study says of them.
        run: The run's fingerprint.
        folder: The run's folder.

    Raises:
        UsageError: The package for the URL is not installed.
    """
    url = str(folder.absolute() / "checkpoints") if resume.url is None else f"{resume.url.rstrip('/')}/{run}"
    return Checkpoints(url, run, every_seconds=resume.every_seconds, every_steps=resume.every_steps)


def write_curve(folder: Path, progress: TrainingProgress, notes: Mapping[str, object]) -> None:
    """Writes a run's `curve.json`: dev curve, a race's looks, gradient norms, and whatever is to be said."""
    if not is_first():
        return
    folder.mkdir(parents=True, exist_ok=True)
    curve = {"dev_loss": progress.dev_curve, "gradient_norm": progress.gradient_norms, **notes}
    if progress.looks:
        curve["looks"] = progress.looks
    aside = folder / "curve.partial"
    aside.write_text(json.dumps(curve), encoding="utf-8")
    aside.replace(folder / "curve.json")


def save_trained(planned: PlannedRun, tuned: Tuned, base: LoadedBase, folder: Path) -> None:
    """Saves what was trained in the run's folder, as far as the study keeps it; the last use of `tuned`.

    An adapter goes to `adapter/` in PEFT's format, full tuning's weights to `weights/` with the tokenizer;
    both are written aside and renamed.
    """
    full = planned.run.method.kind == "full"
    if planned.keep == "nothing" or (full and planned.keep != "weights"):
        return
    target = folder / ("weights" if full else "adapter")
    aside = target.with_suffix(".partial")
    shutil.rmtree(aside, ignore_errors=True)
    tuned.save(aside)
    if full:
        base.tokenizer.save_pretrained(str(aside))
    replace_folder(aside, target)


def replace_folder(aside: Path, target: Path) -> None:
    """Renames a folder of files that is written to its place, safe against a power cut."""
    for file in aside.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    shutil.rmtree(target, ignore_errors=True)
    aside.rename(target)
    sync_folder(target.parent)
