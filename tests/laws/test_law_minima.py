"""The solver ends in the best minimum, on tables of any number of rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from random_problems import random_problem
from random_tables import ZOO, excess, random_table

import finescale as fs
from finescale.laws.solver.newton import polish
from finescale.laws.solver.problem import derivatives, objective
from finescale.laws.solver.resamples import exchange

CASES = sorted((Path(__file__).parent / "cases").glob("wrong_minimum_*.csv"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_the_floor_is_found_on_grids_of_more_than_150_settings(path):
    """They came to E = 0, which was no minimum at all: the gradient pointed inwards."""
    for law in fs.fit(path, "multiplicative", "model_params", bootstrap=0):
        assert 0.45 < law.value("E") < 0.7
        assert law.objective < {152: 2.9e-4, 200: 1.41e-3, 400: 2.89e-3}[law.n_fitted]


@pytest.mark.parametrize("number", range(0, 60, 3))
def test_where_the_polish_stops_no_parameter_has_a_way_down(number):
    """Kuhn and Tucker's conditions: at a bound the gradient pushes against it, elsewhere it is 0."""
    assembly, log = random_problem(number)
    problem = assembly.problem(log=log, delta=1e-3)
    rng = np.random.default_rng(number)
    P, K = len(assembly.linear), len(assembly.nonlinear)
    starts = np.concatenate([rng.exponential(0.5, (20, P)), rng.uniform(-0.3, 1.0, (20, K))], axis=1)
    starts[::2, P - 1] = 0.0  # no floor
    found = polish(problem, starts)
    value, gradient, hessian = derivatives(problem, found.z)
    unit = np.sqrt(np.maximum(np.abs(np.einsum("gii->gi", hessian)), 1e-9))
    at_lower, at_upper = found.z <= problem.lower + 1e-12, found.z >= problem.upper - 1e-12
    inward = np.where(
        at_lower, np.minimum(gradient, 0), np.where(at_upper, np.maximum(gradient, 0), gradient)
    )
    gain = (inward / unit) ** 2 / value[:, None]
    assert (gain[found.converged] < 1e-8).all(), gain.max()


FORTY = (
    *(1, 2, 6, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 27, 29, 30, 33),
    *(34, 35, 36, 41, 43, 44, 47, 48, 51, 54, 56, 61, 63, 68, 70, 77, 136, 150, 179),
)
"""Of the 400 tables of `benchmarks/fit_speed.py --random`, which gives L-BFGS 64 starts."""


@pytest.mark.parametrize("number", [*FORTY, 220])  # 220: curves of 6 settings, narrow valleys
def test_lbfgs_finds_nothing_better_on_random_tables(number):
    assert excess(random_table(number), starts=4) <= 1e-6


def test_the_random_tables_are_of_every_law_and_of_few_and_many_settings():
    heights = [random_table(number).frame.height for number in range(400)]
    assert {random_table(number).law for number in FORTY} == set(ZOO)
    assert min(heights) >= 15
    assert max(heights) > 1800
    assert sum(height > 150 for height in heights) > 200


def test_a_few_far_settings_of_a_large_table_are_not_lost():
    """8 of 40,000 settings know of the model's size: a plain sample of 4,000 may hold none of them."""
    rng = np.random.default_rng(1)
    rows = 40_000
    x, d = np.full(rows, 1e8), 10 ** rng.uniform(3, 7, rows)
    x[rng.choice(rows, 8, replace=False)] = 10**9.5
    loss = 90 * x**-0.2 * d**-0.1 + 0.6 + rng.normal(0, 0.005, rows)
    frame = pl.DataFrame({"model_params": x, "finetune_examples": d, "test_loss": loss})
    law = fs.fit(frame, "multiplicative", "model_params", bootstrap=0)[0]
    assert law.value("E") == pytest.approx(0.6, abs=0.01)
    assert law.value("alpha") == pytest.approx(0.2, abs=0.02)
    truth = law.points.with_columns(
        true=90 * pl.col("model_params") ** -0.2 * pl.col("finetune_examples") ** -0.1 + 0.6
    )
    missed = (truth["true"] - truth["loss"]).abs().to_numpy()
    assert law.objective <= np.where(missed < 1e-3, missed**2 / 2, 1e-3 * (missed - 5e-4)).sum()


def test_an_estimate_outside_its_own_interval_is_told():
    path = CASES[0]
    for level, expected in ((0.9, False), (0.01, True)):  # of 1% of the resamples the estimate is none
        laws = fs.fit(path, "multiplicative", "model_params", bootstrap=100, level=level)
        told = [line for law in laws for line in law.status if line.startswith("outside its own interval")]
        assert bool(told) == expected
        assert all(" to " in line for line in told)


@pytest.mark.parametrize("log", [False, True])
def test_a_resample_in_a_worse_minimum_takes_over_the_optimum_of_another(log):
    assembly, _ = random_problem(31)
    problem = assembly.problem(log=log, delta=1e-3)
    rng = np.random.default_rng(0)
    many = replace(problem, weights=rng.exponential(size=(40, problem.y.size)))
    best = polish(many, np.repeat(polish(problem, np.array([[0.5, 0.5, 0.2, 0.2]])).z, 40, axis=0))
    z = best.z.copy()
    z[::4] = [1.0, 0.5, 0.9, 0.9]  # stuck far away
    mended = exchange(many, z, objective(many, z), steps=100, tolerance=1e-12)
    assert np.allclose(objective(many, mended), best.objective, rtol=1e-6)
