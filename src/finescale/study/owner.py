"""Who works on a run: a process of a machine, and whether it is still alive."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def this_process() -> str:
    """`machine:process id:start`, unlike that of any other process, also of one that reuses the id."""
    return f"{platform.node()}:{os.getpid()}:{_started(os.getpid())}"


def is_here(owner: str) -> bool:
    """Whether an owner is a process of this machine: then it is known whether it lives."""
    return owner.partition(":")[0] == platform.node() and bool(_started(os.getpid()))


def is_gone(owner: str) -> bool:
    """Whether an owner is certainly dead; of another machine's processes nothing is known."""
    node, _, rest = owner.partition(":")
    process, _, started = rest.partition(":")
    if node != platform.node() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return _started(int(process)) != started


def _started(process: int) -> str:
    """When a process started, in the system's ticks; empty where the system does not tell."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
