"""Outcomes in words: units, digits and what laws are of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finescale.records.outcome_words import (
    axis,
    deviation_unit,
    difference,
    difference_unit,
    law_words,
    lost_words,
    measured,
)
from finescale.records.outcomes import TEST_LOSS, Outcome, named_score

PERCENT = named_score("accuracy", [36.8, 52.1], percent=True)
FRACTION = named_score("accuracy", [0.368, 0.521])
ERROR = named_score("error_rate", [0.1, 0.2])
MCC = named_score("mcc", [-0.1, 0.6])
BLEURT = named_score("bleurt", [-0.3, 0.7])
PER_BYTE = replace(TEST_LOSS, unit="nats per byte")
assert None not in (PERCENT, FRACTION, ERROR, MCC, BLEURT)


@pytest.mark.parametrize(
    ("outcome", "value", "gap", "unit", "table"),
    [
        (TEST_LOSS, "0.512 nats", "0.5123 nats", "nats", "nats per target token"),
        (PER_BYTE, "0.512 nats per byte", "0.5123 nats per byte", "nats per byte", "nats per byte"),
        (FRACTION, "0.512", "0.5123", "accuracy", "accuracy"),
        (PERCENT, "0.51%", "0.512 points", "points", "points"),
        (BLEURT, "0.512", "0.5123", "bleurt", "bleurt"),
    ],
)
def test_values_and_differences_have_their_own_units(
    outcome: Outcome, value: str, gap: str, unit: str, table: str
) -> None:
    assert measured(outcome, 0.51234) == value
    assert difference(outcome, 0.51234, 1) == gap
    assert (difference_unit(outcome), deviation_unit(outcome)) == (unit, table)


@pytest.mark.parametrize(
    ("outcome", "lost", "title"),
    [
        (TEST_LOSS, "test loss", "test loss (nats per token, log scale)"),
        (PER_BYTE, "test loss", "test loss (nats per byte, log scale)"),
        (FRACTION, "1 - accuracy", "accuracy (higher is better)"),
        (PERCENT, "100 - accuracy", "accuracy, % (higher is better)"),
        (ERROR, "error rate", "error rate (lower is better)"),
        (MCC, "1 - mcc", "mcc (higher is better)"),
        (BLEURT, "", "bleurt (higher is better)"),
    ],
)
def test_laws_and_axes_say_what_they_are_of(outcome: Outcome, lost: str, title: str) -> None:
    assert lost_words(outcome) == lost
    assert axis(outcome) == title


def test_a_sentence_says_what_the_law_of_a_score_is_of() -> None:
    assert law_words(TEST_LOSS) == law_words(BLEURT) == ""
    assert law_words(FRACTION) == " L is 1 - accuracy, its distance from the best value."
    assert law_words(ERROR) == " L is the error rate."


@pytest.mark.parametrize("column", ["pass@10", "eval/pass@10", "pass_at_10", "pass10"])
def test_a_pass_rate_is_called_as_people_write_it(column: str) -> None:
    outcome = named_score(column, [0.2, 0.4])
    assert outcome is not None
    assert outcome.name == "pass@10"
