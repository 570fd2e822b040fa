"""The made-up study, fitted once for all tests of the advice."""

from __future__ import annotations

import pytest
from made_up import runs

from finescale.advice.candidate import Candidates
from finescale.advice.candidates import candidates
from finescale.advice.cost import Costs, costs
from finescale.records.records import read_records


@pytest.fixture(scope="session")
def found() -> Candidates:
    return candidates(read_records(runs()), bootstrap=200)


@pytest.fixture(scope="session")
def prices(found: Candidates) -> Costs:
    return costs(found.runs, price_per_hour=3.0)
