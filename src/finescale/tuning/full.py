"""Full-model tuning: every parameter is trained; and a base model as it is, to be evaluated."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from finescale.tuning.tuned import Tuned


def wrap_full(model: PreTrainedModel) -> Tuned:
    """Trains every parameter of the model (in place)."""
    model.requires_grad_(True)
    trainable = dict(model.named_parameters())

    def save(folder: Path) -> None:
        model.save_pretrained(folder)

    return Tuned(model=model, trainable=trainable, save=save)


def wrap_none(model: PreTrainedModel) -> Tuned:
    """A model of which nothing is trained (in place): the base model, its weights quantised or not."""
    model.requires_grad_(False)

    def save(folder: Path) -> None:
        model.save_pretrained(folder)

    return Tuned(model=model, trainable={}, save=save)
