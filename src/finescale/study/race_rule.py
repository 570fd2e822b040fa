"""Which candidates of a sweep go on and which will not win: a pure function of their dev curves.

Successive halving with a reason for every halving. All candidates go to the first rung. The best one there
goes to its end alone: from then on it is known what a candidate gains between a rung and the end. The others
go from rung to rung together, and at each rung a candidate ends whose chance to win is below `GIVE_UP`; those
that are left after the last rung go to their ends one by one, the most likely first.

The candidates of a sweep share their data, its order and the schedule, so their curves are paired: what the
finished one gained from a rung to its end is what another will gain, to within `SPREAD` of it. A rate above
the best one of its optimiser gains more: what a high rate has too much is taken away as the schedule falls;
one below it gains rather less.
Nothing here depends on which run ended first, on clocks or on the number of workers. The constants were
measured on sweeps of all three methods (benchmarks/races.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, erfc, hypot, log2, pi, sqrt

RUNGS = (1 / 8, 1 / 4, 1 / 2, 3 / 4)
"""The shares of a run after which a candidate is judged."""
GIVE_UP = 0.05
"""A candidate whose chance to win is lower is stopped."""
SPREAD = 0.1
"""Standard deviation of a candidate's gain from a rung to its end, as a share of the finished one's."""
COOLED = 0.06
"""What a rate of half the best one's (or less) gains less, as a share of the finished one's gain."""
ANNEALED = 0.36
"""What a rate of twice the best one's (or more) gains besides while the schedule falls, as a share of the
finished one's gain after the first rung; in proportion to the rate that is left."""
ANNEALED_SPREAD = 0.4
"""Standard deviation of that, in proportion to the square of the rate that is left."""
NOISE = 5e-4
"""Standard deviation of a dev loss at a rung around its smooth curve, as a share of the loss."""
TOLERANCE = 5e-4
"""To win is to end lower by more than this share of the loss: less is luck, and not worth the compute."""
_NEAR = 1e-9

Points = Sequence[tuple[float, float]]
"""Share of the run's steps, and dev loss there (nats per target token), in the order of the steps."""


