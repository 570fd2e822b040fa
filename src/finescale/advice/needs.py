"""How many examples a target needs, by the fitted law and in every draw."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from finescale.advice.candidate import SIZE, Candidate
from finescale.advice.options import Needed
from finescale.advice.scan import Scan, roots
from finescale.forecasts.group import Forecast
from finescale.records.records import DATA_SIZE

Array = np.ndarray[Any, Any]
_MOST = 1e15
_ENDLESS = math.log(1e300)


def data_needed(member: Candidate, model_params: float | None, target: float) -> tuple[Needed, Array | None]:
    """Finds where a candidate's law reaches the target.

    Args:
        member: The candidate.
        model_params: Parameters of the model; read where the law has them.
        target: The loss or score to reach.

    Returns:
        The examples with their interval, and the examples of every draw, [draws] (infinite where a draw never
        reaches the target); None without draws.
    """
    where = {SIZE: model_params} if member.law.factors else {}
    least = member.law.ranges[DATA_SIZE][0] if isinstance(member.law, Forecast) else 1.0  # as it was observed
    scan = Scan(member.law, where, (least, _MOST))
    target *= scan.sign
    floor = scan.sign * float(scan(np.array([_ENDLESS]))[0])
    if scan(np.array([math.log(least)]))[0] <= target:
        fitted = least
    else:
        falls = [at for at, rises in roots(lambda size: scan(size) - target, scan.ends) if not rises]
        fitted = math.exp(falls[0]) if falls else math.inf
    if scan.draws is None:
        return Needed(fitted, math.nan, math.nan, floor), None
    below = scan.draws <= target  # [draws, grid]
    first = below.argmax(axis=1)
    rows, before = np.arange(len(below)), np.maximum(first - 1, 0)
    high, low = scan.draws[rows, before], scan.draws[rows, first]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(first > 0, (high - target) / (high - low), 0.0)
    at = scan.grid[before] + share * (scan.grid[first] - scan.grid[before])
    draws = np.where(below.any(axis=1), np.exp(at), np.inf)
    ordered = np.sort(draws)
    tail = 0.5 * (1 - member.law.level) * (draws.size - 1)
    ends = ordered[math.floor(tail)], ordered[math.ceil(draws.size - 1 - tail)]
    return Needed(fitted, float(ends[0]), float(ends[1]), floor), draws
