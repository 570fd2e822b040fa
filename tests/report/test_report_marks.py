"""Marks of several series at one place stand side by side; others stay where they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finescale.report.drawing.marks import Reach, side_by_side

ACROSS, UP = Reach(100, 10_000, True, 286), Reach(1, 3, True, 220)


def rows(*points: tuple[str, float, float]) -> list[dict[str, object]]:
    return [{"series": series, "x": x, "y": y} for series, x, y in points]


def places(made: list[dict[str, object]]) -> np.ndarray:
    return np.array([ACROSS.place(np.array([point["beside"]]))[0] for point in made])


def test_equal_methods_stand_side_by_side_in_their_order_around_their_place() -> None:
    made = side_by_side(rows(("a", 1000, 2), ("b", 1000, 2), ("c", 1000, 2.001)), ACROSS, UP)
    found = places(made)
    assert np.all(np.diff(found) > 6)
    assert np.isclose(found.mean(), 143)
    assert [point["x"] for point in made] == [1000, 1000, 1000]


def test_what_hides_nothing_stays_where_it_is() -> None:
    made = side_by_side(rows(("a", 1000, 2), ("b", 1000, 2.2), ("a", 1010, 2)), ACROSS, UP)
    assert [point["beside"] for point in made] == [1000, 1000, 1010]
    assert side_by_side([], ACROSS, UP) == []


@given(st.data())
def test_no_mark_of_one_series_covers_one_of_another(data: st.DataObject) -> None:
    sizes = [128 * 2**k for k in range(6)]
    values = st.floats(1, 3)
    near = {size: data.draw(values) for size in sizes}
    shift = st.sampled_from([0, 0, 0, 0.003, 0.02, 0.5])
    points = [(name, float(s), min(near[s] + data.draw(shift), 3.0)) for name in "abcd" for s in sizes]
    made = side_by_side(rows(*points), ACROSS, UP)
    x, y = places(made), UP.place(np.array([point["y"] for point in made], dtype=float))
    names = np.array([str(point["series"]) for point in made])
    near_by = (np.abs(x[:, None] - x) < 4) & (np.abs(y[:, None] - y) < 4) & (names[:, None] != names)
    assert not near_by.any()
