"""What else the runs are measured by: the losses and scores beside the outcome."""

from __future__ import annotations

import polars as pl

from finescale.records.measured import outcomes_in
from finescale.records.outcomes import Outcome, known_outcome
from finescale.records.tokenizers import find_tokenizers

_LOSSES = ("test_loss", "loss", "eval_loss")
"""Of several losses the first of these."""


def find_outcomes(rows: pl.DataFrame) -> list[Outcome]:
    """The losses and scores, known by their names, that every one of the runs has; losses first."""
    full = [name for name in rows.columns if rows[name].dtype.is_numeric() and not rows[name].null_count()]
    found = [known_outcome(name, rows[name].to_list()) for name in outcomes_in(full)]
    return [one for one in found if one is not None]


def other_outcomes(rows: pl.DataFrame, outcome: Outcome) -> list[Outcome]:
    """The losses beside a score, the likeliest first; the scores beside a loss.

    Args:
        rows: The runs that have the outcome.
        outcome: What they are read by.
    """
    wanted = "loss" if outcome.kind == "score" else "score"
    found = [one for one in find_outcomes(rows) if one.kind == wanted and one.column != outcome.column]
    return sorted(found, key=lambda one: one.column not in _LOSSES)


def loss_beside(rows: pl.DataFrame, outcome: Outcome) -> Outcome | None:
    """The loss through which a score can be forecast; None where no loss stands beside it everywhere.

    A loss per token of models with different tokenizers is none.

    Args:
        rows: Tuned runs with the score.
        outcome: The score.
    """
    if outcome.kind != "score" or not rows.height:
        return None
    for one in other_outcomes(rows, outcome):
        values = rows[one.column]
        if bool((values.is_finite() & (values > 0)).all()) and not find_tokenizers(rows, one).differ:
            return one
    return None
