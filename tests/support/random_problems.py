"""Random fitting problems: laws, grids, noise and outliers of many kinds."""

from __future__ import annotations

import numpy as np
import polars as pl

from finescale.laws.formulas import LAWS
from finescale.laws.options import RunFilter
from finescale.laws.slices import slices
from finescale.laws.solver.assembly import Assembly, assemble
from finescale.records.records import read_records

CHOICE = RunFilter(("task", "method"), "test_loss", None, {}, True, None)


def random_problem(number: int) -> tuple[Assembly, bool]:
    """A problem of the power, multiplicative or additive law, and whether residuals are logarithmic."""
    rng = np.random.default_rng(number)
    name = ("power", "multiplicative", "additive")[number % 3]
    sizes = np.geomspace(1, 10 ** rng.uniform(0.7, 3), rng.integers(4, 10)) * 10 ** rng.uniform(2, 6)
    models = np.geomspace(1, 10 ** rng.uniform(0.7, 2), rng.integers(3, 7)) * 10 ** rng.uniform(6, 9)
    alpha, beta = rng.uniform(0.05, 0.6, size=2)
    floor = rng.choice([0.0, 0.3, 1.0]) * rng.uniform(0.5, 1.5)
    rows = []
    for model in models[:1] if name == "power" else models:
        for size in sizes:
            x, d = (model / models[0]) ** -alpha, (size / sizes[0]) ** -beta
            loss = {"power": d, "multiplicative": x * d, "additive": 0.6 * x + 0.7 * d}[name] + floor
            rows.append({"model_params": model, "finetune_examples": size, "test_loss": loss})
    frame = pl.DataFrame(rows)
    scale = rng.choice([3e-4, 3e-3, 2e-2])
    noise = rng.normal(0, scale, size=frame.height)
    noise[rng.random(frame.height) < 0.1] *= rng.choice([1.0, 10.0])
    frame = frame.with_columns((pl.col("test_loss") + noise).clip(0.01))
    law = LAWS[name]
    pieces, *_ = slices(read_records(frame), law, None if name == "power" else "model_params", CHOICE)
    return assemble(law, pieces, [""], ()), bool(rng.random() < 0.5)
