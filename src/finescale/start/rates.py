"""Learning rates to try for each method and model size: around rates that are known to be good.

The rates are AdamW's but those of prompt tuning. A study must tune them (a comparison of methods at untuned
rates is no evidence); these say where to look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

ANCHORS = ((3e5, 1e-3), (7e9, 2e-5))
"""Full tuning: (parameters, AdamW's rate), in between on log axes: our nano models, and Alpaca's LLaMA 7B."""
LORA_FACTOR = 10
"""LoRA's best rate over full tuning's (Schulman et al. 2025, LoRA Without Regret; others: 20 to 128)."""
STEPS = (1 / 3, 1, 3, 10)
"""Candidates, as multiples of the known rate: more of them above, where little data wants large steps."""
Kind = Literal["full", "lora", "prompt", "ia3"]


@dataclass(frozen=True)
class Candidates:
    """Rates to try.

    Attributes:
        optimizer: Theirs.
        rates: Ascending.
        why: Where they are from, in a sentence.
    """

    optimizer: Literal["adamw", "adafactor"]
    rates: tuple[float, ...]
    why: str


def candidates(method: str, params: float, most: int = len(STEPS)) -> Candidates:
    """Rates to try for a method.

    Args:
        method: A method of `start.methods`.
        params: Parameters of the model on which they are tried.
        most: How many.

    Example:
        >>> candidates("lora", 7e9).rates
        (7e-05, 0.0002, 0.0006, 0.002)
    """
    if method == "prompt":
        rates = (0.1, 0.3, 1.0)[: max(2, most - 1)]
        return Candidates("adafactor", rates, "Adafactor at 0.3 (Lester et al. 2021)")
    if method == "ia3":
        return Candidates("adamw", _around(3e-3, most), "3e-3 (Liu et al. 2022, T-Few)")
    full = full_rate(params)
    size = f"{params:.2g} parameters"
    if method == "full":
        known = "between 1e-3 (our nano models) and 2e-5 (LLaMA 7B, Taori et al. 2023)"
        why = f"about {full:.1g} for {size}, {known}"
        return Candidates("adamw", _around(full, most), why)
    why = f"{LORA_FACTOR} times full tuning's (Schulman et al. 2025; QLoRA's 2e-4 at 7B)"
    return Candidates("adamw", _around(LORA_FACTOR * full, most), why)


def full_rate(params: float) -> float:
    """AdamW's rate for full tuning of a model of so many parameters."""
    (small, high), (large, low) = ANCHORS
    slope = math.log(low / high) / math.log(large / small)
    return high * (max(params, 1.0) / small) ** slope


def _around(rate: float, most: int) -> tuple[float, ...]:
    known = float(f"{rate:.1g}")
    return tuple(min(float(f"{known * step:.1g}"), 1.0) for step in STEPS[:most])
