"""No option vanishes: each reaches what it is for, or is refused with what means something instead."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "task": "t",
            "method": "full",
            "model_params": x,
            "pretrain_tokens": p,
            "finetune_examples": d,
            "seed": seed,
            "trust": 1.0 + (d > 500),
            "test_loss": 30.0 * x**-0.2 * (p / 1e9) ** -0.05 * d**-0.1 + 0.6 + rng.normal(0, 0.003),
        }
        for x, p in ((1e8, 1e9), (4e8, 1e9), (1.6e9, 1e9), (4e8, 4e8), (4e8, 2e8))
        for d in (100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)
        for seed in (0, 1)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize("options", [{"shared": ("beta",)}, {"fixed": {"E": 1.0}}, {"across": ("method",)}])
def test_auto_refuses_options_that_name_parameters_of_one_law(
    table: pl.DataFrame, options: dict[str, Any]
) -> None:
    with pytest.raises(UsageError, match="means nothing here") as error:
        fs.fit(table, "auto", **options)
    assert "wanted: a law by name" in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"residual": "log"},
        {"base": {"pretrain_tokens": "any"}},
        {"average_seeds": False},
        {"weights": "trust"},
        {"hold_out": "finetune_examples > 1000"},
        {"level": 0.5},
        {"seed": 7},
        {"bootstrap": 5},
    ],
    ids=lambda options: next(iter(options)),
)
def test_auto_fits_the_law_that_it_chooses_with_every_other_option(
    table: pl.DataFrame, options: dict[str, Any]
) -> None:
    asked = {"bootstrap": 8, **options}
    chosen = fs.fit(table, "auto", "model_params", **asked)
    alone = fs.fit(table, chosen[0].law, "model_params", **asked)
    assert len(chosen) == len(alone) == 1
    assert {**chosen[0].to_dict(), "status": []} == {**alone[0].to_dict(), "status": []}
    plain = fs.fit(table, chosen[0].law, "model_params", bootstrap=8)
    assert alone[0].to_dict() != plain[0].to_dict()


@pytest.mark.parametrize("law", ["auto", "joint", "power"])
def test_joint_fit_refuses_what_is_not_one_law_of_a_factor_before_it_fits(
    table: pl.DataFrame, law: str
) -> None:
    with pytest.raises(UsageError) as error:
        fs.joint_fit(table, law)
    assert "wanted: " in str(error.value)
    assert "multiplicative" in str(error.value)


@pytest.mark.parametrize(
    "options", [{"residual": "log"}, {"level": 0.5}, {"weights": "trust"}, {"average_seeds": False}]
)
def test_both_steps_of_a_joint_fit_have_the_same_options(
    table: pl.DataFrame, options: dict[str, Any]
) -> None:
    made = fs.joint_fit(table, bootstrap=8, **options).only(factor="pretrain_tokens")
    first = fs.fit(
        table, factors=("model_params", "pretrain_tokens"), shared=("beta", "E"), bootstrap=8, **options
    )[0]
    fixed = {name: first.value(name) for name in ("beta", "E")}
    second = fs.fit(table, factors="pretrain_tokens", fixed=fixed, bootstrap=8, **options)[0]
    assert made.value("A") == pytest.approx(second.value("A"), rel=1e-6)
    assert made.residual == options.get("residual", "raw")
    assert made.level == options.get("level", 0.9)
    assert made.n_fitted == second.n_fitted


def test_joint_fit_honours_a_fixed_floor_and_refuses_another_parameter(table: pl.DataFrame) -> None:
    fits = fs.joint_fit(table, fixed={"E": 0.5}, bootstrap=0)
    assert {law.value("E") for law in fits} == {0.5}
    with pytest.raises(UsageError, match="`alpha` cannot be fixed in both steps"):
        fs.joint_fit(table, fixed={"alpha": 0.5})
    with pytest.raises(UsageError, match="the option `across` means nothing here"):
        fs.joint_fit(table, across=("method",))


@pytest.mark.parametrize("call", [fs.fit, fs.joint_fit, fs.compare, fs.backtest])
def test_an_option_that_does_not_exist_is_refused_with_the_nearest(table: pl.DataFrame, call: Any) -> None:
    with pytest.raises(UsageError, match="no option `residuals`") as error:
        call(table, residuals="log")
    assert "did you mean 'residual'?" in str(error.value)


@pytest.mark.parametrize("call", [fs.compare, fs.backtest])
def test_comparisons_refuse_what_belongs_to_intervals(table: pl.DataFrame, call: Any) -> None:
    with pytest.raises(UsageError, match="the option `level` means nothing here"):
        call(table, level=0.5)


def test_names_are_a_list_and_not_a_text(table: pl.DataFrame) -> None:
    with pytest.raises(UsageError, match="the option `by`"):
        fs.fit(table, by="task")
