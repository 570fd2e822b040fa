"""Sizes that were counted once, kept by the configuration's content: counting loads torch, reading does not.

Kept in `finescale/sizes` of the user's cache (`XDG_CACHE_HOME`, else `~/.cache`); where there is none that
can be written, sizes are counted anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path


def sizes_in(folder: Path) -> tuple[int, int, int]:
    """The parameters of the model in a folder: all, without embeddings, those that a token goes through."""
    file = _file(folder)
    known = _read(file)
    if known is None:
        from finescale.models.sizes import sizes_of_folder  # noqa: PLC0415 - loads torch

        counted = sizes_of_folder(folder)
        known = counted.params, counted.nonembedding_params, counted.active_params
        _keep(known, file)
    return known


def _file(folder: Path) -> Path | None:
    """Where the sizes of a configuration are kept, by its text and by who counted them."""
    who = f"{version('finescale')} {version('transformers')}"
    try:
        text = (folder / "config.json").read_bytes()
        kept = os.environ.get("XDG_CACHE_HOME")
        cache = Path(kept) if kept else Path.home() / ".cache"
    except (OSError, RuntimeError):  # no such file, or no home
        return None
    return cache / "finescale" / "sizes" / f"{hashlib.sha256(who.encode() + text).hexdigest()[:32]}.json"


def _read(file: Path | None) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        found = json.loads(file.read_bytes())
        params, nonembedding, active = found
    except (OSError, ValueError, TypeError):
        return None
    right = all(isinstance(number, int) and number >= 0 for number in found)
    return (params, nonembedding, active) if right and params >= max(nonembedding, active) else None


def _keep(sizes: tuple[int, int, int], file: Path | None) -> None:
    if file is None:
        return
    aside = file.with_suffix(f".{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(sizes), encoding="utf-8")
        aside.replace(file)
