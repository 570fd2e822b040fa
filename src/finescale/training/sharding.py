"""One run over several processes: weights, gradients and optimiser state in shards (FSDP2), examples by rank.

Every process runs the same loop over the same batches. A sharded model computes its own examples of a batch
and returns the loss of all of them: sums, norms, schedules and decisions are the same in every process, and
those of one process alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor, distribute_tensor

from finescale.batches.batching import Batch, take_share
from finescale.tuning.tuned import Tuned


def ranks() -> int:
    """How many processes share this run; 1 where it is alone."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process writes the run's files: rank 0, or the only one."""
    return ranks() == 1 or dist.get_rank() == 0


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """The full tensor of a sharded one (every process has to ask); any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A full tensor that every process has, in the shards of another one; nothing is sent."""
    if not isinstance(other, DTensor):
        return tensor
    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a sharded tensor; any other as it is."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def part_like(part: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """A tensor of which every process gives the part that it holds of another one; nothing is sent."""
    if not isinstance(other, DTensor):
        return part
    device, shape, stride = other.device_mesh.device_type, other.shape, other.stride()
    part = part.to(device)
    return DTensor.from_local(part, other.device_mesh, other.placements, shape=shape, stride=stride)


def gather(item: Any) -> list[Any]:
    """What every process of the run gives, by rank; every one has to ask."""
    found = [item] * ranks()
    if ranks() > 1:
        dist.all_gather_object(found, item)
    return found


def from_first(item: Any) -> Any:
    """What the first process of the run gives; every one has to ask."""
    found = [item]
    if ranks() > 1:
        dist.broadcast_object_list(found, src=0)
    return found[0]


@dataclass(frozen=True)
class Sharded(Tuned):
    """A tuned model of which every process holds a part."""

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed cross-entropy over all target tokens of the batch, in nats; each process does its share."""
        own = take_share(batch, dist.get_rank(), ranks())
        if own is None:  # fewer examples than processes: this one only takes part in the communication
            first = take_share(batch, 0, ranks())
            assert first is not None
            return _Summed.apply(0.0 * super().loss(first))  # pyright: ignore[reportReturnType]
        return _Summed.apply(super().loss(own))  # pyright: ignore[reportReturnType]

    def full_state(self) -> dict[str, torch.Tensor]:
        """The trained tensors in full, on the CPU; every process has to ask."""
        return {name: whole(tensor.detach()).cpu().clone() for name, tensor in self.trainable.items()}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Puts back trained tensors that `state` returned."""
        super().restore(state)
        cast(Any, self.model).reshard()  # an evaluation leaves full weights behind, now of another state

    def _embed(self, batch: Batch) -> torch.Tensor:
        cast(Any, self.model).unshard()  # the embedding is used before the model is called
        return super()._embed(batch)


class _Summed(torch.autograd.Function):
    """The sum of all processes' losses; a gradient for each, which FSDP averages."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        del ctx
        total = own.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        del ctx
        return gradient * ranks()


def shard(tuned: Tuned) -> Sharded:
    """Shards a tuned model over the processes of the initialised process group (in place).

    Args:
        tuned: The model with the same weights in every process. Each block is a unit of its own, so that only
            one block's full weights are in memory at a time.

    Returns:
        The sharded model; its trained tensors are shards.
    """
    from torch.distributed.device_mesh import init_device_mesh  # noqa: PLC0415 - slow to import
    from torch.distributed.fsdp import fully_shard  # noqa: PLC0415

    model = tuned.model
    kind = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = init_device_mesh(kind, (ranks(),))
    blocks = set(model._no_split_modules or ())
    for module in list(model.modules()):
        if type(module).__name__ in blocks:
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    sharded = dict(model.named_parameters())
    trainable = {name: sharded.get(name, tensor) for name, tensor in tuned.trainable.items()}
    if tuned.soft_prompt is not None:  # small, so every process holds all of it
        tuned.soft_prompt.register_hook(_averaged)
    return Sharded(model, trainable, tuned.save, tuned.soft_prompt, tuned.packs)


def _averaged(gradient: torch.Tensor) -> torch.Tensor:
    gradient = gradient.clone()
    dist.all_reduce(gradient)
    return gradient / ranks()
