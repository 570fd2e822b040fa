"""What is known of a method's law from the runs so far, and the design problem that follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.planning.beliefs import DesignPoints, ParameterPrior, posterior
from finescale.planning.search import Check, DesignProblem, best_runs

Array = np.ndarray[Any, Any]
DRAWS = 16
"""Draws of the law that a design is averaged over."""


@dataclass(frozen=True)
class MethodKnowledge:
    """One method's settings and what was measured there (`...`: many simulated studies side by side).

    Attributes:
        prior: The belief before any run.
        settings: N settings that can be run.
        targets: Where the loss is to be predicted.
        cost: Cost of a run at each setting, [N].
        noise: Standard deviation of a run's loss, nats.
        bend: By how much the law may be off, in nats for every e-fold between a setting and the target.
        runs: Runs made at each setting, [..., N].
        mean: Their mean loss, [..., N]; anything where there is none.
    """

    prior: ParameterPrior
    settings: DesignPoints
    targets: DesignPoints
    cost: Array
    noise: float
    bend: float
    runs: Array
    mean: Array

    @property
    def distance(self) -> Array:
        """Distance of each setting from its nearest target, in e-folds, [N]."""
        x = self.settings.x[:, None] - self.targets.x
        d = self.settings.d[:, None] - self.targets.d
        return np.hypot(x, d).min(axis=1)

    @property
    def misfit(self) -> Array:
        """Variance of what the law may be off by, over that of a run's noise, [N]."""
        return (self.bend * self.distance / self.noise) ** 2

    def draws(self, count: int, rng: np.random.Generator) -> Array:
        """Draws of the law's parameters, [..., K, P]."""
        return posterior(self.prior, self.settings, self.runs, self.mean, self.noise, self.misfit, count, rng)

    def problem(self, draws: Array) -> DesignProblem:
        """The design problem, averaged over these draws [..., K, P]."""
        at_targets = self.targets.slopes(draws)
        precision = np.diag(1 / np.asarray(self.prior.spread) ** 2)
        return DesignProblem(
            slopes=self.settings.slopes(draws) / self.noise,
            known=np.broadcast_to(precision, (*draws.shape[:-1], *precision.shape)),
            made=self.runs,
            target=np.swapaxes(at_targets, -1, -2) @ at_targets / self.targets.x.size,
            cost=self.cost,
            misfit=self.misfit,
        )

    def next_runs(
        self, budget: Array, rng: np.random.Generator, *, check_share: float, most: Array | None = None
    ) -> Array:
        """The next runs that are worth most, [..., N].

        Args:
            budget: What they may cost, [...].
            rng: Random numbers.
            check_share: The part of all spending that goes near the target.
            most: Most runs of each setting, earlier ones counted, [N]; None: any number.
        """
        problem = self.problem(self.draws(DRAWS, rng))
        limit = np.inf if most is None else np.maximum(most - self.runs, 0)
        spent = np.asarray((self.runs * self.cost).sum(-1))
        check = Check(self.distance, check_share, spent)
        return best_runs(problem, budget, np.broadcast_to(limit, self.runs.shape), check)


def joint_problem(problems: Sequence[DesignProblem], weights: Sequence[float]) -> DesignProblem:
    """Several methods' problems as one: the settings one after the other, each method with its own law.

    Args:
        problems: The methods' problems.
        weights: How much each method's variance counts.
    """
    sizes = [problem.known.shape[-1] for problem in problems]
    ends = np.cumsum(sizes)
    total = int(ends[-1])

    def block(parts: Sequence[Array]) -> Array:
        whole = np.zeros((*parts[0].shape[:-2], total, total))
        for part, end in zip(parts, ends, strict=True):
            whole[..., end - part.shape[-1] : end, end - part.shape[-1] : end] = part
        return whole

    slopes = []
    for problem, size, end in zip(problems, sizes, ends, strict=True):
        wide = np.zeros((*problem.slopes.shape[:-1], total))
        wide[..., end - size : end] = problem.slopes
        slopes.append(wide)
    return DesignProblem(
        slopes=np.concatenate(slopes, axis=-2),
        known=block([problem.known for problem in problems]),
        made=np.concatenate([problem.made for problem in problems], axis=-1),
        target=block([weight * p.target for weight, p in zip(weights, problems, strict=True)]),
        cost=np.concatenate([problem.cost for problem in problems]),
        misfit=np.concatenate([problem.misfit for problem in problems]),
    )
