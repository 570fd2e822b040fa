"""What the forecast says of the target: the intervals that a plan starts from, as `predict` gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from finescale.errors import UsageError
from finescale.forecasts.forecast import forecast
from finescale.records.records import DATA_SIZE, Records
from finescale.records.settings import ANY, at_base

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ExpectedLoss:
    """A method's mean loss at the target, in nats.

    Attributes:
        loss: The forecast's median.
        low: Lower end of its 90% interval.
        high: Upper end.
        draws: Draws, joint with those of the other methods, [draws].
    """

    loss: float
    low: float
    high: float
    draws: Array

    @classmethod
    def of(cls, draws: Array) -> ExpectedLoss:
        """What draws say."""
        low, middle, high = (float(value) for value in np.percentile(draws, (5, 50, 95)))
        return cls(middle, low, high, draws)

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return 0.5 * (self.high - self.low)


def expected_losses(
    records: Records,
    runs: pl.DataFrame,
    target: Mapping[str, float],
    base: Mapping[str, Any],
    *,
    via: str = "auto",
    draws: int,
    seed: int,
) -> dict[str, ExpectedLoss]:
    """What is forecast at the target, by method.

    Args:
        records: Where the runs came from.
        runs: The task's tuned runs, with ``task`` and ``method``.
        target: ``finetune_examples`` and one factor.
        base: The base setting; the other factors stay there.
        via: How a score is forecast: ``auto``, ``direct``, or through the ``loss``.
        draws: Number of draws.
        seed: Their seed.

    Returns:
        The methods that a forecast can answer for; one that was run at a single value of the factor can not,
        away from that value.
    """
    factor = next(name for name in target if name != DATA_SIZE)
    kept = at_base(runs, base, free=factor)
    if not kept.height:
        return {}
    free = {name: value for name, value in base.items() if value == ANY}
    found = forecast(
        replace(records, frame=kept, notes=()), base=free, hold_out=False, via=via, draws=draws, seed=seed
    )
    told: dict[str, ExpectedLoss] = {}
    for group in found:
        try:
            one = group.predict(target)
        except UsageError:
            continue
        told[str(group.by["method"])] = ExpectedLoss(
            float(one.value), float(one.low), float(one.high), group.mean_draws(target)
        )
    return told
