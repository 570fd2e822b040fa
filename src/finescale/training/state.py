"""All that changes while a model is trained, and how it is written down and put back exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, TypeAdapter
from torch.distributed.tensor import DTensor

from finescale.training.sharding import own_part, part_like
from finescale.tuning.tuned import Tuned

WEIGHT, OPTIMIZER, RANDOM = "trained/", "optimizer/", "random/"
"""Beginnings of tensors' names: weights, optimiser (`optimizer/INDEX/NAME`), states of torch's generators."""


@dataclass
class TrainingProgress:
    """What a training has done so far.

    Attributes:
        step: Steps taken; the schedule's and the data's position follow from it.
        tokens: Tokens processed (prompt, source and target, every pass).
        target_tokens: Tokens with a loss processed.
        seconds: Time in steps; evaluations and checkpoints do not count.
        evaluation_seconds: Time in evaluations and in what they save.
        nats: Summed loss of the steps since the last evaluation.
        nats_targets: Target tokens of those steps.
        train_loss: Mean loss of the steps between the last two evaluations, nats per target token.
        dev_curve: (step, dev loss) of each evaluation.
        looks: (step, dev loss) where it was taken for others to see: it chose nothing.
        gradient_norms: (step, global gradient norm) at each evaluation.
        waited: Evaluations in a row without a new lowest dev loss.
        best_step: Step of the lowest dev loss.
        best_loss: That dev loss, nats per target token.
        best_state: The trained tensors at that step.
        records: What evaluations leave for the records table (pretraining: one a checkpoint).
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    step: int = 0
    tokens: int = 0
    target_tokens: int = 0
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    nats: float = 0.0
    nats_targets: int = 0
    train_loss: float = math.nan
    dev_curve: list[tuple[int, float]] = field(default_factory=list)
    looks: list[tuple[int, float]] = field(default_factory=list)
    gradient_norms: list[tuple[int, float]] = field(default_factory=list)
    waited: int = 0
    best_step: int = 0
    best_loss: float = math.inf
    best_state: dict[str, torch.Tensor] | None = None
    records: list[dict[str, Any]] = field(default_factory=list)

    def seen(self) -> list[tuple[int, float]]:
        """Every dev loss that was taken: (step, nats per target token), evaluations and looks."""
        return sorted([*self.dev_curve, *self.looks])


@dataclass(frozen=True)
class Training:
    """A training under way.

    Attributes:
        tuned: The wrapped model.
        optimiser: Its optimiser; the learning rate is set anew before every step.
        progress: What was done.
    """

    tuned: Tuned
    optimiser: torch.optim.Optimizer
    progress: TrainingProgress

    def tensors(self) -> dict[str, torch.Tensor]:
        """Trained tensors, optimiser and random states by name; not the best step's tensors.

        Of sharded tensors, what this process holds.
        """
        tensors = {f"{WEIGHT}{name}": tensor.detach() for name, tensor in self.tuned.trainable.items()}
        for index, state in self._optimiser().items():
            tensors |= {
                f"{OPTIMIZER}{index}/{name}": value
                for name, value in state.items()
                if isinstance(value, torch.Tensor)
            }
        tensors[f"{RANDOM}cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors |= {f"{RANDOM}{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
        return {name: own_part(tensor).cpu().contiguous() for name, tensor in tensors.items()}

    def plain(self) -> dict[str, Any]:
        """Everything else, as JSON has it (floats to the last bit); the same in every process of the run."""
        return {
            "progress": {
                item.name: getattr(self.progress, item.name)
                for item in fields(TrainingProgress)
                if item.name != "best_state"
            },
            "optimizer": {
                str(index): {
                    name: value for name, value in state.items() if not isinstance(value, torch.Tensor)
                }
                for index, state in self._optimiser().items()
            },
            "sharded": [
                f"{index}/{name}"
                for index, state in self._optimiser().items()
                for name, value in state.items()
                if isinstance(value, DTensor)
            ],
        }

    def restoring(
        self,
        tensors: Mapping[str, torch.Tensor],
        best: dict[str, torch.Tensor] | None,
        plain: Mapping[str, Any],
    ) -> Callable[[], None]:
        """Checks what `tensors` and `plain` returned, and puts it back when it is told to.

        Args:
            tensors: What `tensors` returned.
            best: The trained tensors of the best step, by name.
            plain: What `plain` returned, out of JSON.

        Returns:
            What puts it back; until it is called nothing is changed.

        Raises:
            ValueError: It is not of such a training.
        """
        progress = TypeAdapter(TrainingProgress).validate_python(plain["progress"])
        weights = _named(tensors, WEIGHT)
        held = {name: own_part(tensor) for name, tensor in self.tuned.trainable.items()}
        wanted = {name: (tensor.shape, tensor.dtype) for name, tensor in held.items()}
        for found in (weights, *([] if best is None else [best])):
            if {name: (tensor.shape, tensor.dtype) for name, tensor in found.items()} != wanted:
                raise ValueError("it holds other trained tensors than this run has")
        optimiser: dict[int, dict[str, Any]] = {
            int(index): dict(state) for index, state in plain["optimizer"].items()
        }
        trained = list(self.tuned.trainable.values())
        sharded = set(plain.get("sharded", ()))
        for name, tensor in _named(tensors, OPTIMIZER).items():
            index, _, key = name.partition("/")
            like = trained[int(index)] if name in sharded else tensor
            optimiser[int(index)][key] = part_like(tensor, like)
        generators = _named(tensors, RANDOM)

        def restore() -> None:
            torch.set_rng_state(generators.pop("cpu"))
            for index, state in generators.items():
                if int(index) < torch.cuda.device_count():
                    torch.cuda.set_rng_state(state, int(index))
            self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": optimiser})
            self.tuned.restore(self._whole(weights))
            vars(self.progress).update(vars(progress))
            if best is not None:
                device = self.tuned.model.device
                self.progress.best_state = self._whole({name: item.to(device) for name, item in best.items()})

        return restore

    def _whole(self, parts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Trained tensors, sharded as this run's, from the parts that this process holds."""
        return {name: part_like(part, self.tuned.trainable[name]) for name, part in parts.items()}

    def _optimiser(self) -> dict[int, dict[str, Any]]:
        """The optimiser's state by the number of the trained tensor."""
        return self.optimiser.state_dict()["state"]


def _named(tensors: Mapping[str, torch.Tensor], beginning: str) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(beginning): value for name, value in tensors.items() if name.startswith(beginning)
    }
