"""What the headers of weights say, without reading the weights: parameters, and whether all are there."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from finescale.errors import UsageError

_LONGEST_HEADER = 100_000_000
_WHOLE = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_ADDED = ("lora_", "adapter", "prompt_encoder", "prefix", "ia3_", "vera_", "oft_", "hada_", "lokr_")
"""What the names of tensors begin with, or hold, that a method put into a model."""


def is_whole_model(*places: Path) -> bool:
    """Whether the weights of a whole model were saved, with nothing in them that a PEFT method adds.

    Args:
        places: Folders in which they may lie.
    """
    for place in places:
        if any((place / name).is_file() for name in _WHOLE):
            files = _files(place)
            return not any(added in name for file in files for name in _header(file) for added in _ADDED)
    return False


def parameters(*places: Path) -> int | None:
    """The parameters in the first safetensors files that there are, from their headers alone.

    Args:
        places: Folders in which they may lie.

    Returns:
        Their number; None where there is no such file, or its numbers are packed (quantized).

    Raises:
        UsageError: A file without a header of safetensors.
    """
    for place in places:
        files = _files(place)
        if not files:
            continue
        if files[0].name != _WHOLE[0] and int(files[0].stem.rpartition("-")[2]) != len(files):
            return None  # a part of the weights is not there
        sizes = [_tensors(file) for file in files]
        return None if None in sizes else sum(size for size in sizes if size is not None)
    return None


def _files(place: Path) -> list[Path]:
    whole = place / _WHOLE[0]
    return [whole] if whole.is_file() else sorted(place.glob("model-*-of-*.safetensors"))


def _tensors(file: Path) -> int | None:
    tensors = _header(file).values()
    if not all(one["dtype"] in {"F64", "F32", "F16", "BF16"} for one in tensors):
        return None
    return sum(math.prod(one["shape"]) for one in tensors)


def _header(file: Path) -> dict[str, Any]:
    """The tensors of a file by name, as its header lists them."""
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length)) if length <= _LONGEST_HEADER else None
        found = {name: one for name, one in header.items() if name != "__metadata__"}  # type: ignore[union-attr]
        return {name: {"dtype": one["dtype"], "shape": one["shape"]} for name, one in found.items()}
    except (OSError, ValueError, struct.error, AttributeError, KeyError, TypeError) as error:
        raise UsageError(
            "not a file of safetensors", wanted="weights", got=str(error), where=str(file)
        ) from None
