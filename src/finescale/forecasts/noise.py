"""How one run scatters around its setting's mean: by the table's repeats, drawn towards other tables.

No table says that its runs do not scatter: without repeats the noise is unknown, not 0, and seeds that agree
to the last digit are few. The variance of a run has a scaled inverse chi-squared prior (see
``forecasts.priors``), so that what is believed of a mean is Student's t with the degrees of freedom of prior
and repeats together. Where no setting was repeated, the scatter of the settings around their smooth curves
stands in for repeats: with one seed kept of each setting it is 0.4 to 1.9 times the known noise in 21 of 22
tables, about 1 in the middle (``benchmarks/forecast_noise.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finescale.forecasts.priors import EXAMPLES, RUN, run_prior
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import Paths, thinned, wander
from finescale.wording import listed, number

Array = np.ndarray[Any, Any]
_FEW = 4
_PRIOR = max(prior.freedom for prior in RUN.values())
"""Degrees of freedom of repeats below which it is said that they are few; those that priors have, at most."""


@dataclass(frozen=True)
class RunNoise:
    """What is believed of the noise of one run, on the outcome's scale.

    Attributes:
        variance: Of one run.
        freedom: Degrees of freedom behind it, the prior's among them.
        repeats: Degrees of freedom of the table's own repeated runs.
        extra: What a score's limited number of test examples adds, times p (1 - p); see ``at``.
    """

    variance: float
    freedom: float
    repeats: int
    extra: float = 0.0

    @property
    def sd(self) -> float:
        """Standard deviation of one run."""
        return float(np.sqrt(self.variance))

    @property
    def told(self) -> float:
        """The share of the variance that repeated runs tell."""
        return self.repeats / self.freedom

    def at(self, z: Array) -> Array:
        """The variance of one run at outcomes z: near its bounds a score's log odds scatter more."""
        if not self.extra:
            return np.full(np.shape(z), self.variance)
        least = 0.25 / EXAMPLES  # all of so many examples right or wrong
        share = np.clip(1 / (1 + np.exp(-np.asarray(z))), least, 1 - least)
        return self.variance + self.extra / (share * (1 - share))


def run_noise(bare: Paths, scatter: float, repeats: int, scale: OutcomeScale) -> RunNoise:
    """The noise of the runs of one task.

    Args:
        bare: The curves of means, without noise.
        scatter: Sum of squares of the runs around their settings' means.
        repeats: Its degrees of freedom; 0 where no setting was run twice.
        scale: The outcome's scale.

    Returns:
        The noise; its variance is above 0.
    """
    prior = run_prior(scale, bare)
    own = float(repeats)
    if not repeats:
        short = thinned(bare)
        own = 0.5 * float(np.maximum(short.count - 2, 0).sum())
        scatter = own * wander(short).nugget if own else 0.0
    freedom = prior.freedom + own
    variance = (prior.freedom * prior.sd**2 + scatter) / freedom
    extra = prior.freedom / freedom / EXAMPLES if scale.kind == "logit" else 0.0
    return RunNoise(variance, freedom, repeats, extra)


def noise_note(tasks: Mapping[str, RunNoise], scale: OutcomeScale) -> str | None:
    """A sentence on the tasks whose runs do not tell their noise; None where all do."""
    silent = {task: noise for task, noise in tasks.items() if noise.repeats < _FEW}
    if not silent:
        return None
    low, high = (_told(end(noise.sd for noise in silent.values()), scale) for end in (min, max))
    about = low if low == high else f"{low} to {high}"
    if scale.kind == "log":
        about += " of the loss"
    elif scale.kind == "logit":
        about += f" at {number(0.5 * (scale.outcome.low + scale.outcome.high))}"
    where = f" of {listed(list(silent)[:3])}{' and others' if len(silent) > 3 else ''}"
    where = where if len(silent) < len(tasks) else ""
    scatter = any(noise.freedom > _PRIOR for noise in silent.values())
    basis = "other tables" + (" and the scatter around smooth curves" if scatter else "")
    if any(noise.repeats for noise in silent.values()):
        return f"Few settings{where} were run twice: with {basis}, the noise of a run is taken to be {about}."
    return (
        f"No setting{where} was run twice, so the noise of a run is not known: by {basis} it is taken to be "
        f"about {about} (standard deviation). Several seeds a setting would tell."
    )


def _told(sd: float, scale: OutcomeScale) -> str:
    """A standard deviation as a reader wants it: a share of a loss, or in the score's unit."""
    if scale.kind == "log":
        return f"{number(100 * sd, 2)}%"
    if scale.kind == "logit":
        return number(sd / 4 * (scale.outcome.high - scale.outcome.low), 2)
    return number(sd, 2)
