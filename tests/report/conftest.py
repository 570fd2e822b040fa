"""The made-up study, fitted once for all tests of the report."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from synthetic import scores_frame, study_frame

from finescale.records.records import read_records
from finescale.report.evidence import Evidence, gather
from finescale.report.section import Source
from finescale.report.write import write_report


@pytest.fixture(scope="session")
def frame() -> pl.DataFrame:
    return study_frame()


@pytest.fixture(scope="session")
def page(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page, with the figures and tables beside it."""
    return write_report(evidence, Source("nano", ("finescale report nano",)), tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="session")
def evidence(frame: pl.DataFrame) -> Evidence:
    return gather(read_records(frame), bootstrap=100, scores=scores_frame(frame))
