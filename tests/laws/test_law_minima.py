"""The solver ends in the best minimum, on tables of any number of rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_problems import random_problem

import finescale as fs
from finescale.laws.solver.newton import polish
from finescale.laws.solver.problem import derivatives

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
    put, log = random_problem(number)
    problem = put.problem(log=log, delta=1e-3)
    rng = np.random.default_rng(number)
    P, K = len(put.linear), len(put.nonlinear)
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
