"""The nano ladders that ship inside the package: names, checkpoints and content hashes (no torch)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from finescale.errors import UsageError, unknown

DATA = Path(str(files("finescale"))) / "data"
FOLDER = DATA / "ladder"
"""The English-German ladder."""
FOLDERS = (FOLDER, DATA / "ladder_zh")
"""Every ladder: a folder with one tokenizer, a folder a checkpoint, and a manifest."""


@dataclass(frozen=True)
class Checkpoint:
    """A bundled pretraining checkpoint.

    Attributes:
        ladder: Folder of its ladder.
        model: Ladder name.
        revision: Name of the checkpoint.
        pretrain_tokens: Tokens that it was pretrained on.
        held_out_loss: Causal loss on held-out pretraining text, nats per token, before rounding to bf16.
        sample_loss: Causal loss of the bundled weights on the ladder's sample of that text, nats per token.
        weights: SHA-256 of its weights file.
        tokenizer: SHA-256 of its tokenizer file.
    """

    ladder: Path
    model: str
    revision: str
    pretrain_tokens: int
    held_out_loss: float
    sample_loss: float
    weights: str
    tokenizer: str

    @property
    def folder(self) -> Path:
        """Where its configuration and weights are."""
        return self.ladder / self.model / self.revision

    @property
    def tokenizer_folder(self) -> Path:
        """Where its tokenizer is (one for the whole ladder)."""
        return self.ladder

    @property
    def sample(self) -> Path:
        """Text of the ladder's domain that the ladder was not trained on."""
        return DATA / "pretraining_sample" / f"{self.ladder.name}.jsonl"


@lru_cache(maxsize=1)
def checkpoints() -> dict[str, tuple[Checkpoint, ...]]:
    """Every bundled checkpoint by model name, the least pretrained first."""
    found: list[Checkpoint] = []
    for folder in FOLDERS:
        listed = json.loads((folder / "ladder.json").read_text(encoding="utf-8"))
        found += [Checkpoint(folder, **item, tokenizer=listed["tokenizer"]) for item in listed["checkpoints"]]
    found.sort(key=lambda checkpoint: checkpoint.pretrain_tokens)
    return {name: tuple(c for c in found if c.model == name) for name in sorted({c.model for c in found})}


def find_checkpoint(name: str, pretrain_tokens: int | str, where: str = "") -> Checkpoint:
    """The checkpoint of a model by its pretraining tokens.

    Args:
        name: A bundled model.
        pretrain_tokens: Tokens exactly as listed, or `"last"`.
        where: Field of the study file, for the error.

    Raises:
        UsageError: No such model or checkpoint.
    """
    if name not in checkpoints():
        raise unknown("model", name, checkpoints(), where or "model")
    known = checkpoints()[name]
    if pretrain_tokens == "last":
        return known[-1]
    for checkpoint in known:
        if checkpoint.pretrain_tokens == pretrain_tokens:
            return checkpoint
    raise UsageError(
        f"{name!r} has no checkpoint at {pretrain_tokens:,} tokens",
        wanted="one of " + ", ".join(f"{c.pretrain_tokens}" for c in known) + ' or "last"',
        got=str(pretrain_tokens),
        where=where or "pretrain_tokens",
    )
