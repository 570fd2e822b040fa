"""A small run on the smallest bundled model."""

from __future__ import annotations

from typing import Any

from finescale.models.bundled import find_checkpoint
from finescale.spec.expand import PlannedRun
from finescale.spec.run import MethodSpec, ModelSpec, OptimizerSpec, RunSpec, TrainSpec


def planned(
    method: str = "full",
    pet_size: int | None = None,
    examples: int = 48,
    learning_rate: float = 1e-3,
    optimizer: Any = "adamw",
    seed: int = 0,
    train: dict[str, Any] | None = None,
) -> PlannedRun:
    """A run of nano-0.05m on mini-en-de: two epochs of batches of 16, two dev evaluations."""
    checkpoint = find_checkpoint("nano-0.05m", "last")
    model = ModelSpec(
        name="nano-0.05m", pretrain_tokens=checkpoint.pretrain_tokens, revision=checkpoint.revision
    )
    settings: dict[str, Any] = {"epochs": 2, "evaluations": 2, "dev_examples": 32} | (train or {})
    trained = TrainSpec(optimizer=OptimizerSpec(name=optimizer), learning_rate=learning_rate, **settings)
    run = RunSpec(
        task="mini-en-de",
        model=model,
        method=MethodSpec(name=method, pet_size=pet_size),
        finetune_examples=examples,
        test_examples=64,
        seed=seed,
        train=trained,
        content={"weights": checkpoint.weights},
    )
    return PlannedRun(run=run, purpose="study", lr_tuned=False)
