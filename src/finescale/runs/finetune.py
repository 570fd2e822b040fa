"""One finetuning run: from a planned run to the fields of its record."""

from __future__ import annotations

import json
import logging
import math
import tempfile
from pathlib import Path
from typing import Any

import torch

from finescale.batches.batching import Batch, collate, epoch_order
from finescale.batches.encoding import EncodedSet
from finescale.errors import UsageError
from finescale.evaluation.loss import evaluate, evaluation_batches
from finescale.evaluation.packing import packing_agrees
from finescale.ladder import train_flops
from finescale.models.behaviour import check_behaviour
from finescale.runs.distributed import save_trained_part, shard_if_needed
from finescale.runs.expected import describe
from finescale.runs.leg import PAUSED, Leg
from finescale.runs.measure import check_measured, measure, pretraining_loss_before
from finescale.runs.memory import SAVE_MEMORY, out_of_memory, peak_memory
from finescale.runs.prepare import (
    checkpoints_of,
    encoded_split,
    encoded_subset,
    open_base,
    task_of,
    to_device,
    wrap,
    write_curve,
)
from finescale.spec.expand import PlannedRun
from finescale.spec.run import RunSpec, TrainSpec
from finescale.training.checkpoints import Checkpoints
from finescale.training.loop import Diverged, FrozenParameters, Schedule, evaluation_steps, train
from finescale.training.sharding import ranks
from finescale.training.state import TrainingProgress
from finescale.tuning.full import wrap_full

_log = logging.getLogger(__name__)
CHECKED = 16
"""Examples that are evaluated both packed and padded before an untuned model is."""


def execute(planned: PlannedRun, folder: Path, leg: Leg = Leg()) -> dict[str, object]:  # noqa: B008 - frozen
    """Runs one planned run and returns its record's fields; `failed` and `diverged` are outcomes too.

    Args:
        planned: The run.
        folder: The run's own folder; its curve (`curve.json`), the trained adapter and, while it trains, its
            checkpoints go there. Called again after an interruption, the run goes on from the newest.
        leg: What of the run is to be made now (default: all of it).

    Returns:
        Columns of the records table, and `scores` for the second table. `wall_seconds` adds up over the
        attempts (of an interrupted one, up to the checkpoint that the next began with). At the end of a leg
        that is not the run's last the status is `paused`, and `curve` has step and dev loss so far.

    Raises:
        UsageError: The package for the study's `resume.url` is not installed.
    """
    spec = planned.run
    record = describe(planned)
    checkpoints = checkpoints_of(planned.resume, spec.fingerprint(), folder)
    finished = True
    try:
        if spec.finetune_examples:
            record |= {"status": "done", **_finetune(planned, folder, checkpoints, leg)}
        else:
            record |= {"status": "done", **_evaluate_untuned(spec, folder)}
        finished = record["status"] != PAUSED
    except Diverged as reason:
        record |= {"status": "diverged", "error": str(reason)}
    except (FrozenParameters, UsageError) as reason:
        record |= {"status": "failed", "error": str(reason)}
    except (MemoryError, RuntimeError) as reason:
        if not out_of_memory(reason) or ranks() > 1:  # the other processes of the run wait for this one
            raise
        record |= {"status": "failed", "error": _out_of_memory(spec)}
        finished = False  # tried again with less memory, it goes on
    record["wall_seconds"] = checkpoints.wall_seconds()
    if finished:
        checkpoints.clear()
    return record


def probe(planned: PlannedRun) -> dict[str, Any]:
    """Executes a short run to see what its parts take.

    Returns:
        Seconds of a `step`, of an evaluated `example`, of the `setup`, of all that it `generated`, and of
        `forgetting` (its loss on pretraining text); or only the `error`.
    """
    with tempfile.TemporaryDirectory() as folder:
        record: dict[str, Any] = execute(planned, Path(folder))
        if record["status"] != "done":
            return {"error": record["error"]}
        parts = json.loads((Path(folder) / "curve.json").read_text(encoding="utf-8"))["seconds"]
    return {
        "step": parts["steps"] / record["steps"],
        "example": parts["evaluations"] / planned.run.train.dev_examples,
        "setup": max(record["wall_seconds"] - sum(parts.values()), 0.0),
        "generated": sum(parts.get(part, 0.0) for part in ("generation", "few_shot", "zero_shot")),
        "forgetting": parts.get("forgetting", 0.0),
    }


def _out_of_memory(spec: RunSpec) -> str:
    at_once = spec.train.micro_batch_size or spec.train.batch_size
    return (
        f"out of memory at a peak of {(peak_memory() or 0) / 1e9:.2f} GB,"
        f" with {at_once} examples in one forward pass; {SAVE_MEMORY}"
    )


def _evaluate_untuned(spec: RunSpec, folder: Path) -> dict[str, object]:
    base = open_base(spec)
    to_device(base.model)
    check_behaviour(base.model, f"models.{spec.model.name}")
    before = pretraining_loss_before(spec, base)
    tuned = shard_if_needed(spec, wrap_full(base.model))
    dev_set = base.fit(encoded_split(spec, base, "dev", spec.train.dev_examples))
    dev = dev_set.examples
    packed = packing_agrees(tuned, dev[:CHECKED], base.pad)
    loss = evaluate(tuned, evaluation_batches(dev, base.pad, packed=packed))
    measured = measure(spec, base, tuned, folder, packed, before)
    shares = dev_set.shares_cut("dev")
    return {"dev_loss": loss.mean, "trainable_params": 0, **shares, **measured.fields()}


