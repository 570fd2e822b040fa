"""Whether the sweep's learning rates hold at the corners of a study, and the rates between the corners.

A sweep runs at one small setting. `finescale run --retune` checks its choice at the largest data size and at
the smallest and largest model: there the chosen rate is tried with its two neighbours, and one further while
the best lies at the end. The study's rates are then interpolated in log N and log D between these optima.

The runs of the checks are of the sweep: none enters a fit. Everything follows from the ledger's records: a
driver that was killed goes on where it was, and a study that was retuned once stays so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import log

from finescale.runs.expected import describe
from finescale.spec.expand import PlannedRun, Resolve, swept_run
from finescale.spec.parts import Choice, ModelStar
from finescale.spec.study import Study
from finescale.study.ledger import Ledger

FURTHEST = 3
"""So many steps from the chosen rate are tried at most."""
USUAL_STEP = 2.0
"""The ratio between neighbouring rates where the sweep tried one rate of the chosen optimiser only."""
DIGITS = 3
"""Significant digits of an interpolated rate."""


@dataclass
class Check:
    """A corner at which a method's rate is checked.

    Attributes:
        model, examples: The corner.
        size: The model's parameters.
        runs: Steps from the chosen rate to the run that tries it there.
        best: The steps of the lowest dev loss, once it lies between others.
    """

    model: str
    examples: int
    size: int
    runs: dict[int, PlannedRun] = field(default_factory=dict)
    best: int | None = None


class Corners:
    """The checks of all methods, and the rates that follow from them."""

    def __init__(self, study: Study, resolve: Resolve) -> None:
        """Takes the study.

        Args:
            study: The study.
            resolve: Finds models and content hashes.
        """
        self._study = study
        self._resolve = resolve
        self._chosen: dict[str, Choice] = {}
        self._checks: dict[str, list[Check]] = {}
        self._active: set[str] = set()

    def advance(self, ledger: Ledger, chosen: Mapping[str, Choice], *, retune: bool) -> None:
        """Takes over what the ledger has of the checks; begins those of methods with a choice.

        Args:
            ledger: The study's ledger.
            chosen: What the sweeps chose.
            retune: Check the rates; without it only a study whose rates were checked before goes on so.
        """
        for method, choice in chosen.items():
            if method not in self._checks:
                self._chosen[method], self._checks[method] = choice, self._corners(method, choice)
            tries = [run for check in self._checks[method] for steps, run in check.runs.items() if steps]
            if retune or ledger.swept([run.run.fingerprint() for run in tries]):
                self._active.add(method)
                for check in self._checks[method]:
                    self._look(ledger, method, check)

    def state(self) -> tuple[tuple[str, str, int, int | None, int], ...]:
        """What the plan depends on: every check and how far it is."""
        return tuple(
            (method, check.model, check.examples, check.best, len(check.runs))
            for method in sorted(self._active)
            for check in self._checks[method]
        )

    def runs(self) -> list[PlannedRun]:
        """The runs of the checks that are known now."""
        return [
            run for method in self._active for check in self._checks[method] for run in check.runs.values()
        ]

    def unsettled(self) -> set[str]:
        """The methods whose rates are being checked."""
        return {
            method for method in self._active if any(check.best is None for check in self._checks[method])
        }

    def awaits(self, run: str) -> bool:
        """Whether the run belongs to a check that is not finished."""
        return any(
            item.run.fingerprint() == run
            for method in self.unsettled()
            for check in self._checks[method]
            for item in check.runs.values()
        )

    def choice(self, method: str, model: str, examples: int) -> tuple[Choice, str] | None:
        """A method's rate at a setting, and the corners that it comes from; None: the sweep's everywhere."""
        if method not in self._active or method in self.unsettled():
            return None
        sweep, checks = self._study.sweep, self._checks[method]
        assert sweep is not None
        models = {check.size: check.best or 0 for check in checks if check.model != sweep.model}
        sizes = {check.examples: check.best or 0 for check in checks if check.model == sweep.model}
        size = self._size(method, model, examples)
        steps = 0.0
        if size is not None and models:
            here = self._size(method, sweep.model, sweep.finetune_examples)
            steps += between(size, {**({here: 0} if here else {}), **models})
        if sizes:
            steps += between(examples, {sweep.finetune_examples: 0, **sizes})
        chosen = self._chosen[method]
        told = "; ".join(
            f"{model} at {examples}"
            for model, examples in [
                (sweep.model, sweep.finetune_examples),
                *((check.model, check.examples) for check in checks),
            ]
        )
        rate = chosen.learning_rate * self._step(method) ** steps
        rate = chosen.learning_rate if abs(steps) < 1e-9 else float(f"{rate:.{DIGITS}g}")
        return chosen.model_copy(update={"learning_rate": rate}), told

    def _corners(self, method: str, choice: Choice) -> list[Check]:
        """The corners of a method that are not the sweep's own setting, with the rate and its neighbours."""
        study, sweep = self._study, self._study.sweep
        assert sweep is not None
        sizes = [size for star in study.grids for size in star.finetune_examples.of(method) or ()]
        models = dict.fromkeys([sweep.model, study.base.model])
        models |= dict.fromkeys(
            name
            for star in study.grids
            if isinstance(star, ModelStar) and star.finetune_examples.of(method)
            for name in star.values
        )
        known = {name: self._size(method, name, sweep.finetune_examples) for name in models}
        sized = sorted((size, name) for name, size in known.items() if size is not None)
        places = [(sweep.model, max(sizes))] if max(sizes) != sweep.finetune_examples else []
        if sized:
            ends = dict.fromkeys(name for _, name in (sized[0], sized[-1]))
            places += [(name, sweep.finetune_examples) for name in ends if name != sweep.model]
        checks = [Check(model, examples, known[model] or 0) for model, examples in places]
        for check in checks:
            check.runs = {steps: self._try(method, choice, check, steps) for steps in (-1, 0, 1)}
        return checks

    def _look(self, ledger: Ledger, method: str, check: Check) -> None:
        """Finds the best rate of a check, or tries one further."""
        while check.best is None:
            records = {steps: ledger.record(run.run.fingerprint()) for steps, run in check.runs.items()}
            if any(record is None for record in records.values()):
                return
            losses = {
                steps: float(record["dev_loss"])
                for steps, record in records.items()
                if record is not None and record["status"] == "done" and record.get("dev_loss") is not None
            }
            best = min(losses, key=lambda steps: (losses[steps], abs(steps), steps), default=0)
            further = best - 1 if best == min(check.runs) else best + 1
            if best in (min(check.runs), max(check.runs)) and abs(further) <= FURTHEST:
                check.runs[further] = self._try(method, self._chosen[method], check, further)
            else:
                check.best = best

    def _try(self, method: str, choice: Choice, check: Check, steps: int) -> PlannedRun:
        rate = choice.learning_rate
        if steps:
            rate = float(f"{rate * self._step(method, choice) ** steps:.{DIGITS}g}")
        tried = choice.model_copy(update={"learning_rate": rate})
        return swept_run(self._study, method, tried, (check.model, check.examples), self._resolve)

    def _step(self, method: str, choice: Choice | None = None) -> float:
        """The ratio between neighbouring rates: of the chosen one to the nearest that the sweep tried."""
        chosen = choice or self._chosen[method]
        ratios = [
            max(item.learning_rate / chosen.learning_rate, chosen.learning_rate / item.learning_rate)
            for item in self._study.candidates(method)
            if item.optimizer == chosen.optimizer and item.learning_rate != chosen.learning_rate
        ]
        return min(ratios, default=USUAL_STEP)

    def _size(self, method: str, model: str, examples: int) -> int | None:
        """A model's parameters, where they are known without opening it."""
        choice = self._study.candidates(method)[0]
        run = swept_run(self._study, method, choice, (model, examples), self._resolve)
        return describe(run)["model_params"]


def between(value: float, points: Mapping[int, float]) -> float:
    """The value of a function at a point, linear in the log between known ones and constant beyond them.

    Args:
        value: Where.
        points: Its values at some points.

    Example:
        >>> between(1024, {256: 0, 4096: -2})
        -1.0
    """
    known: Sequence[tuple[float, float]] = sorted((log(at), found) for at, found in points.items())
    at = min(max(log(value), known[0][0]), known[-1][0])
    for (left, low), (right, high) in pairwise(known):
        if left <= at <= right:
            return low + (at - left) / (right - left) * (high - low)
    return float(known[0][1])
