"""CI's share of the fuzzing in `benchmarks/durability.py`: malformed studies, tables of runs and fits."""

from __future__ import annotations

import fuzzing
import pytest


@pytest.mark.slow
def test_malformed_files_are_taken_or_refused_in_words_that_say_where() -> None:
    tally = fuzzing.fuzz(0, 400)
    assert tally.wrong == []
    assert tally.ends.total() == 400
    assert min(tally.ends["taken"], tally.ends["refused"]) > 20  # neither all harmless nor all rubbish
    assert tally.peak_bytes < 1.5e9


@pytest.mark.slow
def test_commands_end_malformed_files_with_words_and_an_exit_code() -> None:
    tally = fuzzing.call(0, 5)
    assert tally.wrong == []
    assert tally.ends.total() == 5
