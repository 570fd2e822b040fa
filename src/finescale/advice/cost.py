"""What a run costs: FLOPs, hours and money, from whatever the records have, and the memory that it needs.

FLOPs are the records' own, or follow from tokens. Hours follow from FLOPs at a stated or measured rate, or,
where there are no FLOPs, from the runs' own times: GPU hours, or wall time and the number of devices.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from finescale.advice.candidate import SIZE
from finescale.errors import UsageError
from finescale.ladder import flops_per_parameter
from finescale.records.methods import costs_of, method_flops
from finescale.records.records import DATA_SIZE
from finescale.wording import listed

Array = np.ndarray[Any, Any]


_GPU_HOURS = ("gpu_hours", "device_hours", "accelerator_hours", "gpu_h")
_DEVICES = ("devices", "num_devices", "n_devices", "gpus", "num_gpus", "n_gpus", "world_size")
"""What tables call the hours of all devices together, and how many there were."""
_CARDS = (8, 12, 16, 24, 32, 40, 48, 80, 96, 141, 192)
"""Memory of common GPUs, in GB."""
Measured = Mapping[str, tuple[Array, Array]]


@dataclass(frozen=True)
class Cost:
    """The cost of one run; NaN for what is not known.

    Attributes:
        flops: Training FLOPs.
        hours: Hours of the machine; of all its devices together where the records have GPU hours or devices.
        money: Their price.
        memory: Peak memory in bytes.

    Example:
        >>> advice.best.cost.flops < 1e13
        True
    """

    flops: float
    hours: float
    money: float
    memory: float = math.nan

    @property
    def fits(self) -> str:
        """The smallest common GPU that holds the run, in words; empty where memory is not known."""
        if not math.isfinite(self.memory):
            return ""
        needed = self.memory / 1e9
        card = next((size for size in _CARDS if needed <= size), None)
        return f"{needed:.2g} GB" + (f" (fits in {card} GB)" if card and needed > 1 else "")


@dataclass(frozen=True)
class Costs:
    """Costs by method, model size and data size.

    Attributes:
        tables: For each method: model sizes, and FLOPs an example at them (all passes). Between sizes FLOPs
            are interpolated on log axes, beyond them they grow in proportion to the size.
        rates: FLOP per second, by method.
        price_per_hour: Price of an hour, in any currency.
        basis: Where the numbers come from, in a sentence.
        timed: Hours an example, like `tables`, for methods whose hours do not follow from FLOPs.
        memory: Peak bytes, like `tables`.
    """

    tables: Measured
    rates: Mapping[str, float]
    price_per_hour: float | None
    basis: str
    timed: Measured = field(default_factory=dict)
    memory: Measured = field(default_factory=dict)

    def per_example(self, method: str, model_params: float | None) -> float:
        """FLOPs an example; NaN where unknown."""
        return _at(self.tables, method, model_params)

    def of(self, method: str, model_params: float | None, examples: float) -> Cost:
        """The cost of a run; of one that no number of examples is enough for, nothing is known."""
        examples = examples if math.isfinite(examples) else math.nan
        flops = self.per_example(method, model_params) * examples
        hours = flops / self.rates.get(method, math.nan) / 3600
        if math.isnan(hours):
            hours = _at(self.timed, method, model_params) * examples
        money = hours * (math.nan if self.price_per_hour is None else self.price_per_hour)
        return Cost(flops, hours, money, _at(self.memory, method, model_params))

    def examples_for(self, method: str, model_params: float | None, flops: float) -> float:
        """How many examples so many FLOPs pay for."""
        return flops / self.per_example(method, model_params)


def _at(tables: Measured, method: str, model_params: float | None) -> float:
    """What a method's table says at a model size; NaN where it has none."""
    if method not in tables:
        return math.nan
    sizes, values = tables[method]
    if model_params is None or sizes.size == 0 or math.isnan(sizes[0]):
        return float(values[0]) if values.size else math.nan
    within = float(np.clip(model_params, sizes[0], sizes[-1]))
    at_edge = math.exp(np.interp(math.log(within), np.log(sizes), np.log(values)))
    return at_edge * model_params / within


def costs(
    runs: pl.DataFrame,
    *,
    price_per_hour: float | None = None,
    flops_per_second: float | None = None,
    tokens_per_example: float | None = None,
    method_cost: Mapping[str, str | float] | None = None,
) -> Costs:
    """Learns the costs from the records.

    Args:
        runs: Runs of tuned models, with ``method`` and ``finetune_examples``.
        price_per_hour: Price of an hour.
        flops_per_second: The rate of the machine that will run; default: as the records measured it.
        tokens_per_example: Tokens processed for one example over all passes, where the records do not know.
        method_cost: For methods that are not known: ``full``, ``pet``, or FLOPs a parameter and token.

    Returns:
        The costs.

    Raises:
        UsageError: A price, rate or number of tokens that is not positive; a price where no run's hours are
            known.
    """
    for name, value in (
        ("--price-per-hour", price_per_hour),
        ("--flops-per-second", flops_per_second),
        ("--tokens-per-example", tokens_per_example),
    ):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{name} {value:g}", wanted="a number above 0", got=f"{value:g}")
    runs, basis = _with_flops(runs, tokens_per_example, costs_of(method_cost or {}))
    each = pl.col("train_flops") / pl.col(DATA_SIZE)
    tables = _by_method(runs, "train_flops", each)
    rates, timed = {}, {}
    if flops_per_second is not None:
        rates = dict.fromkeys(tables, flops_per_second)
        basis += (
            f", hours at {flops_per_second:.3g} FLOP per second"
            if rates
            else ("; --flops-per-second says nothing without FLOPs")
        )
    elif (hours := _hours(runs)) is not None:
        timed_runs = runs.with_columns(hours[0].alias("_hours")).filter(pl.col("_hours") > 0)
        if "train_flops" in runs.columns:
            sums = timed_runs.filter(pl.col("train_flops") > 0).group_by("method")
            rates = dict(sums.agg(pl.col("train_flops").sum() / pl.col("_hours").sum() / 3600).iter_rows())
        timed = _by_method(timed_runs, "_hours", pl.col("_hours") / pl.col(DATA_SIZE))
        timed = {method: table for method, table in timed.items() if method not in rates}
        basis += f", hours {hours[1]}" if rates or timed else ""
    _check_price(price_per_hour, runs, {*rates, *timed}, basis)
    memory = _by_method(runs, "peak_memory_bytes", pl.col("peak_memory_bytes"), largest=True)
    return Costs(tables, rates, price_per_hour, basis, timed, memory)


