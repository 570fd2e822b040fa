"""Laws that a test makes known are gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from finescale.laws.formulas import LAWS


@pytest.fixture(autouse=True)
def laws_as_they_were() -> Iterator[None]:
    before = dict(LAWS)
    yield
    LAWS.clear()
    LAWS.update(before)
