"""Where checkpoints are: a folder or an object store, written so that any crash leaves a whole one.

A checkpoint is a manifest `step-STEP-DIGEST.json` and the data files that it names (`state-...`, `best-...`),
with their sizes and SHA-256. Data come first, the manifest last. In a folder every file is written aside,
synced and renamed, and the folder synced; an object store shows only whole objects. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fsspec
import torch
from fsspec.implementations.local import LocalFileSystem
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from finescale.errors import UsageError

FORMAT = 1
"""Which layout; a checkpoint of another one is not used."""
MANIFEST = re.compile(r"step-(\d{9})-[0-9a-f]{12}\.json")
DATA = re.compile(r"(?:state|best)-\d{9}-[0-9a-f]{12}\.safetensors")
ASIDE = ".partial"
LARGEST_MANIFEST = 100_000_000
"""Bytes; a larger file is no manifest."""
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


class Damaged(Exception):
    """A checkpoint that cannot be used; the message says why."""


@dataclass(frozen=True)
class DataFile:
    """A data file as a manifest names it.

    Attributes:
        name: Its name in the folder.
        bytes: Its size.
        sha256: Its digest.
    """

    name: str
    bytes: int
    sha256: str


class CheckpointStore:
    """The checkpoints of one run."""

    def __init__(self, url: str) -> None:
        """Takes a folder or a URL; it is made with the first file.

        Args:
            url: Where the run's checkpoints are; nothing else should be there.

        Raises:
            UsageError: The package for such URLs is not installed.
        """
        try:
            self._system, self._folder = fsspec.url_to_fs(url)
        except (ImportError, ValueError) as error:
            protocol = url.partition("://")[0]
            package = PACKAGES.get(protocol)
            raise UsageError(
                f"checkpoints cannot be kept at {url}",
                wanted=f"the package {package}" if package else "a folder, or a URL that fsspec knows",
                got=str(error),
                remedy=f"pip install {package}" if package else "",
                where="resume.url",
            ) from None
        self._local = isinstance(self._system, LocalFileSystem)

    def write(self, kind: str, step: int, tensors: Mapping[str, torch.Tensor]) -> DataFile:
        """Writes a data file.

        Args:
            kind: `state` or `best`.
            step: Of which step.
            tensors: On the CPU, contiguous.

        Returns:
            What a manifest says of it.

        Raises:
            Exception: It could not be written (whatever the store raises); nothing half-written is left.
        """
        with self._aside(f"{kind}-{step:09d}") as aside:
            save_file(dict(tensors), aside)
            digest = _sha256(aside)
            written = DataFile(f"{kind}-{step:09d}-{digest[:12]}.safetensors", aside.stat().st_size, digest)
            self._publish(aside, written.name)
        return written

    def commit(self, step: int, files: Mapping[str, DataFile], body: Mapping[str, Any]) -> str:
        """Writes the manifest: from now on there is a checkpoint.

        Args:
            step: Of which step.
            files: The data files by kind, all of them written.
            body: What the run keeps beside its tensors, as JSON data.

        Returns:
            The manifest's name.
        """
        content = {"files": {kind: asdict(file) for kind, file in files.items()}, "body": body}
        plain = json.dumps(content, separators=(",", ":"))
        digest = hashlib.sha256(plain.encode()).hexdigest()
        name = f"step-{step:09d}-{digest[:12]}.json"
        with self._aside(f"step-{step:09d}") as aside:
            aside.write_text(f'{{"format":{FORMAT},"sha256":"{digest}","content":{plain}}}', encoding="utf-8")
            self._publish(aside, name)
        return name

    def manifests(self) -> list[str]:
        """The manifests' names, the newest step first."""
        return sorted((name for name in self._names() if MANIFEST.fullmatch(name)), reverse=True)

    def read(self, manifest: str) -> tuple[dict[str, DataFile], dict[str, Any]]:
        """A manifest's data files by kind, and its body.

        Raises:
            Damaged: It is cut, changed, or of another format.
        """
        path = f"{self._folder}/{manifest}"
        if self._system.size(path) > LARGEST_MANIFEST:
            raise Damaged("its manifest is too large")
        text: bytes = self._system.cat_file(path)
        try:
            whole = json.loads(text)
            if whole["format"] != FORMAT:
                raise Damaged(f"it has format {whole['format']}, not {FORMAT}")
            plain = json.dumps(whole["content"], separators=(",", ":"))
            if hashlib.sha256(plain.encode()).hexdigest() != whole["sha256"]:
                raise Damaged("its manifest's checksum does not fit")
            files = {kind: DataFile(**file) for kind, file in whole["content"]["files"].items()}
            return files, dict(whole["content"]["body"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Damaged("its manifest cannot be read") from None

    def load(self, file: DataFile) -> dict[str, torch.Tensor]:
        """The tensors of a data file, if it is still what the manifest says.

        Raises:
            Damaged: It is gone, cut or changed.
        """
        if not DATA.fullmatch(file.name):
            raise Damaged(f"{file.name!r} is no data file's name")
        path = f"{self._folder}/{file.name}"
        try:
            size = self._system.size(path)
            if size != file.bytes:
                raise Damaged(f"{file.name} has {size:,} bytes instead of {file.bytes:,}")
            with self._fetched(path) as local:
                if _sha256(local) != file.sha256:
                    raise Damaged(f"the checksum of {file.name} does not fit")
                return {name: tensor.clone() for name, tensor in load_file(local).items()}
        except FileNotFoundError:
            raise Damaged(f"{file.name} is gone") from None
        except SafetensorError:
            raise Damaged(f"{file.name} cannot be read") from None

    def keep_only(self, names: Collection[str]) -> None:
        """Removes every other checkpoint and whatever a crash left behind; manifests first."""
        for name in sorted(self._names(), key=lambda name: not MANIFEST.fullmatch(name)):
            ours = MANIFEST.fullmatch(name) or DATA.fullmatch(name) or name.endswith(ASIDE)
            if ours and name not in names:
                with suppress(FileNotFoundError):
                    self._system.rm_file(f"{self._folder}/{name}")

    def clear(self) -> None:
        """Removes every checkpoint, and the folder if nothing else is in it."""
        self.keep_only(())
        if self._local:
            with suppress(OSError):
                Path(self._folder).rmdir()

    def _names(self) -> list[str]:
        self._system.invalidate_cache()
        try:
            return [Path(path).name for path in self._system.ls(self._folder, detail=False)]
        except FileNotFoundError:
            return []

    @contextmanager
    def _aside(self, stem: str) -> Iterator[Path]:
        """A local file to write to; gone afterwards unless it was renamed."""
        if self._local:
            folder = Path(self._folder)
            folder.mkdir(parents=True, exist_ok=True)
            aside = folder / f".{stem}-{secrets.token_hex(8)}{ASIDE}"
            try:
                yield aside
            finally:
                with suppress(OSError):
                    aside.unlink(missing_ok=True)
        else:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder) / stem

    def _publish(self, aside: Path, name: str) -> None:
        """Makes a finished file visible under its name, safe against a power cut."""
        if not self._local:
            self._system.put_file(str(aside), f"{self._folder}/{name}")
            return
        with aside.open("rb") as opened:
            os.fsync(opened.fileno())
        aside.replace(Path(self._folder) / name)
        sync_folder(Path(self._folder))

    @contextmanager
    def _fetched(self, path: str) -> Iterator[Path]:
        """A file as a local one."""
        if self._local:
            yield Path(path)
            return
        folder = Path(tempfile.mkdtemp())
        try:
            self._system.get_file(path, str(folder / "data"))
            yield folder / "data"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder survive a power cut (where the system can)."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
