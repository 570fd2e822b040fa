"""The parts against what we did not write: scipy's Student's t, Gaussian algebra, a grid by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

import finescale as fs
from finescale.forecasts.discrepancy import Prior, interpolated
from finescale.forecasts.grid import Surface, data_nodes
from finescale.forecasts.law_members import _least_squares
from finescale.forecasts.student import quantile
from finescale.forecasts.trend import Paths, Smoother, Wander, stacked


@pytest.mark.parametrize("freedom", [1.0, 2.0, 3.4, 12.0, 400.0])
def test_quantiles_of_student_are_those_of_scipy(freedom):
    for p in (0.05, 0.5, 0.6, 0.95, 0.995):
        assert quantile(p, freedom) == pytest.approx(stats.t.ppf(p, freedom), rel=1e-8, abs=1e-9)


def test_the_smoother_is_the_conditional_distribution_of_a_gaussian():
    rng = np.random.default_rng(0)
    u, z, noise = np.array([5.0, 6, 7.5, 9]), rng.normal(size=4), np.full(4, 0.02)
    pooled = Wander(q=0.3, nugget=0.05, slope=4.0)
    at = np.array([6.0, 8.0, 10.0])
    mean, variance = Smoother(Paths(u[None], z[None], noise[None]), pooled).at(at[None])
    every = np.concatenate([u, at])
    x = every - 5
    m, M = np.minimum.outer(x, x), np.maximum.outer(x, x)
    K = 0.3 * m * m * (3 * M - m) / 6 + 1e6 + 4.0 * np.outer(x, x)
    K = K + 0.05 * (np.abs(np.subtract.outer(every, every)) < 1e-9)
    seen = K[:4, :4] + np.diag(noise)
    middle = z.mean()
    truth = middle + K[4:, :4] @ np.linalg.solve(seen, z - middle)
    spread = np.diag(K[4:, 4:] - K[4:, :4] @ np.linalg.solve(seen, K[:4, 4:]))
    assert mean[0] == pytest.approx(truth, abs=1e-4)
    assert variance[0] == pytest.approx(spread, abs=1e-3)


def test_coefficients_at_zero_or_above_are_those_of_scipy():
    from scipy.optimize import nnls

    rng = np.random.default_rng(1)
    for _ in range(30):
        basis, y = rng.normal(size=(3, 6)), rng.normal(size=6)
        c, rest = _least_squares(basis[:, None, None], y[None])
        truth, norm = nnls(basis.T, y)
        assert c[:, 0, 0] == pytest.approx(truth, abs=1e-6)
        assert rest[0, 0] == pytest.approx(norm**2, abs=1e-6)


def test_between_nodes_a_surface_is_linear_and_at_nodes_exact():
    d, x = np.array([3.0, 4, 6]), np.array([1.0, 2])
    table = np.array([[1.0, 2, 4], [3, 5, 9]])
    surface = Surface("model_params", d, x, table, table, table, table, {})
    assert surface.at(2.0**4, 2.0**2)[0] == pytest.approx(5)
    assert surface.at(2.0**5, 2.0**1.5)[0] == pytest.approx((3 + 7) / 2)
    assert surface.at(2.0**99, 2.0**-9)[0] == pytest.approx(4)
    assert surface.at(2.0 ** np.array([3.0, 6]), 4.0)[0] == pytest.approx([3, 9])


def test_every_measured_size_is_a_node():
    sizes = np.log2([50, 100, 200, 500, 1000, 20_000])
    nodes = data_nodes(sizes)
    assert np.all(np.abs(nodes[:, None] - sizes).min(axis=0) < 1e-9)
    assert np.all(np.diff(nodes) > 0)
    inside = nodes[(nodes >= sizes[0]) & (nodes <= sizes[-1])]
    assert np.diff(inside).max() <= 0.5 + 1e-9


def test_what_lies_between_two_values_is_off_by_what_values_between_others_are():
    x, rng = np.array([1.0, 2, 3.5, 5, 6]), np.random.default_rng(0)
    models = rng.normal(0, 0.05, x.size)  # what sets a model apart is nearly one for both methods
    paths = [(x, 1 - 0.1 * x + models + rng.normal(0, 0.005, x.size), np.zeros(x.size)) for _ in range(2)]
    off = [
        np.interp(x[i], x[[i - 1, i + 1]], z[[i - 1, i + 1]]) - z[i] for _, z, _ in paths for i in (1, 2, 3)
    ]
    root = np.sqrt(np.mean(np.square(off)))
    found = interpolated(stacked(paths), np.zeros(2, int), Prior(0.13, paths=1e-9, together=0.5))
    assert found.scale == pytest.approx(root, rel=1e-6)
    assert found.rho > 0.5
    unseen = interpolated(
        stacked([(x[:2], x[:2], np.zeros(2))]), np.zeros(1, int), Prior(0.13, together=0.85)
    )
    assert (unseen.scale, unseen.rho) == (0.13, 0.85)


def test_the_base_setting_is_that_of_every_other_command():
    """Rank 4 has most runs, rank 64 most data sizes: no command may take the other one."""
    rows = [
        {"task": "t", "method": "lora", "model_params": 4e8, "pet_size": rank, "seed": seed}
        | {
            "finetune_examples": 100.0 * 2**step,
            "test_loss": 3 * (100 * 2**step) ** -0.1 + off + 0.003 * seed,
        }
        for rank, steps, seeds, off in ((4, 4, 3, 0.0), (64, 6, 1, 0.5))
        for step in range(steps)
        for seed in range(seeds)
    ]
    records = fs.read_records(pl.DataFrame(rows))
    [told] = fs.forecast(records, draws=50).predict(finetune_examples=400)
    [option] = fs.recommend(records, examples=400, bootstrap=50).options
    assert option.pet_size == 4
    assert float(told.value) == pytest.approx(option.loss, rel=1e-4)
