"""Small real functions that the tests of the executor call in real worker processes."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def process() -> int:
    return os.getpid()


def process_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def threads() -> dict[str, object]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    return {**{name: os.environ.get(name) for name in names}, "torch": "torch" in sys.modules}


def raising() -> float:
    return 1 / 0


def unsendable() -> Callable[[], None]:
    return lambda: None


def dying() -> None:
    print("no more memory", file=sys.stderr, flush=True)
    os._exit(7)


def telling(progress: Callable[[float], None]) -> None:
    progress(0.5)
    time.sleep(2)


def telling_until(release: str, progress: Callable[[float], None]) -> None:
    """Tells its share, then waits for a file, so that no share can come too late."""
    progress(0.5)
    for _ in range(1200):
        if Path(release).exists():
            return
        time.sleep(0.05)


def allocating(megabytes: int) -> int:
    return len(bytearray(os.urandom(1)) * (megabytes * 1_000_000))


def stubborn(folder: str) -> None:
    """Ignores every polite signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (Path(folder) / str(os.getpid())).touch()
    while True:
        time.sleep(1)


def probing(planned: Any) -> dict[str, float]:
    assert planned.run.train.max_steps == 20
    return {"step": 1.0, "example": 0.5, "setup": 60.0, "generated": 5.0, "forgetting": 2.0}


def probing_little(planned: Any) -> dict[str, float]:
    """A second for every text."""
    texts = planned.run.evaluation.examples
    return {"step": 1.0, "example": 0.5, "setup": 60.0, "generated": float(texts), "forgetting": 0.0}


def probing_no_lora(planned: Any) -> dict[str, float]:
    if planned.run.method.name == "lora":
        raise ValueError("no adapter")
    return probing(planned)


def talking() -> str:
    print("from print, in every alphabet: \u4f60\u597d")
    os.system("echo from C")
    logging.getLogger("lib").info("from logging")
    warnings.warn("from a warning", stacklevel=1)
    return "talked"


def pointing() -> None:
    print("layer.7 is missing", file=sys.stderr)
    raise RuntimeError("we cannot load it, see the above report")


def crashing() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)
