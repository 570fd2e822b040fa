"""Any causal language model from a folder or the Hugging Face hub: found, checked, named by its content.

Only safetensors are opened, and no code from a model's repository is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from finescale.errors import UsageError, combine
from finescale.models.checks import INDEX, WEIGHTS, adapter_problem, header_problems, stored_tensors
from finescale.models.gguf import dequantise, gguf_in
from finescale.models.remembered import sizes_in
from finescale.spec.own import ModelSource
from finescale.spec.run import FINGERPRINT_VERSION, ModelSpec, Version

PICKLES = (".bin", ".pt", ".pth", ".ckpt")
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", "tokenizer.model", "spiece.model",
)  # fmt: skip
LARGEST_JSON = 100_000_000
"""Bytes of a model's configuration or index of weights."""
CHAT_TEMPLATES = ("chat_template.jinja", "additional_chat_templates")
"""A file and a folder beside a tokenizer; from version 2 on they are part of what names it."""
OPENED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
"""What is downloaded of a model of the hub: no pickle, no code."""
BOOKKEEPING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
"""Keys of a model's configuration that change nothing that it computes."""


def find_own(
    name: str,
    model: ModelSource,
    pretrain_tokens: int,
    contents: bool = True,
    version: Version = FINGERPRINT_VERSION,
) -> tuple[ModelSpec, dict[str, str]]:
    """A checkpoint of a study's own model.

    Args:
        name: The model's name in the study.
        model: Where it is from, with its checkpoints.
        pretrain_tokens: One of its checkpoints.
        contents: Open the weights, downloading them where needed. Otherwise nothing is read but the
            configuration, and that only where the sizes are not stated; the hashes then name the source.
        version: Of the study; from 2 on chat templates belong to the tokenizer.

    Returns:
        The model with its folder and sizes, and the content hashes of weights and tokenizer.

    Raises:
        UsageError: The model cannot be reached or opened; `where` is the study's field.
    """
    revision = model.checkpoints[pretrain_tokens]
    where = f"models.{name}.from"
    params, nonembedding, active = model.params, model.nonembedding_params, model.active_params
    folder = None
    counts = params is None and find_spec("transformers") is not None
    if contents or counts:
        folder = _folder(model, revision, OPENED if contents else ["config.json"], where)
    if folder is not None and counts:
        params, nonembedding, active = sizes_in(folder)
    if folder is not None and contents:
        hashes = {"weights": weights_hash(folder, where), "tokenizer": tokenizer_hash(folder, where, version)}
    else:
        names = f"{model.source}@{revision}"
        hashes = {"weights": names, "tokenizer": names}
    spec = ModelSpec(
        name=name,
        pretrain_tokens=pretrain_tokens or None,
        revision=_revision(model, revision),
        folder=None if folder is None else str(folder),
        params=params,
        nonembedding_params=nonembedding,
        active_params=None if active == params else active,
        random=folder is not None and draws(read_json(folder / "config.json", where)),
    )
    return spec, hashes


def _revision(model: ModelSource, revision: str | None) -> str:
    """What the records call a checkpoint; of a GGUF file its name, and that it was dequantised."""
    packed = gguf_in(Path(model.source) / (revision or "")) if model.is_folder else None
    return (revision or "main") if packed is None else f"{packed.name} (dequantised)"


def draws(config: Mapping[str, Any]) -> bool:
    """Whether a model draws random numbers while it trains: dropout or jitter in its configuration."""
    words = ("drop", "jitter")
    heads = ("classifier", "summary")  # of other tasks
    for name, value in config.items():
        if isinstance(value, Mapping) and draws(value):
            return True
        stated = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        if stated and any(word in name for word in words) and not name.startswith(heads):
            return True
    return False


