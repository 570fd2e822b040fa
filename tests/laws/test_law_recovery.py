"""Noiseless data with known parameters come back, from badly scaled units too."""

import numpy as np
import polars as pl
import pytest

import finescale as fs
from finescale.errors import DataError, UsageError
from finescale.laws.formulas import LAWS, Range, law

MODELS = np.geomspace(1e8, 1.6e10, 6)
SIZES = np.geomspace(2e3, 4e6, 9)


def surface(function, models=MODELS, sizes=SIZES):
    x, d = (grid.ravel() for grid in np.meshgrid(models, sizes, indexing="ij"))
    return pl.DataFrame({"model_params": x, "finetune_examples": d, "test_loss": function(x, d)})


def curve(function, sizes=SIZES):
    return pl.DataFrame({"finetune_examples": sizes, "test_loss": function(sizes)})


def check(fitted, truth):
    for name, value in truth.items():
        assert fitted.value(name) == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("residual", ["raw", "log"])
@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e12])
def test_multiplicative_law_comes_back_in_any_unit(residual, unit):
    truth = {"A": 1.2e5 * unit**0.52, "alpha": 0.52, "beta": 0.15, "E": 0.75}
    frame = surface(lambda x, d: 1.2e5 * x**-0.52 * d**-0.15 + 0.75)
    frame = frame.with_columns(pl.col("model_params") * unit)
    check(fs.fit(frame, "multiplicative", residual=residual, bootstrap=0)[0], truth)


@pytest.mark.parametrize("residual", ["raw", "log"])
def test_additive_law_comes_back(residual):
    frame = surface(lambda x, d: 406.4 * x**-0.34 + 410.7 * d**-0.28 + 1.69)
    truth = {"A": 406.4, "alpha": 0.34, "B": 410.7, "beta": 0.28, "E": 1.69}
    check(fs.fit(frame, "additive", residual=residual, bootstrap=0)[0], truth)


def test_power_law_with_a_negative_exponent_comes_back():
    frame = curve(lambda d: 0.3 * d**0.11 + 0.2)
    fitted = fs.fit(frame, "power", bootstrap=0)[0]
    check(fitted, {"A": 0.3, "beta": -0.11, "E": 0.2})
    assert any("the loss rises with finetune_examples" in status for status in fitted.status)


def test_rectified_law_comes_back():
    frame = curve(lambda d: 900.0 / (150.0 + d**0.6) + 1.1, np.geomspace(200, 2e5, 12))
    check(fs.fit(frame, "rectified", bootstrap=0)[0], {"B": 900.0, "D_l": 150.0, "beta": 0.6, "E": 1.1})


def test_broken_law_comes_back():
    sizes = np.geomspace(100, 1e7, 24)
    frame = curve(lambda d: 0.4 + 3.0 * d**-0.03 * (1 + (d / 2e4) ** (1 / 0.4)) ** (-0.3 * 0.4), sizes)
    fitted = fs.fit(frame, "broken", bootstrap=0)[0]
    check(fitted, {"A": 3.0, "c0": 0.03, "c1": 0.3, "d": 2e4, "f": 0.4, "E": 0.4})


def test_loglinear_is_the_least_squares_line_through_the_last_three_sizes():
    rng = np.random.default_rng(0)
    losses = 5 * SIZES**-0.1 * np.exp(rng.normal(0, 0.02, SIZES.size))
    frame = pl.DataFrame({"finetune_examples": SIZES, "test_loss": losses})
    slope, level = np.polyfit(np.log(SIZES[-3:]), np.log(losses[-3:]), 1)
    check(fs.fit(frame, "loglinear", bootstrap=0)[0], {"beta": -slope, "A": np.exp(level)})


def test_joint_law_moves_every_factor_together():
    rng = np.random.default_rng(1)
    x, p, d = (10 ** rng.uniform(*span, size=60) for span in ((8, 10), (10, 12), (3, 6)))
    loss = 900 * x**-0.2 * p**-0.1 * d**-0.05 + 0.4
    frame = pl.DataFrame({"model_params": x, "pretrain_tokens": p, "finetune_examples": d, "test_loss": loss})
    fitted = fs.fit(frame, "joint", bootstrap=0)[0]
    check(fitted, {"A": 900, "alpha.model_params": 0.2, "alpha.pretrain_tokens": 0.1, "beta": 0.05, "E": 0.4})
    asked = {"model_params": 1e9, "pretrain_tokens": 1e11, "finetune_examples": 1e4}
    expected = 900 * 1e9**-0.2 * 1e11**-0.1 * 1e4**-0.05 + 0.4
    assert float(fitted.predict(asked).value) == pytest.approx(expected, rel=1e-6)


