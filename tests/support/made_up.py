"""Made-up records whose laws are known: full tuning overtakes LoRA where we want it to."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

SIZES = (1e8, 2e8, 4e8, 8e8)
DATA = (1000, 2000, 4000, 8000, 16000, 32000)
LAWS = {"full": (60.0, 0.14, 0.12, 0.9), "lora": (24.0, 0.12, 0.06, 0.9), "prompt": (20.0, 0.12, 0.05, 1.3)}
"""A, alpha, beta, E of each method's multiplicative law."""


def loss(method: str, model_params: float, examples: float) -> float:
    A, alpha, beta, E = LAWS[method]
    return A * model_params**-alpha * examples**-beta + E


def crossover(model_params: float, one: str = "full", other: str = "lora") -> float:
    """Where two methods with the same floor cross."""
    (A1, a1, b1, _), (A2, a2, b2, _) = LAWS[one], LAWS[other]
    return float((A1 / A2 * model_params ** (a2 - a1)) ** (1 / (b1 - b2)))


def runs(
    methods: tuple[str, ...] = ("full", "lora", "prompt"),
    *,
    sizes: tuple[float, ...] = SIZES,
    data: tuple[int, ...] = DATA,
    noise: float = 0.002,
    seeds: int = 2,
    **columns: Any,
) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for method in methods:
        for size in sizes:
            for examples in data:
                for seed in range(seeds):
                    value = loss(method, size, examples) + noise * rng.standard_normal()
                    flops = (6 if method == "full" else 4) * size * examples * 100
                    row = {"task": "t", "method": method, "model_params": size, "seed": seed}
                    row |= {"finetune_examples": examples, "test_loss": value, "lr_tuned": True}
                    rows.append(row | {"train_flops": flops, "wall_seconds": flops / 1e12} | columns)
    return pl.DataFrame(rows)