def check_own(name: str, model: ModelSource, pretrain_tokens: int, contents: bool = True) -> None:
    """Refuses a checkpoint of a study's own model whose headers do not agree with its configuration.

    Args:
        name: The model's name in the study.
        model: Where it is from.
        pretrain_tokens: One of its checkpoints.
        contents: Its weights have to be there. Otherwise only what is there is checked.

    Raises:
        UsageError: It cannot be used; every problem at once.
    """
    there = model.is_folder and (Path(model.source) / (model.checkpoints[pretrain_tokens] or "")).is_dir()
    if not contents and not there:
        return
    where = f"models.{name}.from"
    folder = _folder(model, model.checkpoints[pretrain_tokens], OPENED, where)
    if contents or any(folder.glob("*.safetensors")):
        found = folder_problems(folder, where)
        if found:
            raise combine(f"{where}: {len(found)} problems", found)


def folder_problems(folder: Path, where: str = "") -> list[UsageError]:
    """What is wrong with the model in a folder, as far as its headers and its configuration tell.

    Args:
        folder: The folder.
        where: Field of the study, for the errors.
    """
    adapter = adapter_problem(folder)
    if adapter is not None:
        return [adapter.at(where)]
    try:
        weight_files(folder, where)
        config = read_json(folder / "config.json", where)
        indexed = (folder / INDEX).is_file()
        tensors, found = stored_tensors(folder, read_json(folder / INDEX)["weight_map"] if indexed else None)
    except UsageError as error:
        return [error]
    return [problem.at(where) for problem in found or header_problems(folder, config, tensors)]


def _folder(model: ModelSource, revision: str | None, files: list[str], where: str) -> Path:
    """The local folder of a checkpoint; a hub's is downloaded into the hub's cache."""
    if model.is_folder:
        folder = Path(model.source) / (revision or "")
        packed = gguf_in(folder, where)
        if packed is not None:
            return dequantise(packed, where)
        if not (folder / "config.json").is_file():
            there = sorted(item.name for item in folder.iterdir())[:8] if folder.is_dir() else []
            raise UsageError(
                "not the folder of a model",
                wanted="a folder with config.json, as save_pretrained writes it",
                got=f"{folder}: " + (", ".join(there) or "no such folder, or an empty one"),
                where=where,
            )
        return folder
    from huggingface_hub import constants, snapshot_download  # noqa: PLC0415 - a study may do without a hub

    try:
        return Path(snapshot_download(model.source, revision=revision, allow_patterns=files))
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        named = f"{model.source} --revision {revision}" if revision else model.source
        raise UsageError(
            f"the model {model.source!r} cannot be opened",
            wanted="a folder, or a model that the Hugging Face hub or its cache has",
            got=f"not in the cache ({constants.HF_HUB_CACHE}); the hub: {said}",
            remedy=f"`hf download {named}` where there is a network, or give a folder that exists",
            where=where,
        ) from None


def weights_hash(folder: Path, where: str = "") -> str:
    """A hash of what a model computes: its configuration and its weights.

    Args:
        folder: Configuration and weights.
        where: Field of the study, for the error.

    Raises:
        UsageError: No weights in safetensors (pickle is never opened).
    """
    names = weight_files(folder, where)
    config = read_json(folder / "config.json", where)
    kept = {key: value for key, value in config.items() if key not in BOOKKEEPING}
    return _digest([json.dumps(kept, sort_keys=True), *(_file_hash(folder / name) for name in names)])


def weight_files(folder: Path, where: str = "") -> list[str]:
    """Names of the files with a model's weights.

    Raises:
        UsageError: No weights in safetensors (pickle is never opened), a shard is missing, or there are
            shards and a single file.
    """
    names = _shards(folder / INDEX, where) if (folder / INDEX).is_file() else [WEIGHTS]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise _no_weights(folder, names, missing, where)
    if WEIGHTS not in names and (folder / WEIGHTS).is_file():
        raise UsageError(
            f"{WEIGHTS} beside shards that are listed without it",
            wanted="one set of weights: transformers would open the single file and pass over the shards",
            got=f"{WEIGHTS} and {INDEX} ({len(names)} files)",
            remedy=f"keep what is meant: mv {folder / WEIGHTS} {folder / WEIGHTS}.old, or so {INDEX}",
            where=where,
        )
    return names


