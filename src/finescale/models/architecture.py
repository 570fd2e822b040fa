"""Whether a folder's weights are those that its architecture asks for: the names and shapes of transformers.

The library fills in what is missing with random numbers and leaves out what it does not know, with a warning.
Here both are errors, on torch's meta device (no data is read) and again whenever weights are opened.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import AutoModelForCausalLM
from transformers.utils import logging as library_logging

from finescale.errors import UsageError
from finescale.models.checks import EMBEDDING, HEAD, expert_problems, first_names
from finescale.models.headers import DamagedFile, Stored, read_header

AGAIN = "save the whole model again (save_pretrained of the AutoModelForCausalLM), or download it again"


def weight_problems(folder: Path, config: Any) -> list[UsageError]:
    """What the weights in a folder lack, have too much, or have in another shape.

    Args:
        folder: The folder; its headers are whole (`checks`).
        config: Its configuration.

    Returns:
        The problems, with names and a remedy; tied weights and what the architecture ignores are none.
    """
    untied = head_problems(folder, config)
    if untied:
        return untied
    with _captured_log() as told:
        try:
            _, info = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues] - a pair
                str(folder),
                config=config,
                device_map="meta",
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
        except (RuntimeError, ValueError, KeyError, OSError, ImportError, SafetensorError) as error:
            parts = list(expert_problems(_stored(folder)))
            if parts:
                return [problem.at(str(folder)) for problem in parts]
            cause = next((line for line in told if "CONVERSION" in line), str(error))
            return [
                UsageError(
                    "transformers cannot put these weights into their architecture",
                    wanted=f"the tensors of {(config.architectures or [config.model_type])[0]}",
                    got=" ".join(cause.split())[:300],
                    remedy=AGAIN,
                    where=str(folder),
                )
            ]
    return loading_problems(folder, info)


def head_problems(folder: Path, config: Any) -> list[UsageError]:
    """A head of its own in the weights of a model whose configuration ties it to the embedding.

    The library then keeps both, and the model is another one than the configuration says.

    Args:
        folder: The model's folder.
        config: Its configuration.
    """
    if not getattr(config.get_text_config(), "tie_word_embeddings", False):
        return []
    tables = {name: one for name, one in _stored(folder).items() if len(one.shape) == 2}
    heads = [name for name in tables if HEAD.search(name)]
    embeddings = [name for name in tables if EMBEDDING.search(name)]
    if len(heads) != 1 or len(embeddings) != 1 or tables[heads[0]].shape != tables[embeddings[0]].shape:
        return []
    head, embedding = (_read(folder / tables[name].file, name) for name in (*heads, *embeddings))
    if torch.equal(head, embedding.to(head.dtype)):
        return []
    return [
        UsageError(
            "a head of its own in the weights, where config.json ties it to the embedding",
            wanted=f"no {heads[0]}, or one that is {embeddings[0]}, as `tie_word_embeddings: true` says",
            got=f"{heads[0]} with other numbers than {embeddings[0]}",
            remedy="`tie_word_embeddings: false` in config.json where the head is the model's own; otherwise"
            f" remove {heads[0]} from the weights",
            where=str(folder),
        )
    ]


def _read(file: Path, name: str) -> torch.Tensor:
    with safe_open(str(file), framework="pt") as opened:
        return opened.get_tensor(name)


def loading_problems(folder: Path, info: Mapping[str, Any]) -> list[UsageError]:
    """The problems in what transformers tells of a model that it has loaded.

    Args:
        folder: The model's folder.
        info: `output_loading_info` of `from_pretrained`.
    """
    found = []
    missing, unexpected = sorted(info["missing_keys"]), sorted(info["unexpected_keys"])
    mismatched = sorted(info["mismatched_keys"], key=str)
    if missing:
        found.append(
            UsageError(
                "tensors that the model has are not in its weights",
                wanted="every weight of the architecture (tied ones excepted): others would be random",
                got=f"no {first_names(missing)}",
                remedy=AGAIN,
                where=str(folder),
            )
        )
    if unexpected:
        found.append(
            UsageError(
                "tensors in the weights that the model does not have",
                wanted="the weights of the architecture and nothing else: others would be left out",
                got=first_names(unexpected),
                remedy="correct config.json (architecture, number of layers), or save the model without them",
                where=str(folder),
            )
        )
    if mismatched:
        shapes = (f"{name} {tuple(stored)} for {tuple(wanted)}" for name, stored, wanted in mismatched)
        found.append(
            UsageError(
                "tensors of another shape than config.json says",
                wanted="the shapes of the configuration",
                got=first_names(shapes),
                remedy="correct config.json, or take weights and configuration from one and the same model",
                where=str(folder),
            )
        )
    return found


def _stored(folder: Path) -> dict[str, Stored]:
    """The tensors in a folder's weights, as far as their headers can be read."""
    found: dict[str, Stored] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with suppress(DamagedFile, OSError):
            found |= read_header(file)
    return found


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """What transformers logs meanwhile, line by line; it shows nothing of it."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.extend(record.getMessage().splitlines())

    logger, kept, level = library_logging.get_logger("transformers"), Kept(), library_logging.get_verbosity()
    library_logging.disable_default_handler()
    library_logging.set_verbosity_warning()
    logger.addHandler(kept)
    try:
        yield lines
    finally:
        logger.removeHandler(kept)
        library_logging.set_verbosity(level)
        library_logging.enable_default_handler()
