"""From names in a study file to what they stand for: models, content hashes, text (no torch)."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from finescale.errors import UsageError, combine, unknown
from finescale.evaluation.learned import LEARNED, checkpoint_hash, open_learned
from finescale.evaluation.metrics import check_metrics
from finescale.ladder import LADDER
from finescale.models.bundled import checkpoints, find_checkpoint
from finescale.models.hub import check_own, find_own
from finescale.spec.expand import Resolve
from finescale.spec.own import ModelSource
from finescale.spec.parts import ModelStar, PretrainStar
from finescale.spec.paths import exists
from finescale.spec.run import ModelSpec, PretrainRunSpec
from finescale.spec.study import PretrainStudy, Study
from finescale.tasks.catalog import open_task
from finescale.tasks.pretraining import read_sample, read_texts, sample_hash
from finescale.tasks.published import known_sizes, on_hub
from finescale.tasks.task import check_sizes


def resolver(study: Study, contents: bool = True) -> Resolve:
    """Finds models and content hashes for a study, and refuses what does not exist.

    Args:
        study: The study; its task's sizes and its methods' settings are checked at once.
        contents: Open the weights of the study's own models and data from the hub; a plan that is only
            shown does without.

    Returns:
        The function that `spec.expand` asks for models and content hashes.

    Raises:
        UsageError: An unknown task, model or checkpoint, a data size larger than the task's data, too few
            test examples, wrong data files; `where` is the study file's field.
    """
    _check_prepared(study)
    data = _check_task(study, contents)
    _check_models(study)
    _check_methods(study)
    _check_own_models(study, contents)
    content = {"data": data, **_evaluation_content(study, contents)}

    @cache
    def resolve(_: str, model: str, pretrain_tokens: int | str) -> tuple[ModelSpec, dict[str, str]]:
        if model in study.models:
            own = study.models[model]
            tokens = _tokens(model, own, pretrain_tokens, "models")
            spec, hashes = find_own(model, own, tokens, contents, study.version)
            return spec, {**hashes, **content}
        found = find_checkpoint(model, pretrain_tokens)
        spec = ModelSpec(name=model, pretrain_tokens=found.pretrain_tokens, revision=found.revision)
        hashes = {"weights": found.weights, "tokenizer": found.tokenizer, **content}
        forgetting = study.evaluation.forgetting
        if forgetting is not None and forgetting.text is None:
            hashes["pretraining_text"] = _sample_hash(found.sample)
        return spec, hashes

    return resolve


@cache
def _sample_hash(file: Path) -> str:
    return sample_hash(read_sample(file))


def _evaluation_content(study: Study, contents: bool) -> dict[str, str]:
    """Hashes of what the evaluation reads besides; refuses what it cannot measure, before anything runs."""
    evaluation, found = study.evaluation, {}
    if evaluation.zero_shot and (contents or not on_hub(study.task)):
        task = open_task(study.task, study.version)  # pyright: ignore[reportArgumentType] - frozen, so it has a hash
        if not task.zero_shot:
            raise UsageError(
                f"the task {study.task_name!r} has no zero-shot sets",
                wanted="a task with language pairs that finetuning never sees, e.g. mini-en-de",
                got=study.task_name,
                remedy="leave out zero_shot",
                where="evaluation.zero_shot",
            )
        found["zero_shot"] = task.zero_shot_hash()
    if evaluation.forgetting is not None:
        text = evaluation.forgetting.text
        if text is None and study.models:
            raise UsageError(
                "the bundled sample is of the bundled models' pretraining text",
                wanted="a file of text like the one that your models were pretrained on",
                got="none",
                remedy="evaluation: {forgetting: {text: sample.txt}}",
                where="evaluation.forgetting",
            )
        if text is not None:
            found["pretraining_text"] = sample_hash(read_sample(text))
    if contents:
        check_metrics(evaluation.metrics)
    for metric in evaluation.metrics:
        if metric in LEARNED:
            stated = evaluation.checkpoints.get(metric)  # pyright: ignore[reportArgumentType]
            if contents:
                open_learned(metric, stated)
            found[metric] = checkpoint_hash(stated or LEARNED[metric].checkpoint)
    return found


def _check_prepared(study: Study) -> None:
    """Refuses a study whose files are made by a command, where that was not run."""
    missing = [path for path in study.files() if not path.exists()]
    if study.prepare is not None and missing:
        raise UsageError(
            "the files of this study are not there yet",
            wanted=str(missing[0]),
            got="no such file or folder",
            remedy=f"run `{study.prepare}`: it makes them",
            where="prepare",
        )


def _check_task(study: Study, contents: bool) -> str:
    """Refuses data sizes that the task does not have.

    Returns:
        The task's content hash; without its contents where data from the hub is from.
    """
    if contents or not on_hub(study.task):
        task = open_task(study.task, study.version)  # pyright: ignore[reportArgumentType] - frozen, so it has a hash
        available = len(task.train), sum(len(examples) for examples in task.test.values())
        data = task.content_hash()
    else:
        sizes = known_sizes(study.task)
        available = None if sizes is None else (sizes.train, sizes.test)
        data = study.task if isinstance(study.task, str) else study.task.model_dump_json()
    if available is not None:
        asked = {
            f"grids[{index}].finetune_examples.{method}": star.finetune_examples.of(method)
            for index, star in enumerate(study.grids)
            for method in study.methods()
        }
        if study.sweep is not None:
            asked["sweep.finetune_examples"] = (study.sweep.finetune_examples,)
        for where, sizes in asked.items():
            check_sizes(study.task_name, available, (max(sizes or (0,)), study.test_examples), where)
    return data


def _check_models(study: Study) -> None:
    """Refuses models and checkpoints that do not exist, by the field that names them."""
    for name in study.models:
        if name in checkpoints():
            raise UsageError(
                f"{name!r} is a bundled model", wanted="another name", got=repr(name), where=f"models.{name}"
            )
    _check_model(study, study.base.model, study.base.pretrain_tokens, "base")
    if study.sweep is not None:
        _check_model(study, study.sweep.model, "last", "sweep.model")
    for index, star in enumerate(study.grids):
        where = f"grids[{index}].values"
        if isinstance(star, ModelStar):
            for name in star.values:
                _check_model(study, name, study.base.pretrain_tokens, where)
        elif isinstance(star, PretrainStar):
            for tokens in star.values:
                _check_model(study, study.base.model, tokens, where)


def _check_own_models(study: Study, contents: bool) -> None:
    """Refuses models of one's own that are not what they say: every problem of all of them together."""
    base = study.base
    used = [(base.model, base.pretrain_tokens)]
    used += [(study.sweep.model, "last")] if study.sweep is not None else []
    for star in study.grids:
        if isinstance(star, ModelStar):
            used += [(name, base.pretrain_tokens) for name in star.values]
        elif isinstance(star, PretrainStar):
            used += [(base.model, tokens) for tokens in star.values]
    own = {
        (name, _tokens(name, study.models[name], tokens, "models"))
        for name, tokens in used
        if name in study.models
    }
    found, wrong = [], set()
    for name, tokens in sorted(own):
        try:
            check_own(name, study.models[name], tokens, contents)
        except UsageError as error:
            found.append(error)
            wrong.add(name)
    if found:
        names = {name for name, _ in own}
        raise combine(f"{len(wrong)} of {len(names)} base models cannot be used", found)


