"""Full-model tuning: every parameter is trained."""

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
