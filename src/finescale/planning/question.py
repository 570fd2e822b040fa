"""What is asked of a plan, what may be run for it, and the terms it is made under."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from finescale.advice.cost import Costs
from finescale.errors import DataError, UsageError
from finescale.planning.beliefs import PRIORS, DesignPoints
from finescale.planning.known import MethodKnowledge
from finescale.planning.outlook import Planned
from finescale.records.records import DATA_SIZE, FACTORS
from finescale.wording import method_name

if TYPE_CHECKING:
    from finescale.planning.choices import Choices

Array = np.ndarray[Any, Any]
BEND = 0.02
"""How far the law may be off, in nats for every e-fold between a setting and the target."""
CHECK_SHARE = 0.2
"""The part of the spending that goes near the target, where it would expose a law that fails."""


@dataclass(frozen=True)
class Question:
    """Where the loss is to be predicted, or the best method to be found, and what that may cost.

    Attributes:
        target: ``finetune_examples`` and one factor, e.g.
            ``{"model_params": 1.6e10, "finetune_examples": 1e6}``.
        budget: FLOPs.

    Raises:
        UsageError: A target or budget that makes no sense.
    """

    target: Mapping[str, float]
    budget: float

    def __post_init__(self) -> None:
        known = (DATA_SIZE, *FACTORS)
        example = 'e.g. "model_params=1.6e10,finetune_examples=1e6"'
        for name, value in self.target.items():
            if name not in known:
                raise UsageError(
                    f"the target names an unknown column `{name}`", wanted=", ".join(known), remedy=example
                )
            if not 0 < value < math.inf:
                raise UsageError(f"the target's {name}", wanted="a number above 0", got=f"{value:g}")
        if DATA_SIZE not in self.target or sum(name in FACTORS for name in self.target) != 1:
            raise UsageError(
                "the target needs finetune_examples and one factor",
                wanted=example,
                got=", ".join(self.target) or "nothing",
            )
        if not 0 < self.budget < math.inf:
            raise UsageError(f"--budget {self.budget:g}", wanted="FLOPs above 0", got=f"{self.budget:g}")

    @property
    def factor(self) -> str:
        """The target's factor."""
        return next(name for name in self.target if name in FACTORS)

    @property
    def at(self) -> tuple[float, float]:
        """The target's value of the factor and its data size."""
        return self.target[self.factor], self.target[DATA_SIZE]


@dataclass(frozen=True)
class Terms:
    """What a plan takes for given.

    Attributes:
        noise: Standard deviation of a run, in nats or the score's unit; None: as the records show.
        bend: How far the law may be off, in nats (of a score: as a share of its range) for every e-fold
            between a setting and the target.
        check_share: The part of the budget that goes to the settings nearest to the target.
        seeds: Most runs of one setting, earlier ones counted.
        seed: Seed of the draws.

    Raises:
        UsageError: A value that makes no sense.
    """

    noise: float | None = None
    bend: float = BEND
    check_share: float = CHECK_SHARE
    seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for flag, good, wanted, value in (
            ("--bend", 0 <= self.bend < math.inf, "nats, 0 or more", self.bend),
            ("--check-share", 0 <= self.check_share <= 1, "between 0 and 1", self.check_share),
            ("--seeds", self.seeds >= 1, "at least 1", self.seeds),
            ("--noise", self.noise is None or 0 < self.noise < math.inf, "nats above 0", self.noise or 0),
        ):
            if not good:
                raise UsageError(f"{flag} {value:g}", wanted=wanted, got=f"{value:g}")


@dataclass(frozen=True)
class Offer:
    """The runs that can be made, and what each costs.

    Attributes:
        choices: The settings on offer.
        costs: What a run costs.
        reachable: Whether the target can be run although its value of the factor is not on offer.
    """

    choices: Choices
    costs: Costs
    reachable: bool = False

    def settings(self, method: str) -> tuple[Array, Array]:
        """The method's settings to choose from: values of the factor and data sizes, [N]."""
        x, d = np.meshgrid(*self.choices.sizes[method], indexing="ij")
        return x.ravel(), d.ravel()

    def price(self, method: str, factor: str, value: float, examples: float) -> float:
        """FLOPs of a run.

        Raises:
            DataError: They are not known.
        """
        flops = self.costs.of(method, self.choices.params(factor, value), examples).flops
        if not math.isfinite(flops):
            raise DataError(
                f"what a run of {method_name(method)} costs is not known",
                wanted="train_flops or tokens_processed in the records, and model_params",
                got=self.costs.basis,
                remedy="give --tokens-per-example (tokens of one example, times the epochs)",
            )
        return flops

    def knowledge(
        self, method: str, question: Question, measured: pl.DataFrame, noise: float, bend: float
    ) -> MethodKnowledge:
        """What is known of a method: settings on offer come first, then the target and others with runs."""
        factor = question.factor
        x, d = self.settings(method)
        place = set(zip(x, d, strict=True))
        can = self.reachable or question.at[0] in self.choices.sizes[method][0]
        other = [question.at] if can else []
        other += [(row[factor], row[DATA_SIZE]) for row in measured.iter_rows(named=True)]
        other = [one for one in dict.fromkeys(other) if one not in place]
        x = np.r_[x, [one[0] for one in other]]
        d = np.r_[d, [one[1] for one in other]]
        place = {(a, b): i for i, (a, b) in enumerate(zip(x, d, strict=True))}
        runs, mean = np.zeros(x.size), np.zeros(x.size)
        for row in measured.iter_rows(named=True):
            index = place[row[factor], row[DATA_SIZE]]
            runs[index], mean[index] = row["runs"], row["mean"]
        centre = float(np.exp(np.log(x).mean())), float(np.exp(np.log(d).mean()))
        value, examples = question.at
        aim = DesignPoints.around(np.array([value]), np.array([examples]), centre)
        cost = np.array([self.price(method, factor, a, b) for a, b in zip(x, d, strict=True)])
        points = DesignPoints.around(x, d, centre)
        return MethodKnowledge(PRIORS[factor], points, aim, cost, noise, bend, runs, mean)

    def rows(
        self,
        question: Question,
        known: MethodKnowledge,
        measured: pl.DataFrame,
        *,
        method: str,
        runs: Array,
        near: Array,
    ) -> list[Planned]:
        """The settings of a method that get runs, with the seeds that are free there.

        Args:
            question: What is asked.
            known: What is known of the method.
            measured: Its settings that have runs.
            method: Its name.
            runs: New runs of each of its settings, [N].
            near: Whether each lies among the settings nearest to the target, [N].
        """
        factor = question.factor
        used = {(row[factor], row[DATA_SIZE]): set(row["seeds"]) for row in measured.iter_rows(named=True)}
        x, d = self.settings(method)
        rows = []
        for index in np.flatnonzero(runs):
            inside = index < x.size  # else it is the target
            value, examples = (float(x[index]), float(d[index])) if inside else map(float, question.at)
            had = used.get((value, examples), set())
            free = (number for number in range(10**6) if number not in had)
            seeds = tuple(next(free) for _ in range(int(runs[index])))
            sizes = {factor: value, DATA_SIZE: examples}
            model = self.choices.model(factor, value)
            rows.append(Planned(method, sizes, model, seeds, float(known.cost[index]), bool(near[index])))
        return rows
