"""The one training loop, for pretraining and every finetuning method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import torch

from finescale.spec import OptimizerSpec
from finescale.training.batching import Batch
from finescale.training.optimizers import build_optimizer, cosine
from finescale.training.sharding import whole
from finescale.tuning.tuned import Tuned

MOVED_AFTER = 4
"""Trained tensors must have moved after this many steps (LoRA's A cannot in the first: B is still zero)."""


class Diverged(Exception):
    """The loss or a gradient is not finite, or the model is worse than a uniform guess.

    Attributes:
        step: The step (from 1) at which it happened.
    """

    def __init__(self, step: int, what: str) -> None:
        """Names the step and what went wrong."""
        super().__init__(f"{what} at step {step}")
        self.step = step


class FrozenParameters(Exception):
    """Tensors that should be trained did not move in the first steps."""


@dataclass
class Progress:
    """What a training has done so far.

    Attributes:
        step: Steps taken.
        tokens: Tokens processed (prompt, source and target, every pass).
        target_tokens: Tokens with a loss processed.
        seconds: Time in steps; evaluations and checkpoints do not count.
        evaluation_seconds: Time in evaluations and checkpoints.
        train_loss: Mean loss of the steps since the last evaluation, nats per target token.
        dev_curve: (step, dev loss) of each evaluation.
        gradient_norms: (step, global gradient norm) at each evaluation.
        best_step: Step of the lowest dev loss.
        best_loss: That dev loss, nats per target token.
        best_state: The trained tensors at that step.
    """

    step: int = 0
    tokens: int = 0
    target_tokens: int = 0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    train_loss: float = math.nan
    dev_curve: list[tuple[int, float]] = field(default_factory=list)
    gradient_norms: list[tuple[int, float]] = field(default_factory=list)
    best_step: int = 0
    best_loss: float = math.inf
    best_state: dict[str, torch.Tensor] | None = None


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """Steps after which dev is evaluated: `evaluations` of them, evenly spaced, the last step included."""
    return {max(1, round(steps * (i + 1) / evaluations)) for i in range(evaluations)}


def train(
    tuned: Tuned,
    batches_at: Callable[[int], Sequence[Batch]],
    steps: int,
    *,
    optimizer: OptimizerSpec,
    learning_rate: float,
    floor: float,
    evaluate_at: Collection[int],
    evaluate: Callable[[Progress], float],
    keep_best: bool,
    patience: int | None = None,
    bf16: bool = False,
) -> Progress:
    """Trains for a number of steps, or until the dev loss has stopped falling.

    Args:
        tuned: The wrapped model; it is changed in place.
        batches_at: The batch of a step (from 0), in one part or in several whose gradients add up.
        steps: Number of updates.
        optimizer: Optimiser and its constants.
        learning_rate: Peak of the cosine schedule.
        floor: End of the schedule as a share of the peak.
        evaluate_at: Steps (from 1) after which `evaluate` is called.
        evaluate: Returns the dev loss, nats per target token.
        keep_best: Put back the trained tensors of the lowest dev loss at the end.
        patience: Stop after so many evaluations in a row without a new lowest dev loss; None: never.
        bf16: Autocast the forward pass to bfloat16; weights, gradients and the optimiser stay float32.

    Returns:
        What was done; the model holds the best (or last) weights.

    Raises:
        Diverged: A loss or a gradient is not finite.
        FrozenParameters: A trained tensor did not move in the first steps.
    """
    parameters = list(tuned.trainable.values())
    optimiser = build_optimizer(optimizer, parameters, learning_rate)
    progress = Progress()
    start = tuned.state()
    summed, counted, waited = 0.0, 0, 0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = cosine(step, steps, learning_rate, floor)
        began = time.monotonic()
        batches = batches_at(step)
        targets = sum(len(batch.targets) for batch in batches)
        tuned.model.train()
        nats = 0.0
        for batch in batches:
            with torch.autocast(tuned.model.device.type, torch.bfloat16, enabled=bf16):
                total = tuned.loss(batch)
            (total / targets).backward()
            nats += float(total.detach())
        norm = _gradient_norm(parameters)
        if not math.isfinite(nats) or not math.isfinite(norm):
            what = "gradient" if math.isfinite(nats) else "loss"
            raise Diverged(step + 1, f"{what} was not finite")
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        progress.step = step + 1
        progress.tokens += sum(batch.tokens for batch in batches)
        progress.target_tokens += targets
        progress.seconds += time.monotonic() - began
        summed, counted = summed + nats, counted + targets
        if progress.step == max(2, min(MOVED_AFTER, steps)):
            _check_moved(tuned, start, progress.step)
            start = {}
        if progress.step in evaluate_at:
            progress.train_loss, summed, counted = summed / counted, 0.0, 0
            progress.gradient_norms.append((progress.step, norm))
            began = time.monotonic()
            loss = evaluate(progress)
            progress.evaluation_seconds += time.monotonic() - began
            if not math.isfinite(loss):
                raise Diverged(progress.step, "dev loss was not finite")
            progress.dev_curve.append((progress.step, loss))
            if loss < progress.best_loss:
                progress.best_loss, progress.best_step = loss, progress.step
                progress.best_state = tuned.state() if keep_best else None
                waited = 0
            else:
                waited += 1
                if waited == patience:
                    break
    if progress.best_state is not None:
        tuned.restore(progress.best_state)
    return progress


def _gradient_norm(parameters: list[torch.nn.Parameter]) -> float:
    gradients = [p.grad for p in parameters if p.grad is not None]
    return float(whole(torch.nn.utils.get_total_norm(gradients)))


def _check_moved(tuned: Tuned, start: dict[str, torch.Tensor], steps: int) -> None:
    frozen = [name for name, tensor in tuned.trainable.items() if torch.equal(tensor, start[name])]
    if frozen:
        shown = ", ".join(frozen[:5]) + (f" and {len(frozen) - 5} more" if len(frozen) > 5 else "")
        raise FrozenParameters(f"trained tensors did not move in {steps} steps: {shown}")