def _no_weights(folder: Path, names: list[str], missing: list[str], where: str) -> UsageError:
    """What is missing, and how it is got: downloaded, renamed or converted."""
    there = sorted(item.name for item in folder.iterdir() if item.suffix in (*PICKLES, ".safetensors"))
    safe = [name for name in there if name.endswith(".safetensors")]
    problem, got = "no weights", ", ".join(there[:5]) or "no file of weights"
    remedy = "put the weights there: `hf download NAME --local-dir FOLDER` fetches a whole model"
    again = "get them again, e.g. `hf download NAME --local-dir FOLDER`, or copy the files and not the links"
    if dangling := [name for name in missing if (folder / name).is_symlink()]:
        problem, remedy = "weights whose link leads nowhere", again
        got = f"{dangling[0]} -> {(folder / dangling[0]).readlink()}"
    elif names != [WEIGHTS]:
        problem, got = f"{len(missing)} of {len(names)} files of weights are missing", ", ".join(missing[:5])
        remedy = (
            "get the missing files, e.g. `hf download NAME --local-dir FOLDER` goes on with what is there"
        )
    elif any(name.startswith("consolidated") for name in safe):
        problem = "weights under the names of their maker, not of transformers"
        remedy = (
            "get the model in the format of transformers (model*.safetensors), or convert it with its script"
        )
    elif len(safe) > 1:
        problem, remedy = "shards of weights without their index", f"get {INDEX}: it says what is in which"
    elif safe:
        problem, remedy = "weights under another name", f"rename {safe[0]} to {WEIGHTS}"
    elif there:
        problem = "weights in pickle are not opened: they can run code"
        remedy = (
            "where you trust it, convert it once: AutoModelForCausalLM.from_pretrained(...)"
            ".save_pretrained(FOLDER), and give FOLDER"
        )
    wanted = f"{missing[0]} (safetensors)"
    return UsageError(problem, wanted=wanted, got=got, remedy=remedy, where=where)


def _shards(index: Path, where: str) -> list[str]:
    """The weight files that an index names, all of them beside it."""
    named = read_json(index, where).get("weight_map")
    names = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
    for name in names or [""]:
        if Path(name).name != name or not name:
            raise UsageError(
                "an index of weights that names no files beside it",
                wanted='{"weight_map": {TENSOR: FILE, ...}}, each file in the same folder',
                got=repr(name or named)[:120],
                where=f"{where}: {index}",
            )
    return names


def read_json(path: Path, where: str = "") -> dict[str, Any]:
    """A JSON file of a model that is an object.

    Raises:
        UsageError: It is damaged, too large, or something else.
    """
    problem = "not a JSON object"
    try:
        if path.stat().st_size <= LARGEST_JSON:
            found = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        else:
            problem = f"more than {LARGEST_JSON:,} bytes"
    except (OSError, ValueError, RecursionError) as error:
        problem = str(error)
    raise UsageError(
        f"{path.name} cannot be read", wanted="a JSON object", got=problem, where=f"{where}: {path}"
    )


def tokenizer_hash(folder: Path, where: str = "", version: Version = FINGERPRINT_VERSION) -> str:
    """A hash of a model's tokenizer files.

    Args:
        folder: The model's folder.
        where: Field of the study, for the error.
        version: Of the study; from 2 on files with chat templates count.

    Raises:
        UsageError: There are none.
    """
    found = [folder / name for name in TOKENIZER if (folder / name).is_file()]
    if not any(file.name not in TOKENIZER[1:4] for file in found):
        raise UsageError(
            "no tokenizer",
            wanted="a tokenizer's files (tokenizer.json) beside the weights",
            got=", ".join(sorted(item.name for item in folder.iterdir())[:8]),
            remedy="save it there: tokenizer.save_pretrained(FOLDER)",
            where=where,
        )
    if version > 1:
        file, more = (folder / name for name in CHAT_TEMPLATES)
        found += [file] if file.is_file() else []
        found += sorted(more.glob("*.jinja"))
    return _digest(part for file in found for part in (file.name, _file_hash(file)))


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _file_hash(path: Path) -> str:
    state = path.stat()
    return _hash_of(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=10_000)
def _hash_of(path: Path, size: int, changed: int) -> str:
    """SHA-256 of a file; read once as long as its size and time stay."""
    del size, changed
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
