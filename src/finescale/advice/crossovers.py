r"""Crossovers: the data size at which two methods' laws are equal (the paper's Figure 5 and Table 5).

The gap of the two laws is scanned on a dense grid of log $D_f$, so that no crossing, one and several are told
apart (a root finder from one start cannot), and every crossing is refined by bisection. The same is done in
every bootstrap draw; draw i is one and the same resample for all methods, so the draws are joint.

$H X^\gamma$ (Eq. 3) solves for equal *reducible* loss. It is the crossover only where both floors E are
equal, so it is reported beside the crossover under its own name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from finescale.advice.scan import SURE, Belief, Scan, interval, roots
from finescale.errors import DataError, UsageError
from finescale.forecasts.group import Forecast
from finescale.laws.fitted import FAR, FittedLaw
from finescale.laws.published import equal_reducible_loss
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import DATA_SIZE, FACTORS
from finescale.wording import chance, count, factor_name, method_name, method_title, ratio


@dataclass(frozen=True)
class Crossing:
    """One data size at which the better method changes.

    Attributes:
        examples: The crossover D_f, in examples.
        low: Lower end of its interval; 0 where it may lie below the range of interest, NaN without draws.
        high: Upper end; infinite where it may lie above the range of interest or not exist.
        below: The better method on less data.
        above: The better method on more data.
        outside: How many times outside the data of either law it lies (1: inside).

    Example:
        >>> crossing = pairs[0].points[0].crossings[0]
        >>> crossing.below, crossing.above, crossing.low < crossing.examples < crossing.high
        ('lora', 'full', True)
    """

    examples: float
    low: float
    high: float
    below: str
    above: str
    outside: float

    @property
    def anywhere(self) -> bool:
        """Whether the interval covers the whole range of interest: nothing is known of the crossover."""
        return self.low == 0 and math.isinf(self.high)


@dataclass(frozen=True)
class CriticalPoint:
    """What two laws say at one value of the factor.

    Attributes:
        at: The factor's value; None for laws without a factor.
        crossings: The crossovers, by data size; empty where the laws do not cross in the range.
        probability: Share of the draws with a crossing in the range of interest; NaN without draws.
        better: The better method throughout, where the laws do not cross; empty where they do, or where it is
            nowhere in the range ahead in enough draws.
        equal_reducible: H X^gamma, in examples: not the crossover; NaN unless both laws are multiplicative.

    Example:
        >>> point = pairs[0].points[0]
        >>> point.at, len(point.crossings)
        (111840.0, 1)
    """

    at: float | None
    crossings: tuple[Crossing, ...]
    probability: float
    better: str
    equal_reducible: float

    @property
    def words(self) -> str:
        """The point in words: who is ahead up to where, at which value, in how many draws."""
        where = "" if self.at is None else f"at {count(self.at)}: "
        drawn = "" if math.isnan(self.probability) else f" ({chance(self.probability)} of the draws cross)"
        return f"{where}{self.ahead}{drawn}"

    @property
    def ahead(self) -> str:
        """Who is ahead up to where."""
        if not self.crossings:
            return (
                f"{method_name(self.better)} throughout" if self.better else "cannot tell which one is ahead"
            )
        if all(crossing.anywhere for crossing in self.crossings):
            first = self.crossings[0]
            pair = f"{method_name(first.below)} and {method_name(first.above)}"
            return f"cannot tell where {pair} cross, or whether"
        parts = [
            f"{method_name(c.below)} up to {count(c.examples)} examples{_reach(c)}, "
            f"then {method_name(c.above)}"
            for c in self.crossings
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class Crossovers:
    """The crossovers of one pair of methods along a factor.

    Attributes:
        by: The task, where there is one.
        first: A method.
        second: Another one.
        factor: The factor; None for laws of the data size alone.
        within: The range of interest of the data size, in examples.
        points: One entry a value of the factor.
        H: Coefficient of Eq. 3 (equal reducible loss); NaN for laws other than the multiplicative one.
        gamma: Exponent of Eq. 3.
        outcome: What the laws are of.

    Example:
        >>> pairs[0].first, pairs[0].second, pairs[0].factor
        ('full', 'lora', 'model_params')
    """

    by: Mapping[str, Any]
    first: str
    second: str
    factor: str | None
    within: tuple[float, float]
    points: tuple[CriticalPoint, ...]
    H: float
    gamma: float
    outcome: Outcome = TEST_LOSS

    @property
    def sentence(self) -> str:
        """The pair in one sentence."""
        pair = f"{method_title(self.first)} and {method_name(self.second)}"
        reach = f"from {count(self.within[0])} to {count(self.within[1])} examples"
        crossed = [p for p in self.points if not all(c.anywhere for c in p.crossings)]
        if not crossed and any(point.crossings for point in self.points):
            return f"{pair}: these runs cannot tell whether they cross {reach}, or where."
        if crossed:
            along = f", along {factor_name(self.factor)}" if self.factor else ""
            ends = dict.fromkeys((crossed[0].words, crossed[-1].words))
            return f"{pair}{along}: {'; '.join(ends)}."
        better = {point.better for point in self.points} - {""}
        if not better:
            return f"{pair}: these runs cannot tell which one is ahead {reach}."
        if len(better) == 1:
            told = "throughout" if all(point.better for point in self.points) else "where these runs can tell"
            return f"{pair} do not cross {reach}: {method_name(better.pop())} is ahead {told}."
        return f"{pair} do not cross {reach}; which one is ahead depends on {factor_name(self.factor or '')}."

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; null where an end of an interval lies outside the range of interest."""
        return {
            **self.by,
            "first": self.first,
            "second": self.second,
            "factor": self.factor,
            "within": list(self.within),
            "H": _null(self.H),
            "gamma": _null(self.gamma),
            "points": [
                {
                    "at": point.at,
                    "crossings": [
                        {
                            "examples": c.examples,
                            "low": _null(c.low or math.nan),
                            "high": _null(c.high),
                            "below": c.below,
                            "above": c.above,
                            "outside": c.outside,
                        }
                        for c in point.crossings
                    ],
                    "probability": _null(point.probability),
                    "better": point.better or None,
                    "equal_reducible_loss": _null(point.equal_reducible),
                }
                for point in self.points
            ],
        }

    def __repr__(self) -> str:
        """The sentence."""
        return f"Crossovers({self.sentence})"

    def __str__(self) -> str:
        """The table and the sentence."""
        from finescale.advice.views import crossovers_text  # noqa: PLC0415 - rich only where it is shown

        return crossovers_text([self])

    def _repr_html_(self) -> str:
        from finescale.advice.views import crossovers_html  # noqa: PLC0415 - only in notebooks

        return crossovers_html([self])


