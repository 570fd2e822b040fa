"""Random tables of runs, made from every law of the zoo in turn: what `fit` has to get right on any table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finescale.laws.formulas import get_law
from finescale.laws.options import RunFilter
from finescale.laws.slices import slices
from finescale.laws.solver.assembly import Assembly, assemble
from finescale.laws.solver.lbfgs import solve_lbfgs
from finescale.laws.solver.problem import Problem
from finescale.laws.solver.profile import solve
from finescale.records.records import read_records

Array = np.ndarray[Any, Any]
ZOO = ("power", "multiplicative", "additive", "rectified", "broken", "loglinear", "joint")
CHOICE = RunFilter(("task", "method"), "test_loss", None, {}, True, None)
_LEAST = {"power": 5, "rectified": 6, "broken": 8, "loglinear": 4}
"""Settings that a curve needs, for laws that are fitted to every model's curve on its own."""


@dataclass(frozen=True)
class RandomTable:
    """A table and how it is to be fitted.

    Attributes:
        frame: ``model_params``, ``finetune_examples``, ``test_loss`` and, for the joint law,
            ``pretrain_tokens``.
        law: The law that made the losses, and that is to be fitted.
        residual: ``raw`` or ``log``.
    """

    frame: pl.DataFrame
    law: str
    residual: str


def random_table(number: int) -> RandomTable:
    """A table of 20 to 2,000 settings of 2 to 10 models: a grid or scattered, noise of 0.0003 to 0.05 nats.

    Args:
        number: Which one; always the same table for the same number. The law is ``ZOO[number % 7]``.
    """
    rng = np.random.default_rng((14, number))
    law = ZOO[number % len(ZOO)]
    rows = int(np.exp(rng.uniform(np.log(20), np.log(2000))))
    models = min(int(rng.integers(2, 11)), rows // _LEAST.get(law, 2))
    sizes = 10 ** (rng.uniform(6.5, 9) + np.sort(rng.uniform(0, rng.uniform(0.7, 2.5), size=models)))
    low, span = 10 ** rng.uniform(2, 4), 10 ** rng.uniform(0.8, 4)
    if rng.random() < 0.5:
        model = np.repeat(np.arange(models), rows // models)
        examples = np.tile(np.geomspace(low, low * span, rows // models), models)
    else:
        model = np.arange(rows) % models
        examples = low * span ** rng.random(rows)
    x, d = sizes[model], examples
    tokens = (
        10 ** rng.uniform(9, 11) * np.geomspace(1, 10 ** rng.uniform(0.5, 2), 4)[rng.integers(0, 4, d.size)]
    )
    mean = _mean(law, x / sizes.min(), d / low, tokens / tokens.min(), rng)
    noise = np.exp(rng.uniform(np.log(3e-4), np.log(0.05))) * _noise(rng, d.size)
    columns = {"model_params": x, "finetune_examples": d, "test_loss": np.maximum(mean + noise, 0.01)}
    if law == "joint":
        columns["pretrain_tokens"] = tokens
    return RandomTable(pl.DataFrame(columns), law, "raw" if rng.random() < 0.7 else "log")


def _noise(rng: np.random.Generator, count: int) -> Array:
    """Noise of unit size, [count]: normal, with outliers, or of heavy tails."""
    kind = rng.integers(0, 3)
    noise = rng.standard_t(3, size=count) if kind == 2 else rng.standard_normal(count)
    if kind == 1:
        noise[rng.random(count) < 0.1] *= 10
    return noise


def _mean(law: str, x: Array, d: Array, tokens: Array, rng: np.random.Generator) -> Array:
    """Losses without noise; sizes are multiples of the smallest. One exponent in ten is negative."""
    floor = rng.choice([0.0, 0.3, 1.0]) * rng.uniform(0.5, 1.8)
    alpha, beta, third = rng.uniform(0.02, 0.6, size=3) * np.where(rng.random(3) < 0.1, -0.3, 1.0)
    amplitude = rng.uniform(0.3, 2.0)
    level = amplitude * x**-alpha  # curves of laws of the data size alone: one height a model
    reach = np.log(d.max())
    where = np.exp(rng.uniform(0.1, 0.9) * reach)
    makers: Mapping[str, Any] = {
        "power": lambda: level * d**-beta + floor,
        "multiplicative": lambda: level * d**-beta + floor,
        "additive": lambda: level + rng.uniform(0.3, 2.0) * d**-beta + floor,
        "rectified": lambda: level * (where + 1) ** abs(beta) / (where ** abs(beta) + d ** abs(beta)) + floor,
        "broken": lambda: level * d**-beta * (1 + (d / where) ** 2) ** (-0.5 * third) + floor,
        "loglinear": lambda: level * d**-beta,
        "joint": lambda: level * tokens**-third * d**-beta + floor,
    }
    return np.asarray(makers[law]())


def problems(table: RandomTable) -> list[tuple[Assembly, Problem]]:
    """What `fit` solves for the table: one problem, or one a model for laws of the data size alone."""
    records = read_records(table.frame)
    law = get_law(table.law, ("model_params", "pretrain_tokens"))
    factor = "model_params" if "X" in law.variables else None
    pieces, *_ = slices(records, law, factor, CHOICE)
    found: list[tuple[Assembly, Problem]] = []
    for piece in pieces:
        assembly = assemble(law, [piece], [""], ())
        if law.reparametrise is not None:
            assembly = law.reparametrise(assembly)
        delta = 1e-3 if law.huber_delta is None else law.huber_delta
        found.append((assembly, assembly.problem(log=(law.residual or table.residual) == "log", delta=delta)))
    return found


def excess(table: RandomTable, starts: int = 64) -> float:
    """By how much the default solver misses the best of L-BFGS's minima: at most 1e-6 where it is not worse.

    Returns:
        (ours - theirs) / (theirs + 1e-6), the largest of the table's problems: 1e-6 stands for an objective
        that is larger by 1e-6 of itself and 1e-12.
    """
    worst = -np.inf
    for assembly, problem in problems(table):
        ours = float(solve(problem, assembly.grid()).objective[0])
        theirs = float(solve_lbfgs(problem, assembly.grid(), starts=starts).objective[0])
        worst = max(worst, (ours - theirs) / (theirs + 1e-6))
    return worst
