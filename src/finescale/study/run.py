"""One finetuning run: from a planned run to the fields of its record."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from finescale.evaluation.loss import evaluate, evaluation_batches, packing_agrees
from finescale.ladder import LADDER, train_flops
from finescale.models.bundled import find_checkpoint
from finescale.models.decoder import open_model
from finescale.spec import PlannedRun, RunSpec
from finescale.study.expected import describe
from finescale.tasks.catalog import open_task
from finescale.training.batching import Batch, collate, epoch_order, subset
from finescale.training.encoding import EncodedSet, encode, frequent_tokens
from finescale.training.loop import Diverged, FrozenParameters, Progress, evaluation_steps, train
from finescale.tuning.full import wrap_full
from finescale.tuning.lora import wrap_lora
from finescale.tuning.prompt import wrap_prompt
from finescale.tuning.tuned import Tuned

POOL_FOR_FREQUENCIES = 2_000
"""Training examples in which token frequencies are counted for a soft prompt's start."""


def execute(planned: PlannedRun, folder: Path) -> dict[str, object]:
    """Runs one planned run and returns its record's fields; `failed` and `diverged` are outcomes too.

    Args:
        planned: The run.
        folder: The run's own folder; the trained weights' curve goes there (`curve.json`).

    Returns:
        Columns of the records table, and `scores` for the second table.
    """
    began = time.monotonic()
    spec = planned.run
    record = describe(planned)
    try:
        record |= _finetune(spec, folder) if spec.finetune_examples else _evaluate_untuned(spec)
        record["status"] = "done"
    except Diverged as reason:
        record |= {"status": "diverged", "error": str(reason)}
    except FrozenParameters as reason:
        record |= {"status": "failed", "error": str(reason)}
    except torch.OutOfMemoryError as reason:
        record |= {"status": "failed", "error": f"out of memory: {reason}; lower batch_size"}
    record["wall_seconds"] = time.monotonic() - began
    return record


@lru_cache(maxsize=8)
def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(str(folder))


@lru_cache(maxsize=8)
def _encoded(task: str, split: str, tokenizer_folder: Path, count: int) -> EncodedSet:
    """A fixed split, tokenised once per worker process (`count` first examples)."""
    opened = open_task(task)
    examples = {
        "train": opened.train,
        "dev": opened.dev,
        "test": tuple(example for name in sorted(opened.test) for example in opened.test[name]),
    }[split]
    return encode(opened, examples[:count], _tokenizer(tokenizer_folder))


def _wrap(spec: RunSpec, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> Tuned:
    size = spec.method.pet_size
    if spec.method.name == "lora" and size:
        return wrap_lora(model, size, spec.seed, spec.method.lora_alpha)
    if spec.method.name == "prompt" and size:
        pool = _encoded(spec.task, "train", folder, POOL_FOR_FREQUENCIES).examples
        return wrap_prompt(model, size, spec.seed, frequent_tokens(pool, tokenizer.all_special_ids))
    return wrap_full(model)


def _evaluate_untuned(spec: RunSpec) -> dict[str, object]:
    checkpoint = find_checkpoint(spec.model.name, spec.model.pretrain_tokens)
    tokenizer = _tokenizer(checkpoint.tokenizer_folder)
    tuned = wrap_full(open_model(checkpoint.folder))
    losses = {}
    for split, count in (("dev", spec.train.dev_examples), ("test", spec.test_examples)):
        examples = _encoded(spec.task, split, checkpoint.tokenizer_folder, count).examples
        losses[split] = evaluate(tuned, evaluation_batches(examples, _pad(tokenizer))).mean
    return {"dev_loss": losses["dev"], "test_loss": losses["test"], "trainable_params": 0}


def _pad(tokenizer: PreTrainedTokenizerBase) -> int:
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    assert isinstance(pad, int)
    return pad


def _finetune(spec: RunSpec, folder: Path) -> dict[str, object]:
    checkpoint = find_checkpoint(spec.model.name, spec.model.pretrain_tokens)
    tokenizer, task, settings = _tokenizer(checkpoint.tokenizer_folder), open_task(spec.task), spec.train
    chosen = subset(len(task.train), spec.finetune_examples, spec.seed)
    encoded = encode(task, [task.train[i] for i in chosen], tokenizer)
    dev = _encoded(spec.task, "dev", checkpoint.tokenizer_folder, settings.dev_examples)
    test = _encoded(spec.task, "test", checkpoint.tokenizer_folder, spec.test_examples)

    tuned = _wrap(spec, open_model(checkpoint.folder), tokenizer, checkpoint.tokenizer_folder)
    pad, length = _pad(tokenizer), tuned.prompt_length
    packed = packing_agrees(tuned, encoded.examples[: settings.batch_size], pad)
    dev_batches = evaluation_batches(dev.examples, pad, length, packed)
    per_epoch = -(-len(encoded.examples) // settings.batch_size)
    steps = min(settings.max_steps, settings.epochs * per_epoch)

    def batch_at(step: int) -> Batch:
        epoch, index = divmod(step, per_epoch)
        order = epoch_order(len(encoded.examples), epoch, spec.seed)
        rows = order[index * settings.batch_size : (index + 1) * settings.batch_size]
        return collate([encoded.examples[i] for i in rows], pad, length, packed)

    began = time.monotonic()
    progress = train(
        tuned,
        batch_at,
        steps,
        optimizer=settings.optimizer,
        learning_rate=settings.learning_rate,
        floor=settings.floor,
        evaluate_at=evaluation_steps(steps, settings.evaluations),
        evaluate=lambda _: evaluate(tuned, dev_batches).mean,
        keep_best=True,
    )
    seconds = time.monotonic() - began
    uniform = math.log(tuned.model.config.vocab_size)
    if progress.best_loss > uniform:
        what = f"best dev loss {progress.best_loss:.1f} is above a uniform guess ({uniform:.1f} nats)"
        raise Diverged(progress.best_step, what)
    _write_curve(
        folder,
        progress,
        {"packed": packed, "cut_sources": encoded.cut_sources, "cut_targets": encoded.cut_targets},
    )
    loss = evaluate(tuned, evaluation_batches(test.examples, pad, length, packed))
    shape = LADDER[spec.model.name]
    return {
        "dev_loss": progress.best_loss,
        "test_loss": loss.mean,
        "trainable_params": tuned.trainable_params,
        "finetune_tokens": encoded.target_tokens,
        "steps": progress.step,
        "best_step": progress.best_step,
        "tokens_processed": progress.tokens,
        "tokens_per_second": progress.tokens / seconds,
        "train_flops": train_flops(
            "full" if spec.method.name == "full" else "pet",
            shape.nonembedding_params,
            shape.embedding_params,
            progress.tokens,
            progress.target_tokens,
        ),
        "scores": [
            {"dataset": "/".join(sorted(task.test)), "shots": 0, "metric": "loss", "value": loss.mean}
        ],
    }


def _write_curve(folder: Path, progress: Progress, notes: Mapping[str, object]) -> None:
    """The dev curve and gradient norms of a run, beside its record."""
    folder.mkdir(parents=True, exist_ok=True)
    curve = {"dev_loss": progress.dev_curve, "gradient_norm": progress.gradient_norms, **notes}
    (folder / "curve.json").write_text(json.dumps(curve), encoding="utf-8")
