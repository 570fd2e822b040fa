"""The process between a study and its Ray cluster, and the only module that imports ray.

`RayExecutor` (`executors.ray`) starts it and speaks with `main` over a connection. Each run is one task that
Ray never retries on its own: the ledger counts attempts. Worker processes are reused from task to task.
"""

from __future__ import annotations

import contextlib
import math
import os
import pickle
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    NodeDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from finescale.executors.local import pinned_environment
from finescale.executors.machine import usable_cores
from finescale.executors.worker import Call, call
from finescale.runs.memory import SAVE_MEMORY, forget_peak
from finescale.spec.resources import Resources

POLL_SECONDS = 1.0
LOOK_SECONDS = 60.0
"""So long a node may take to say what it sees."""
OBJECT_STORE_BYTES = 100_000_000
"""Of a cluster that is started here: results are small and bypass the store."""


class _Board:
    """Where runs tell how far they are, and where the workers of one run leave its outcome.

    One that dies starts again, empty: a node may be gone before the cluster knows, also while a driver joins.
    """

    def __init__(self) -> None:
        self.shares: dict[str, float] = {}
        self.outcomes: dict[str, dict[str, Any]] = {}

    def tell(self, run: str, share: float) -> None:
        self.shares[run] = share

    def take(self) -> dict[str, float]:
        shares, self.shares = self.shares, {}
        return shares

    def leave(self, run: str, outcome: dict[str, Any]) -> None:
        if "error" not in self.outcomes.get(run, {}):  # the first error is the reason of the others
            self.outcomes[run] = outcome

    def fetch(self, run: str) -> dict[str, Any] | None:
        return self.outcomes.pop(run, None)


def _execute(run: str, asked: Call, board: Any) -> dict[str, Any]:
    """A run, in a worker process of the cluster."""

    def tell(share: float) -> None:
        board.tell.remote(run, share)

    try:
        return call(asked, tell)
    finally:
        if ray.get_gpu_ids():
            forget_peak()  # the process stays, and the GPU may be another one's next


def _execute_together(job: tuple[str, Call], board: Any, needed: Resources, folder: Path) -> dict[str, Any]:
    """A run over several workers, which Ray Train starts and connects; rank 0's outcome is the run's."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig  # noqa: PLC0415 - slow to import
    from ray.train.torch import TorchConfig, TorchTrainer  # noqa: PLC0415

    each = {"CPU": needed.cpus} | ({"GPU": needed.gpus} if needed.gpus else {})
    each |= {"memory": float(needed.memory)} if needed.memory else {}
    run, began, kept = job[0], time.monotonic(), folder / "ray"
    ray.get(board.fetch.remote(run))  # what an attempt before may have left
    trainer = TorchTrainer(
        _rank,
        train_loop_config={"job": job, "board": board},
        torch_config=TorchConfig(backend="nccl" if needed.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=needed.workers, use_gpu=bool(needed.gpus), resources_per_worker=each
        ),
        run_config=RunConfig(
            name=f"{run}-{time.time_ns()}",
            storage_path=str(kept),
            failure_config=FailureConfig(max_failures=0),
        ),
    )
    said, broken = None, "its outcome was lost with the process that kept it"
    try:
        trainer.fit()
    except Exception as error:  # Ray Train's own, around whatever a worker raised
        said = str(error).strip()
        broken = f"a worker of the run died: {said.splitlines()[0] if said else 'no message'}"
    finally:
        shutil.rmtree(kept, ignore_errors=True)
    outcome: dict[str, Any] | None = ray.get(board.fetch.remote(run))
    if said is None and outcome is not None:
        return outcome
    return {"error": broken, "traceback": said, "seconds": time.monotonic() - began, **(outcome or {})}


def _rank(config: dict[str, Any]) -> None:
    """One worker of a run; one that fails ends all of them."""
    from ray.train import get_context  # noqa: PLC0415 - slow to import

    run, asked = config["job"]
    board, first = config["board"], get_context().get_world_rank() == 0

    def tell(share: float) -> None:
        if first:
            board.tell.remote(run, share)

    outcome = call(asked if first else replace(asked, log=None), tell)
    if first or "error" in outcome:
        ray.get(board.leave.remote(run, outcome))
    if "error" in outcome:
        raise RuntimeError(outcome["error"])


def _missing(paths: Sequence[Path]) -> list[Path]:
    """Which paths a node does not see."""
    return [path for path in paths if not path.exists()]


class _Cluster:
    """A joined cluster and the study's tasks in it."""

    def __init__(
        self, connection: Connection, folder: Path, address: str | None, workers: int | None, path: str
    ) -> None:
        self.connection = connection
        self.folder = folder
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
        self.board: Any = (
            ray.remote(_Board)
            .options(num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1)
            .remote()
        )
        self.task = ray.remote(max_retries=0, max_calls=0)(_execute)
        self.together = ray.remote(max_retries=0, num_cpus=0)(_execute_together)

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

    def submit(self, run: str, asked: Call, needed: Resources) -> None:
        options: dict[str, Any] = {"runtime_env": self.environment(needed.cpus), "name": run}
        if needed.workers > 1:
            ref = self.together.options(**options).remote((run, asked), self.board, needed, self.folder)
        else:
            options |= {"num_cpus": needed.cpus, "num_gpus": needed.gpus or 0}
            options |= {"memory": needed.memory} if needed.memory else {}
            ref = self.task.options(**options).remote(run, asked, self.board)
        self.running[run] = ref
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
        variables = {
            **pinned_environment(max(1, math.floor(cpus))),
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
        }
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
        cause = error.cause if isinstance(error, RayTaskError) else error
        how = f"{type(cause).__name__}: {str(cause).strip() or 'no message'}"
    return {"error": how, "traceback": said or None, "seconds": seconds}


def main(descriptor: int) -> None:
    """Serves a driver until it closes the connection or is gone.

    Args:
        descriptor: The connection's file descriptor.
    """
    connection = Connection(descriptor)
    folder, address, workers, path, paths = connection.recv()
    try:
        cluster = _Cluster(connection, folder, address, workers, path)
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
