"""What ``finescale doctor`` does: looks at Python, libraries, machine and folders, and says what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from rich.console import Console

from finescale.cli import terminal
from finescale.cli.terminal import say
from finescale.executors.machine import CannotImport, free_memory, gpus, has_driver, usable_cores
from finescale.spec.places import RESULTS, VARIABLE
from finescale.study.filesystem import mount_of
from finescale.study.opening import TRAINING_LIBRARIES

PYTHON = (3, 11)
SMALL_MEMORY, SMALL_DISK = 4e9, 5e9
"""Bytes below which a study of common models runs short."""
_MARKS = {"ok": "ok", "note": "--", "problem": "!!"}
_STYLES = {"ok": None, "note": "yellow", "problem": "red"}


@dataclass(frozen=True)
class Finding:
    """A line of the doctor's.

    Attributes:
        what: What was looked at.
        found: What was found.
        state: `ok`; `note`: something that a part of finescale would want; `problem`: something is broken.
        remedy: What to do about it.
    """

    what: str
    found: str
    state: Literal["ok", "note", "problem"] = "ok"
    remedy: str = ""


def doctor(to: Console | None = None) -> int:
    """Shows every finding.

    Args:
        to: Where to print.

    Returns:
        The exit code: 1 where something is broken, else 0.
    """
    to = to or terminal.console()
    broken = 0
    for one in findings():
        broken += one.state == "problem"
        remedy = f" - {one.remedy}" if one.remedy else ""
        say(to, f"{_MARKS[one.state]} {one.what}: {one.found}{remedy}", _STYLES[one.state])
    return 1 if broken else 0


def findings() -> Iterator[Finding]:
    """Everything that is looked at, in order."""
    yield _python()
    yield from _training()
    yield from _extras()
    yield Finding("cores", f"{usable_cores()} usable: as many runs at a time (finescale run --workers)")
    yield _memory()
    yield from _folders()


def _python() -> Finding:
    found = f"{version('finescale')} on Python {platform.python_version()}, {platform.platform(terse=True)}"
    if sys.version_info < PYTHON:
        wanted = ".".join(map(str, PYTHON))
        return Finding("finescale", found, "problem", f"finescale needs Python {wanted} or newer")
    return Finding("finescale", found)


def _training() -> Iterator[Finding]:
    """The libraries that train, and the device that they see: asked of a process of its own."""
    there = {name: _version(name) for name in TRAINING_LIBRARIES}
    missing = [name for name, found in there.items() if found is None]
    if missing:
        found = f"no {', '.join(missing)}; tables can be analysed, nothing can be trained"
        yield Finding("training", found, "note", 'pip install "finescale[train]"')
        return
    names = ", ".join(f"{name} {found}" for name, found in there.items())
    try:
        gpus()
    except CannotImport as error:
        yield Finding("training", f"{names}; cannot be imported: {error}", "problem", "install them again")
        return
    yield Finding("training", names)
    yield _gpu()


def _gpu() -> Finding:
    if found := gpus():
        return Finding("GPU", ", ".join(f"{gpu.name} ({gpu.memory / 1e9:.0f} GB)" for gpu in found))
    if has_driver():
        remedy = "install the torch that fits the driver: https://pytorch.org/get-started"
        return Finding("GPU", "the driver is there, but torch sees no GPU", "note", remedy)
    return Finding("GPU", "none: runs are trained on the cores, one run a core")


def _extras() -> Iterator[Finding]:
    """Every optional extra of the package, by the requirements that it declares."""
    extras: dict[str, list[str]] = {}
    for line in requires("finescale") or ():
        name, _, marker = line.partition(";")
        if "extra ==" not in marker:
            continue
        extra = marker.rpartition("extra ==")[2].strip(" '\"")
        package = name.split("[")[0].split(">")[0].split("=")[0].strip()
        if package != "finescale" and extra not in ("dev", "train"):
            extras.setdefault(extra, []).append(package)
    for extra, packages in extras.items():
        missing = [name for name in packages if _version(name) is None]
        if missing:
            remedy = f'where you want it: pip install "finescale[{extra}]"'
            yield Finding(f"extra {extra}", f"no {', '.join(missing)}", "note", remedy)
        else:
            yield Finding(f"extra {extra}", ", ".join(f"{name} {_version(name)}" for name in packages))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory() -> Finding:
    free = free_memory()
    if free is None:
        return Finding("memory", "not known on this system", "note")
    if free < SMALL_MEMORY:
        remedy = "finescale run --workers 1; train.micro_batch_size and gradient_checkpointing spare memory"
        return Finding("memory", f"{free / 1e9:.1f} GB free", "note", remedy)
    return Finding("memory", f"{free / 1e9:.1f} GB free")


def _folders() -> Iterator[Finding]:
    stated = os.environ.get(VARIABLE)
    results = Path(stated or RESULTS).expanduser().absolute()
    there = next(folder for folder in (results, *results.parents) if folder.is_dir())
    said = f"{results} ({VARIABLE})" if stated else f"{results} ({VARIABLE} is not set)"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError:
        remedy = f"{there} cannot be written: set {VARIABLE} to a folder of yours"
        yield Finding("results", said, "problem", remedy)
        return
    mount = mount_of(there)
    if mount is not None and mount.is_network:
        remedy = f"set {VARIABLE} to a local disk: over a network a ledger's locks do not hold"
        yield Finding("results", f"{said}, on a network file system ({mount.kind})", "problem", remedy)
        return
    free = shutil.disk_usage(there).free
    small = free < SMALL_DISK
    remedy = "free some, or say keep: nothing in the study" if small else ""
    yield Finding("results", f"{said}, {free / 1e9:.1f} GB free", "note" if small else "ok", remedy)
