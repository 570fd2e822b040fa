"""The Ray executor: runs on a cluster, through a process of its own that speaks with Ray (`ray_cluster`).

Ray ends a process whose cluster is gone, without a word. Here that is not the driver: it finds the connection
closed, has committed everything that came back, and says so.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

from finescale.errors import FinescaleError, UsageError
from finescale.executors.local import Job, Result
from finescale.spec.resources import Resources

ANSWER_SECONDS = 10.0
"""So long an address may take to accept a connection."""
START_SECONDS = 120.0
"""So long it may take to join a cluster, or to start one on this machine."""
SILENT_SECONDS = 150.0
"""A cluster of which nothing was heard for so long is lost; Ray itself gives up after a minute."""
NO_NODE_SECONDS = 300.0
"""So long a study waits for a node that can take its runs."""
STOP_SECONDS = 10.0
LAST_WORDS = 600


class RayExecutor:
    """Runs as tasks of a Ray cluster; what finishes is committed by the driver only."""

    def __init__(
        self,
        needs: Sequence[Resources],
        folder: Path,
        *,
        address: str | None = None,
        workers: int | None = None,
        files: Sequence[Path] = (),
    ) -> None:
        """Joins a cluster, or starts one on this machine where there is none.

        Args:
            needs: What the study's runs reserve.
            folder: The study's folder; it has to exist.
            address: `host:port`, or `auto` for the cluster that this machine belongs to; None: that one, or a
                new one.
            workers: How many runs at a time at most; None: as many as the cluster holds.
            files: Files and folders that every node needs.

        Raises:
            UsageError: Ray is not installed, no cluster answers, or no node can take a run.
        """
        if importlib.util.find_spec("ray") is None:
            raise UsageError(
                "Ray is not installed",
                wanted="ray, for --executor ray",
                got="no ray",
                remedy='pip install "finescale[ray]" (from a checkout: pip install ".[ray]")',
            )
        if address not in (None, "auto"):
            _answers(address)
        self.notes: list[str] = []
        self._nodes: dict[str, Mapping[str, float]] = {}
        self._limit = workers
        self._jobs: dict[str, Job] = {}
        self._shares: dict[str, float] = {}
        self._heard = self._held = time.monotonic()
        self._process, self._connection, self._errors = _start()
        try:
            self._join(needs, folder, address, files)
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """How many of the smallest runs are made at a time."""
        held = max((needed.slots(self._all()) for needed in self._needs), default=0)
        return held if self._limit is None else min(held, self._limit)

    def __str__(self) -> str:
        """The cluster in words."""
        nodes = self._all()
        return f"Ray cluster of {len(nodes)} nodes" if len(nodes) != 1 else "Ray on one node"

    def free(self) -> int:
        """How many jobs can be submitted now: what the cluster still holds of the smallest."""
        if self._limit is not None:  # a cluster that grows with demand is asked for more than it holds
            return self._limit - len(self._jobs)
        used = sum(1 / max(1, job.resources.slots(self._all())) for job in self._jobs.values())
        return int((1 - used) * self.size + 1e-6)

    def submit(self, job: Job) -> None:
        """Hands a job to the cluster."""
        self._jobs[job.run] = job
        needed = job.resources.of(self._all())
        with contextlib.suppress(OSError):  # a cluster that is gone is found by the next `wait`
            self._connection.send(("submit", (job.run, job.call, needed)))

    def wait(self, seconds: float) -> list[Result]:
        """The results that are there; waits at most so long for the first."""
        results: list[Result] = []
        deadline = time.monotonic() + seconds
        while self._connection.poll(0 if results else max(0.0, deadline - time.monotonic())):
            try:
                kind, body = self._connection.recv()
            except (EOFError, OSError):
                if results:
                    break  # they are committed first; the next call tells
                raise self._lost("its processes ended") from None
            self._heard = time.monotonic()
            if kind == "nodes":
                self._nodes = body
            elif kind == "progress":
                self._shares |= body
            elif kind == "finished":
                run, outcome = body
                del self._jobs[run]
                self._shares.pop(run, None)
                results.append(Result(run, **outcome))
        self._check_alive()
        return results

    def progress(self) -> Mapping[str, float]:
        """The share that is done of every running job that tells it."""
        return {run: min(max(share, 0.0), 1.0) for run, share in self._shares.items() if run in self._jobs}

    def close(self) -> None:
        """Cancels everything and leaves the cluster; one that this study started ends."""
        with contextlib.suppress(OSError, ValueError):
            self._connection.send(("close", None))
        deadline = time.monotonic() + STOP_SECONDS
        try:
            while self._process.poll() is None and time.monotonic() < deadline:
                with contextlib.suppress(EOFError, OSError):  # what is still said would block the other side
                    while self._connection.poll(0.05):
                        self._connection.recv()
                time.sleep(0.02)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._connection.close()
            self._errors.close()

    def _all(self) -> list[Mapping[str, float]]:
        return list(self._nodes.values())

    def _join(
        self, needs: Sequence[Resources], folder: Path, address: str | None, files: Sequence[Path]
    ) -> None:
        self._needs = list(dict.fromkeys(needs)) or [Resources()]
        marker = folder / f".{secrets.token_hex(8)}"
        marker.touch()
        try:
            path = os.environ.get("PYTHONPATH", "")
            self._connection.send((folder, address, self._limit, path, [marker, *files]))
            if not self._connection.poll(START_SECONDS):
                raise UsageError(
                    "no Ray cluster answers",
                    wanted=f"a cluster at {address or 'this machine'}",
                    got=f"nothing within {START_SECONDS:.0f} seconds",
                    remedy="check it with `ray status`",
                    where="--address",
                )
            kind, body = self._connection.recv()
        except (EOFError, OSError):
            raise self._lost("it broke off while the study joined") from None
        finally:
            marker.unlink(missing_ok=True)
        if kind == "refused":
            raise UsageError(
                "the Ray cluster cannot be joined",
                wanted=f"a cluster at {address or 'this machine'}",
                got=body,
                remedy="this machine has to be one of its nodes: ray start --address HOST:PORT --num-cpus 0",
                where="--address",
            )
        self._nodes, missing = body
        for node, paths in missing.items():
            if unseen := [path for path in paths if path != marker]:
                raise UsageError(
                    "a node of the cluster does not see the study's files",
                    wanted=", ".join(str(path) for path in unseen[:3]),
                    got=f"node {node} has no such path",
                    remedy="keep them in a folder that all nodes share",
                )
        if missing:
            self.notes.append(
                f"{len(missing)} of {len(self._nodes)} nodes do not see {folder}: their runs keep curves and"
                " adapters on their own disks (records come back all the same)."
            )
        for needed in self._needs:
            if self._limit is None and needed.slots(self._all()) == 0:
                raise UsageError(
                    "the cluster cannot hold a run of this study",
                    wanted=needed.of(self._all()).words(),
                    got=_describe_nodes(self._all()),
                    remedy="lower `resources`, or give --workers N where the cluster grows with demand",
                    where="resources",
                )

    def _check_alive(self) -> None:
        """Ends a study whose cluster is silent, or has had no node for its runs for long."""
        now = time.monotonic()
        if now - self._heard > SILENT_SECONDS:
            raise self._lost(f"nothing was heard of it for {SILENT_SECONDS:.0f} seconds")
        if any(needed.slots(self._all()) for needed in self._needs):
            self._held = now
        elif now - self._held > NO_NODE_SECONDS:
            raise self._lost(f"for {NO_NODE_SECONDS:.0f} seconds it had no node for a run")

    def _lost(self, how: str) -> FinescaleError:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()[-LAST_WORDS:]
        return FinescaleError(
            "the Ray cluster is gone",
            wanted="a cluster that answers",
            got=how + (f"; it said: {said}" if said else ""),
            remedy="start it again, then the same command: finished runs are kept and not repeated",
        )


def _start() -> tuple[subprocess.Popen[bytes], Connection, IO[bytes]]:
    """The process that speaks with Ray, in a session of its own: Ctrl-C reaches the driver only."""
    ours, theirs = socket.socketpair()
    errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the executor
    path = os.pathsep.join(item for item in sys.path if item)
    with theirs:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"from finescale.executors.ray_cluster import main; main({theirs.fileno()})",
            ],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    return process, Connection(ours.detach()), errors


def _answers(address: str) -> None:
    """Refuses an address where nothing listens, before Ray would wait for it."""
    host, _, port = address.rpartition(":")
    wanted = "HOST:PORT of a running cluster (ray start --head prints it), or auto"
    if address.startswith("ray://"):
        raise UsageError(
            "Ray's client protocol is not used here",
            wanted=wanted,
            got=address,
            remedy="run on a node of the cluster; ray start --address HOST:PORT --num-cpus 0 makes this one",
            where="--address",
        )
    if not host or not port.isdigit():
        raise UsageError("not an address of a Ray cluster", wanted=wanted, got=address, where="--address")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            "no Ray cluster answers",
            wanted=wanted,
            got=f"{address}: {error}",
            remedy="start it with `ray start --head`, or leave --address out",
            where="--address",
        ) from None


def _describe_nodes(nodes: Sequence[Mapping[str, Any]]) -> str:
    """The nodes of a cluster in words."""
    shown = [
        f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs, {node.get('memory', 0) / 1e9:.3g} GB"
        for node in nodes[:3]
    ]
    more = f" and {len(nodes) - 3} more nodes" if len(nodes) > 3 else ""
    return ("nodes with " + "; ".join(shown) + more) if shown else "no node"
