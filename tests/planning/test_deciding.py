"""What further runs would do to an advice, and in which order runs of a study come."""

from __future__ import annotations

import numpy as np
import pytest

from finescale.planning.least_cost import in_turn
from finescale.planning.rest import advice_to_come


def draws(gap: float, spread: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: mean + spread * rng.standard_normal(2000) for name, mean in (("a", 0.0), ("b", gap))}


def test_runs_that_tell_nothing_change_nothing() -> None:
    for gap, advised in ((3.0, {"a": 1.0, "b": 0.0}), (0.2, {"a": 0.0, "b": 0.0})):
        to_come = advice_to_come(draws(gap), {"a": 1.0, "b": 1.0}, 0.95)
        assert to_come.named == advised
        assert to_come.decided == advised["a"]


def test_runs_that_tell_all_name_each_method_as_often_as_it_is_best() -> None:
    told = draws(1.0)
    to_come = advice_to_come(told, {"a": 0.0, "b": 0.0}, 0.95)
    best = np.mean(told["a"] < told["b"])
    assert to_come.named["a"] == pytest.approx(best, abs=0.03)
    assert to_come.named["b"] == pytest.approx(1 - best, abs=0.03)
    assert to_come.other_than("a") == to_come.named["b"]
    assert to_come.other_than(None) == pytest.approx(1.0)
    assert to_come.decided == 1.0


def test_the_more_is_left_unknown_the_less_often_a_method_is_named() -> None:
    named = [
        advice_to_come(draws(1.0), dict.fromkeys("ab", left), 0.95).other_than(None)
        for left in (0.0, 0.3, 0.6, 0.95)
    ]
    assert named == sorted(named, reverse=True)
    assert named[0] > named[-1] + 0.5


def test_a_method_whose_rate_is_not_tuned_is_never_to_be_advised() -> None:
    to_come = advice_to_come(draws(3.0), {"a": 0.5, "b": 0.5}, 0.95, untuned=["a"])
    assert to_come.named["a"] == 0.0
    assert to_come.other_than(None) == to_come.named["b"] < 0.05
    assert to_come.decided < 0.05


def test_one_run_of_each_method_at_the_question_comes_first_and_alone() -> None:
    runs, cost = np.array([2, 1, 3, 1]), np.array([5.0, 1.0, 7.0, 2.0])
    target = np.array([True, False, True, False])
    assert sorted(in_turn(runs, cost, target, room=100.0, slots=1)) == [0, 2]
    assert in_turn(runs, cost, target, room=100.0, slots=4) == [0, 2, 0, 2]


def test_without_runs_at_the_question_the_cheapest_come_until_the_room_is_used() -> None:
    runs, cost = np.array([2, 1, 3, 1]), np.array([5.0, 1.0, 7.0, 2.0])
    nowhere = np.zeros(4, dtype=bool)
    assert in_turn(runs, cost, nowhere, room=8.0, slots=1) == [1, 3, 0]
    assert in_turn(runs, cost, nowhere, room=0.5, slots=1) == [1]
    assert in_turn(runs, cost, nowhere, room=0.5, slots=3) == [1, 3, 0]
    assert in_turn(np.zeros(4), cost, nowhere, room=8.0, slots=3) == []
