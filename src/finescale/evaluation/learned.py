"""BLEURT and COMET: learned metrics, each from a package and a checkpoint that are no part of finescale."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from finescale.errors import UsageError

BATCH = 16

Scorer = Callable[[Sequence[str], Sequence[str], Sequence[str]], list[float]]
"""(outputs, references, sources) -> a score for each output."""


@dataclass(frozen=True)
class LearnedMetric:
    """Where a learned metric comes from.

    Attributes:
        module: The Python package that computes it.
        install: How to get the package.
        checkpoint: The usual checkpoint, a name on the Hugging Face hub.
        size: What must be downloaded.
    """

    module: str
    install: str
    checkpoint: str
    size: str


LEARNED = {
    "bleurt": LearnedMetric(
        "bleurt_pytorch",
        "pip install git+https://github.com/lucadiliello/bleurt-pytorch.git",
        "lucadiliello/BLEURT-20",
        "579M parameters, 2.3 GB",
    ),
    "comet": LearnedMetric("comet", "pip install unbabel-comet", "Unbabel/wmt22-comet-da", "2.3 GB"),
}


def learned_scores(
    metric: str,
    outputs: Sequence[str],
    references: Sequence[str],
    sources: Sequence[str],
    checkpoint: str | None = None,
) -> tuple[list[float], str]:
    """Scores each output with a learned metric.

    Args:
        metric: `bleurt` or `comet`.
        outputs: Generated texts.
        references: The right texts.
        sources: What they were generated from.
        checkpoint: Folder or hub name (default: the usual one).

    Returns:
        A score for each output, and the signature: package and checkpoint.

    Raises:
        UsageError: The checkpoint cannot be opened.
    """
    name = checkpoint or LEARNED[metric].checkpoint
    values = _open(metric, name)(outputs, references, sources)
    return values, f"{LEARNED[metric].module}|checkpoint:{Path(name).name}"


def open_learned(metric: str, checkpoint: str | None = None, where: str = "evaluation.checkpoints") -> None:
    """Opens a learned metric, so that a run will find it.

    Args:
        metric: `bleurt` or `comet`; its package is installed.
        checkpoint: Folder or hub name (default: the usual one).
        where: Field of the study, for the error.

    Raises:
        UsageError: The checkpoint cannot be opened.
    """
    try:
        _open(metric, checkpoint or LEARNED[metric].checkpoint)
    except UsageError as error:
        parts = {"wanted": error.wanted, "got": error.got, "remedy": error.remedy}
        raise UsageError(error.problem, **parts, where=where) from None


def checkpoint_hash(checkpoint: str) -> str:
    """What names a checkpoint: the content of a folder's files, or a name on the hub."""
    folder = Path(checkpoint)
    if not folder.is_dir():
        return checkpoint
    digest = hashlib.sha256()
    for file in sorted(item for item in folder.rglob("*") if item.is_file()):
        digest.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()


@lru_cache(maxsize=2)
def _open(metric: str, checkpoint: str) -> Scorer:
    package = import_module(LEARNED[metric].module)
    try:
        return _bleurt(package, checkpoint) if metric == "bleurt" else _comet(package, checkpoint)
    except (OSError, ValueError, KeyError) as error:
        usual = LEARNED[metric].checkpoint
        raise UsageError(
            f"the checkpoint of {metric} cannot be opened",
            wanted=f"a folder, or a name on the Hugging Face hub such as {usual} ({LEARNED[metric].size})",
            got=f"{checkpoint}: {' '.join(str(error).split())[:300]}",
            remedy=f"`hf download {usual} --local-dir FOLDER` where there is a network, then"
            f" evaluation: {{checkpoints: {{{metric}: FOLDER}}}}",
        ) from None


def _bleurt(package: Any, checkpoint: str) -> Scorer:
    import torch  # noqa: PLC0415 - only where a learned metric is asked for

    model = package.BleurtForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = package.BleurtTokenizer.from_pretrained(checkpoint)

    @torch.no_grad()
    def scores(outputs: Sequence[str], references: Sequence[str], _: Sequence[str]) -> list[float]:
        found: list[float] = []
        for start in range(0, len(outputs), BATCH):
            rows = slice(start, start + BATCH)
            inputs = tokenizer(
                list(references[rows]),
                list(outputs[rows]),
                padding="longest",
                truncation=True,
                max_length=512,
                return_tensors="pt",
            )
            found += model(**inputs).logits.flatten().tolist()
        return found

    return scores


def _comet(package: Any, checkpoint: str) -> Scorer:
    folder = Path(checkpoint)
    if folder.is_dir():
        folder = folder / "checkpoints" / "model.ckpt"
    file = str(folder) if folder.is_file() else package.download_model(checkpoint)
    model = package.load_from_checkpoint(file)

    def scores(outputs: Sequence[str], references: Sequence[str], sources: Sequence[str]) -> list[float]:
        data = [
            {"src": source, "mt": out, "ref": right}
            for source, out, right in zip(sources, outputs, references, strict=True)
        ]
        return list(model.predict(data, batch_size=BATCH, gpus=0, progress_bar=False).scores)

    return scores
