"""What a run costs: FLOPs as the records measured them, hours at a measured rate, money at a stated price."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finescale.advice.candidates import SIZE
from finescale.errors import UsageError
from finescale.ladder import flops_per_parameter
from finescale.records.records import DATA_SIZE

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Cost:
    """The cost of one run; NaN for what is not known."""

    flops: float
    hours: float
    money: float


@dataclass(frozen=True)
class Costs:
    """Costs by method, model size and data size.

    Attributes:
        tables: For each method: model sizes, and FLOPs an example at them (all passes). Between sizes FLOPs
            are interpolated on log axes, beyond them they grow in proportion to the size.
        rates: FLOP per second, by method.
        price_per_hour: Price of an hour, in any currency.
        basis: Where the numbers come from, in a sentence.
    """

    tables: Mapping[str, tuple[Array, Array]]
    rates: Mapping[str, float]
    price_per_hour: float | None
    basis: str

    def per_example(self, method: str, model_params: float | None) -> float:
        """FLOPs an example; NaN where unknown."""
        if method not in self.tables:
            return math.nan
        sizes, flops = self.tables[method]
        if model_params is None or sizes.size == 0 or math.isnan(sizes[0]):
            return float(flops[0]) if flops.size else math.nan
        within = float(np.clip(model_params, sizes[0], sizes[-1]))
        at_edge = math.exp(np.interp(math.log(within), np.log(sizes), np.log(flops)))
        return at_edge * model_params / within

    def of(self, method: str, model_params: float | None, examples: float) -> Cost:
        """The cost of a run."""
        flops = self.per_example(method, model_params) * examples
        hours = flops / self.rates.get(method, math.nan) / 3600
        return Cost(flops, hours, hours * (math.nan if self.price_per_hour is None else self.price_per_hour))

    def examples_for(self, method: str, model_params: float | None, flops: float) -> float:
        """How many examples so many FLOPs pay for."""
        return flops / self.per_example(method, model_params)


def costs(
    runs: pl.DataFrame,
    *,
    price_per_hour: float | None = None,
    flops_per_second: float | None = None,
    tokens_per_example: float | None = None,
) -> Costs:
    """Learns the costs from the records.

    Args:
        runs: Runs of tuned models, with ``method`` and ``finetune_examples``.
        price_per_hour: Price of an hour.
        flops_per_second: The rate of the machine that will run; default: as the records measured it.
        tokens_per_example: Tokens processed for one example over all passes, where the records do not know.

    Returns:
        The costs.

    Raises:
        UsageError: A price, rate or number of tokens that is not positive.
    """
    for name, value in (
        ("--price-per-hour", price_per_hour),
        ("--flops-per-second", flops_per_second),
        ("--tokens-per-example", tokens_per_example),
    ):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} {value:g}", wanted="a number above 0", got=f"{value:g}")
    runs, basis = _with_flops(runs, tokens_per_example)
    tables: dict[str, tuple[Array, Array]] = {}
    size = pl.col(SIZE) if SIZE in runs.columns else pl.lit(None, dtype=pl.Float64).alias(SIZE)
    if "train_flops" in runs.columns:
        known = runs.filter(pl.col("train_flops") > 0).with_columns(size)
        known = known.with_columns((pl.col("train_flops") / pl.col(DATA_SIZE)).alias("each"))
        means = known.group_by("method", SIZE).agg(pl.col("each").median()).sort(SIZE)
        for (method,), part in means.group_by("method", maintain_order=True):
            filled = part if part[SIZE].null_count() else part.drop_nulls()
            tables[str(method)] = filled[SIZE].fill_null(math.nan).to_numpy(), filled["each"].to_numpy()
    rates = {} if flops_per_second is None else dict.fromkeys(tables, flops_per_second)
    if not rates and {"train_flops", "wall_seconds"} <= set(runs.columns):
        timed = runs.filter((pl.col("wall_seconds") > 0) & (pl.col("train_flops") > 0))
        sums = timed.group_by("method").agg(pl.col("train_flops").sum() / pl.col("wall_seconds").sum())
        rates = dict(sums.iter_rows())
        basis += ", hours at the speed of these runs" if rates else ""
    elif rates:
        basis += f", hours at {flops_per_second:.3g} FLOP per second"
    return Costs(tables, rates, price_per_hour, basis)


def _with_flops(runs: pl.DataFrame, tokens_per_example: float | None) -> tuple[pl.DataFrame, str]:
    """The runs with ``train_flops``: measured, or 6 (full) or 4 FLOPs a parameter and token."""
    if "train_flops" in runs.columns and (runs["train_flops"] > 0).any() and tokens_per_example is None:
        return runs, "FLOPs as in the records"
    params = next((n for n in ("model_params_nonembedding", SIZE) if n in runs.columns), None)
    tokens: pl.Expr | None = None
    if tokens_per_example is not None:
        tokens = pl.col(DATA_SIZE) * tokens_per_example
    elif "tokens_processed" in runs.columns:
        tokens = pl.col("tokens_processed")
    if tokens is None or params is None:
        return runs.drop("train_flops", strict=False), (
            "no cost: the records have neither train_flops nor tokens_processed (give --tokens-per-example)"
            if params
            else "no cost: the records have no model_params"
        )
    full, pet = flops_per_parameter("full"), flops_per_parameter("pet")
    factor = pl.when(pl.col("method") == "full").then(full).otherwise(pet)
    used, which = pl.col(params), "parameters"
    if {"active_params", SIZE} <= set(runs.columns) and (runs["active_params"] < runs[SIZE]).any():
        used -= (pl.col(SIZE) - pl.col("active_params")).fill_null(0.0)
        which = "active parameters"
    basis = f"FLOPs as {full:.0f} (full tuning) or {pet:.0f} (other methods) times {which} times tokens"
    return runs.with_columns((factor * used * tokens).alias("train_flops")), basis
