"""A share of the benchmark's 200 injected failures: each kind twice, named with cause and remedy."""

from __future__ import annotations

from pathlib import Path

import failing


def test_every_kind_of_failure_is_named_in_the_last_lines_and_in_its_log(tmp_path: Path) -> None:
    outcome = failing.inject(tmp_path, [*failing.KINDS, *failing.KINDS], seed=0)
    assert (outcome.named, outcome.code_right, outcome.wrong) == (20, True, ())
