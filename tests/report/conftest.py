"""The made-up study, fitted once for all tests of the report."""

from __future__ import annotations

import polars as pl
import pytest
from synthetic import scores_frame, study_frame

from finescale.records.records import read_records
from finescale.report.evidence import Evidence, gather


@pytest.fixture(scope="session")
def frame() -> pl.DataFrame:
    return study_frame()


@pytest.fixture(scope="session")
def evidence(frame: pl.DataFrame) -> Evidence:
    return gather(read_records(frame), bootstrap=100, scores=scores_frame(frame))
