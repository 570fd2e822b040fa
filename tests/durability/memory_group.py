"""A control group of Linux in which memory runs out, so that the kernel itself ends a process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

PLACES = (
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    (Path("/sys/fs/cgroup"), "memory.max"),
)
"""Where groups are made and the file that limits their memory: version 1, version 2."""
ROOM = 64 * 2**20
"""Bytes that a process may take once it has joined."""


def make() -> Path | None:
    """A new group with little memory; None where this user or machine has none."""
    for parent, limit in PLACES:
        group = parent / f"finescale-test-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                with suppress(OSError):
                    (group / "memory.swap.max").write_text("0")
                (group / limit).write_text(str(ROOM))
                return group
            group.rmdir()
    return None


def remove() -> None:
    """Removes the groups of processes that are gone."""
    for parent, _ in PLACES:
        for group in parent.glob("finescale-test-*"):
            with suppress(OSError):
                group.rmdir()


def exhaust() -> None:
    """Takes memory until the kernel ends this process."""
    group = make()
    assert group is not None
    (group / "cgroup.procs").write_text(str(os.getpid()))
    held = []
    while True:
        held.append(os.urandom(2**20))