@dataclass(frozen=True, slots=True)
class Entrant:
    """A candidate as far as it is known.

    Attributes:
        curve: Its dev losses so far.
        loss: The lowest dev loss of its evaluations, once it is finished.
        out: It diverged, failed, or was stopped before.
        rate: Its learning rate.
        family: What its rate is compared within: the optimiser and the batch size.
    """

    curve: tuple[tuple[float, float], ...] = ()
    loss: float | None = None
    out: bool = False
    rate: float = 1.0
    family: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a candidate is to do next.

    Attributes:
        until: The share of its steps to which it goes; None: to its end.
        wait: It waits for others.
        stop: It will not win.
        why: The reason, of a stopped one.
    """

    until: float | None = None
    wait: bool = False
    stop: bool = False
    why: str = ""


WAIT = Verdict(wait=True)


def judge(entrants: Sequence[Entrant], rungs: Sequence[float] = RUNGS) -> list[Verdict]:
    """The verdict on every candidate; on those that are finished or out it means nothing.

    Args:
        entrants: The candidates of one method, in any order; the verdicts are in the same.
        rungs: The shares of a run after which candidates are judged.

    Example:
        >>> ahead = Entrant(((0.125, 2.1), (0.5, 1.9), (1.0, 1.8)), loss=1.8)
        >>> behind = Entrant(((0.125, 2.6),))
        >>> [verdict.stop for verdict in judge([ahead, behind])]
        [False, True]
    """
    open_ones = [index for index, one in enumerate(entrants) if one.loss is None and not one.out]
    verdicts = [Verdict()] * len(entrants)
    if not open_ones:
        return verdicts
    passed = {index: sum(_last(entrants[index]) >= rung - _NEAR for rung in rungs) for index in open_ones}
    lowest = min(passed.values())
    here = [index for index in open_ones if passed[index] == lowest]
    for index in open_ones:
        verdicts[index] = WAIT
    if lowest == 0:
        for index in here:
            verdicts[index] = Verdict(until=rungs[0])
    elif all(one.loss is None for one in entrants):
        verdicts[_leader(entrants, here, rungs[lowest - 1])] = Verdict()
    else:
        share, last = rungs[lowest - 1], lowest == len(rungs)
        likely = {index: chance(entrants, index, share, rungs[0]) for index in here}
        first = max(here, key=lambda index: likely[index])
        for index in here:
            if likely[index] < GIVE_UP:
                verdicts[index] = _stopped(share, likely[index])
            elif not last or index == first:
                verdicts[index] = Verdict(until=None if last else rungs[lowest])
    return verdicts


def chance(entrants: Sequence[Entrant], index: int, share: float, first: float = RUNGS[0]) -> float:
    """The chance of a candidate at a rung to end below every finished one by more than `TOLERANCE`.

    Args:
        entrants: All candidates, some of them finished.
        index: Which one.
        share: The rung.
        first: The first rung.

    Returns:
        A probability; 1 where it is ahead already, or no finished one has a curve to compare with.
    """
    entrant = entrants[index]
    loss = loss_at(entrant.curve, share)
    finished = [one for one in entrants if one.loss is not None]
    gains, firsts = ([_gain(one, at) for one in finished] for at in (share, first))
    known = [gain for gain in gains if gain is not None]
    if loss is None or not known:
        return 1.0
    best = min(one.loss for one in finished if one.loss is not None)
    if min(loss for _, loss in entrant.curve) < best:
        return 1.0
    gain = sum(known) / len(known)
    after_first = [gain for gain in firsts if gain is not None] or known
    heat, left = _heat(entrants, index, share), 0.5 * (1 + cos(pi * share))
    annealed = max(heat, 0.0) * left * sum(after_first) / len(after_first)
    short = loss - best * (1 - TOLERANCE) - gain - ANNEALED * annealed + COOLED * max(-heat, 0.0) * gain
    noise = max(NOISE * loss, _rise(entrant, finished))
    spread = hypot(SPREAD * gain, ANNEALED_SPREAD * left * annealed, noise)
    return 0.5 * erfc(short / spread / sqrt(2))


def loss_at(curve: Points, share: float) -> float | None:
    """The dev loss at a share of the run, on the line between its neighbours where it was not taken there."""
    before = [point for point in curve if point[0] <= share + _NEAR]
    after = [point for point in curve if point[0] >= share - _NEAR]
    if not before or not after:
        return None
    (left, low), (right, high) = before[-1], after[0]
    return low if right <= left else low + (share - left) / (right - left) * (high - low)


def _stopped(share: float, likely: float) -> Verdict:
    return Verdict(stop=True, why=f"after {share:.3g} of its steps it would win with {likely:.1%} only")


def _gain(finished: Entrant, share: float) -> float | None:
    """What a finished candidate gained from a rung to its end; of one that had its best before, nothing."""
    at = loss_at(finished.curve, share)
    return None if at is None or finished.loss is None else max(at - finished.loss, 0.0)


def _rise(entrant: Entrant, finished: Sequence[Entrant]) -> float:
    """By how much a curve rose between two points where the finished ones did not: so noisy it is."""
    rises = [0.0]
    for (left, low), (right, high) in pairwise(entrant.curve):
        others = [(loss_at(one.curve, left), loss_at(one.curve, right)) for one in finished]
        shared = min((b - a for a, b in others if a is not None and b is not None), default=0.0)
        rises.append(high - low - max(shared, 0.0))
    return max(rises)


def _heat(entrants: Sequence[Entrant], index: int, share: float) -> float:
    """How far a rate is above the best one of its family at a rung: 1 for twice as high, -1 for half."""
    own = entrants[index]
    there = [(loss_at(one.curve, share), one.rate) for one in entrants if one.family == own.family]
    best = min((loss, rate) for loss, rate in there if loss is not None)[1]
    return min(max(log2(own.rate / best), -1.0), 1.0)


def _leader(entrants: Sequence[Entrant], here: Sequence[int], share: float) -> int:
    """The lowest dev loss at a rung; of equal ones the first."""
    return min(here, key=lambda index: loss_at(entrants[index].curve, share) or float("inf"))


def _last(entrant: Entrant) -> float:
    return entrant.curve[-1][0] if entrant.curve else 0.0
