"""The one training loop, for pretraining and every finetuning method."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch

from finescale.batches.batching import Batch
from finescale.spec.run import OptimizerSpec
from finescale.training.checkpoints import Checkpoints
from finescale.training.optimizers import build_optimizer, cosine
from finescale.training.sharding import whole
from finescale.training.state import Training, TrainingProgress
from finescale.tuning.tuned import Tuned

_log = logging.getLogger(__name__)
MOVED_AFTER = 4
"""Trained tensors must have moved after this many steps (LoRA's A cannot in the first: B is still zero)."""


class Diverged(Exception):
    """The loss or a gradient is not finite, or training left the model worse than it began.

    Attributes:
        step: The step (from 1) at which it happened.
    """

    def __init__(self, step: int, what: str) -> None:
        """Names the step and what went wrong."""
        super().__init__(f"{what} at step {step}")
        self.step = step


class FrozenParameters(Exception):
    """Tensors that should be trained did not move in the first steps."""


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """Steps after which dev is evaluated: `evaluations` of them, evenly spaced, the last step included."""
    return {max(1, round(steps * (i + 1) / evaluations)) for i in range(evaluations)}


@dataclass(frozen=True)
class Schedule:
    """How a model is trained, and for how long.

    Attributes:
        steps: Number of updates.
        optimizer: Optimiser and its constants.
        learning_rate: Peak of the cosine schedule.
        floor: End of the schedule as a share of the peak.
        evaluate_at: Steps (from 1) after which the dev loss is measured.
        keep_best: Put back the trained tensors of the lowest dev loss at the end.
        patience: Stop after so many evaluations in a row without a new lowest dev loss; None: never.
        look_at: Steps (from 1) after which the dev loss is measured for others to see; it decides nothing.
        until: Pause after this step; None: at the end.
        bf16: Autocast the forward pass to bfloat16; weights, gradients and the optimiser stay float32.
    """

    steps: int
    optimizer: OptimizerSpec
    learning_rate: float
    floor: float
    evaluate_at: Collection[int]
    keep_best: bool
    patience: int | None = None
    look_at: Collection[int] = ()
    until: int | None = None
    bf16: bool = False

    def is_over(self, progress: TrainingProgress) -> bool:
        """Whether the training is at its end, not at a pause."""
        waited = self.patience is not None and progress.waited >= self.patience
        return waited or progress.step >= self.steps


def train(
    tuned: Tuned,
    batches_at: Callable[[int], Sequence[Batch]],
    schedule: Schedule,
    evaluate: Callable[[TrainingProgress], float],
    checkpoints: Checkpoints | None = None,
) -> TrainingProgress:
    """Trains for a number of steps, or until the dev loss has stopped falling, or to a pause.

    Cut anywhere and called again with the same arguments and checkpoints, it ends with the same bits as if it
    had never been cut: everything that a step depends on is in `Training` or follows from the step's number.

    Args:
        tuned: The wrapped model; it is changed in place.
        batches_at: The batch of a step (from 0), in one part or in several whose gradients add up.
        schedule: How it is trained.
        evaluate: Returns the dev loss, nats per target token.
        checkpoints: Where the training is saved now and then, and continued from; None: nowhere.

    Returns:
        What was done; the model holds the best (or last) weights. At a pause (`Schedule.is_over` says no) a
        checkpoint is saved, to go on from.

    Raises:
        Diverged: A loss or a gradient is not finite.
        FrozenParameters: A trained tensor did not move in the first steps.
    """
    optimiser = build_optimizer(schedule.optimizer, list(tuned.trainable.values()), schedule.learning_rate)
    progress = TrainingProgress()
    training = Training(tuned, optimiser, progress)
    moved_at = max(2, min(MOVED_AFTER, schedule.steps))
    start = tuned.state()
    if checkpoints is not None:
        checkpoints.resume(training)
    until = schedule.steps if schedule.until is None else schedule.until
    while progress.step < until and not schedule.is_over(progress):
        norm = _update(training, batches_at, schedule)
        if start and progress.step >= moved_at:
            _check_moved(tuned, start, progress.step)
            start = {}
        if progress.step in schedule.evaluate_at:
            progress.gradient_norms.append((progress.step, norm))
            _evaluate(training, evaluate, schedule.keep_best)
        elif progress.step in schedule.look_at:
            progress.looks.append((progress.step, _dev_loss(progress, evaluate)))
        if checkpoints is not None:
            checkpoints.offer(training)
    if not schedule.is_over(progress):
        if checkpoints is not None:
            checkpoints.save(training)
    elif progress.best_state is not None:
        tuned.restore(progress.best_state)
    return progress


def _update(training: Training, batches_at: Callable[[int], Sequence[Batch]], schedule: Schedule) -> float:
    """One update of the trained tensors; returns the norm of the gradient.

    Raises:
        Diverged: The loss or the gradient is not finite; nothing was updated.
    """
    tuned, progress, optimiser = training.tuned, training.progress, training.optimiser
    for group in optimiser.param_groups:
        group["lr"] = cosine(progress.step, schedule.steps, schedule.learning_rate, schedule.floor)
    began = time.monotonic()
    batches = batches_at(progress.step)
    targets = sum(len(batch.targets) for batch in batches)
    tuned.model.train()
    nats = 0.0
    for batch in batches:
        with torch.autocast(tuned.model.device.type, torch.bfloat16, enabled=schedule.bf16):
            total = tuned.loss(batch)
        (total / targets).backward()
        nats += float(total.detach())
    norm = _gradient_norm(list(tuned.trainable.values()))
    if not math.isfinite(nats) or not math.isfinite(norm):
        what = "gradient" if math.isfinite(nats) else "loss"
        raise Diverged(progress.step + 1, f"{what} was not finite")
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    progress.step += 1
    progress.tokens += sum(batch.tokens for batch in batches)
    progress.target_tokens += targets
    progress.seconds += time.monotonic() - began
    progress.nats += nats
    progress.nats_targets += targets
    return norm


def _evaluate(training: Training, evaluate: Callable[[TrainingProgress], float], keep_best: bool) -> None:
    """Takes the dev loss, and the trained tensors if it is the lowest so far."""
    progress = training.progress
    progress.train_loss = progress.nats / progress.nats_targets
    progress.nats, progress.nats_targets = 0.0, 0
    loss = _dev_loss(progress, evaluate)
    progress.dev_curve.append((progress.step, loss))
    _log.info("step %d: train loss %.4f, dev loss %.4f", progress.step, progress.train_loss, loss)
    if loss < progress.best_loss:
        progress.best_loss, progress.best_step = loss, progress.step
        progress.best_state = training.tuned.state() if keep_best else None
        progress.waited = 0
    else:
        progress.waited += 1


def _dev_loss(progress: TrainingProgress, evaluate: Callable[[TrainingProgress], float]) -> float:
    """The dev loss now, nats per target token.

    Raises:
        Diverged: It is not finite.
    """
    began = time.monotonic()
    loss = evaluate(progress)
    progress.evaluation_seconds += time.monotonic() - began
    if not math.isfinite(loss):
        raise Diverged(progress.step, "dev loss was not finite")
    return loss


def _gradient_norm(parameters: list[torch.nn.Parameter]) -> float:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return float(whole(torch.nn.utils.get_total_norm(gradients)))


def _check_moved(tuned: Tuned, start: dict[str, torch.Tensor], steps: int) -> None:
    frozen = [name for name, tensor in tuned.trainable.items() if torch.equal(tensor, start[name])]
    if frozen:
        shown = ", ".join(frozen[:5]) + (f" and {len(frozen) - 5} more" if len(frozen) > 5 else "")
        raise FrozenParameters(f"trained tensors did not move in {steps} steps: {shown}")
