"""Laws over a factor and the data size as members across the factor."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from futures import SIZES, table

import finescale as fs
from finescale.errors import UsageError
from finescale.laws.formulas import LAWS

PARAMS = (1e8, 2e8, 4e8, 8e8, 1.6e9)


def surface(D: Any, X: float) -> Any:
    return 900 * X**-0.25 * np.asarray(D, float) ** -0.12 + 0.5


def runs(column: str = "model_params") -> pl.DataFrame:
    parts = [
        table({"full": lambda D, X=X: surface(D, X)}, noise=0.001).with_columns(pl.lit(X).alias(column))
        for X in PARAMS
    ]
    return pl.concat(parts)


@pytest.mark.parametrize("column", ["model_params", "pretrain_tokens"])
def test_the_data_of_a_law_over_factor_and_data_forecast_the_law(column: str):
    seen = runs(column).filter(pl.col(column) < 1e9)
    group = fs.forecast(seen, members=["multiplicative"])[0]
    assert [(m.name, m.weight) for m in group.across[column]] == [("multiplicative", 1.0)]
    assert len(group.members) > 2  # along the data size there are all of its own
    for times in (1, 2):
        at = {"finetune_examples": SIZES * times, column: 1.6e9}
        told = group.predict(at)
        assert told.value == pytest.approx(surface(SIZES * times, 1.6e9), rel=0.03)
        assert np.all((told.low < told.value) & (told.value < told.high))


def test_surfaces_of_the_zoo_are_weighed_and_told_where_a_model_was_not_run():
    group = fs.forecast(runs())[0]
    names = [member.name for member in group.across["model_params"]]
    assert {"line", "trend", "multiplicative", "additive"} <= set(names)
    here, there = (group.predict(finetune_examples=800, model_params=X) for X in (4e8, 5e8))
    assert here.members == group.members
    assert there.members == group.across["model_params"]
    assert sum(member.weight for member in there.members) == pytest.approx(1)
    best = min(group.across["model_params"], key=lambda member: member.error)
    assert best.name == "multiplicative"


def test_a_law_of_ones_own_over_two_variables_joins_by_being_registered():
    @fs.law(linear=("A", "E"), nonlinear={"a": (0, 1), "b": (0, 1)})
    def by_name(model_params, finetune_examples, A, a, b, E):
        r"""$$A N^{-a} (1 + D)^{-b} + E$$."""
        return A * model_params**-a * (1 + finetune_examples) ** -b + E

    try:
        found = fs.forecast(runs())[0]
        assert "by_name" in [member.name for member in found.across["model_params"]]
        assert "by_name" not in [member.name for member in found.members]
        seen = runs().filter(pl.col("model_params") < 1e9)
        told = fs.forecast(seen, members=[by_name])[0].predict(finetune_examples=800, model_params=1.6e9)
        assert told.value == pytest.approx(surface(800, 1.6e9), rel=0.03)
        of_tokens = fs.forecast(runs("pretrain_tokens"), members=[by_name])[0]  # a law of another factor
        told = of_tokens.predict(finetune_examples=800, pretrain_tokens=3.2e9)
        assert told.value == pytest.approx(surface(800, 1.6e9), rel=0.02)
    finally:
        LAWS.pop("by_name")


def test_a_name_that_is_no_member_lists_surfaces_too():
    with pytest.raises(UsageError) as told:
        fs.forecast(runs(), members=["multiplicativ"])
    assert "multiplicative" in str(told.value)
