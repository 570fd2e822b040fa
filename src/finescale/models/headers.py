"""The tensors of a model's weights as its safetensors files name them: no torch, and no data is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_HEADER = 100_000_000
"""Bytes; the limit of the format's own library."""
BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64}


class DamagedFile(ValueError):
    """A file that is no whole safetensors file; the message says in what way."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor as a file holds it.

    Attributes:
        file: Name of the file.
        dtype: Its type as the format writes it, e.g. `BF16`.
        shape: Its shape.
    """

    file: str
    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, Stored]:
    """The tensors of one safetensors file: 8 bytes of length, JSON of that length, then the data.

    Args:
        path: The file. Only its header is read; the data's length is compared with the file's.

    Returns:
        Name to tensor.

    Raises:
        DamagedFile: The file is cut off, longer than its tensors, or no safetensors file.

    Example:
        `read_header(Path("model.safetensors"))["lm_head.weight"].shape`
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > LARGEST_HEADER:
            raise DamagedFile("not a safetensors file" + (" (it is empty)" if size == 0 else ""))
        if size < 8 + length:
            raise DamagedFile(
                f"cut off inside its header: {size:,} bytes, the header alone ends at {8 + length:,}"
            )
        try:
            header = json.loads(file.read(length))
            found = {n: _stored(path.name, entry) for n, entry in header.items() if n != "__metadata__"}
            end = max(
                (entry["data_offsets"][1] for n, entry in header.items() if n != "__metadata__"), default=0
            )
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            raise DamagedFile("not a safetensors file: its header cannot be read") from None
    if size != 8 + length + end:
        what = "cut off" if size < 8 + length + end else "longer than its tensors"
        raise DamagedFile(f"{what}: {size:,} bytes where its header says {8 + length + end:,}")
    return found


def _stored(file: str, entry: Mapping[str, Any]) -> Stored:
    """A tensor of a header; its bytes are those of its type and shape."""
    shape = tuple(int(extent) for extent in entry["shape"])
    begin, end = entry["data_offsets"]
    dtype = str(entry["dtype"])
    digits = "".join(c for c in dtype.partition("_")[0][1:] if c.isdigit())
    bits = BITS.get(dtype, int(digits) if digits else 0)
    if bits and (end - begin) * 8 != math.prod(shape) * bits:
        raise ValueError(f"{end - begin} bytes for {dtype} {shape}")
    return Stored(file, dtype, shape)
