"""What is asked for, checked: sizes that are none, a target of another kind or one that nothing reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from finescale.advice.options import Needed, Question
from finescale.errors import DataError, UsageError
from finescale.records.outcome_words import amount, one
from finescale.records.outcomes import Outcome
from finescale.wording import listed, method_name

Array = np.ndarray[Any, Any]


def check(question: Question) -> None:
    """Refuses sizes, budgets and losses that are not positive, a score that is no number, two targets.

    Raises:
        UsageError: One of them.
    """
    if question.target_loss is not None and question.target_score is not None:
        raise UsageError("both --target-loss and --target-score", wanted="one of them")
    if question.target_score is not None and not math.isfinite(question.target_score):
        raise UsageError("--target-score", wanted="a number", got=f"{question.target_score:g}")
    sizes = {name: value for name, value in vars(question).items() if name != "target_score"}
    for name, value in sizes.items():
        if value is not None and not 0 < value < math.inf:
            flag = f"--{name.replace('_', '-')} {value:g}"
            raise UsageError(flag, wanted="a number above 0", got=f"{value:g}")


def check_target(outcome: Outcome, question: Question, runs: pl.DataFrame) -> None:
    """Refuses the target of another kind than the outcome, outside the score's bounds, or on another scale.

    Args:
        outcome: What is compared.
        question: The question.
        runs: The runs, with the outcome.

    Raises:
        UsageError: One of them.
    """
    value, kind = question.target, "score" if question.target_score is not None else "loss"
    if value is None:
        return
    if kind != outcome.kind:
        raise UsageError(
            f"--target-{kind}, and what is compared is a {outcome.kind} (`{outcome.column}`)",
            wanted=f"--target-{outcome.kind} NUMBER",
            got=f"--target-{kind} {value:g}",
        )
    if not outcome.low <= value <= outcome.high:
        raise UsageError(
            f"--target-{kind} {value:g} is outside the bounds of {outcome.name}",
            wanted=f"{outcome.low:g} to {outcome.high:g}",
            got=f"{value:g}",
        )
    least = runs[outcome.column].min()
    if outcome.high == 100 and 0 < value <= 1 and least is not None and float(least) > 1:  # type: ignore[arg-type]
        raise UsageError(
            f"--target-{kind} {value:g}, and {outcome.name} runs to 100 here",
            wanted=f"a number on that scale; the lowest of these runs is {least:g}",
            got=f"{value:g}",
            remedy=f"--target-{kind} {100 * value:g}",
        )


def refuse_unreachable(
    needs: Mapping[str, tuple[Needed, Array | None]], target: float, outcome: Outcome
) -> None:
    """Refuses a target that no candidate reaches.

    Raises:
        DataError: None does; it names the floors.
    """
    if any(math.isfinite(need.examples) for need, _ in needs.values()):
        return
    end, side, other = ("floor", "above", "lowest") if outcome.lower else ("ceiling", "below", "highest")
    easier = "higher" if outcome.lower else "lower"
    ends = [f"{method_name(name)} {amount(outcome, need.floor)}" for name, (need, _) in needs.items()]
    sign = outcome.sign
    within = [method_name(name) for name, (need, _) in needs.items() if sign * need.floor < sign * target]
    reason = f"the {end} of every law is {side} it"
    if within:
        reason = f"by the law of {listed(within)} it takes over 10^15 examples"
    if 0 < len(within) < len(needs):
        reason += f", and the other {end}s are {side} it"
    raise DataError(
        f"{one(outcome)} of {target:g} is out of reach: {reason}",
        wanted=f"a target {side} the {other} {end}" if outcome.lower else f"a target below the {other} {end}",
        got=f"{end}s: " + "; ".join(ends[:8]),
        remedy=f"ask for a larger model (--model-params), or for a {easier} --target-{outcome.kind}",
    )
