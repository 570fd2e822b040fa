"""The scale that planning works on: losses as they are; of a score, the share that is lost of its range."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import polars as pl

from finescale.planning.expected import ExpectedLoss
from finescale.records.outcome_words import difference, measured
from finescale.records.outcomes import TEST_LOSS, Outcome, need_best
from finescale.records.records import Records


@dataclass(frozen=True)
class PlanScale:
    """From an outcome to what is lost, which planning's law and priors are about, and back.

    Attributes:
        outcome: What the records are measured by.
        width: What counts as 1: a nat; of a score the distance of its bounds, or the largest distance from
            the best value that was seen.
    """

    outcome: Outcome = TEST_LOSS
    width: float = 1.0

    @classmethod
    def of(cls, records: Records) -> PlanScale:
        """The scale of records.

        Raises:
            UsageError: A score whose best value is not known.
        """
        outcome = records.outcome
        if outcome.kind == "loss":
            return cls(outcome)
        need_best(outcome, "a plan")
        if math.isfinite(outcome.width):
            return cls(outcome, outcome.width)
        lost = records.frame.select(outcome.lost(pl.col(records.loss)).max()).item()
        return cls(outcome, float(lost or 1.0))

    def records(self, records: Records) -> Records:
        """The records with what is lost in the outcome's column."""
        lost = (self.outcome.lost(pl.col(records.loss)) / self.width).alias(records.loss)
        return replace(records, frame=records.frame.with_columns(lost))

    def lost(self, one: ExpectedLoss) -> ExpectedLoss:
        """A forecast on this scale."""
        loss, low, high = (self.outcome.lost(value) / self.width for value in (one.loss, one.low, one.high))
        return ExpectedLoss(loss, min(low, high), max(low, high), self.outcome.lost(one.draws) / self.width)

    def value(self, lost: float) -> float:
        """The outcome of what is lost, within its bounds."""
        found = self.outcome.from_lost(lost * self.width)
        return found if self.outcome.kind == "loss" else min(max(found, self.outcome.low), self.outcome.high)

    def tell(self, lost: float) -> str:
        """A value in words, with its unit."""
        return measured(self.outcome, self.value(lost))

    def tell_gap(self, lost: float) -> str:
        """A difference in words, with its unit."""
        return difference(self.outcome, lost * self.width)


LOSSES = PlanScale()
