"""The SLURM executor: every run is a job of its own, submitted and watched through submitit.

What a job needs and what it returns lies in `slurm/` of the study's folder, which all nodes have to share.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finescale.errors import UsageError
from finescale.executors.attempt_log import tail
from finescale.executors.local import Job, Result, pinned_environment
from finescale.executors.worker import Call, call

POLL_SECONDS = 2.0
JOBS = 100
"""So many jobs are in the queue at a time, where --workers does not say it."""
LAST_WORDS = 2000


class SlurmExecutor:
    """Runs as jobs of a SLURM cluster; what finishes is committed by the driver only."""

    def __init__(self, folder: Path, *, workers: int | None = None, cluster: str = "slurm") -> None:
        """Checks that jobs can be submitted from here.

        Args:
            folder: The study's folder, which every node sees under the same path.
            workers: How many jobs at a time at most.
            cluster: submitit's kind of cluster: `slurm`, or `local` (processes of this machine).

        Raises:
            UsageError: submitit is not installed, or this machine has no SLURM.
        """
        if importlib.util.find_spec("submitit") is None:
            raise UsageError(
                "submitit is not installed",
                wanted="submitit, for --executor slurm",
                got="no submitit",
                remedy='pip install "finescale[slurm]" (from a checkout: pip install ".[slurm]")',
            )
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise UsageError(
                "no SLURM on this machine",
                wanted="the command sbatch",
                got="no such command",
                remedy="run the study on a login node, or with --executor local or ray",
                where="--executor",
            )
        self.size = workers or JOBS
        self._folder = folder / "slurm"
        self._cluster = cluster
        self._jobs: dict[str, tuple[Job, Any, float]] = {}

    def free(self) -> int:
        """How many jobs can be submitted now."""
        return self.size - len(self._jobs)

    def submit(self, job: Job) -> None:
        """Puts a job into SLURM's queue."""
        from submitit import AutoExecutor  # noqa: PLC0415 - only where SLURM is used

        needed = job.resources
        threads = max(1, math.floor(needed.cpus))
        queue = AutoExecutor(self._folder, cluster=self._cluster)
        queue.update_parameters(
            name=f"finescale-{job.run}",
            timeout_min=math.ceil(60 * needed.hours),
            cpus_per_task=math.ceil(needed.cpus),
            gpus_per_node=math.ceil(needed.gpus or 0),
        )
        if needed.memory:
            queue.update_parameters(mem_gb=needed.memory / 1e9)
        self._jobs[job.run] = (job, queue.submit(run_job, job.call, threads), time.monotonic())

    def wait(self, seconds: float) -> list[Result]:
        """The results that are there; waits at most so long for the first."""
        deadline = time.monotonic() + seconds
        while True:
            ended = [run for run, (_, queued, _) in self._jobs.items() if queued.done()]
            left = deadline - time.monotonic()
            if ended or left <= 0:
                return [self._result(run) for run in ended]
            time.sleep(min(POLL_SECONDS, left))

    def progress(self) -> Mapping[str, float]:
        """Nothing: jobs do not tell."""
        return {}

    def close(self) -> None:
        """Cancels every job that has not ended."""
        for _, queued, _ in self._jobs.values():
            with contextlib.suppress(Exception):  # one that ended meanwhile
                queued.cancel()
        self._jobs.clear()

    def _result(self, run: str) -> Result:
        job, queued, began = self._jobs.pop(run)
        try:
            return Result(run, **queued.result())
        except Exception as error:  # submitit's, whatever happened to the job
            said = tail(job.log) or queued.stderr() or str(error)
            return Result(
                run,
                error=f"the SLURM job {queued.job_id} ended without a result (state {queued.state})",
                traceback=said[-LAST_WORDS:],
                seconds=time.monotonic() - began,
            )


def run_job(asked: Call, threads: int) -> dict[str, Any]:
    """What a job does on its node: `worker.call`, with threads pinned before torch is loaded."""
    os.environ |= pinned_environment(threads)
    return call(asked, lambda share: None)
