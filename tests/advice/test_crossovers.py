"""Crossovers against a brute-force scan of the paper's laws, and laws made to cross where we want."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from finescale.advice.crossovers import crossovers
from finescale.errors import DataError, UsageError
from finescale.laws.fitted import FittedLaw, Parameter
from finescale.laws.formulas import get_law
from finescale.laws.published import equal_reducible_loss, published

METHODS = ("full", "lora", "prompt")


def power(
    method: str, A: float, beta: float, E: float, draws: dict[str, np.ndarray] | None = None
) -> FittedLaw:
    numbers = {"A": A, "beta": beta, "E": E}
    return FittedLaw(
        by={"task": "t", "method": method},
        factors=(),
        law="power",
        base={},
        parameters={name: Parameter(value, np.nan, np.nan) for name, value in numbers.items()},
        draws=draws or {},
        run_deviation=np.zeros(len(next(iter(draws.values()))) if draws else 0),
        objective=0.0,
        n_fitted=9,
        n_held_out=0,
        delta_e=0.0,
        delta_h=float("nan"),
        status=(),
        columns={"": {"D": "finetune_examples"}},
        ranges={"finetune_examples": (100.0, 1e5)},
        formula=get_law("power"),
    )


def jittered(numbers: dict[str, float], spread: float, count: int = 400) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: value * np.exp(spread * rng.standard_normal(count)) for name, value in numbers.items()}


@pytest.mark.parametrize("task", ["wmt14-en-de", "wmt19-en-zh", "mlsum"])
def test_every_crossover_of_the_paper_s_laws_is_the_one_of_a_brute_force_scan(task: str) -> None:
    laws = [published(task, method) for method in METHODS]
    values = [1e9, 2e9, 4e9, 8e9, 16e9]
    sizes = np.geomspace(800, 4e7, 400_001)
    for pair, (first, second) in zip(
        crossovers(laws, values, within=(800, 4e7)), combinations(laws, 2), strict=True
    ):
        for point in pair.points:
            at = {"model_params": point.at, "finetune_examples": sizes}
            gap = first.predict(at).value - second.predict(at).value
            flips = np.flatnonzero(np.signbit(gap[1:]) != np.signbit(gap[:-1]))
            assert len(point.crossings) == len(flips)
            for crossing, flip in zip(point.crossings, flips, strict=True):
                assert sizes[flip] <= crossing.examples <= sizes[flip + 1]
                ahead = pair.first if gap[flip] < 0 else pair.second
                assert crossing.below == ahead


def test_published_en_zh_crossovers_are_those_of_table_4_at_face_value() -> None:
    pair = crossovers([published("wmt19-en-zh", "full"), published("wmt19-en-zh", "lora")], [1e9, 4e9, 8e9])[
        0
    ]
    first, second, third = pair.points
    assert first.crossings[0].examples == pytest.approx(2.06e5, rel=0.01)
    assert second.crossings[0].examples == pytest.approx(6.11e6, rel=0.01)
    assert (first.crossings[0].below, first.crossings[0].above) == ("lora", "full")
    assert third.crossings == ()
    assert third.better == "lora"
    assert second.crossings[0].outside == pytest.approx(6.11e6 / 9e4, rel=0.01)
    assert "do not rely on it" in second.words


def test_h_and_gamma_stand_beside_every_pair_as_in_table_5() -> None:
    laws = [published("wmt14-en-de", method) for method in METHODS]
    for pair, (first, second) in zip(crossovers(laws), combinations(laws, 2), strict=True):
        assert (pair.H, pair.gamma) == equal_reducible_loss(first, second)
    (pair,) = crossovers([power("a", 3.0, 0.3, 0.5), power("b", 1.0, 0.1, 0.5)])
    assert math.isnan(pair.H)


def test_equal_reducible_loss_is_not_called_the_crossover() -> None:
    (pair,) = crossovers([published("wmt14-en-de", "full"), published("wmt14-en-de", "lora")], [1e9])
    point = pair.points[0]
    assert point.crossings == ()
    assert point.equal_reducible == pytest.approx(pair.H * 1e9**pair.gamma)
    assert 1e4 < point.equal_reducible < 1e5
    assert "do not cross" in pair.sentence
    written = pair.to_dict()["points"][0]
    assert written["crossings"] == []
    assert written["equal_reducible_loss"] == pytest.approx(point.equal_reducible)


def test_two_crossings_close_together_are_both_found() -> None:
    one, other = power("a", 2.0, 0.4, 1.0), power("b", 1.0, 0.1, 0.0)
    sizes = np.geomspace(10, 1e6, 200_001)
    gap = one.predict(finetune_examples=sizes).value - other.predict(finetune_examples=sizes).value
    deepest = float(gap.min())
    lifted = power("a", 2.0, 0.4, 1.0 - deepest - 1e-7)
    (pair,) = crossovers([lifted, other])
    low, high = pair.points[0].crossings
    assert 1 < high.examples / low.examples < 1.1
    assert (low.below, low.above, high.above) == ("b", "a", "b")


def test_interval_holds_the_crossing_and_no_crossing_leaves_an_end_open() -> None:
    numbers = {"A": 3.0, "beta": 0.3, "E": 0.5}, {"A": 1.0, "beta": 0.1, "E": 0.5}
    # A1 D^-.3 = A2 D^-.1: D = 3^5 = 243
    tight = [
        power(name, **n, draws=jittered(n, 0.002) | {"E": np.full(400, 0.5)})
        for name, n in zip("ab", numbers, strict=True)
    ]
    (point,) = crossovers(tight)[0].points
    (crossing,) = point.crossings
    assert crossing.examples == pytest.approx(243, rel=1e-9)
    assert crossing.low < 243 < crossing.high < 300
    assert point.probability == 1.0
    exact = 0.5 * (np.log(tight[0].draws["A"]) - np.log(tight[1].draws["A"]))
    exact = 2 * exact / (tight[0].draws["beta"] - tight[1].draws["beta"])
    assert np.log(crossing.low) == pytest.approx(np.percentile(exact, 5), abs=0.02)
    assert np.log(crossing.high) == pytest.approx(np.percentile(exact, 95), abs=0.02)
    wide = [
        replace(law, draws={**law.draws, "E": 0.5 + spread * np.linspace(-1, 1, 400)})
        for law, spread in zip(tight, (0.5, 0.0), strict=True)
    ]
    (point,) = crossovers(wide)[0].points
    assert point.probability < 0.95
    assert point.crossings[0].high == math.inf
    assert "beyond the range" in point.words


def test_equal_laws_do_not_cross() -> None:
    (pair,) = crossovers([power("a", 3.0, 0.3, 0.5), power("b", 3.0, 0.3, 0.5)])
    assert pair.points[0].crossings == ()


def test_one_method_has_no_crossovers_and_other_tasks_are_refused() -> None:
    law = power("a", 3.0, 0.3, 0.5)
    with pytest.raises(DataError, match="one method only"):
        crossovers([law])
    with pytest.raises(UsageError, match="laws of one task and one factor"):
        crossovers([law, replace(law, by={"task": "u", "method": "b"})])
    with pytest.raises(UsageError, match="0 < low < high"):
        crossovers([law, power("b", 1.0, 0.1, 0.5)], within=(5, 5))


def test_hostile_names_are_escaped_in_notebooks() -> None:
    (pair,) = crossovers([power("<script>", 3.0, 0.3, 0.5), power("b", 1.0, 0.1, 0.5)])
    assert "<script>" not in pair._repr_html_()
    assert "&lt;script&gt;" in pair._repr_html_()
