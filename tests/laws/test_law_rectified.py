"""The rectified law in centred parameters is the same law, with exact derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import finescale as fs
from finescale.laws.formulas import LAWS, Law, rectified
from finescale.laws.solver.rectified import RectifiedModel

SIZES = np.geomspace(200, 204_800, 11)


def curve(noise: float = 0.02) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    loss = rectified.function(SIZES, 900.0, 400.0, 0.7, 1.1) + noise * rng.standard_normal(SIZES.size)
    return pl.DataFrame({"finetune_examples": SIZES, "test_loss": loss})


def own_law() -> Law:
    """The same formula as a law of one's own: solved in its own parameters, derivatives by complex steps."""
    return replace(LAWS["rectified"], name="own", function=lambda D, B, D_l, beta, E: B / (D_l + D**beta) + E)


def test_derivatives_are_those_of_finite_differences() -> None:
    rng = np.random.default_rng(0)
    model = RectifiedModel(np.linspace(-3, 3, 9))
    z = np.abs(rng.normal(size=(5, 4)))
    z[:, 2] -= 1.0
    g = rng.normal(size=(5, 9))

    def losses(z: np.ndarray) -> np.ndarray:
        return np.einsum("gp,gpn->gn", z[:, :2], model.basis(z[:, 2:]))

    def slopes(z: np.ndarray) -> np.ndarray:
        return model.jacobian(z[:, 2:], z[:, :2])

    curvature = model.curvature(z[:, 2:], z[:, :2], model.basis(z[:, 2:]), g)
    for k in range(4):
        step = 1e-6 * np.eye(4)[k]
        assert np.allclose((losses(z + step) - losses(z - step)) / 2e-6, slopes(z)[:, k], atol=1e-8)
        second = np.einsum("gn,gmn->gm", g, (slopes(z + step) - slopes(z - step)) / 2e-6)
        assert np.allclose(second, curvature[:, k], atol=1e-7)


def test_the_basis_neither_overflows_nor_vanishes_at_the_bounds() -> None:
    model = RectifiedModel(np.linspace(-8, 8, 5))
    for u in (np.log(1e-6), np.log(1e30)):
        for beta in (0.0, 3.0):
            phi = model.basis(np.array([[u, beta]]))
            assert np.all(np.isfinite(phi))
            assert phi[0, 0, 2] == pytest.approx(1.0)


def test_the_centred_fit_reaches_the_optimum_of_the_formula_itself() -> None:
    frame = curve()
    centred, plain = (fs.fit(frame, law, bootstrap=0)[0] for law in ("rectified", own_law()))
    assert centred.objective <= plain.objective * (1 + 1e-9)
    asked = {"finetune_examples": np.geomspace(100, 1e6, 20)}
    assert np.allclose(centred.predict(asked).value, plain.predict(asked).value, atol=1e-4)


def test_draws_are_in_the_laws_own_parameters() -> None:
    law = fs.fit(curve(0.005), "rectified", bootstrap=60)[0]
    for name in ("B", "D_l", "beta", "E"):
        assert law.parameters[name].low <= law.value(name) <= law.parameters[name].high
    mean = law.mean_draws({"finetune_examples": SIZES})
    truth = rectified.function(SIZES, 900.0, 400.0, 0.7, 1.1)
    assert np.abs(np.median(mean, axis=0) - truth).max() < 0.02


def test_a_parameter_may_be_fixed_alone() -> None:
    law = fs.fit(curve(0.0), "rectified", fixed={"D_l": 400.0}, bootstrap=0)[0]
    assert law.value("D_l") == pytest.approx(400.0)
    assert law.value("beta") == pytest.approx(0.7, rel=1e-4)
