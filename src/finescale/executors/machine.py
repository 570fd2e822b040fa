"""What this machine has for runs: cores, memory, GPUs; a container's limits respected. Loads no torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
TORCH_SECONDS = 120
"""The first import of torch from a slow disk takes a minute."""
_ASK = """
import json, torch, transformers, peft
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
found = [torch.cuda.get_device_properties(number) for number in range(count)]
print(json.dumps([[one.name, one.total_memory] for one in found]))
"""


@dataclass(frozen=True)
class Gpu:
    """A GPU that torch can use: its name, and its memory in bytes."""

    name: str
    memory: int


def usable_cores() -> int:
    """The cores that this process may use, a container's quota respected."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, max(1, round(int(quota) / int(period))))
    return cores


def free_memory() -> int | None:
    """Bytes that are free for new processes, a container's limit respected; None where nobody tells."""
    found = []
    with suppress(OSError, StopIteration, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]) * 1024)
    with suppress(OSError, ValueError):
        limit = int((CGROUP / "memory.max").read_text(encoding="ascii"))  # "max" where there is none
        found.append(limit - int((CGROUP / "memory.current").read_text(encoding="ascii")))
    return max(0, min(found)) if found else None


class CannotImport(Exception):
    """The libraries that train are installed, and cannot be imported; the message is their last words."""


@cache
def gpus() -> tuple[Gpu, ...]:
    """The GPUs that torch sees, asked of a process of its own: a driver that is broken ends no command.

    Raises:
        CannotImport: Torch, transformers or peft cannot be imported.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK], capture_output=True, text=True, timeout=TORCH_SECONDS, check=True
        )
        return tuple(Gpu(*item) for item in json.loads(done.stdout.splitlines()[-1]))
    except subprocess.CalledProcessError as error:
        raise CannotImport((error.stderr.strip().splitlines() or ["no message"])[-1]) from None
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise CannotImport(str(error)) from None


def has_driver() -> bool:
    """Whether NVIDIA's driver is installed, whatever torch sees."""
    return shutil.which("nvidia-smi") is not None
