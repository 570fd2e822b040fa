"""The process between a study and its Ray cluster, and the only module that imports ray.

`ray_executor.RayExecutor` starts it and speaks with `main` over a connection. Each run is one task that Ray
never retries on its own: the ledger counts attempts. Worker processes are reused from task to task.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import threading
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from finescale.study.executors import pinned, usable_cores
from finescale.study.memory import SAVE_MEMORY, forget_peak
from finescale.study.worker import call
from finescale.study_resources import Resources

POLL_SECONDS = 1.0
LOOK_SECONDS = 60.0
"""So long a node may take to say what it sees."""
OBJECT_STORE_BYTES = 100_000_000
"""Of a cluster that is started here: results are small and bypass the store."""


class _Board:
    """Where runs tell how far they are; it lives in the cluster, and losing it loses no more than that."""

    def __init__(self) -> None:
        self.shares: dict[str, float] = {}

    def tell(self, run: str, share: float) -> None:
        self.shares[run] = share

    def take(self) -> dict[str, float]:
        shares, self.shares = self.shares, {}
        return shares


def _execute(run: str, function: str, arguments: tuple[Any, ...], board: Any) -> dict[str, Any]:
    """A run, in a worker process of the cluster."""

    def tell(share: float) -> None:
        board.tell.remote(run, share)

    try:
        return call(function, arguments, tell)
    finally:
        if ray.get_gpu_ids():
            forget_peak()  # the process stays, and the GPU may be another one's next


def _missing(paths: Sequence[Path]) -> list[Path]:
    """Which paths a node does not see."""
    return [path for path in paths if not path.exists()]


class _Cluster:
    """A joined cluster and the study's tasks in it."""

    def __init__(self, connection: Connection, address: str | None, workers: int | None, path: str) -> None:
        self.connection = connection
        self.path = path
        self.sending = threading.Lock()
        self.running: dict[str, ray.ObjectRef[Any]] = {}
        options: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        try:
            ray.init(address=address or "auto", **options)
        except ConnectionError:
            if address is not None:
                raise
            ray.init(
                address="local",
                num_cpus=workers or usable_cores(),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                **options,
            )
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        self.board: Any = ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()
        self.task = ray.remote(max_retries=0, max_calls=0)(_execute)

    def send(self, kind: str, body: Any) -> None:
        with self.sending, contextlib.suppress(BrokenPipeError):
            self.connection.send((kind, body))

    def nodes(self) -> dict[str, dict[str, float]]:
        """What each living node has in all, by name."""
        living = (node for node in ray.nodes() if node["Alive"])
        return {
            f"{node['NodeManagerAddress']}-{node['NodeID'][:6]}": {
                name: node["Resources"].get(name, 0.0) for name in ("CPU", "GPU", "memory")
            }
            for node in living
        }

    def unseen(self, paths: Sequence[Path]) -> dict[str, list[Path]]:
        """The paths that nodes do not see, by node; one that died meanwhile or is slow is not asked again."""
        look = ray.remote(num_cpus=0, max_retries=0)(_missing)
        asked = {}
        for node in ray.nodes():
            if node["Alive"]:
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                options = look.options(scheduling_strategy=there, runtime_env=self.environment(1))
                asked[options.remote(paths)] = node["NodeManagerAddress"]
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=LOOK_SECONDS)
        missing: dict[str, list[Path]] = {}
        for ref in answered:
            with contextlib.suppress(NodeDiedError, WorkerCrashedError, TaskUnschedulableError):
                if found := ray.get(ref):
                    missing[asked[ref]] = found
        return missing

    def submit(self, run: str, function: str, arguments: tuple[Any, ...], needed: Resources) -> None:
        options: dict[str, Any] = {"num_cpus": needed.cpus, "num_gpus": needed.gpus or 0}
        if needed.memory:
            options["memory"] = needed.memory
        task = self.task.options(**options, runtime_env=self.environment(needed.cpus), name=run)
        ref = self.running[run] = task.remote(run, function, arguments, self.board)
        ref.future().add_done_callback(partial(self.finished, run, time.monotonic()))

    def finished(self, run: str, began: float, future: Any) -> None:
        """Sends what became of a task; called in a thread of Ray's."""
        self.running.pop(run, None)
        error = future.exception()
        outcome = future.result() if error is None else _broken(error, time.monotonic() - began)
        try:
            self.send("finished", (run, outcome))
        except (pickle.PicklingError, TypeError, AttributeError) as reason:
            del outcome["value"]
            self.send("finished", (run, {**outcome, "error": f"the result cannot be sent: {reason}"}))

    def environment(self, cpus: float) -> dict[str, Any]:
        """The environment of worker processes: threads pinned, no GPU unasked, the user's own PYTHONPATH."""
        variables = {**pinned(max(1, math.floor(cpus))), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1"}
        return {"env_vars": variables | ({"PYTHONPATH": self.path} if self.path else {})}

    def watch(self) -> None:
        """Tells the driver about nodes and progress until it is gone."""
        asked = self.board.take.remote()
        while True:
            self.send("nodes", self.nodes())
            if ray.wait([asked], timeout=POLL_SECONDS)[0]:
                with contextlib.suppress(RayError):
                    if shares := ray.get(asked):
                        self.send("progress", shares)
                asked = self.board.take.remote()
                time.sleep(POLL_SECONDS)

    def leave(self) -> None:
        """Cancels what runs; a cluster that was started here ends with this process."""
        for ref in list(self.running.values()):
            with contextlib.suppress(Exception):
                ray.cancel(ref, force=True)
        ray.shutdown()


def _broken(error: BaseException, seconds: float) -> dict[str, Any]:
    """An attempt that the cluster lost."""
    said = str(error).strip()
    if isinstance(error, OutOfMemoryError):
        how = f"its node ran out of memory, and Ray ended the run ({SAVE_MEMORY}, or ask for more: resources)"
    elif isinstance(error, NodeDiedError):
        how = "its node is gone"
    elif isinstance(error, WorkerCrashedError):
        how = f"the worker process died (killed by hand, or out of memory: {SAVE_MEMORY})"
    elif "No module named" in said:
        name = said.rpartition("No module named ")[2].splitlines()[0]
        how = f"a node of the cluster has no module named {name}: install finescale[train] on every node"
    else:
        how = f"{type(error).__name__}: {said.splitlines()[0] if said else 'no message'}"
    return {"error": how, "traceback": said or None, "seconds": seconds}


def main(descriptor: int) -> None:
    """Serves a driver until it closes the connection or is gone.

    Args:
        descriptor: The connection's file descriptor.
    """
    connection = Connection(descriptor)
    address, workers, path, paths = connection.recv()
    try:
        cluster = _Cluster(connection, address, workers, path)
        nodes = cluster.nodes()
        missing = cluster.unseen(paths) if len(nodes) > 1 else {}
    except Exception as error:  # whatever Ray says, the user is told
        connection.send(("refused", f"{type(error).__name__}: {error}"))
        return
    cluster.send("joined", (nodes, missing))
    threading.Thread(target=_serve, args=(connection, cluster), daemon=True).start()
    cluster.watch()


def _serve(connection: Connection, cluster: _Cluster) -> None:
    """Passes jobs on; leaves the cluster when the driver says so or is gone."""
    try:
        while True:
            kind, body = connection.recv()
            if kind == "close":
                break
            cluster.submit(*body)
    except (EOFError, OSError):
        pass
    finally:
        with contextlib.suppress(Exception):
            cluster.leave()
        os._exit(0)
