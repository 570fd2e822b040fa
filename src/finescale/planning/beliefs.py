"""What is believed about a law before and after some runs: draws of its parameters.

The law is the paper's (``laws.formulas.multiplicative``, evaluated as the fits do), with sizes relative to a
centre of the settings and the log of its coefficient, so that its parameters are well scaled:

    L = exp(a - alpha x - beta d) + E,    x = ln(X / X_centre), d = ln(D_f / D_centre)

Before any run the draws come from a prior as wide as the paper's Table 4. Runs turn it into a posterior by
randomise-then-optimise: draw k moves every mean loss by its noise and the prior's centre by the prior, and
fits the law to both. That is exact for a linear model, works from 0 runs on, and a hundred draws cost
milliseconds. Shapes: `...` studies side by side (none, or one axis), K draws, N settings, P = 4 parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from finescale.laws.formulas import multiplicative
from finescale.laws.solver.models import MonomialModel

Array = np.ndarray[Any, Any]
PARAMETERS = ("a", "alpha", "beta", "E")
"""Order of the last axis: log of the reducible loss at the centre, exponents of X and D_f, floor."""
_STARTS = 8
_WITHIN = (math.exp(-50), math.exp(50))


@dataclass(frozen=True)
class ParameterPrior:
    """Independent normal distributions of the parameters.

    Attributes:
        centre: Means, [P].
        spread: Standard deviations, [P].
    """

    centre: tuple[float, float, float, float]
    spread: tuple[float, float, float, float]

    def draws(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Draws, [*shape, P]."""
        return np.asarray(self.centre) + np.asarray(self.spread) * rng.standard_normal((*shape, 4))


PRIORS: dict[str, ParameterPrior] = {
    "model_params": ParameterPrior((-0.5, 0.27, 0.07, 0.6), (1.0, 0.15, 0.05, 1.0)),
    "pretrain_tokens": ParameterPrior((-0.5, 0.15, 0.07, 0.6), (1.0, 0.07, 0.05, 1.0)),
    "pet_size": ParameterPrior((-0.5, 0.0, 0.05, 0.6), (1.0, 0.01, 0.05, 1.0)),
}
"""Round figures around Table 4 (arXiv 2402.17193): the exponents' means, and a little more than their spread.

Level and floor are left wide: the best choice of settings does not depend on them.
"""
PRIORS["model_params_nonembedding"] = PRIORS["model_params"]


@dataclass(frozen=True)
class DesignPoints:
    """Where a law can be measured, in logarithms around the settings' centre.

    Attributes:
        x: ln(X / X_centre), [N].
        d: ln(D_f / D_centre), [N].
    """

    x: Array
    d: Array

    @classmethod
    def around(cls, factor: Array, examples: Array, centre: tuple[float, float]) -> DesignPoints:
        """From sizes [N] and the centre (X, D_f)."""
        return cls(np.log(factor / centre[0]), np.log(examples / centre[1]))

    @cached_property
    def _powers(self) -> MonomialModel:
        """What the law's coefficient is multiplied with, for its exponents."""
        logs = {"X": self.x, "D": self.d}
        exponents = (multiplicative.monomials or {})["A"]
        return MonomialModel(
            np.stack([[logs[name] for name in exponents.values()]]), np.ones((1, self.x.size))
        )

    @np.errstate(over="ignore")
    def reducible(self, theta: Array) -> Array:
        """exp(a - alpha x - beta d), [..., N], at theta [..., P]; between e^-50 and e^50."""
        phi = self._powers.basis(theta[..., 1:3].reshape(-1, 2))[:, 0]
        return np.clip(np.exp(theta[..., :1]) * phi.reshape(*theta.shape[:-1], -1), *_WITHIN)

    def loss(self, theta: Array) -> Array:
        """The law's mean loss, [..., N], at theta [..., P]."""
        return self.reducible(theta) + theta[..., 3:]

    def slopes(self, theta: Array) -> Array:
        """Derivatives of the mean loss by the parameters, [..., N, P], at theta [..., P]."""
        f = self.reducible(theta)
        return np.stack([f, -f * self.x, -f * self.d, np.ones_like(f)], axis=-1)