class Pairs(tuple[Crossovers, ...]):
    """The crossovers of several pairs of methods: a tuple that a notebook shows as one table."""

    __slots__ = ()

    def __str__(self) -> str:
        """The table of all pairs, and their sentences."""
        from finescale.advice.views import crossovers_text  # noqa: PLC0415 - rich only where it is shown

        return crossovers_text(self)

    def _repr_html_(self) -> str:
        from finescale.advice.views import crossovers_html  # noqa: PLC0415 - only in notebooks

        return crossovers_html(self)


def crossovers(
    laws: Sequence[Belief],
    values: Sequence[float] | None = None,
    *,
    within: tuple[float, float] | None = None,
) -> Pairs:
    """The crossovers of every pair of methods along the factor of their laws.

    Args:
        laws: Forecasts, or one law a method; all of one task and one factor (or all of the data size alone).
        values: Values of the factor. Default: 9 from the smallest to the largest fitted one.
        within: The range of interest, in examples. Default: ten times beyond the fitted data on either side.

    Returns:
        One entry a pair, in the order of the laws.

    Raises:
        DataError: Fewer than two methods.
        UsageError: Laws of different tasks or factors, a range or value that is none.

    Example:
        >>> found = fs.crossovers(fits.laws)
        >>> [(pair.first, pair.second) for pair in found]
        [('full', 'lora'), ('full', 'prompt'), ('lora', 'prompt')]
    """
    laws = tuple(laws)
    factor = _common_factor(laws)
    sizes = [law.ranges[DATA_SIZE] for law in laws]
    low, high = within or (min(s[0] for s in sizes) / FAR, max(s[1] for s in sizes) * FAR)
    if not 0 < low < high < math.inf:
        raise UsageError("no range of data sizes", wanted="0 < low < high", got=f"{low:g} to {high:g}")
    at: Sequence[float | None] = [None]
    if factor is not None:
        ends = [law.ranges[factor] for law in laws]
        reach = min(e[0] for e in ends), max(e[1] for e in ends)
        at = [float(v) for v in (np.geomspace(*reach, 9) if values is None else values)]
    pairs = list(combinations(range(len(laws)), 2))
    found: dict[tuple[int, int], list[CriticalPoint]] = {pair: [] for pair in pairs}
    constants = {pair: _equal_reducible(laws[pair[0]], laws[pair[1]]) for pair in pairs}
    for value in at:
        scans = [Scan(law, {} if factor is None else {factor: value}, (low, high)) for law in laws]
        for one, other in pairs:
            H, gamma = constants[one, other]
            with np.errstate(over="ignore"):
                equal = float(H * np.float64(value) ** gamma) if value is not None else math.nan
            found[one, other].append(_critical_point(scans[one], scans[other], value, equal))
    return Pairs(
        Crossovers(
            {"task": laws[0].by["task"]} if "task" in laws[0].by else {},
            name_of(laws[one]),
            name_of(laws[other]),
            factor,
            (low, high),
            tuple(found[one, other]),
            *constants[one, other],
            outcome=laws[one].outcome,
        )
        for one, other in pairs
    )


