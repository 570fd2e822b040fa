"""The sweep of a study: its candidates, how far their races are, and the choice of each method."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finescale.errors import DataError, FinescaleError
from finescale.runs.leg import Leg
from finescale.spec.expand import PlannedRun
from finescale.spec.parts import Choice
from finescale.study.ledger import Ledger
from finescale.study.race import Race

Tried = Sequence[tuple[Choice, PlannedRun]]
"""The candidates of a method, each with its run."""


class Sweeps:
    """The sweeps of a study, one a method, and what they have chosen."""

    def __init__(self, tried: Mapping[str, Tried], folder: Path, *, race: bool = False) -> None:
        """Takes the candidates.

        Args:
            tried: The candidates of each method that is swept.
            folder: The study's folder.
            race: End candidates early that will not win.
        """
        self.tried = tried
        self.choices: dict[str, Choice] = {}
        self._runs = {
            method: [item.run.fingerprint() for _, item in items] for method, items in tried.items()
        }
        self._races = {
            method: Race([item for _, item in items], folder) for method, items in tried.items() if race
        }
        self._stuck: set[str] = set()

    def undecided(self) -> list[str]:
        """The methods that have no choice yet and may get one."""
        return [method for method in self.tried if method not in self.choices and method not in self._stuck]

    def awaits(self, run: str) -> bool:
        """Whether the run belongs to a sweep that is not decided."""
        return any(run in self._runs[method] for method in self.undecided())

    def holds(self, run: str) -> bool:
        """Whether the run waits for others of its race."""
        return any(self._races[method].holds(run) for method in self.undecided() if method in self._races)

    def leg(self, run: str) -> Leg | None:
        """What of a run is to be made next; None: all of it, and nobody races with it."""
        legs = (self._races[method].leg(run) for method in self.undecided() if method in self._races)
        return next((leg for leg in legs if leg is not None), None)

    def advance(self, ledger: Ledger) -> list[FinescaleError]:
        """Ends the candidates that will not win, and commits the choice of each sweep that is finished.

        Returns:
            Why sweeps cannot choose.
        """
        problems: list[FinescaleError] = []
        for method in self.undecided():
            if method in self._races:
                self._races[method].advance(ledger)
            try:
                choice = self._choose(ledger, method)
            except DataError as error:
                self._stuck.add(method)
                problems.append(error)
                continue
            if choice is not None:
                self.choices[method] = choice
        return problems

    def _choose(self, ledger: Ledger, method: str) -> Choice | None:
        """The committed choice of a method's sweep, made now if its last run is finished."""
        runs, candidates = self._runs[method], [choice for choice, _ in self.tried[method]]
        sweep = hashlib.sha256("".join(sorted(runs)).encode()).hexdigest()[:20]
        committed = ledger.choice(method, sweep)
        if committed is None:
            outcomes = [ledger.record(run) for run in runs]
            if any(outcome is None for outcome in outcomes):
                return None
            index, evidence = choose(method, candidates, [outcome or {} for outcome in outcomes])
            evidence["candidates"] = [
                {"run": run, **candidate} for run, candidate in zip(runs, evidence["candidates"], strict=True)
            ]
            ledger.choose(method, sweep, candidates[index].model_dump(mode="json"), evidence)
            committed = ledger.choice(method, sweep)
            assert committed is not None
        with suppress(ValidationError):
            chosen = Choice.model_validate(committed[0])
            if chosen in candidates:
                return chosen
        raise ledger.damaged(f"the choice of {method} is none of the candidates of its sweep: {committed[0]}")


def choose(
    method: str, candidates: Sequence[Choice], outcomes: Sequence[Mapping[str, Any]]
) -> tuple[int, dict[str, Any]]:
    """The choice of a sweep: the lowest best dev loss; of equal ones the lower learning rate.

    Only runs that are done count. The evidence says whether the chosen rate is the lowest or highest that
    was tried with its optimiser and batch size: then the best rate may lie outside the tried ones.

    Args:
        method: The method, for messages.
        candidates: What was tried.
        outcomes: The record of each.

    Returns:
        The index of the chosen candidate, and the evidence.

    Raises:
        DataError: No candidate has a dev loss.
    """
    losses = [outcome.get("dev_loss") if outcome.get("status") == "done" else None for outcome in outcomes]
    finished = [index for index, loss in enumerate(losses) if loss is not None]
    told = [
        {
            "optimizer": candidate.optimizer.model_dump(mode="json"),
            "learning_rate": candidate.learning_rate,
            "batch_size": candidate.batch_size,
            "dev_loss": loss,
            "status": outcome.get("status"),
        }
        for candidate, loss, outcome in zip(candidates, losses, outcomes, strict=True)
    ]
    if not finished:
        reasons = {str(outcome.get("error") or outcome.get("status")) for outcome in outcomes}
        raise DataError(
            f"no learning rate of {method} worked: all {len(candidates)} runs of its sweep failed",
            wanted="at least one sweep run that is done",
            got="; ".join(sorted(reasons))[:300],
            remedy=f"state other rates in learning_rates.{method}, or `finescale run --retry-failed`",
        )
    best = min(finished, key=lambda index: (losses[index], candidates[index].learning_rate))
    chosen = candidates[best].learning_rate
    rates = [
        item.learning_rate
        for item in candidates
        if item == candidates[best].model_copy(update={"learning_rate": item.learning_rate})
    ]
    edges = [name for name, rate in (("lowest", min(rates)), ("highest", max(rates))) if rate == chosen]
    return best, {
        "rule": "lowest best dev loss; of equal ones the lower learning rate",
        "edge": edges[0] if len(rates) > 1 and edges else None,
        "candidates": told,
    }
