from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from random_problems import random_problem
from scipy.optimize import minimize

import finescale as fs
from finescale.laws import estimate
from finescale.laws.solver.lbfgs import solve_lbfgs
from finescale.laws.solver.problem import derivatives, huber, objective, project, residual
from finescale.laws.solver.profile import local_minima, solve
from finescale.laws.solver.resamples import refit


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_varpro_is_never_worse_than_lbfgs(block):
    """80 random problems; the textbook route gets 8 starts each (`benchmarks/fit_speed.py`: 64)."""
    for number in range(20 * block, 20 * block + 20):
        assembly, log = random_problem(number)
        problem = assembly.problem(log=log, delta=1e-3)
        ours = solve(problem, assembly.grid()).objective[0]
        theirs = solve_lbfgs(problem, assembly.grid(), starts=8).objective[0]
        assert ours <= theirs * (1 + 1e-9) + 1e-15, (number, assembly.law.name, ours, theirs)


def test_huber_matches_scipy():
    from scipy.special import huber as reference

    r = np.linspace(-0.01, 0.01, 101)
    assert np.allclose(huber(r, 1e-3), reference(1e-3, r), rtol=1e-14)


@pytest.mark.parametrize("number", [0, 1, 2, 30, 31, 32])
def test_derivatives_match_finite_differences(number):
    assembly, log = random_problem(number)
    problem = assembly.problem(log=log, delta=10.0)
    z = np.concatenate([np.full(len(assembly.linear), 0.4), np.full(len(assembly.nonlinear), 0.2)])[None]
    _, gradient, hessian = derivatives(problem, z)
    step = 1e-6
    for k in range(z.shape[1]):
        move = np.zeros_like(z)
        move[0, k] = step
        ahead, behind = objective(problem, z + move)[0], objective(problem, z - move)[0]
        assert gradient[0, k] == pytest.approx((ahead - behind) / (2 * step), rel=1e-5, abs=1e-7)
        up, down = derivatives(problem, z + move)[1][0], derivatives(problem, z - move)[1][0]
        assert np.allclose(hessian[0, k], (up - down) / (2 * step), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("number", range(6))
def test_projected_coefficients_are_those_of_a_law_without_noise(number):
    assembly, _ = random_problem(number)
    clean = assembly.problem(log=False, delta=1e-3)
    P, K = clean.model.n_linear, clean.model.n_nonlinear
    c, theta = np.linspace(0.5, 1.2, P)[None], np.full((1, K), 0.3)
    exact = (c[:, None] @ clean.model.basis(theta))[0, 0]
    for log in (False, True):
        problem = replace(assembly.problem(log=log, delta=np.inf), y=exact)
        away = np.concatenate([2 * c, theta + 0.2], axis=1)
        assert np.allclose(project(problem, away, theta), c, rtol=1e-5)


def test_every_resample_of_the_nano_study_converges(monkeypatch):
    ends = []

    def noted(*arguments, **options):
        found = refit(*arguments, **options)
        ends.append(found.converged)
        return found

    monkeypatch.setattr(estimate, "refit", noted)
    fs.fit("examples/nano_full.parquet", "additive", factors=["model_params"], bootstrap=200)
    assert len(ends) >= 3
    assert np.concatenate(ends).all()


def test_no_step_of_another_optimizer_improves_on_the_optimum():
    for number in range(6):
        assembly, log = random_problem(number)
        problem = assembly.problem(log=log, delta=1e-3)
        found = solve(problem, assembly.grid())
        best = minimize(lambda v, p=problem: objective(p, v[None])[0], found.z[0], method="Nelder-Mead").fun
        assert found.objective[0] <= best * (1 + 1e-9)


def test_local_minima_of_a_grid_are_found_best_first():
    values = np.array([[5, 5, 5, 5], [5, 1, 5, 0.5], [5, 5, 5, 5.0]])
    assert local_minima(values)[:2].tolist() == [7, 5]


def test_residuals_are_of_the_kind_asked_for():
    assembly, _ = random_problem(0)
    z = np.array([[1.0, 0.2, 0.3]])
    raw = residual(assembly.problem(log=False, delta=1e-3), z)
    log = residual(assembly.problem(log=True, delta=1e-3), z)
    assert np.allclose(assembly.y * np.exp(log), assembly.y + raw)


def test_curves_at_the_same_points_are_solved_side_by_side_as_alone():
    d = np.geomspace(100, 1e5, 8)
    rng = np.random.default_rng(3)
    rows = [
        {"task": f"t{g}", "finetune_examples": x, "test_loss": loss}
        for g in range(5)
        for x, loss in zip(d, (3 + g) / (20.0 + d**0.3) + 1 + rng.normal(0, 0.003, d.size), strict=True)
    ]
    for law in ("power", "rectified", "loglinear"):
        together = fs.fit(pl.DataFrame(rows), law, by=("task",), bootstrap=0)
        for made in together:
            own = pl.DataFrame([row for row in rows if row["task"] == made.by["task"]])
            alone = fs.fit(own, law, by=("task",), bootstrap=0)[0]
            assert made.objective == pytest.approx(alone.objective, rel=1e-9, abs=1e-15)
