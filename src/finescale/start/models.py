"""A look at a user's base models: architecture, sizes, context, tokenizer, and the memory of a step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finescale.errors import UsageError, nearest
from finescale.ladder import LADDER
from finescale.models.bundled import checkpoints, find_checkpoint
from finescale.models.hub import check_own, find_own, read_json
from finescale.spec.own import UNKNOWN, ModelSource

VERSION = 2
CONTEXT = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length", "n_ctx")
WIDTH = ("hidden_size", "n_embd", "d_model")
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
"""What configurations call the longest sequence, the width and the number of layers."""
FULL_BYTES, PET_BYTES = 16, 4
"""Bytes a parameter: float32 weights; full tuning adds gradients and AdamW's two moments."""
ACTIVATION_BYTES = 68
"""Bytes that a token leaves in a layer for the backward pass, for each unit of width, in float32
(Korthikanti et al. 2022, arXiv 2205.05198: 34 in 16 bits)."""


@dataclass(frozen=True)
class ModelLook:
    """What was found of a model.

    Attributes:
        name: Its name in the study.
        source: As the study states it; None: it is bundled.
        architecture: As its configuration names it.
        params: All parameters.
        context: The longest sequence, in tokens; None: not limited, or not said.
        width: Model dimension.
        layers: Number of layers.
        vocabulary: Entries of the vocabulary.
        pretrain_tokens: Tokens that it was pretrained on; None: not known.
        folder: Where it lies.
        tokenizer: Where its tokenizer lies.
        note: What to know of how it was found; empty: nothing.
    """

    name: str
    source: ModelSource | None
    architecture: str
    params: int
    context: int | None
    width: int
    layers: int
    vocabulary: int
    pretrain_tokens: int | None
    folder: Path
    tokenizer: Path
    note: str = ""

    def memory(self, method: str, tokens: int) -> float:
        """Estimated bytes of a training step: weights and optimiser, activations, the output head.

        Args:
            method: `full`, or any other.
            tokens: Tokens of a forward pass.
        """
        fixed = self.params * (FULL_BYTES if method == "full" else PET_BYTES)
        return fixed + tokens * (ACTIVATION_BYTES * self.width * self.layers + 8 * self.vocabulary)

    def tokens_of(self, texts: Sequence[str]) -> list[int]:
        """How many tokens texts have with the model's tokenizer; estimated without a `tokenizer.json`."""
        file = self.tokenizer / "tokenizer.json"
        if not file.is_file():
            return [-(-len(text.encode()) // 4) for text in texts]
        from tokenizers import Tokenizer  # noqa: PLC0415 - only where something is measured

        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return [len(one.ids) for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def look_at_models(stated: Iterable[str], pretrain_tokens: Mapping[str, int]) -> list[ModelLook]:
    """Opens models by what the user calls them; the smallest comes first.

    Args:
        stated: Folders, names on the hub, or bundled models.
        pretrain_tokens: What the user says they were pretrained on, by the same words.

    Raises:
        UsageError: A model that cannot be used, or is named twice.
    """
    found: list[ModelLook] = []
    for words in stated:
        name = model_name(words, [look.name for look in found])
        own = words not in checkpoints()
        found.append(_own(name, words, pretrain_tokens.get(words)) if own else _bundled(words))
        if sum(look.folder == found[-1].folder for look in found) > 1:
            raise UsageError("a model is named twice", wanted="each once", got=words, where="--model")
    return sorted(found, key=lambda look: look.params)


def model_name(stated: str, taken: Sequence[str]) -> str:
    """A name for a model in a study file: the last part of its folder's or the hub's name."""
    folder = Path(stated).expanduser()
    last = folder.resolve().name if folder.is_dir() else Path(stated).name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).strip("-._")[:60] or "model"
    name = f"my-{name}" if name in checkpoints() else name
    return name if name not in taken else f"{name}-{len(taken) + 1}"


def _bundled(name: str) -> ModelLook:
    found, shape = find_checkpoint(name, "last"), LADDER[name]
    config = read_json(found.folder / "config.json")
    beside = f"{name} is the bundled model, not the folder of that name here: for that --model ./{name}"
    return ModelLook(
        name, None, _architecture(config), shape.params, _value(config, CONTEXT), shape.width, shape.layers,
        shape.vocabulary, found.pretrain_tokens, found.folder, found.tokenizer_folder,
        beside if Path(name).is_dir() else "",
    )  # fmt: skip


def _own(name: str, stated: str, tokens: int | None) -> ModelLook:
    where = "--model"
    try:
        source = ModelSource.model_validate({"from": stated, "pretrain_tokens": tokens})
        placed = source.resolve_paths(Path.cwd(), where)
        check_own(name, placed, tokens or UNKNOWN)
        spec, _ = find_own(name, placed, tokens or UNKNOWN, version=VERSION)
    except UsageError as error:
        meant = "" if Path(stated).is_dir() else nearest(stated, checkpoints())
        if meant:
            parts = {"wanted": error.wanted, "got": error.got, "remedy": meant}
            raise UsageError(error.problem, **parts, where=f"{where} {stated}") from None
        raise error.at(f"{where} {stated}") from None
    assert spec.folder is not None
    folder = Path(spec.folder)
    config = read_json(folder / "config.json", where)
    return ModelLook(
        name=name,
        source=placed if placed.is_folder else source,
        architecture=_architecture(config),
        params=spec.params or 0,
        context=_value(config, CONTEXT),
        width=_value(config, WIDTH) or 0,
        layers=_value(config, LAYERS) or 0,
        vocabulary=_value(config, ("vocab_size",)) or 0,
        pretrain_tokens=tokens,
        folder=folder,
        tokenizer=folder,
    )


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else str(config.get("model_type", "unknown"))


def _value(config: Mapping[str, Any], names: Sequence[str]) -> int | None:
    """A number of a configuration, or of its text model's."""
    for part in (config, config.get("text_config")):
        if isinstance(part, Mapping):
            for name in names:
                value = part.get(name)
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
    return None