def test_trap_where_a_mean_reduced_loss_stops_early():
    """Mean-reduced Huber in raw units stopped at alpha, beta, E = .447, .131, .720 on these data."""
    models, sizes = np.array([1e9, 2e9, 4e9, 8e9]), np.array([1e5, 5e5, 1e6, 2e6, 4e6])
    frame = surface(lambda x, d: 1.2e5 * x**-0.52 * d**-0.15 + 0.75, models, sizes)
    check(fs.fit(frame, bootstrap=0)[0], {"alpha": 0.52, "beta": 0.15, "E": 0.75})


def test_law_of_ones_own_is_one_function():
    @law(linear=("A", "E"), nonlinear={"beta": (-1, 3), "half": Range(1.0, 1e7, log=True)})
    def saturating(finetune_examples, A, beta, half, E):
        return A / (1 + finetune_examples / half) ** beta + E

    frame = curve(lambda d: 2.0 / (1 + d / 3e4) ** 0.7 + 0.5, np.geomspace(1e2, 1e7, 20))
    check(fs.fit(frame, saturating, bootstrap=0)[0], {"A": 2.0, "half": 3e4, "beta": 0.7, "E": 0.5})


def test_law_that_refuses_complex_numbers_is_fitted_too():
    @law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})
    def absolute(finetune_examples, A, beta, E):
        return A * np.maximum(np.abs(finetune_examples) ** np.abs(-beta), 1e-30) ** -1 + E

    fitted = fs.fit(curve(lambda d: 4.0 * d**-0.3 + 0.5), absolute, bootstrap=0)[0]
    assert abs(fitted.value("beta")) == pytest.approx(0.3, rel=1e-4)


def test_every_law_states_its_equation_and_its_source():
    for one in LAWS.values():
        if one.function.__module__.startswith("finescale."):
            assert one.equation
            assert set(one.parameters) <= set(one.function.__code__.co_varnames)


def test_unknown_law_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean `multiplicative`"):
        fs.fit(curve(lambda d: 1 / d), "multiplicativ")


def test_one_setting_short_is_refused_with_the_number_needed():
    frame = curve(lambda d: 4.0 * d**-0.3 + 0.5, SIZES[:3])
    with pytest.raises(DataError) as error:
        fs.fit(frame, "power")
    assert "wanted: at least 4 (3 parameters and one to check them)" in str(error.value)
    assert "got: 3" in str(error.value)


def test_factor_with_one_value_is_refused_in_words():
    frame = surface(lambda x, d: x**-0.2 * d**-0.1, MODELS[:1])
    with pytest.raises(DataError, match="no factor varies"):
        fs.fit(frame, "multiplicative")


def test_constant_loss_is_a_status_not_a_warning():
    fitted = fs.fit(curve(lambda d: np.full(d.size, 1.5)), "power", bootstrap=50)[0]
    assert any("constant loss" in status for status in fitted.status)
    assert float(fitted.predict(finetune_examples=1e5).value) == pytest.approx(1.5, rel=1e-6)


def test_two_distinct_sizes_are_enough_for_a_surface_but_not_for_a_curve():
    frame = surface(lambda x, d: 50 * x**-0.2 * d**-0.1 + 0.3, MODELS, SIZES[[0, -1]])
    assert fs.fit(frame, bootstrap=0)[0].value("beta") == pytest.approx(0.1, rel=1e-4)
    with pytest.raises(DataError):
        fs.fit(curve(lambda d: 4.0 * d**-0.3, SIZES[:2]), "power")


def test_an_outlier_hardly_moves_the_law():
    loss = 4.0 * SIZES**-0.3 + 0.5
    loss[4] += 0.5
    frame = pl.DataFrame({"finetune_examples": SIZES, "test_loss": loss})
    assert fs.fit(frame, "power", bootstrap=0)[0].value("beta") == pytest.approx(0.3, rel=0.02)


def test_five_points_are_fitted_and_called_few():
    rng = np.random.default_rng(2)
    sizes = SIZES[::2]
    frame = pl.DataFrame(
        {"finetune_examples": sizes, "test_loss": 4.0 * sizes**-0.3 + 0.5 + rng.normal(0, 0.003, 5)}
    )
    fitted = fs.fit(frame, "power", bootstrap=100)[0]
    assert any("few settings: 5 for 3 parameters" in status for status in fitted.status)
    assert fitted.parameters["beta"].low < fitted.value("beta") < fitted.parameters["beta"].high
