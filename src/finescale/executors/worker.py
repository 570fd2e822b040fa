"""The worker process: takes job after job from its driver, so that imports and caches are paid once.

Started by `local.LocalExecutor` as `python -m finescale.executors.worker FD`, in a session of its own
(the terminal's Ctrl-C reaches only the driver). A thread reads the connection; when the driver is gone,
also by kill -9, the connection ends and the worker with it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import importlib.metadata
import inspect
import os
import pickle
import platform
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from finescale.executors.attempt_log import capture_output, forgiving_streams, last_words, tail
from finescale.runs.leg import Leg
from finescale.runs.memory import accounted_peak, forget_peak, peak_memory

PACKAGES = ("finescale", "torch", "transformers", "peft", "tokenizers", "safetensors", "numpy", "polars")
PROGRESS_SECONDS = 0.5
LAST_LINES = 20
_POINTS_AWAY = re.compile(r"\babove\b|\bsee the (log|output|report)", re.IGNORECASE)
"""In an error that only makes sense beside what was printed before it."""


@dataclass(frozen=True)
class Call:
    """What a worker has to know of a job.

    Attributes:
        function: `module:function`, importable here.
        arguments: Its positional arguments.
        log: The attempt's log file, which takes all that is printed meanwhile; None: no log.
        level: The lowest level of log messages that it takes.
    """

    function: str
    arguments: tuple[Any, ...]
    log: Path | None = None
    level: str = "info"


def find_function(name: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def environment() -> dict[str, Any]:
    """What a run was made with: package versions, Python, machine and device."""
    torch = sys.modules.get("torch")
    return {
        **_machine(),
        "device": "cuda" if torch is not None and torch.cuda.is_available() else "cpu",
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


@cache
def _machine() -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "packages": versions,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main(descriptor: int) -> None:
    """Works until the driver closes the connection or is gone.

    Args:
        descriptor: The connection's file descriptor.
    """
    forgiving_streams()
    faulthandler.enable(2)
    connection = Connection(descriptor)
    jobs: queue.SimpleQueue[Call] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, jobs), daemon=True).start()
    connection.send(("ready", accounted_peak()))
    while True:
        outcome = call(jobs.get(), lambda share: connection.send(("progress", share)))
        try:
            connection.send(("finished", outcome))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            del outcome["value"]
            connection.send(("finished", {**outcome, "error": f"the result cannot be sent: {error}"}))


def _read(connection: Connection, jobs: queue.SimpleQueue[Any]) -> None:
    """Passes jobs on; ends the whole process, at once, when the driver is gone."""
    try:
        while True:
            jobs.put(connection.recv())
    except (EOFError, OSError):
        os._exit(0)


def call(asked: Call, tell: Callable[[float], None]) -> dict[str, Any]:
    """Calls a job's function and measures it; never raises.

    Args:
        asked: The call.
        tell: Sends the share that is done to the driver; called at most twice a second.

    Returns:
        The fields of a `Result`: value, or error and traceback; seconds, environment, peak_memory_bytes.
    """
    began = time.monotonic()
    forget_peak()
    with capture_output(asked.log, asked.level):
        try:
            answer: dict[str, Any] = {"value": _call(asked, tell)}
        except Exception as error:
            answer = {"error": _describe_error(error, asked.log), "traceback": traceback.format_exc()}
            traceback.print_exc()
    return {
        **answer,
        "seconds": time.monotonic() - began,
        "environment": environment(),
        "peak_memory_bytes": peak_memory(),
    }


def _call(asked: Call, tell: Callable[[float], None]) -> Any:
    called = find_function(asked.function)
    torch, threads = sys.modules.get("torch"), int(os.environ.get("OMP_NUM_THREADS") or 1)
    if torch is not None and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    known = inspect.signature(called).parameters
    extra = {"progress": _seldom(tell)} if "progress" in known else {}
    whole = "leg" not in known  # a trainer of somebody's own that knows no races
    arguments = [item for item in asked.arguments if not (whole and isinstance(item, Leg))]
    return called(*arguments, **extra)


def _describe_error(error: Exception, log: Path | None) -> str:
    """An exception in words; one that points to what was printed before it comes with that."""
    told = str(error) or "no message"
    if _POINTS_AWAY.search(told):
        told = "\n".join(filter(None, (told, last_words(tail(log), LAST_LINES))))
    return f"{type(error).__name__}: {told}"


def _seldom(tell: Callable[[float], None]) -> Callable[[float], None]:
    """A function that a long run tells its share to; it passes on two a second."""
    last = 0.0

    def passing_on(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            tell(float(share))

    return passing_on


if __name__ == "__main__":
    main(int(sys.argv[1]))