def posterior(  # noqa: PLR0917
    prior: ParameterPrior,
    settings: DesignPoints,
    runs: Array,
    mean: Array,
    noise: float,
    misfit: Array,
    draws: int,
    rng: np.random.Generator,
) -> Array:
    """Draws of the parameters given the runs made so far, [..., K, P].

    Args:
        prior: The belief before any run.
        settings: All settings.
        runs: Runs made at each, [..., N]; 0 where there is none.
        mean: Their mean loss in nats, [..., N]; anything where there is none.
        noise: Standard deviation of a run, nats.
        misfit: How far the law may be off at a setting, as a variance over that of a run's noise, [N].
        draws: K.
        rng: Random numbers.
    """
    shape = (*runs.shape[:-1], draws)
    centre = prior.draws(rng, shape)
    used = np.flatnonzero(runs.reshape(-1, runs.shape[-1]).any(axis=0))
    if not used.size:
        return centre
    near = DesignPoints(settings.x[used], settings.d[used])
    made = runs[..., None, used]
    weight = np.sqrt(made / (1 + made * misfit[used])) / noise
    seen = np.where(made > 0, mean[..., None, used], 0.0) * weight
    precision = 1 / np.asarray(prior.spread) ** 2
    middle = np.broadcast_to(np.asarray(prior.centre), (*shape[:-1], _STARTS, len(PARAMETERS)))
    found, value = fit_normal(near, seen, weight, middle, precision, start=centre[..., :_STARTS, :])
    best = np.take_along_axis(found, value.argmin(axis=-1)[..., None, None], axis=-2)
    moved = seen + np.where(weight > 0, rng.standard_normal((*shape, used.size)), 0.0)
    start = np.broadcast_to(best, centre.shape)
    return fit_normal(near, moved, weight, centre, precision, start=start)[0]


def fit_normal(
    settings: DesignPoints,
    target: Array,
    weight: Array,
    centre: Array,
    precision: Array,
    *,
    start: Array | None = None,
    steps: int = 60,
) -> tuple[Array, Array]:
    """Least squares with a normal prior: damped Gauss-Newton, every problem at its own pace.

    Minimised is the sum over settings of (target - weight x loss)^2 plus precision x (theta - centre)^2.

    Args:
        settings: N settings.
        target: Losses times their weights, [..., N].
        weight: Square roots of the losses' precisions, [..., N].
        centre: The prior's centres, [..., P].
        precision: The prior's precisions, [P].
        start: Where the search starts, [..., P]; None: at the centres.
        steps: Most steps.

    Returns:
        theta [..., P], and what it leaves of the sum, [...].
    """
    theta = centre if start is None else start
    damping = np.full(theta.shape[:-1], 1e-2)

    def value(theta: Array) -> Array:
        misfit = target - weight * settings.loss(theta)
        return (misfit**2).sum(-1) + (precision * (theta - centre) ** 2).sum(-1)

    now = value(theta)
    diagonal = np.eye(theta.shape[-1])
    for _ in range(steps):
        slopes = settings.slopes(theta) * weight[..., None]
        misfit = target - weight * settings.loss(theta)
        gradient = np.einsum("...np,...n->...p", slopes, misfit) - precision * (theta - centre)
        matrix = np.swapaxes(slopes, -1, -2) @ slopes + diagonal * precision
        size = np.einsum("...pp->...p", matrix)
        damped = matrix + diagonal * (damping[..., None] * size)[..., None]
        step = np.linalg.solve(damped, gradient[..., None])[..., 0]
        trial = theta + np.clip(step, -3.0, 3.0)
        new = value(trial)
        better = new <= now
        gain = float(np.max(np.where(better, now - new, 0.0) / (1e-12 + now)))
        theta = np.where(better[..., None], trial, theta)
        now = np.where(better, new, now)
        damping = np.clip(np.where(better, damping / 5, damping * 5), 1e-12, 1e8)
        if gain < 1e-9 and bool(np.all(better | (damping >= 1e4))):
            break
    return theta, now
