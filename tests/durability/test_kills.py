"""CI's share of `benchmarks/durability.py`: a real study under kill -9, and many writers of one ledger."""

from __future__ import annotations

import random
from pathlib import Path

import committing
import killing
import pytest


@pytest.mark.slow
def test_kill_9_loses_nothing_repeats_nothing_and_changes_no_number(tmp_path: Path) -> None:
    seconds = killing.finish(tmp_path / "undisturbed", 2)
    outcome = killing.disturb(tmp_path / "disturbed", 3, seconds / 2, random.Random(0))
    assert outcome.kills > 0
    assert (outcome.lost, outcome.duplicated) == (0, 0)
    assert outcome.acknowledged == killing.RUNS
    assert outcome.table == killing.table_hash(tmp_path / "undisturbed" / "study")


@pytest.mark.slow
def test_commits_of_many_processes_are_all_there(tmp_path: Path) -> None:
    outcome = committing.many_writers(tmp_path, processes=4, commits=100)
    assert outcome.lost == 0
    assert len(outcome.milliseconds) == 400
