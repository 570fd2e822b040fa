"""Adafactor as in T5X (AdamW comes from torch), and the cosine schedule with a floor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from finescale.spec.run import OptimizerSpec
from finescale.training.sharding import sharded_like, whole

FACTORED_FROM = 128
"""T5X factors the second moment only where both dimensions have at least this many entries."""


class Adafactor(torch.optim.Optimizer):
    """Adafactor (Shazeer & Stern 2018) with T5X's constants and factoring rule.

    Second-moment decay 1 - t^-0.8, update clipping at RMS 1, epsilons 1e-30 (squared gradient) and 1e-3
    (smallest parameter scale), no momentum. With `parameter_scaling` the learning rate is relative to the RMS
    of each tensor. Weight decay is multiplied by the learning rate. Of a sharded tensor every process keeps
    the full statistics and computes the full update, one tensor after another: the numbers of one process.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor],
        lr: float,
        *,
        parameter_scaling: bool = True,
        weight_decay: float = 0.0,
        decay: float = 0.8,
        clipping: float = 1.0,
        epsilons: tuple[float, float] = (1e-30, 1e-3),
    ) -> None:
        """Sets the constants.

        Args:
            params: Trainable tensors.
            lr: Learning rate; a relative step size with `parameter_scaling`.
            parameter_scaling: Multiply the step by max(RMS of the tensor, epsilons[1]).
            weight_decay: Share of the weights taken off a step, times the learning rate.
            decay: Exponent of the second moment's decay.
            clipping: Largest RMS of the unscaled update.
            epsilons: Added to the squared gradient; smallest parameter scale.
        """
        defaults: dict[str, Any] = {
            "lr": lr,
            "parameter_scaling": parameter_scaling,
            "weight_decay": weight_decay,
            "decay": decay,
            "clipping": clipping,
            "epsilons": epsilons,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every tensor that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        assert parameter.grad is not None
        gradient = whole(parameter.grad)
        squared = gradient.square().add_(group["epsilons"][0])
        step = state.get("step", 0) + 1
        state["step"] = step
        keep = 1.0 - step ** -group["decay"]
        axes = factored_axes(parameter.shape)
        if axes is None:
            if "second" not in state:
                state["second"] = torch.zeros_like(gradient)
            second = state["second"].lerp_(squared, 1.0 - keep)
            update = gradient * second.rsqrt()
        else:
            small, large = axes
            if "rows" not in state:
                state["rows"] = torch.zeros_like(squared.mean(large))
                state["columns"] = torch.zeros_like(squared.mean(small))
            rows = state["rows"].lerp_(squared.mean(large), 1.0 - keep)
            columns = state["columns"].lerp_(squared.mean(small), 1.0 - keep)
            row_axis = small - (small > large)
            scale = (rows / rows.mean(row_axis, keepdim=True)).rsqrt_().unsqueeze(large)
            update = gradient * scale * columns.rsqrt().unsqueeze(small)
        rms = _rms(update)
        step_size = group["lr"] / max(1.0, rms / group["clipping"])
        if group["parameter_scaling"]:
            step_size *= max(_rms(whole(parameter)), group["epsilons"][1])
        if group["weight_decay"]:
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        parameter.add_(sharded_like(update, parameter), alpha=-step_size)


def factored_axes(shape: torch.Size) -> tuple[int, int] | None:
    """The two largest axes (second largest, largest), or None where either has fewer than 128 entries."""
    if len(shape) < 2:
        return None
    order = sorted(range(len(shape)), key=lambda axis: (shape[axis], axis))
    small, large = order[-2], order[-1]
    return (small, large) if shape[small] >= FACTORED_FROM else None


def _rms(tensor: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor)) / math.sqrt(tensor.numel())


def build_optimizer(
    spec: OptimizerSpec, params: Iterable[torch.Tensor], learning_rate: float
) -> torch.optim.Optimizer:
    """The optimiser of a specification over the given tensors."""
    if spec.name == "adafactor":
        return Adafactor(
            params, learning_rate, parameter_scaling=spec.parameter_scaling, weight_decay=spec.weight_decay
        )
    return torch.optim.AdamW(params, lr=learning_rate, betas=(0.9, 0.99), weight_decay=spec.weight_decay)


def cosine(step: int, steps: int, peak: float, floor: float) -> float:
    """The learning rate of a step (from 0): a half cosine from `peak` down to `floor` x `peak`."""
    share = step / max(steps - 1, 1)
    return peak * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0))))
