"""The design search against designs known from theory, and against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from finescale.planning.beliefs import PRIORS, DesignPoints, ParameterPrior, fit_normal, posterior
from finescale.planning.known import MethodKnowledge, joint_problem
from finescale.planning.search import Check, DesignProblem, best_runs, best_shares, exchange_runs, whole_runs


def line(points: np.ndarray, at: float, cost: np.ndarray | None = None, misfit: float = 0.0) -> DesignProblem:
    """Predict a straight line at `at` from measurements at the points."""
    slopes = np.stack([np.ones_like(points), points], axis=-1)[None]
    h = np.array([[1.0, at]])
    n = points.size
    price = np.ones(n) if cost is None else cost
    return DesignProblem(
        slopes, 1e-9 * np.eye(2)[None], np.zeros(n), (h.T @ h)[None], price, np.full(n, misfit)
    )


def small(rng: np.random.Generator, settings: int = 5) -> DesignProblem:
    place = DesignPoints(rng.uniform(-2, 2, settings), rng.uniform(-2, 2, settings))
    known = MethodKnowledge(
        PRIORS["model_params"], place, DesignPoints(np.array([3.0]), np.array([3.0])),
        np.exp(rng.uniform(0, 2, settings)), 0.05, 0.0, np.zeros(settings), np.zeros(settings),
    )  # fmt: skip
    return known.problem(known.draws(8, rng))


def test_the_continuous_design_for_a_line_is_that_of_theory():
    """Hoel and Levine 1964: an end is measured in proportion to its weight in the extrapolation."""
    found = best_shares(line(np.linspace(-1, 1, 21), 2.0), np.asarray(100.0), np.full(21, np.inf), steps=3000)
    assert found[0] == pytest.approx(25.0, abs=0.2)
    assert found[-1] == pytest.approx(75.0, abs=0.2)


def test_the_shares_cost_the_budget_and_keep_the_caps():
    problem = small(np.random.default_rng(1))
    most = np.array([1.0, 2.0, 0.0, 3.0, 1.0])
    found = best_shares(problem, np.asarray(10.0), most)
    assert np.all(found <= most + 1e-9)
    assert found @ problem.cost <= 10.0 + 1e-9
    rich = best_shares(problem, np.asarray(1e9), most)
    assert np.allclose(rich, most)


@pytest.mark.parametrize("seed", range(6))
def test_few_runs_are_nearly_as_good_as_the_best_of_all_designs(seed):
    problem = small(np.random.default_rng(seed))
    budget, most = 12.0, np.full(5, 2.0)
    every = [np.array(runs, float) for runs in product(range(3), repeat=5)]
    best = min(float(problem.score(runs)) for runs in every if runs @ problem.cost <= budget)
    found = best_runs(problem, np.asarray(budget), most)
    assert found @ problem.cost <= budget
    assert float(problem.score(found)) <= best + 0.05


def test_exchanges_never_make_a_design_worse():
    problem = small(np.random.default_rng(9))
    start = whole_runs(problem, np.zeros(5), np.asarray(8.0), np.full(5, 3.0))
    assert problem.score(exchange_runs(problem, start, 8.0, np.full(5, 3.0))) <= problem.score(start)


def test_misfit_makes_repeats_worth_less():
    points = np.linspace(-1, 1, 5)
    repeats = np.array([10.0, 0, 0, 0, 10.0])
    exact, bent = line(points, 2.0), line(points, 2.0, misfit=1.0)
    assert exact.variance(repeats)[0] == pytest.approx(0.25, rel=1e-3)
    assert bent.variance(repeats)[0] == pytest.approx(0.25 * 11, rel=1e-3)


def test_whole_gain_is_the_fall_of_the_score():
    problem = small(np.random.default_rng(2))
    runs = np.array([1.0, 0, 2, 0, 1])
    for index in range(5):
        more = runs + (np.arange(5) == index)
        fall = problem.score(runs) - problem.score(more)
        assert problem.whole_gain(runs)[index] == pytest.approx(float(fall), rel=1e-6)


def test_the_check_buys_the_nearest_setting_that_its_share_pays_for():
    problem = line(np.linspace(-1, 1, 5), 2.0, cost=np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    check = Check(np.array([3.0, 2.5, 2.0, 1.5, 1.0]), 0.5, np.asarray(0.0))
    needed = check.needed(problem, np.zeros(5), np.asarray(20.0), np.full(5, 9.0))
    assert needed[3] == 1
    assert needed @ problem.cost <= 10.0
    nothing = check.needed(problem, np.array([0, 0, 0, 0, 1.0]), np.asarray(20.0), np.full(5, 9.0))
    assert not nothing.any()


def test_studies_side_by_side_get_what_each_gets_alone():
    problems = [small(np.random.default_rng(seed)) for seed in (3, 3)]
    both = DesignProblem(
        np.stack([p.slopes for p in problems]), np.stack([p.known for p in problems]), np.zeros((2, 5)),
        np.stack([p.target for p in problems]), problems[0].cost, problems[0].misfit,
    )  # fmt: skip
    budget = np.array([30.0, 60.0])
    found = best_shares(both, budget, np.full((2, 5), np.inf))
    for place in (0, 1):
        alone = best_shares(problems[place], budget[place], np.full(5, np.inf))
        assert np.allclose(found[place], alone)


def test_two_methods_together_are_two_problems():
    one, other = line(np.linspace(-1, 1, 3), 2.0), line(np.linspace(-1, 1, 3), 3.0)
    runs = np.array([1.0, 0, 2, 3, 0, 1])
    whole = joint_problem([one, other], [1.0, 0.5])
    apart = one.variance(runs[:3]) + 0.5 * other.variance(runs[3:])
    assert whole.variance(runs)[0] == pytest.approx(apart[0])


def test_the_posterior_without_runs_is_the_prior():
    prior = ParameterPrior((0.0, 0.3, 0.1, 1.0), (1.0, 0.1, 0.02, 0.5))
    place = DesignPoints(np.zeros(3), np.arange(3.0))
    found = posterior(
        prior, place, np.zeros(3), np.zeros(3), 0.01, np.zeros(3), 4000, np.random.default_rng(0)
    )
    assert np.allclose(found.mean(axis=0), prior.centre, atol=0.05)
    assert np.allclose(found.std(axis=0), prior.spread, rtol=0.05)


def test_the_posterior_of_many_runs_is_the_law_with_its_linear_spread():
    theta = np.array([-0.5, 0.3, 0.08, 0.7])
    x, d = (axis.ravel() for axis in np.meshgrid(np.linspace(-2, 2, 5), np.linspace(-3, 3, 5)))
    place, runs, noise = DesignPoints(x, d), np.full(25, 50.0), 0.005
    wide = ParameterPrior((-0.5, 0.3, 0.1, 0.6), (2.0, 0.5, 0.3, 2.0))
    found = posterior(
        wide, place, runs, place.loss(theta), noise, np.zeros(25), 2000, np.random.default_rng(0)
    )
    slopes = place.slopes(theta) * np.sqrt(50.0) / noise
    spread = np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes)))
    assert np.all(np.abs(found.mean(axis=0) - theta) < 0.3 * spread)
    assert np.allclose(found.std(axis=0), spread, rtol=0.1)


def test_fits_reach_the_least_squares_optimum_from_afar():
    theta = np.array([-0.2, 0.4, 0.1, 0.5])
    x, d = (axis.ravel() for axis in np.meshgrid(np.linspace(-2, 2, 5), np.linspace(-3, 3, 5)))
    place, weight = DesignPoints(x, d), np.full(25, 100.0)
    start = np.random.default_rng(0).normal(theta, (0.5, 0.2, 0.1, 0.3), size=(30, 4))
    found, _ = fit_normal(place, place.loss(theta) * weight, weight, start, np.full(4, 1e-12), steps=200)
    assert np.abs(place.loss(found) - place.loss(theta)).max() < 1e-5