def measured_rate(runs: pl.DataFrame) -> float | None:
    """FLOP per second of all these runs together; None where they have no FLOPs or no times.

    Args:
        runs: Runs of tuned models, with ``method``.
    """
    runs, _ = _with_flops(runs, None, {})
    hours = _hours(runs)
    if hours is None or "train_flops" not in runs.columns:
        return None
    timed = runs.select(pl.col("train_flops").alias("flops"), hours[0].alias("hours"))
    timed = timed.filter((pl.col("flops") > 0) & (pl.col("hours") > 0)).to_numpy()
    return float(timed[:, 0].sum() / timed[:, 1].sum() / 3600) if timed.size else None


def _hours(runs: pl.DataFrame) -> tuple[pl.Expr, str] | None:
    """A run's hours, of all devices together where that is known, and where they are from."""
    folded = {re.sub(r"[\W_]+", "", name).casefold(): name for name in runs.columns}
    numbers = {key: name for key, name in folded.items() if runs[name].dtype.is_numeric()}
    asked = [
        next((numbers[n.replace("_", "")] for n in names if n.replace("_", "") in numbers), None)
        for names in (_GPU_HOURS, _DEVICES)
    ]
    if asked[0] is not None:
        return pl.col(asked[0]), f"from the column `{asked[0]}` (the price is that of an hour of one device)"
    if "wall_seconds" not in runs.columns:
        return None
    if asked[1] is not None:
        words = f"from the wall time times `{asked[1]}` (the price is that of an hour of one device)"
        return pl.col("wall_seconds") / 3600 * pl.col(asked[1]), words
    return pl.col("wall_seconds") / 3600, "at the speed of these runs"


def _by_method(runs: pl.DataFrame, column: str, value: pl.Expr, *, largest: bool = False) -> Measured:
    """Model sizes and a median (or the largest) value at each, by method."""
    if column not in runs.columns or DATA_SIZE not in runs.columns:
        return {}
    size = pl.col(SIZE) if SIZE in runs.columns else pl.lit(None, dtype=pl.Float64).alias(SIZE)
    known = runs.filter(pl.col(column) > 0).with_columns(size, value.alias("_value"))
    means = known.group_by("method", SIZE).agg(
        pl.col("_value").max() if largest else pl.col("_value").median()
    )
    tables = {}
    for (method,), part in means.sort(SIZE).group_by("method", maintain_order=True):
        filled = part if part[SIZE].null_count() else part.drop_nulls()
        tables[str(method)] = filled[SIZE].fill_null(math.nan).to_numpy(), filled["_value"].to_numpy()
    return tables


def _check_price(price: float | None, runs: pl.DataFrame, timed: set[str], basis: str) -> None:
    """Refuses a price that no run's hours can be multiplied with."""
    if price is not None and not timed & set(runs["method"].unique()):
        raise UsageError(
            f"--price-per-hour {price:g} cannot be used",
            wanted="the hours of these runs: wall_seconds or GPU hours, or FLOPs and a rate",
            got=basis,
            remedy="give --flops-per-second, with --tokens-per-example where the records have no FLOPs",
        )


def _with_flops(
    runs: pl.DataFrame, tokens_per_example: float | None, stated: Mapping[str, float]
) -> tuple[pl.DataFrame, str]:
    """The runs with ``train_flops``: measured, or 6 (full) or 4 FLOPs a parameter and token.

    What an unknown method costs is not guessed: its runs have none.
    """
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
    factors = {name: method_flops(name, stated) for name in runs["method"].drop_nulls().unique()}
    factor = pl.col("method").replace_strict(factors, default=None, return_dtype=pl.Float64)
    used, which = pl.col(params), "parameters"
    if {"active_params", SIZE} <= set(runs.columns) and (runs["active_params"] < runs[SIZE]).any():
        used -= (pl.col(SIZE) - pl.col("active_params")).fill_null(0.0)
        which = "active parameters"
    basis = f"FLOPs as {full:.0f} (full tuning) or {pet:.0f} (other methods) times {which} times tokens"
    basis += ", or as stated (--method-cost)" if stated else ""
    unknown = sorted(name for name, flops in factors.items() if flops is None)
    if unknown:
        basis += (
            f"; no cost for {listed(unknown)}: say what it trains, --method-cost {unknown[0]}=full|pet|FLOPS"
        )
    return runs.with_columns((factor * used * tokens).alias("train_flops")), basis