def _finetune(planned: PlannedRun, folder: Path, checkpoints: Checkpoints, leg: Leg) -> dict[str, object]:
    spec = planned.run
    torch.manual_seed(spec.seed)  # dropout, where a model has it
    base, task, settings = open_base(spec), task_of(spec), spec.train
    to_device(base.model)
    check_behaviour(base.model, f"models.{spec.model.name}")
    before = pretraining_loss_before(spec, base)
    tuned = shard_if_needed(spec, wrap(spec, base))
    if settings.gradient_checkpointing:
        tuned.model.gradient_checkpointing_enable({"use_reentrant": False})
    pad, length = base.pad, tuned.prompt_length
    encoded = base.fit(encoded_subset(spec, base, folder), length)
    dev = base.fit(encoded_split(spec, base, "dev", settings.dev_examples), length)
    check_measured(spec, base, length)
    micro = settings.micro_batch_size or settings.batch_size
    packed = packing_agrees(tuned, encoded.examples[:micro], pad)
    dev_batches = evaluation_batches(dev.examples, pad, length, packed)
    per_epoch = -(-len(encoded.examples) // settings.batch_size)
    steps = min(settings.max_steps, settings.epochs * per_epoch)
    _log.info(
        "%s opened, %s examples, %d tensors to train, %d steps, batches %s",
        spec.model.name,
        spec.finetune_examples,
        len(tuned.trainable),
        steps,
        "packed" if packed else "padded",
    )

    def batches_at(step: int) -> list[Batch]:
        epoch, index = divmod(step, per_epoch)
        order = epoch_order(len(encoded.examples), epoch, spec.seed)
        rows = order[index * settings.batch_size : (index + 1) * settings.batch_size]
        parts = (rows[i : i + micro] for i in range(0, len(rows), micro))
        return [collate([encoded.examples[i] for i in part], pad, length, packed) for part in parts]

    schedule = _schedule(settings, steps, leg)
    progress = train(tuned, batches_at, schedule, lambda _: evaluate(tuned, dev_batches).mean, checkpoints)
    sizes = {"trainable_params": tuned.trainable_params, "active_params": base.sizes.active_params}
    flops = train_flops(
        spec.method.kind,
        base.sizes.active_nonembedding_params,
        base.sizes.head_params,
        progress.tokens,
        progress.target_tokens,
    )
    known = {**_trained(progress), **sizes, "finetune_tokens": encoded.target_tokens, "train_flops": flops}
    if not schedule.is_over(progress):
        write_curve(folder, progress, {"packed": packed, "checkpoints": checkpoints.history})
        return {**known, "status": PAUSED, "curve": progress.seen()}
    _check_diverged(spec, progress, dev, tuned.model.config.get_text_config().vocab_size)
    measured = measure(spec, base, tuned, folder, packed, before)
    seconds = {"steps": progress.seconds, "evaluations": progress.evaluation_seconds, **measured.seconds}
    write_curve(
        folder,
        progress,
        {
            "packed": packed,
            "seconds": seconds,
            "cut_sources": encoded.cut_sources,
            "cut_targets": encoded.cut_targets,
            "cut_examples": encoded.cut_examples,
            "dropped_demonstrations": measured.dropped,
            "notes": [*task.notes, *encoded.notes],
            "checkpoints": checkpoints.history,
        },
    )
    save_trained_part(planned, tuned, base, folder)
    raced = {"curve": progress.seen()} if leg.looks else {}
    return {
        **known,
        **raced,
        **encoded.shares_cut("train"),
        **dev.shares_cut("dev"),
        **measured.fields(),
    }


def _schedule(settings: TrainSpec, steps: int, leg: Leg) -> Schedule:
    return Schedule(
        steps,
        settings.optimizer,
        settings.learning_rate,
        settings.floor,
        evaluation_steps(steps, settings.evaluations),
        keep_best=True,
        patience=settings.patience,
        bf16=settings.precision == "bf16",
        look_at=leg.looks,
        until=leg.until,
    )


def _trained(progress: TrainingProgress) -> dict[str, object]:
    """A record's fields that tell of the training itself; of a paused one until then."""
    seen = [progress.best_loss] if progress.dev_curve else [loss for _, loss in progress.looks]
    return {
        "dev_loss": min(seen, default=None),
        "steps": progress.step,
        "best_step": progress.best_step,
        "tokens_processed": progress.tokens,
        "tokens_per_second": progress.tokens / progress.seconds,
    }


def _check_diverged(spec: RunSpec, progress: TrainingProgress, dev: EncodedSet, vocabulary: int) -> None:
    """Refuses a run whose dev loss was never below that of its start, and not always below a uniform guess.

    A small or foreign base model may begin above the uniform guess: what counts is whether its loss fell. The
    start is the method before its first step (the untuned model, with a fresh prompt or adapter); it is made
    again only for the few runs that need it.

    Raises:
        Diverged: With the losses.
    """
    uniform = math.log(vocabulary)
    last = progress.dev_curve[-1][1]
    if max(progress.best_loss, last) <= uniform:
        return
    base = open_base(spec)
    to_device(base.model)
    fresh = shard_if_needed(spec, wrap(spec, base))
    length = fresh.prompt_length
    packed = packing_agrees(fresh, dev.examples[:CHECKED], base.pad)
    start = evaluate(fresh, evaluation_batches(dev.examples, base.pad, length, packed)).mean
    if progress.best_loss >= start:
        raise Diverged(
            progress.best_step,
            f"dev loss was {start:.2f} nats before the first step and never lower after it: {last:.2f} at the"
            f" end (a uniform guess has {uniform:.2f}), lowest {progress.best_loss:.2f}",
        )
