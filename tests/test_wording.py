"""Numbers with intervals are told in as many digits as tell estimate and ends apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finescale.records.values import number
from finescale.wording import count_each, exact_count, interval


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0.52, 0.48, 0.57), "0.520 [0.480, 0.570]"),
        ((1.23451, 1.23412, 1.23507), "1.2345 [1.2341, 1.2351]"),
        ((0.0201, 0.02005, 0.0202), "0.02010 [0.02005, 0.02020]"),
        ((-0.3001, -0.3004, 0.1), "-0.3001 [-0.3004, 0.1000]"),
        ((0.5, 0.5, 0.5), "0.500 [0.500, 0.500]"),
        ((0.5, None, None), "0.5"),
        ((0.5, float("nan"), float("nan")), "0.5"),
        ((None, None, None), "-"),
        ((0.0, 0.0, 0.0), "0 [0, 0]"),
        ((150.0, 100.0, 1234.0), "150 [100, 1.23e+03]"),
    ],
)
def test_an_interval_in_words(numbers: tuple[float, float, float], words: str) -> None:
    assert interval(*numbers) == words


def test_parameters_are_told_in_billions_and_apart() -> None:
    assert count_each([1.3e10, 7e9]) == {1.3e10: "13B", 7e9: "7B"}
    assert count_each([1.301e9, 1.302e9]) == {1.301e9: "1,301,000,000", 1.302e9: "1,302,000,000"}


@given(st.integers(1, 10**10 - 1) | st.sampled_from([7e9, 1.3e10, 441_344, 100_000, 1234]))
def test_a_count_that_is_typed_again_is_the_same(value: float) -> None:
    assert number(exact_count(value), "--base", whole=True) == value


@given(st.floats(-1e6, 1e6), st.floats(1e-5, 1), st.floats(1e-5, 1))
def test_ends_differ_in_words_from_the_number_and_from_each_other(
    value: float, down: float, up: float
) -> None:
    scale = max(abs(value), 1e-3)
    low, high = value - down * scale, value + up * scale
    told = [float(word) for word in re.findall(r"-?[\d.]+(?:e[+-]\d+)?", interval(value, low, high))]
    assert told[1] < told[0] < told[2]
    assert told == pytest.approx([value, low, high], rel=0.006, abs=1e-5 * scale)
