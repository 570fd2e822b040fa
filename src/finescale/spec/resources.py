"""How a study's runs are executed: what a cluster reserves for one, how often one is tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from finescale.spec.fields import Count, Strict, distinct


class Resources(Strict):
    """What a cluster reserves for a run; it enters no fingerprint, and this machine's workers ignore it."""

    cpus: float = Field(default=1.0, gt=0, le=4096)
    """Cores, and so many threads; a run of one thread makes the most of a core."""
    gpus: float | None = Field(default=None, ge=0, le=1024)
    """GPUs; a fraction lets runs share one. None: one where the cluster has any, otherwise none."""
    memory: Count | None = None
    """Bytes of memory."""
    workers: int = Field(default=1, gt=0, le=4096)
    """Processes that share one run (its weights are sharded); each gets cpus, gpus and memory."""

    hours: float = Field(default=24.0, gt=0, le=8760)
    """Time limit of a job; only SLURM asks for one."""

    def of(self, nodes: Sequence[Mapping[str, float]]) -> Resources:
        """With the GPUs that these nodes make of None."""
        if self.gpus is not None:
            return self
        return self.model_copy(update={"gpus": float(any(node.get("GPU", 0) >= 1 for node in nodes))})

    def slots(self, nodes: Sequence[Mapping[str, float]]) -> int:
        """How many such runs nodes hold at a time.

        Args:
            nodes: What each node has in all: `CPU`, `GPU`, `memory` (bytes).
        """
        need = self.of(nodes)
        wanted = {"CPU": need.cpus, "GPU": need.gpus or 0.0, "memory": float(need.memory or 0)}
        wanted = {name: amount for name, amount in wanted.items() if amount > 0}
        places = sum(
            min(int(node.get(name, 0.0) / amount + 1e-6) for name, amount in wanted.items()) for node in nodes
        )
        return places // self.workers

    def words(self) -> str:
        """Such a run in words."""
        parts = [f"{self.cpus:g} CPUs" if self.cpus != 1 else "1 CPU"]
        parts += [f"{self.gpus:g} GPUs" if self.gpus != 1 else "1 GPU"] if self.gpus else []
        parts += [f"{self.memory / 1e9:g} GB"] if self.memory else []
        each = " + ".join(parts)
        return each if self.workers == 1 else f"{self.workers} workers with {each} each"


class Retries(Strict):
    """How often a run is tried again: `{broken: 3, diverged: 0}`; a number alone is `broken`."""

    broken: Annotated[int, Field(ge=0, le=1000)] = 3
    """Its process died, the disk was full, its function raised: not the run's own doing."""
    diverged: Annotated[int, Field(ge=0, le=1000)] = 0
    """Its loss was no number: on one machine a second attempt ends alike."""


def _broken(value: Any) -> Any:
    return {"broken": value} if isinstance(value, int) and not isinstance(value, bool) else value


RetriesOrBroken = Annotated[
    Retries, BeforeValidator(_broken, json_schema_input_type=Retries | Annotated[int, Field(ge=0, le=1000)])
]
"""Retries; a number alone is `broken`."""


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Tracker = Literal["tensorboard", "mlflow", "wandb", "trackio"]
Trackers = Annotated[
    tuple[Tracker, ...],
    BeforeValidator(_listed, json_schema_input_type=Tracker | tuple[Tracker, ...]),
    AfterValidator(distinct),
]
"""Where finished runs are shown besides (`study.tracking`); one name alone is a list of it."""
