"""Which executor a study runs on: `finescale run --executor`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from finescale.errors import UsageError, nearest
from finescale.executors.local import Executor, LocalExecutor
from finescale.executors.machine import usable_cores

if TYPE_CHECKING:
    from finescale.study.plan import StudyPlan

EXECUTORS = ("local", "ray", "slurm")


def check(executor: str, address: str | None) -> None:
    """Refuses options that do not fit together, before anything is started.

    Args:
        executor: One of `EXECUTORS`.
        address: A cluster's address, or None.
    """
    if executor not in EXECUTORS:
        wanted, remedy = ", ".join(EXECUTORS), nearest(executor, EXECUTORS)
        raise UsageError(
            "unknown executor", wanted=f"one of {wanted}", got=executor, remedy=remedy, where="--executor"
        )
    if address is not None and executor != "ray":
        raise UsageError(
            "--address is for Ray", wanted="--executor ray", got=f"--executor {executor}", where="--address"
        )


def open_executor(
    executor: str, plan: StudyPlan, folder: Path, *, address: str | None = None, workers: int | None = None
) -> tuple[Executor, int, list[str]]:
    """Opens an executor for a plan.

    Args:
        executor: One of `EXECUTORS`.
        plan: What it will run.
        folder: The study's folder; it has to exist.
        address: A cluster's address; None: the one of this machine, or a new one.
        workers: How many runs at a time at most; None: as many as there is room for.

    Returns:
        The executor, how many runs it makes at a time now, and what a user should know of it.

    Raises:
        UsageError: It cannot run the plan.
    """
    if executor == "ray":
        from finescale.executors.ray import RayExecutor  # noqa: PLC0415

        cluster = RayExecutor(
            plan.needs(), folder.resolve(), address=address, workers=workers, files=plan.files()
        )
        return cluster, cluster.size, [f"{cluster}, {cluster.size} runs at a time.", *cluster.notes]
    many = max(needed.workers for needed in plan.needs())
    if many > 1:
        raise UsageError(
            "a run over several workers needs Ray",
            wanted="--executor ray",
            got=f"workers: {many} and --executor {executor}",
            where="resources",
        )
    if executor == "slurm":
        from finescale.executors.slurm import SlurmExecutor  # noqa: PLC0415

        queue = SlurmExecutor(folder.resolve(), workers=workers)
        return queue, queue.size, [f"SLURM, at most {queue.size} jobs at a time."]
    size = workers or usable_cores()
    return LocalExecutor(size), size, []
