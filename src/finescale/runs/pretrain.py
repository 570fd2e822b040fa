"""Pretraining runs: text, tokenizer and one epoch of the mixture for a ladder size; a record a checkpoint."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from finescale.batches.batching import Batch, whole_rows
from finescale.batches.objectives import ReservedIds, mixture_rows
from finescale.evaluation.loss import evaluate
from finescale.ladder import LADDER, train_flops
from finescale.models.decoder import build, config
from finescale.models.tokenizer import MODES, SENTINELS, sentinel, train_tokenizer
from finescale.runs.prepare import checkpoints_of, replace_folder, to_device, write_curve
from finescale.spec.run import PretrainRunSpec
from finescale.tasks.pretraining import read_texts
from finescale.training.loop import Schedule, train
from finescale.training.state import TrainingProgress
from finescale.tuning.full import wrap_full


def read_documents(folder: Path, languages: tuple[str, ...], seed: int) -> list[str]:
    """All documents of the languages in one seeded order; every model sees them in this order."""
    texts: list[str] = []
    for language in languages:
        texts += read_texts(folder, language)
    order = np.random.default_rng([seed, 5]).permutation(len(texts))
    return [texts[i] for i in order]


def prepare_tokenizer(folder: Path, documents: list[str], vocabulary: int, context: int) -> Path:
    """Trains the study's tokenizer once; a second worker finds it there."""
    target = folder / "tokenizer"
    if not target.exists():
        aside = folder / f"tokenizer.{os.getpid()}"
        train_tokenizer(documents, vocabulary, context).save_pretrained(str(aside))
        with suppress(OSError):  # another worker was first; training is deterministic, so theirs is the same
            aside.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    return target


def execute_pretraining(
    spec: PretrainRunSpec, folder: Path, text: Path, progress: Callable[[float], None] = lambda share: None
) -> list[dict[str, object]]:
    """Pretrains one ladder size and saves its checkpoints under `folder/models/NAME/REVISION`.

    Args:
        spec: The run.
        folder: The study's folder.
        text: Folder with the text.
        progress: Told the share of the run that is done.

    Returns:
        A record for each checkpoint (method `none`); `test_loss` is the causal loss on held-out text.
        `wall_seconds` is that of the run until then, over all its attempts.
    """
    run_folder = folder / "runs" / spec.fingerprint()
    resumable = checkpoints_of(spec.resume, spec.fingerprint(), run_folder)
    documents = read_documents(text, spec.languages, spec.seed)
    vocabulary = json.loads(spec.content["tokenizer"])["vocabulary"]
    tokenizer = AutoTokenizer.from_pretrained(prepare_tokenizer(folder, documents, vocabulary, spec.context))
    held_out, rows = _rows_of_text(spec, documents, tokenizer)
    steps = len(rows) // spec.batch_rows

    model = build(
        config(
            LADDER[spec.model],
            spec.context,
            tokenizer.eos_token_id,
            tokenizer.pad_token_id,
            tokenizer.bos_token_id,
        ),
        spec.seed,
    )
    to_device(model)
    tuned = wrap_full(model)
    at = sorted({*(max(1, round(steps * share)) for share in spec.checkpoints), steps})

    def batches_at(step: int) -> list[Batch]:
        chosen = rows[step * spec.batch_rows : (step + 1) * spec.batch_rows]
        progress(step / steps)
        return [whole_rows(np.stack([r for r, _ in chosen]), np.stack([m for _, m in chosen]))]

    def checkpoint(state: TrainingProgress) -> float:
        loss = evaluate(tuned, held_out).mean
        target = folder / "models" / spec.model / f"tokens-{state.tokens}"
        aside = target.with_suffix(".partial")
        shutil.rmtree(aside, ignore_errors=True)
        model.save_pretrained(str(aside))
        tokenizer.save_pretrained(str(aside))
        replace_folder(aside, target)
        state.records.append(_record(spec, state, loss, resumable.wall_seconds()))
        return loss

    schedule = Schedule(steps, spec.optimizer, spec.learning_rate, spec.floor, at, keep_best=False)
    done = train(tuned, batches_at, schedule, checkpoint, resumable)
    write_curve(run_folder, done, {"checkpoints": resumable.history})
    resumable.clear()
    return done.records


def _rows_of_text(
    spec: PretrainRunSpec, documents: list[str], tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Batch], list[tuple[np.ndarray, np.ndarray]]]:
    """The documents as one stream of tokens: its first rows are held out, the others are the mixture's.

    Returns:
        Batches of held-out rows with the causal objective, and the training rows: tokens [context], and which
        of them carry a loss [context].
    """
    ids = tokenizer(documents, add_special_tokens=False)["input_ids"]
    stream = np.concatenate(
        [np.array([*document, tokenizer.eos_token_id], dtype=np.int32) for document in ids]
    )
    held = spec.held_out_rows * (spec.context - 1)
    modes = {name: _id_of(tokenizer, token) for name, token in MODES.items()}
    sentinels = tuple(_id_of(tokenizer, sentinel(i)) for i in range(SENTINELS))
    held_rows = np.full((spec.held_out_rows, spec.context), modes["causal"], dtype=np.int32)
    held_rows[:, 1:] = stream[:held].reshape(spec.held_out_rows, -1)
    held_out = [
        whole_rows(held_rows[i : i + 4], np.ones_like(held_rows[i : i + 4], dtype=bool))
        for i in range(0, len(held_rows), 4)
    ]
    rows = list(
        mixture_rows(stream[held:], spec.context, spec.objective, ReservedIds(modes, sentinels), spec.seed)
    )
    return held_out, rows


def _id_of(tokenizer: PreTrainedTokenizerBase, token: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(found, int)
    return found


def _record(spec: PretrainRunSpec, state: TrainingProgress, loss: float, seconds: float) -> dict[str, object]:
    """A checkpoint's record."""
    shape = LADDER[spec.model]
    return {
        "task": "text-" + "-".join(spec.languages),
        "method": "none",
        "model": spec.model,
        "revision": f"tokens-{state.tokens}",
        "model_params": shape.params,
        "model_params_nonembedding": shape.nonembedding_params,
        "pretrain_tokens": state.tokens,
        "finetune_examples": 0,
        "trainable_params": shape.params,
        "test_loss": loss,
        "seed": spec.seed,
        "learning_rate": spec.learning_rate,
        "optimizer": spec.optimizer.name,
        "batch_size": spec.batch_rows,
        "steps": state.step,
        "tokens_processed": state.tokens,
        "train_flops": train_flops(
            "full",
            shape.nonembedding_params,
            shape.embedding_params,
            state.tokens,
            state.target_tokens,
        ),
        "wall_seconds": seconds,
        "status": "done",
    }
