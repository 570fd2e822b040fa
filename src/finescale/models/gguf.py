"""GGUF files (llama.cpp): dequantised once into a folder of safetensors, then a model like any other."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from finescale.errors import UsageError, combine


def gguf_in(folder: Path, where: str = "") -> Path | None:
    """The GGUF file of a folder that holds no other weights.

    Args:
        folder: A folder.
        where: Field of the study, for the error.

    Raises:
        UsageError: There are several, or the package that reads them is not installed.
    """
    if not folder.is_dir() or (folder / "config.json").is_file() or any(folder.glob("*.safetensors")):
        return None
    files = sorted(folder.glob("*.gguf"))
    if not files:
        return None
    if len(files) > 1:
        raise UsageError(
            "several GGUF files",
            wanted="a folder with one of them",
            got=", ".join(file.name for file in files[:5]),
            remedy="move the others elsewhere",
            where=where,
        )
    if find_spec("gguf") is None:
        raise UsageError(
            "GGUF files are read by the package gguf",
            wanted="gguf",
            got="it is not installed",
            remedy='pip install "finescale[gguf]"',
            where=where,
        )
    return files[0]


def dequantise(file: Path, where: str = "") -> Path:
    """The folder with a GGUF file's model in float32, made where it is not there yet.

    Args:
        file: The file. Its weights are rounded to a few bits; training starts from these rounded values.
        where: Field of the study, for the error.

    Returns:
        A folder in the user's cache, named by the file's content.

    Raises:
        UsageError: transformers cannot read it.
    """
    with file.open("rb") as opened:
        name = hashlib.file_digest(opened, "sha256").hexdigest()[:20]
    target = _cache() / name
    if not (target / "config.json").is_file():
        aside = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=target.parent))
        try:
            _convert(file, aside)
            with suppress(OSError):  # another process may have been faster
                aside.rename(target)
        except UsageError as error:
            raise error.at(where) from None
        except Exception as error:  # the reader's errors are of many kinds
            raise UsageError(
                f"{file.name} cannot be read",
                wanted="a whole GGUF file of an architecture whose GGUF files transformers reads",
                got=" ".join(str(error).split())[:200],
                remedy="copy it again, or take the model's safetensors",
                where=where,
            ) from None
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return target


def _convert(file: Path, folder: Path) -> None:
    """Writes configuration, weights in float32 and tokenizer."""
    import torch  # noqa: PLC0415 - only where there is such a file
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    from finescale.models.architecture import loading_problems  # noqa: PLC0415

    model, info = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues] - a pair
        str(file.parent), gguf_file=file.name, dtype=torch.float32, output_loading_info=True
    )
    problems = loading_problems(file.parent, info)
    if problems:
        raise combine(f"{file}: {len(problems)} problems", problems)
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config).float()
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name).save_pretrained(folder)


def _cache() -> Path:
    """A folder that outlives the process: the user's cache, or temporary files where there is no home."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "finescale" / "gguf"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        folder = Path(tempfile.gettempdir()) / f"finescale-gguf-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder
