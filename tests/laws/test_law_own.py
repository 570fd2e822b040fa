"""Laws of the user: made again, refused names, and fits that say which formula they were made with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError
from finescale.laws.formulas import LAWS, joint
from finescale.laws.trace import evaluate, text_of, trace

SIZES = np.geomspace(100, 1e6, 9)
TABLE = pl.DataFrame({"finetune_examples": SIZES, "test_loss": 4 * SIZES**-0.3 + 0.5})


def first_version() -> fs.Law:
    @fs.law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})
    def edited(D, A, beta, E):
        """A power law."""
        return A * D**-beta + E

    return edited


def second_version() -> fs.Law:
    @fs.law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})
    def edited(D, A, beta, E):
        return A * (1 + D) ** -beta + 2 * E

    return edited


def rewritten() -> fs.Law:
    @fs.law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})
    def edited(D, A, beta, E):
        reducible = A / D**beta  # the same formula, written otherwise
        return E + reducible

    return edited


def test_an_edited_law_replaces_its_own_name() -> None:
    first_version()
    second = second_version()
    assert LAWS["edited"] is second
    by_name, itself = (fs.fit(TABLE, law, bootstrap=0)[0] for law in ("edited", second))
    assert by_name.value("E") == itself.value("E") != pytest.approx(0.5)


@pytest.mark.parametrize("name", ["power", "multiplicative", "joint", "auto"])
def test_the_name_of_a_built_in_law_is_refused(name: str) -> None:
    def formula(D, A, beta, E):
        return A * D**-beta + E

    formula.__name__ = name
    before = LAWS.get(name)
    with pytest.raises(UsageError, match=f"`{name}` is a law of finescale") as error:
        fs.law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})(formula)
    assert f"remedy: call the function my_{name}" in str(error.value)
    assert LAWS.get(name) is before


def test_a_fit_is_read_with_the_formula_that_it_was_made_with_only() -> None:
    first = first_version()
    fits = fs.fit(TABLE, first, bootstrap=5)
    stored = json.loads(json.dumps(fits.to_dict()))
    assert stored["fits"][0]["formula"]["text"] == "A * D ** -beta + E"
    second_version()
    with pytest.raises(UsageError, match="made with another formula called `edited`") as error:
        fs.Fits.from_dict(stored)
    assert "wanted: A * D ** -beta + E" in str(error.value)
    assert "got: A * (1 + D) ** -beta + 2 * E" in str(error.value)
    asked = {"finetune_examples": [1e3, 1e5]}
    again = fs.Fits.from_dict(stored, laws=[first])[0]
    assert np.array_equal(again.predict(asked).high, fits[0].predict(asked).high)


def test_a_formula_that_is_only_written_otherwise_is_the_same_one() -> None:
    stored = fs.fit(TABLE, first_version(), bootstrap=0).to_dict()
    rewritten()
    assert fs.Fits.from_dict(stored)[0].value("E") == pytest.approx(0.5)


def test_a_fit_of_an_older_version_is_read() -> None:
    fits = fs.fit(TABLE, "power", bootstrap=0)
    stored = fits.to_dict()
    for law in stored["fits"]:
        del law["formula"]
    assert fs.Fits.from_dict(stored)[0].value("beta") == fits[0].value("beta")


def test_a_fit_with_a_law_that_is_not_known_says_how_to_give_it() -> None:
    stored = fs.fit(TABLE, first_version(), bootstrap=0).to_dict()
    del LAWS["edited"]
    with pytest.raises(UsageError, match="no law is called `edited`") as error:
        fs.Fits.from_dict(stored)
    assert "--law MODULE:NAME" in str(error.value)
    assert "fits[0].law" in str(error.value)


def test_two_laws_of_one_name_are_not_compared() -> None:
    first, second = first_version(), second_version()
    with pytest.raises(UsageError, match="two laws called `edited`"):
        fs.backtest(TABLE, [first, second])


@pytest.mark.parametrize("law", LAWS.values(), ids=lambda law: law.name)
def test_the_traced_expression_and_its_text_are_the_formula(law: fs.Law) -> None:
    assert law.expression is not None
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {name: 10 ** rng.uniform(1, 6, 20) for name in law.variables}
    values |= {name: rng.uniform(0.1, 2, 20) for name in law.parameters}
    truth = law.function(**values)
    assert np.allclose(evaluate(law.expression, values), truth, rtol=1e-13)
    assert np.allclose(eval(text_of(law.expression), {}, values), truth, rtol=1e-13)


def test_the_joint_law_has_an_expression_of_its_factors() -> None:
    assert joint(["pet_size"]).text == "A * D ** -beta * pet_size ** -alpha.pet_size + E"


def test_a_formula_that_branches_has_no_expression_and_is_told_apart_by_its_values() -> None:
    def formula(D, A):
        return A if np.all(D < 10) else A / D

    assert trace(formula, ("D", "A")) is None
    law = fs.law(linear=("A",), nonlinear={})(formula)
    assert law.expression is None
    assert law.probe
    assert law.text == "return A if np.all(D < 10) else A / D"


def test_parameters_stand_in_the_order_of_the_signature() -> None:
    assert LAWS["additive"].parameters == ("A", "alpha", "B", "beta", "E")


def test_an_option_that_no_law_has_is_refused() -> None:
    with pytest.raises(UsageError, match="no law has an option `contendr`"):
        fs.law(linear=("A",), nonlinear={}, contendr=True)
