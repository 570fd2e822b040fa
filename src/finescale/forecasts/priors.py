"""What is believed of a forecast's errors before a table is seen; stated numbers and where they come from.

The scale is the root mean square error of the pooled centre one doubling beyond the data, on logs of losses
or log odds, over the tables of public runs that ``benchmarks/forecasts.py`` reads (30 models on two tasks;
methods and LoRA ranks on GLUE; methods on IndicXNLI): it estimates them again with ``--priors``, each without
the table that is asked about. Between tables the scale differs by a factor of about 2 up and down, so the
prior is worth two curves only.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from finescale.forecasts.discrepancy import Prior
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import Paths, root_mean_step

ALONG, ACROSS = Prior(0.07), Prior(0.25, start=1.0)
"""Along the data size, and across a factor, per doubling."""
_STEPS = 0.5
"""On an outcome's own scale, which has units: this share of the root mean square step per doubling."""


def prior_of(prior: Prior, outcome: OutcomeScale, paths: Paths) -> Prior:
    """The prior for an outcome; one that has a unit gives its own scale."""
    if outcome.kind != "identity":
        return prior
    spread = float(np.nanstd(paths.z))
    own = max(_STEPS * root_mean_step(paths), 0.05 * spread, 1e-9)
    return replace(prior, scale=own * prior.scale / ALONG.scale)
