"""A finetuning run over several processes: its model in shards, its files written by the first process.

The processes are started and connected by an executor (`ray_cluster`: Ray Train) before the run begins.
"""

from __future__ import annotations

from pathlib import Path

from finescale.errors import UsageError
from finescale.runs.prepare import LoadedBase, open_base, save_trained, wrap
from finescale.spec.expand import PlannedRun
from finescale.spec.run import RunSpec
from finescale.training.sharding import Sharded, is_first, ranks, shard
from finescale.tuning.tuned import Tuned


def shard_if_needed(spec: RunSpec, tuned: Tuned) -> Tuned:
    """The model in shards where several processes share the run; otherwise as it is.

    Raises:
        UsageError: The weights are quantised.
    """
    if ranks() == 1:
        return tuned
    if spec.method.quantize is not None:
        raise UsageError(
            "quantised weights cannot be shared out",
            wanted="workers: 1, or a method without quantize",
            got=f"workers: {ranks()}, quantize: {spec.method.quantize}",
            where="resources",
        )
    return shard(tuned)


def save_trained_part(planned: PlannedRun, tuned: Tuned, base: LoadedBase, folder: Path) -> None:
    """Keeps what was trained (`save_trained`); every process of the run has to call it."""
    if isinstance(tuned, Sharded):
        state = tuned.full_state()
        if not is_first():
            return
        base = open_base(planned.run)
        tuned = wrap(planned.run, base)
        tuned.restore(state)
    save_trained(planned, tuned, base, folder)
