"""Saved training arguments, read without running anything that the file names."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any


class _Inert:
    """Stands for every class of a pickle: holds what is set, and runs nothing."""

    def __init__(self, *values: object) -> None:
        self.values = values


class _InertUnpickler(pickle.Unpickler):
    """Reads attributes of saved objects; imports and calls nothing that the file names."""

    def find_class(self, module: str, name: str, /) -> Any:
        return _Inert

    def persistent_load(self, pid: Any, /) -> Any:
        return None


def saved_arguments(*places: Path) -> dict[str, Any]:
    """The training arguments that the Trainer saved, as plain values; empty where they cannot be read."""
    for place in places:
        file = place / "training_args.bin"
        if not file.is_file():
            continue
        try:
            with zipfile.ZipFile(file) as archive:
                name = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
                with archive.open(name) as stream:
                    return dict(vars(_InertUnpickler(stream).load()))
        except (
            OSError,
            StopIteration,
            zipfile.BadZipFile,
            pickle.UnpicklingError,
            EOFError,
            TypeError,
            ValueError,
            AttributeError,
            LookupError,
        ):
            continue
    return {}
