"""Columns that say that a run failed, or that it does not count."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import finescale as fs

GOOD = {"method": "full", "finetune_examples": [100, 300, 1000], "test_loss": [2.0, 1.8, 1.65]}


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("finished", True, False), ("converged", "yes", "no"), ("diverged", 0, 1), ("failed", "no", "yes"),
        ("valid", 1, 0), ("exclude", None, "x"), ("done", "True", "False"), ("error", "", "CUDA OOM"),
        ("result", "OK", "FAILED"), ("outlier", "", "*"),
    ],
)  # fmt: skip
def test_a_run_that_failed_by_such_a_column_does_not_count(name: str, good: Any, bad: Any) -> None:
    """They counted, with losses of 11 and 999, and nothing was said."""
    cells = pl.Series([good, good, good, bad], strict=False)
    frame = pl.DataFrame(GOOD).vstack(pl.DataFrame({**GOOD, "test_loss": [11.3] * 3}).tail(1))
    records = fs.read_records(frame.with_columns(cells.alias(name)))
    assert records.frame["test_loss"].to_list() == [2.0, 1.8, 1.65]
    assert sum(records.left_out.values()) == 1


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("error", [0.2, 0.1, 0.3]),
        ("converged", [False] * 3),
        ("valid", [2.0, 1.8, 1.6]),
        ("note", ["a", "", "b"]),
    ],
)
def test_columns_that_say_something_else_leave_nothing_out(name: str, cells: list[Any]) -> None:
    assert fs.read_records(pl.DataFrame({**GOOD, name: cells})).frame.height == 3
