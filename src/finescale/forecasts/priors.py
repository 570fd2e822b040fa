"""What is believed of a forecast's errors before a table is seen; stated numbers and where they come from.

The scale is the root mean square error of the pooled centre, per doubling beyond the data, on logs of
losses or log odds. Measured on hidden larger sizes of public tables (those of ``benchmarks/forecasts.py``):
30 models fully tuned on FLAN .02 and on WMT19 .04; class losses of four methods on CoLA, MRPC and SST-2
.19, .08 and .08; their error rates .09, .08 and .05; error rates of LoRA ranks .09 and .03; of methods on
IndicXNLI .13. Their root mean square is .09, their median .08. Across models: the largest of the GPT-2,
OPT, Cerebras and T5 families on two tasks is missed by .2 in the median, and a model between two others by
.04 to .14 (T5, whose versions were pretrained otherwise, by .26); the median is .13. What sets a model apart
it does to all methods: the share of the models' deviations that methods have in common is .69 (class losses)
and .75 (accuracy) over three encoders in the first source, .9 and more from 1,000 examples; .93 for LoRA's
ranks in the second; .97 in ``examples/nano_full.parquet``. Between tables the scale differs
by a factor of 2 up and down, so a prior is worth little more than one curve.

The noise of a run is the standard deviation of runs that differ by their seed alone. On logs of losses: the
nano study .0025, re-runs of PEFT's comparison .0034, 30 models on FLAN and WMT19 .003 and .010 (what lies
between the settings and their smooth curves); class losses of GLUE .056 to .116. Their geometric mean is .008
(each source counted once), and they differ tenfold, so the prior is worth one degree of freedom. On log odds
of scores: GLUE .034 to .25, LoRA ranks .096 to .22, IndicXNLI .05, PEFT's comparison .105; worth two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from finescale.forecasts.discrepancy import Prior
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import Paths, root_mean_step

ALONG = Prior(0.07)
ACROSS = Prior(0.24, paths=1.25, start=1.0, together=0.85, growth=1.0)
BETWEEN = Prior(0.13, paths=1.25, together=0.85)
"""Along the data size, across a factor beyond its values (per doubling), and between two of its values."""
_STEPS = 0.5
"""On an outcome's own scale, which has units: this share of the root mean square step per doubling."""


@dataclass(frozen=True)
class NoisePrior:
    """The prior of a run's variance: scaled inverse chi-squared.

    Attributes:
        sd: Its scale, as a standard deviation.
        freedom: Its degrees of freedom.
    """

    sd: float
    freedom: float


RUN = {"log": NoisePrior(0.008, 1.0), "logit": NoisePrior(0.08, 2.0)}
EXAMPLES = 1000.0
"""A score is taken for one of so many test examples: 0 of 1,000 is not never."""
_BETWEEN, _ALL, _ALONE = 1.0, 0.3, 0.05
"""On an outcome's own scale, which has units, the noise of a run may be all that the curves differ by at one
size; for one curve it is this share of its spread (.02 to .6, in the median .3, on the tables above), and for
one setting of its value."""


def run_prior(outcome: OutcomeScale, paths: Paths) -> NoisePrior:
    """The prior of a run's noise for an outcome; one that has a unit gives its own scale."""
    if outcome.kind != "identity":
        return RUN[outcome.kind]
    u, z = paths.u[paths.there], paths.z[paths.there]
    at = np.unique(np.round(u, 9), return_inverse=True)[1]
    count = np.bincount(at)
    apart = z - (np.bincount(at, z) / count)[at]
    freedom = int((count - 1).sum())
    if freedom:
        sd = _BETWEEN * float(np.sqrt((apart**2).sum() / freedom))
    else:
        sd = _ALL * float(z.std(ddof=1)) if z.size > 1 else _ALONE * float(np.abs(z).max())
    return NoisePrior(max(sd, 1e-6 * float(np.abs(z).max()), 1e-12), 1.0)


def prior_of(prior: Prior, outcome: OutcomeScale, paths: Paths) -> Prior:
    """The prior for an outcome; one that has a unit gives its own scale."""
    if outcome.kind != "identity":
        return prior
    spread = float(np.nanstd(paths.z))
    own = max(_STEPS * root_mean_step(paths), 0.05 * spread, 1e-9)
    return replace(prior, scale=own * prior.scale / ALONG.scale)
