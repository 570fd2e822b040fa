"""Compressed files: what they hold, by how they begin."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from importlib import import_module
from typing import Any

from finescale.errors import UsageError

_ZSTD = b"\x28\xb5\x2f\xfd"


def decompress(raw: bytes, most: int, name: str) -> bytes:
    """A file's bytes without gzip, bzip2, xz, zstd, or the zip around one file; others as they are.

    Args:
        raw: The file.
        most: So many bytes are read at most.
        name: The file, for messages.

    Raises:
        UsageError: It is damaged, unfolds to too much, or holds several files.
    """
    try:
        if raw.startswith(b"\x1f\x8b"):
            return _limited(gzip.open(io.BytesIO(raw)), most, name)
        if raw.startswith(b"BZh"):
            return _limited(bz2.BZ2File(io.BytesIO(raw)), most, name)
        if raw.startswith(b"\xfd7zXZ\x00"):
            return _limited(lzma.LZMAFile(io.BytesIO(raw)), most, name)
        if raw.startswith(b"PK\x03\x04"):
            return _zipped(raw, most, name)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        raise UsageError("the compressed file is damaged", got=str(error), where=name) from None
    if raw.startswith(_ZSTD):
        return _zstd(raw, most, name)
    return raw


def _limited(stream: Any, most: int, name: str) -> bytes:
    data = stream.read(most + 1)
    if len(data) > most:
        raise UsageError(
            "too large for a table of runs",
            wanted=f"at most {most:,} bytes",
            got="more, unpacked",
            where=name,
        )
    return data


def _zipped(raw: bytes, most: int, name: str) -> bytes:
    """The only file of a zip; a spreadsheet is a zip too, and stays what it is."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = [item for item in archive.infolist() if not item.is_dir()]
        files = [item for item in files if not item.filename.startswith("__MACOSX/")]
        if any(item.filename.startswith("xl/") for item in files):
            return raw
        if len(files) != 1:
            got = f"{len(files)} files"
            raise UsageError(
                "a zip of several files", wanted="one table", got=got, remedy="unpack it", where=name
            )
        with archive.open(files[0]) as stream:
            return _limited(stream, most, name)


def _zstd(raw: bytes, most: int, name: str) -> bytes:
    try:
        zstandard = import_module("zstandard")  # a package of its own, for this kind only
    except ModuleNotFoundError:
        raise UsageError(
            "a zstd file",
            wanted="gzip, bzip2, xz or zip",
            remedy="pip install zstandard, or unpack it",
            where=name,
        ) from None
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw)) as stream:
        return _limited(stream, most, name)
