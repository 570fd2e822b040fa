"""Choosing a law: comparison on held-out runs, backtest, automatic choice."""

import numpy as np
import polars as pl
import pytest

import finescale as fs
from finescale.errors import DataError, UsageError


def curves(
    sizes: dict[str, tuple[float, ...]], models: tuple[float, ...] = (1e8, 4e8, 1.6e9)
) -> pl.DataFrame:
    """Made-up curves of power laws: the data sizes of each method, at each model."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "task": "t",
            "method": method,
            "model_params": x,
            "finetune_examples": d,
            "test_loss": 30.0 * x**-0.2 * d**-0.1 + 0.6 + rng.normal(0, 0.001),
        }
        for method, own in sizes.items()
        for x in models
        for d in own
    ]
    return pl.DataFrame(rows)


MANY = (100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0)


def saturating() -> fs.Law:
    """A law of the data size alone, written as in the documentation."""

    @fs.law(linear=("A", "E"), nonlinear={"beta": (-1, 3), "half": fs.Range(1, 1e7, log=True)})
    def saturating(finetune_examples, A, beta, half, E):
        r"""$$L = A (1 + D_f / h)^{-\beta} + E$$."""
        return A / (1 + finetune_examples / half) ** beta + E

    return saturating


def test_a_method_with_fewer_data_sizes_than_are_hidden_is_passed_over() -> None:
    table = curves({"full": MANY, "lora": (100.0, 200.0)})
    tested = fs.backtest(table, ["power"])
    assert set(tested.cells["method"]) == {"full"}
    assert fs.fit(table, "auto", bootstrap=0).select(method="full").laws


def test_a_law_of_the_data_size_written_with_the_columns_name_has_every_curve_in_the_backtest() -> None:
    tested = fs.backtest(curves({"full": MANY, "lora": MANY}), [saturating(), "power"], hide=(1,))
    cells = dict(tested.scores.select("law", "cells").iter_rows())
    assert cells == {"saturating": 6, "power": 6, "loglinear": 6}


def test_a_law_of_the_model_size_alone_is_fitted_to_every_data_size() -> None:
    @fs.law(linear=("A", "E"), nonlinear={"alpha": (-1, 3)})
    def by_size(model_params, A, alpha, E):
        return A * model_params**-alpha + E

    fits = fs.fit(curves({"full": MANY}, (1e8, 2e8, 4e8, 8e8)), by_size, bootstrap=0)
    assert [law.by["finetune_examples"] for law in fits] == list(MANY)
    assert all(law.columns[""] == {"model_params": "model_params"} for law in fits)


def test_a_factor_of_a_law_without_x_is_refused() -> None:
    with pytest.raises(UsageError, match="the law `saturating` takes no factor"):
        fs.fit(curves({"full": MANY}), saturating(), "model_params", bootstrap=0)


@pytest.mark.parametrize("call", [fs.fit, fs.joint_fit, fs.compare, fs.backtest])
def test_groups_by_an_unknown_column_are_refused(call) -> None:
    with pytest.raises(UsageError, match="no column `metod` to group by") as error:
        call(curves({"full": MANY}), by=("task", "metod"))
    assert "did you mean 'method'?" in str(error.value)


def test_a_table_without_tasks_and_methods_needs_no_other_groups() -> None:
    table = curves({"full": MANY}).drop("task", "method")
    assert len(fs.fit(table, factors="model_params", bootstrap=0)) == 1


def test_runs_that_name_no_task_are_chosen_for_as_a_task_of_their_own() -> None:
    named = curves({"full": MANY})
    table = pl.concat([named, named.with_columns(task=pl.lit(None, dtype=pl.String))])
    assert set(fs.backtest(table, ["power"]).best) == {"t", "unnamed"}
    assert {law.by["task"] for law in fs.fit(table, "auto", bootstrap=0)} == {"t", "unnamed"}


def test_a_base_without_runs_is_told_of_a_table_without_methods() -> None:
    table = curves({"full": MANY}).drop("task", "method")
    with pytest.raises(UsageError, match="no run of all runs has model_params = 9e\\+09"):
        fs.fit(table, "power", base={"model_params": 9e9})


def test_too_few_sizes_for_any_backtest_are_told() -> None:
    with pytest.raises(DataError, match="too few data sizes for a backtest"):
        fs.backtest(curves({"full": (100.0, 200.0)}))
