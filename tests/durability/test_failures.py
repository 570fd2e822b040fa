"""A share of the benchmark's 200 injected failures: each kind twice, named with cause and remedy."""

from __future__ import annotations

from pathlib import Path

import failing


def test_every_kind_of_failure_is_named_in_the_last_lines_and_in_its_log(tmp_path: Path) -> None:
    outcome = failing.inject(tmp_path, [*failing.KINDS, *list(failing.KINDS)[:6]], seed=0)
    assert (outcome.named, outcome.code_right, outcome.wrong) == (16, True, ())


def test_the_other_four_and_a_study_in_which_nothing_fails(tmp_path: Path) -> None:
    outcome = failing.inject(tmp_path / "four", list(failing.KINDS)[6:], seed=1)
    assert (outcome.named, outcome.code_right, outcome.wrong) == (4, True, ())
    outcome = failing.inject(tmp_path / "none", [], seed=2)
    assert (outcome.injected, outcome.code_right, outcome.wrong) == (0, True, ())
