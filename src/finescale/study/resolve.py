"""From names in a study file to what they stand for: models, content hashes, text (no torch)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl

from finescale.errors import UsageError
from finescale.ladder import LADDER
from finescale.models.bundled import find_checkpoint
from finescale.spec import ModelSpec, PretrainRunSpec, PretrainSpec, Resolve, StudySpec, unknown
from finescale.study_spec import ModelStar, PretrainStar
from finescale.tasks.catalog import open_task

REMEDY = "rebuild the text with `make corpus` (docs/corpus.md), then give its folder with --text"


def resolver(study: StudySpec) -> Resolve:
    """Finds models and content hashes for a study, and refuses what does not exist.

    Args:
        study: The study; its task's sizes are checked at once.

    Returns:
        The function that `spec.expand` asks for models and content hashes.

    Raises:
        UsageError: An unknown task, model or checkpoint, a data size larger than the task's data, too few
            test examples; `where` is the study file's field.
    """
    task = open_task(study.task)
    for index, star in enumerate(study.grids):
        for method in study.methods():
            sizes = getattr(star.finetune_examples, method)
            if sizes:
                where = f"grids[{index}].finetune_examples.{method}"
                task.check_sizes(max(sizes), study.test_examples, where)
    if study.sweep is not None:
        task.check_sizes(study.sweep.finetune_examples, study.test_examples, "sweep.finetune_examples")
    _check_models(study)
    data = task.content_hash()

    def resolve(_: str, model: str, pretrain_tokens: int | str) -> tuple[ModelSpec, dict[str, str]]:
        found = find_checkpoint(model, pretrain_tokens)
        spec = ModelSpec(name=model, pretrain_tokens=found.pretrain_tokens, revision=found.revision)
        return spec, {"weights": found.weights, "tokenizer": found.tokenizer, "data": data}

    return resolve


def _check_models(study: StudySpec) -> None:
    """Refuses models and checkpoints that do not exist, by the field that names them."""
    find_checkpoint(study.base.model, study.base.pretrain_tokens, "base")
    if study.sweep is not None:
        find_checkpoint(study.sweep.model, "last", "sweep.model")
    for index, star in enumerate(study.grids):
        where = f"grids[{index}].values"
        if isinstance(star, ModelStar):
            for name in star.values:
                find_checkpoint(name, study.base.pretrain_tokens, where)
        elif isinstance(star, PretrainStar):
            for tokens in star.values:
                find_checkpoint(study.base.model, tokens, where)


def pretrain_runs(spec: PretrainSpec, text: Path) -> list[PretrainRunSpec]:
    """The runs of a pretraining study, one a size.

    Args:
        spec: The study.
        text: Folder with `LANGUAGE.parquet` (column `text`) for each language.

    Raises:
        UsageError: A model that the ladder lacks, or a text file that is not there.
    """
    for name in spec.models:
        if name not in LADDER:
            raise unknown("model", name, LADDER, "models")
    digest = hashlib.sha256()
    for language in spec.languages:
        for document in read_texts(text, language):
            digest.update(document.encode() + b"\0")
    content = {"text": digest.hexdigest(), "tokenizer": json.dumps(spec.tokenizer.model_dump())}
    runs = []
    for name in spec.models:
        runs.append(
            PretrainRunSpec(
                model=name,
                languages=spec.languages,
                context=spec.context,
                objective=spec.objective,
                batch_rows=spec.train.batch_rows,
                optimizer=spec.train.optimizer,
                learning_rate=spec.train.learning_rate,
                floor=spec.train.floor,
                checkpoints=spec.checkpoints.get(name, ()),
                held_out_rows=spec.held_out_rows,
                seed=spec.seed,
                content=content,
            )
        )
    return runs


def read_texts(folder: Path, language: str) -> list[str]:
    """A language's pretraining documents, in the file's order."""
    return pl.read_parquet(text_file(folder, language), columns=["text"])["text"].to_list()


def text_file(folder: Path, language: str) -> Path:
    """The Parquet file of a language's pretraining text."""
    file = folder / f"{language}.parquet"
    if not file.is_file():
        raise UsageError(
            f"no pretraining text for {language!r}",
            wanted=f"a file {file}",
            got="no such file",
            remedy=REMEDY,
        )
    return file