def name_of(law: Belief) -> str:
    """The method of a law, with PET size and model where each has a law of its own."""
    method = str(law.by.get("method", "unnamed"))
    if law.by.get("pet_size") is not None:
        method = f"{method} {'r' if method == 'lora' else ''}{law.by['pet_size']:g}"
    return f"{method} on {law.by['model']}" if law.by.get("model") is not None else method


def _common_factor(laws: Sequence[Belief]) -> str | None:
    if len(laws) < 2:
        got = f"one method only ({method_name(name_of(laws[0]))})" if laws else "no law"
        raise DataError("no crossovers", wanted="two methods or more", got=got)
    shared = [name for name in FACTORS if all(name in law.factors for law in laws)]
    if all(isinstance(law, Forecast) for law in laws):
        alike, factor = len({law.by.get("task") for law in laws}) == 1, shared[0] if shared else None
    else:
        alike = len({(law.by.get("task"), law.factors) for law in laws}) == 1 and len(laws[0].factors) < 2
        factor = laws[0].factors[0] if laws[0].factors else None
    if not alike:
        raise UsageError(
            "laws that cannot cross",
            wanted="laws of one task and one factor",
            got="; ".join(f"{law.label} ({', '.join(law.factors) or 'no factor'})" for law in laws),
        )
    return factor


def _equal_reducible(first: Belief, second: Belief) -> tuple[float, float]:
    """H and gamma of Eq. 3; NaN where the laws are not both multiplicative."""
    if (
        isinstance(first, FittedLaw)
        and isinstance(second, FittedLaw)
        and first.law == second.law == "multiplicative"
    ):
        return equal_reducible_loss(first, second)
    return math.nan, math.nan


def _critical_point(first: Scan, second: Scan, value: float | None, equal: float) -> CriticalPoint:
    found = roots(lambda size: first(size) - second(size), first.ends)
    gaps = None if first.draws is None or second.draws is None else first.draws - second.draws
    probability = math.nan
    if gaps is not None:
        positive = gaps > 0
        probability = float(np.mean((positive[:, 1:] != positive[:, :-1]).any(axis=1)))
    one, other = name_of(first.law), name_of(second.law)
    crossings = []
    for root, rises in found:
        low, high = (math.nan, math.nan) if gaps is None else interval(gaps, first, root, rises)
        crossings.append(
            Crossing(
                examples=math.exp(root),
                low=low,
                high=high,
                below=one if rises else other,
                above=other if rises else one,
                outside=max(first.outside(root), second.outside(root)),
            )
        )
    middle = np.array([0.5 * sum(first.ends)])
    leads = bool(first(middle)[0] <= second(middle)[0])
    better = "" if crossings else one if leads else other
    if better and gaps is not None and np.max(np.mean(gaps < 0 if leads else gaps > 0, axis=0)) < SURE:
        better = ""
    return CriticalPoint(value, tuple(crossings), probability, better, equal)


def _reach(crossing: Crossing) -> str:
    if math.isnan(crossing.low):
        far = ""
    else:
        low = count(crossing.low) if crossing.low > 0 else "below the range"
        high = count(crossing.high) if math.isfinite(crossing.high) else "beyond the range"
        far = f" [{low} to {high}]"
    if crossing.outside > 1 + 1e-9:
        warning = ", do not rely on it" if crossing.outside > FAR else ""
        far += f" ({ratio(crossing.outside)}x outside the data{warning})"
    return far


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None