def _check_model(study: Study, name: str, pretrain_tokens: int | str, where: str) -> None:
    if name in study.models:
        _tokens(name, study.models[name], pretrain_tokens, where)
    elif name not in checkpoints() and ("/" in name or exists(name)):
        short = re.sub(r"[^A-Za-z0-9._-]", "-", Path(name).name) or "mine"
        raise UsageError(
            f"{name!r} is no name of a model",
            wanted="a bundled model, or a name from the study's `models`",
            got=repr(name),
            remedy=f"models: {{{short}: {{from: {name}, pretrain_tokens: 3.0e11}}}}, then write {short} here",
            where=where,
        )
    else:
        if study.models and name not in checkpoints():
            raise unknown("model", name, [*study.models, *checkpoints()], where)
        find_checkpoint(name, pretrain_tokens, where)


def _tokens(name: str, model: ModelSource, pretrain_tokens: int | str, where: str) -> int:
    """The pretraining tokens of one of a model's checkpoints."""
    known = model.checkpoints
    if pretrain_tokens == "last":
        return max(known)
    if pretrain_tokens in known:
        return int(pretrain_tokens)
    raise UsageError(
        f"{name!r} has no checkpoint at {pretrain_tokens:,} tokens",
        wanted="one of " + ", ".join([*(f"{tokens}" for tokens in known if tokens), "last"]),
        got=str(pretrain_tokens),
        remedy=f"state it in models.{name}.revisions",
        where=where,
    )


def _check_methods(study: Study) -> None:
    """Refuses settings of methods that PEFT does not know, and 4-bit weights without bitsandbytes."""
    for name in study.methods():
        method = study.method(name, study.base_size(name))
        if method.quantize is not None and find_spec("bitsandbytes") is None:
            raise UsageError(
                "weights in 4 or 8 bits need bitsandbytes",
                wanted="the package bitsandbytes (and a GPU)",
                got="it is not installed",
                remedy="pip install bitsandbytes, or leave out `quantize`",
                where=f"methods.{name}.quantize",
            )
        if method.peft is not None and find_spec("peft") is not None:
            from finescale.tuning.configured import configuration  # noqa: PLC0415 - loads torch

            configuration(method)


def pretrain_runs(spec: PretrainStudy, text: Path | None) -> list[PretrainRunSpec]:
    """The runs of a pretraining study, one a size.

    Args:
        spec: The study.
        text: Folder with `LANGUAGE.parquet` (column `text`) for each language; None: for a plan that is only
            shown.

    Raises:
        UsageError: A model that the ladder lacks, or a text file that is not there.
    """
    for name in spec.models:
        if name not in LADDER:
            raise unknown("model", name, LADDER, "models")
    digest = hashlib.sha256()
    for language in spec.languages:
        for document in read_texts(text, language) if text is not None else ():
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
                resume=spec.resume,
            )
        )
    return runs
