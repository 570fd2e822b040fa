"""Tables whose future is known: curves of a law, with noise, and what came after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

SIZES = 100.0 * 2.0 ** np.arange(8)
Curve = Callable[[Any], Any]


def power(A: float, beta: float, E: float) -> Curve:
    """L = A D^-beta + E."""
    return lambda D: A * np.asarray(D, float) ** -beta + E


def table(
    curves: dict[str, Curve],
    sizes: Any = SIZES,
    *,
    seeds: int = 3,
    noise: float = 0.005,
    rng: np.random.Generator | None = None,
    task: str = "t",
) -> pl.DataFrame:
    """Runs of every method at every size, with relative noise."""
    rng = rng or np.random.default_rng(0)
    rows = [
        {
            "task": task,
            "method": method,
            "finetune_examples": float(size),
            "seed": seed,
            "test_loss": float(curve(size) * np.exp(noise * rng.standard_normal())),
        }
        for method, curve in curves.items()
        for size in sizes
        for seed in range(seeds)
    ]
    return pl.DataFrame(rows)
