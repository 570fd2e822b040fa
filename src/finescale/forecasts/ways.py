"""Two ways to forecast a score: directly, or through the loss beside it; the backtest says which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from finescale.errors import UsageError
from finescale.forecasts.curves import Curves
from finescale.forecasts.discrepancy import Prior
from finescale.forecasts.factor_slices import FactorSlice
from finescale.forecasts.members import Increment
from finescale.forecasts.priors import ACROSS, ALONG, BETWEEN, prior_of
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.surfaces import Across, Learned, across, learned
from finescale.forecasts.through import through_members
from finescale.records.outcome_words import measured, noun
from finescale.records.outcomes import Outcome
from finescale.wording import capital, factor_name

Via = Literal["auto", "direct", "loss"]
VIAS: tuple[str, ...] = get_args(Via)
Members = tuple[Mapping[str, Increment], Mapping[str, Increment]]
"""Members along the data size, and across a factor."""


@dataclass(frozen=True)
class Ways:
    """How the outcome of one task may be forecast.

    Attributes:
        curves: The task's curves.
        scale: The outcome's scale.
        members: The members of a direct forecast; the loss is forecast with them, too.
        priors: Priors by axis, where they are not the usual ones.
        via: ``auto``, ``direct`` or ``loss``.
        losses: The losses of the same runs, and their scale; None where there is no loss beside them.
    """

    curves: Curves
    scale: OutcomeScale
    members: Members
    priors: Mapping[str, Prior]
    via: Via = "auto"
    losses: tuple[Curves, OutcomeScale] | None = None

    @property
    def through(self) -> Mapping[str, Increment]:
        """The members that go through the loss."""
        return {} if self.losses is None else through_members(self.losses[1].outcome.name)

    def learn(self) -> Along:
        """Learns the data size's axis both ways where there are two, and takes the better one."""
        direct = learned(self.curves, self.members[0], self.scale, self.prior("along"))
        if self.losses is None or self.via == "direct":
            return Along(direct, self.members[0])
        curves, scale = self.losses
        loss = learned(curves, self.members[0], scale, prior_of(ALONG, scale, curves.paths))
        other = learned(self.curves, self.through, self.scale, self.prior("along"), loss)
        taken = self._is_better(direct.axis.miss, other.axis.miss)
        said = self._said("", direct.axis.miss, other.axis.miss)
        return Along(other if taken else direct, self.through if taken else self.members[0], loss, said)

    def learn_across(
        self, along: Along, slices: Sequence[FactorSlice]
    ) -> tuple[Across, Mapping[str, Increment], str]:
        """Learns the axis of one factor, both ways where there are two; its members, and what was chosen."""
        members, priors = self.members[1], (self.prior("across"), self.prior("between"))
        direct = across(along.known, slices, members, self.scale, priors)
        if self.losses is None or along.loss is None:
            return direct, members, ""
        curves, scale = self.losses
        own = (prior_of(ACROSS, scale, curves.paths), prior_of(BETWEEN, scale, curves.paths))
        loss = across(along.loss, slices, members, scale, own)
        other = across(along.known, slices, self.through, self.scale, priors, loss)
        misses = direct.axis.miss, other.axis.miss
        said = self._said(f" across the {factor_name(str(slices[0].factor))}", *misses)
        return (other, self.through, said) if self._is_better(*misses) else (direct, members, said)

    def prior(self, axis: str) -> Prior:
        """The prior of an axis's discrepancy."""
        usual = {"along": ALONG, "across": ACROSS, "between": BETWEEN}[axis]
        return self.priors.get(axis) or prior_of(usual, self.scale, self.curves.paths)

    def _is_better(self, direct: float, through: float) -> bool:
        """Whether the score goes through the loss; what could not be tested goes directly."""
        return self.via == "loss" or through < direct

    def _said(self, where: str, direct: float, through: float) -> str:
        """Which way was taken and why, in a sentence; empty where it was asked for."""
        if self.losses is None or self.via != "auto":
            return ""
        outcome, loss = self.scale.outcome, self.losses[1].outcome.name
        task = f" of {self.curves.task}" if self.curves.task else ""
        who = f"{capital(noun(outcome))}{task} is forecast"
        if not (direct >= 0 and through >= 0):
            return (
                f"{who}{where} directly; too little can be hidden to tell whether it goes better through the "
                f"{loss} (--via loss)."
            )
        off, other = measured(outcome, direct), measured(outcome, through)
        if through < direct:
            return (
                f"{who}{where} through the {loss}: hidden runs are missed by {other} so, by {off} directly "
                "(--via direct)."
            )
        return (
            f"{who}{where} directly: hidden runs are missed by {off} so, by {other} through the {loss} "
            "(--via loss)."
        )


@dataclass(frozen=True)
class Along:
    """What was learned along the data size.

    Attributes:
        known: The curves of the outcome.
        members: The members that carry them on.
        loss: Those of the loss beside it; None where the forecast does not look at it.
        said: Which way was taken and why; empty where there was one.
    """

    known: Learned
    members: Mapping[str, Increment]
    loss: Learned | None = None
    said: str = ""


def check_via(via: str, outcome: Outcome, loss: Outcome | None, source: str) -> Via:
    """The way that is asked for.

    Raises:
        UsageError: A word that is none; the way through a loss that the table does not have.
    """
    if via not in VIAS:
        raise UsageError(f"--via {via}", wanted=" or ".join(VIAS), got=via)
    if via == "loss" and outcome.kind == "loss":
        raise UsageError(
            "--via loss: what is forecast is a loss",
            wanted="a score that is forecast through the loss: --score COLUMN --via loss",
            got=f"the {outcome.name}", where=source,
        )  # fmt: skip
    if via == "loss" and loss is None:
        raise UsageError(
            f"--via loss: no loss stands beside every {noun(outcome)}",
            wanted="a column that is called a loss, with a number above 0 in every row that has the score",
            remedy="--via direct, or fill the loss", where=source,
        )  # fmt: skip
    return via  # type: ignore[return-value]
