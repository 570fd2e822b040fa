"""Executors: where runs are executed. Here: worker processes of this machine, one single-threaded one a core.

An executor takes jobs while it has free slots and gives back what happened; it knows nothing of studies or
ledgers. A worker that dies fails its job with a reason and is replaced.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any, Protocol

from finescale.errors import FinescaleError
from finescale.executors.attempt_log import last_words, tail
from finescale.executors.worker import Call
from finescale.runs.memory import SAVE_MEMORY, largest_resident, resident_peak
from finescale.spec.resources import Resources

STOP_SECONDS = 2.0
FAILED_STARTS = 3
"""So many workers in a row that die before they are ready end the study: another one would die, too."""

THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


@dataclass(frozen=True)
class Job:
    """A call in a worker process.

    Attributes:
        run: What it is for, given back with the result.
        function: `module:function`, importable by the worker.
        arguments: Its positional arguments; a parameter called `progress` gets a function that takes the
            share that is done.
        resources: What a cluster reserves for it.
        log: The attempt's log file, which takes all that is printed meanwhile; None: no log.
        level: The lowest level of log messages that it takes.
    """

    run: str
    function: str
    arguments: tuple[Any, ...]
    resources: Resources = field(default_factory=Resources)
    log: Path | None = None
    level: str = "info"

    @property
    def call(self) -> Call:
        """What a worker has to know of it."""
        return Call(self.function, self.arguments, self.log, self.level)


@dataclass(frozen=True)
class Result:
    """What became of a job.

    Attributes:
        run: The job's run.
        value: What the function returned; None where it did not.
        error: Why there is no value.
        traceback: The function's traceback, where it raised.
        seconds: Wall-clock time.
        environment: Versions, machine, device.
        peak_memory_bytes: The largest resident memory of the worker during the job.
    """

    run: str
    value: Any = None
    error: str | None = None
    traceback: str | None = None
    seconds: float = 0.0
    environment: Mapping[str, Any] = field(default_factory=dict)
    peak_memory_bytes: int | None = None


class Executor(Protocol):
    """Runs jobs somewhere."""

    def free(self) -> int:
        """How many jobs can be submitted now."""
        ...

    def submit(self, job: Job) -> None:
        """Starts a job; there must be a free slot."""
        ...

    def wait(self, seconds: float) -> list[Result]:
        """What finished; waits at most so long for the first."""
        ...

    def progress(self) -> Mapping[str, float]:
        """The share that is done of every running job that tells it."""
        ...

    def close(self) -> None:
        """Stops everything; results that were not fetched are lost."""
        ...


def pinned_environment(threads: int) -> dict[str, str]:
    """The environment of a worker process whose libraries use so many threads."""
    return {**dict.fromkeys(THREADS, str(threads)), "TOKENIZERS_PARALLELISM": "false"}


class LocalExecutor:
    """Persistent worker processes of this machine."""

    def __init__(self, workers: int) -> None:
        """Prepares the executor; a worker starts with its first job.

        Args:
            workers: How many processes at most.
        """
        self._size = workers
        self._workers: list[_Worker] = []
        self._failed_starts = 0

    def free(self) -> int:
        """How many jobs can be submitted now."""
        return self._size - sum(worker.job is not None for worker in self._workers)

    def submit(self, job: Job) -> None:
        """Gives a job to an idle worker, or to a new one."""
        worker = next((worker for worker in self._workers if worker.job is None), None)
        if worker is None:
            worker = _Worker()
            self._workers.append(worker)
        worker.give(job)

    def wait(self, seconds: float) -> list[Result]:
        """The results that are there; waits at most so long for the first."""
        busy = {worker.connection: worker for worker in self._workers if worker.job is not None}
        if not busy:
            time.sleep(seconds)
            return []
        for worker in busy.values():
            worker.look()
        results: list[Result] = []
        for connection in wait(list(busy), seconds):
            worker = busy[connection]  # pyright: ignore[reportArgumentType]
            result = worker.hear()
            if result is not None:
                results.append(result)
            if worker.dead:
                self._workers.remove(worker)
                self._failed_starts = 0 if worker.ready else self._failed_starts + 1
                if self._failed_starts >= FAILED_STARTS:
                    raise FinescaleError(
                        "worker processes do not start",
                        wanted="a Python that can import finescale",
                        got=result.error if result is not None and result.error else "no answer",
                        remedy=f"try: {Path(sys.executable).name} -c 'import finescale.executors.worker'",
                    )
        return results

    def progress(self) -> Mapping[str, float]:
        """The share that is done of every running job that tells it."""
        return {worker.job.run: worker.share for worker in self._workers if worker.job is not None}

    def close(self) -> None:
        """Stops all workers, also in the middle of a run."""
        for worker in self._workers:
            worker.stop(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for worker in self._workers:
            worker.end(max(0.0, deadline - time.monotonic()))
        self._workers.clear()


class _Worker:
    """A worker process and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        paths = [item for item in sys.path if item]
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "finescale.executors.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.errors,
                stderr=self.errors,
                env={**os.environ, **pinned_environment(1), "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,
            )
        self.connection = Connection(ours.detach())
        self.job: Job | None = None
        self.share = 0.0
        self.ready = False
        self.dead = False
        self.peak = self.first_peak = 0
        self.began = 0.0

    def look(self) -> None:
        """Notes the worker's peak memory while it lives."""
        self.peak = resident_peak(self.process.pid) or self.peak

    def give(self, job: Job) -> None:
        self.job, self.share, self.began = job, 0.0, time.monotonic()
        self.look()
        with contextlib.suppress(OSError):  # a worker that died meanwhile is found by the next `hear`
            self.connection.send(job.call)

    def hear(self) -> Result | None:
        """Takes one message; the result if it is one."""
        assert self.job is not None
        try:
            kind, body = self.connection.recv()
        except (EOFError, OSError):
            return self._died()
        if kind == "ready":
            self.ready, self.first_peak = True, body
            return None
        if kind == "progress":
            self.share = min(max(body, 0.0), 1.0)
            return None
        run, self.job = self.job.run, None
        return Result(run, **body)

    def _died(self) -> Result:
        assert self.job is not None
        self.stop(signal.SIGKILL)
        _, ended, usage = os.wait4(self.process.pid, 0)  # like process.wait(), with the memory it took
        code = self.process.returncode = os.waitstatus_to_exitcode(ended)
        # the kernel counts a process from the peak of the one that started it, here the driver's:
        # only what is more than the worker had in that account when it began is its own
        peak = largest_resident(usage.ru_maxrss)
        if peak <= self.first_peak or not self.ready:
            peak = self.peak
        self.errors.seek(0)
        said = self.errors.read()[-2000:].decode(errors="replace").strip() + tail(self.job.log)
        self.dead = True
        self.end(0.0)
        name = signal.Signals(-code).name if -code in list(signal.Signals) else ""
        how = f"was killed by {name or f'signal {-code}'}" if code < 0 else f"ended with exit code {code}"
        if name == "SIGKILL":
            how += f" at a peak of {peak / 1e9:.2f} GB (out of memory: {SAVE_MEMORY}; or killed by hand)"
        elif last := last_words(said):
            how += f"; its last words: {last}"
        return Result(
            self.job.run,
            error=f"the worker process {how}",
            traceback=said[-2000:] or None,
            seconds=time.monotonic() - self.began,
            peak_memory_bytes=peak,
        )

    def stop(self, sent: signal.Signals) -> None:
        """Signals the worker and whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, sent)

    def end(self, seconds: float) -> None:
        """Waits for the end, then enforces it."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)
            self.process.wait()
        self.connection.close()
        self.errors.close()
