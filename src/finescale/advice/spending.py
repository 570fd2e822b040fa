"""What a budget of time or money buys, at a stated rate or as fast as the runs of a table were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from finescale.advice.cost import measured_rate
from finescale.records.budgets import Budget
from finescale.records.records import untuned


def budget_in_flops(
    budget: Budget, runs: pl.DataFrame | None, prices: Mapping[str, Any], where: str = "--budget"
) -> tuple[float, str]:
    """The FLOPs that a budget buys.

    Args:
        budget: The budget.
        runs: The runs whose speed is known; None: none.
        prices: ``flops_per_second`` (None: as the runs were measured) and ``price_per_hour``.
        where: The option, for errors.

    Returns:
        FLOPs, and how they are known, in a sentence; empty for a budget in FLOPs.

    Raises:
        UsageError: Time or money, and no rate is stated or measured; money, and no price.
    """
    if budget.kind == "flops":
        return budget.amount, ""
    rate, how = prices.get("flops_per_second"), "as stated"
    if rate is None and runs is not None:
        rate = measured_rate(runs.filter(~untuned(runs.columns)))
        how = "as fast as these runs were, one at a time"
    flops = budget.flops(rate, prices.get("price_per_hour"), where)
    return flops, f"{budget.text} buys {flops:.3g} FLOPs at {rate:.3g} FLOP per second ({how})."
