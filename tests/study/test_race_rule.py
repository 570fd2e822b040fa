"""The rule of a race, on curves that are made here: who is stopped, who goes on, how often it is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from finescale.study.race_rule import RUNGS, Entrant, Verdict, chance, judge, loss_at

SHARES = (*RUNGS, 1.0)
Curve = tuple[tuple[float, float], ...]


def curve(
    last: float, gain: float = 0.3, until: float = 1.0, excess: float = 0.0
) -> tuple[tuple[float, float], ...]:
    """A dev loss that falls to `last` as 1 / share; `excess` is lost only as the schedule falls."""
    return tuple((u, last + gain * (1 / u - 1) / 7 + excess * (u < 1)) for u in SHARES if u <= until)


def finished(last: float, rate: float = 1.0, **shape: float) -> Entrant:
    return Entrant(curve(last, **shape), last, rate=rate)


def test_all_go_to_the_first_rung_and_wait_there_for_each_other() -> None:
    assert judge([Entrant(), Entrant()]) == [Verdict(until=RUNGS[0])] * 2
    first, second = judge([Entrant(curve(2.0, until=RUNGS[0])), Entrant()])
    assert first.wait
    assert second == Verdict(until=RUNGS[0])


def test_the_best_at_the_first_rung_goes_to_its_end_while_the_others_wait() -> None:
    at_rung = [Entrant(curve(last, until=RUNGS[0])) for last in (2.2, 2.0, 2.1)]
    verdicts = judge(at_rung)
    assert [verdict.wait for verdict in verdicts] == [True, False, True]
    assert verdicts[1] == Verdict()


def test_a_candidate_that_is_far_behind_is_stopped_with_the_reason_and_a_close_one_goes_on() -> None:
    ahead = finished(2.0)
    far, close = (Entrant(curve(last, until=RUNGS[0])) for last in (2.3, 2.02))
    verdicts = judge([ahead, far, close])
    assert [verdict.stop for verdict in verdicts] == [False, True, False]
    assert verdicts[1].why == "after 0.125 of its steps it would win with 0.0% only"
    assert verdicts[2].until == RUNGS[1]


def test_one_that_is_ahead_is_never_stopped() -> None:
    low = Entrant((*curve(1.9, 0.1, until=RUNGS[1]), (RUNGS[2], 3.0)))
    assert chance([finished(2.0), low], 1, RUNGS[2]) == 1.0


def test_a_rate_above_the_best_one_may_catch_up_where_one_below_may_not() -> None:
    hot = Entrant(curve(2.08, until=RUNGS[0]), rate=2.0)
    cold = Entrant(curve(2.08, until=RUNGS[0]), rate=0.5)
    verdicts = judge([finished(2.0), hot, cold])
    assert [verdict.stop for verdict in verdicts] == [False, False, True]


def test_rates_of_another_optimiser_are_compared_among_themselves() -> None:
    there = [
        Entrant(curve(last, until=RUNGS[0]), rate=rate, family="adamw")
        for last, rate in ((2.08, 1.0), (2.2, 4.0))
    ]
    chances = [chance([finished(2.0, rate=0.1), *there], index, RUNGS[0]) for index in (1, 2)]
    alone = chance([finished(2.0, rate=0.1), there[0]], 1, RUNGS[0])
    assert chances[0] == pytest.approx(alone)
    as_cold = chance([finished(2.0), Entrant(curve(2.2, until=RUNGS[0]))], 1, RUNGS[0])
    assert chances[1] > as_cold


def test_after_the_last_rung_candidates_go_to_their_ends_one_by_one() -> None:
    close = [Entrant(curve(last, until=RUNGS[-1])) for last in (1.9995, 1.998, 1.9985)]
    verdicts = judge([finished(2.0), *close])
    assert [verdict.wait for verdict in verdicts[1:]] == [True, False, True]
    assert not any(verdict.stop for verdict in verdicts)


def test_those_that_diverged_are_out_and_the_next_best_leads() -> None:
    verdicts = judge([Entrant(out=True), *(Entrant(curve(last, until=RUNGS[0])) for last in (2.1, 2.0))])
    assert [verdict.wait for verdict in verdicts[1:]] == [True, False]


def test_without_a_curve_to_compare_with_nobody_is_stopped() -> None:
    verdicts = judge([Entrant(loss=2.0), Entrant(curve(5.0, until=RUNGS[0]))])
    assert verdicts[1] == Verdict(until=RUNGS[1])


def test_a_loss_between_two_points_is_on_their_line() -> None:
    assert loss_at(((0.1, 3.0), (0.3, 1.0)), 0.2) == pytest.approx(2.0)
    assert loss_at(((0.1, 3.0),), 0.2) is None


@pytest.mark.parametrize("seed", range(3))
def test_the_winner_of_simulated_sweeps_is_seldom_stopped(seed: int) -> None:
    """Parabolas in the log of the rate, with gains that differ and noise: 300 sweeps."""
    rng, wrong, made, whole = np.random.default_rng(seed), 0, 0.0, 0.0
    for _ in range(100):
        many, best = int(rng.integers(4, 8)), rng.uniform(0, 3)
        gain = rng.uniform(0.1, 0.5)
        rates = [2.0**k for k in range(many)]
        runs = []
        for rate in rates:
            away = math.log2(rate) - best
            last = 2.5 + 0.2 * gain * away**2 * rng.uniform(0.8, 1.2)
            steep = gain * rng.normal(1.0, 0.08) * (1 if away < 0 else 1 + 0.1 * away)
            noise = rng.normal(0, 1e-3, len(SHARES))
            runs.append(
                [(u, loss + e * (u < 1)) for (u, loss), e in zip(curve(last, steep), noise, strict=True)]
            )
        reached = play([tuple(run) for run in runs], rates)
        lasts = [run[-1][1] for run in runs]
        chosen = min((i for i in range(many) if reached[i] == 1.0), key=lambda i: lasts[i])
        wrong += lasts[chosen] > min(lasts) * (1 + 5e-4)
        made, whole = made + sum(reached), whole + many
    assert wrong <= 5
    assert made / whole < 0.5


def play(runs: list[Curve], rates: list[float]) -> list[float]:
    """The share that each candidate came to."""
    reached, stopped = [0.0] * len(runs), [False] * len(runs)
    while True:
        entrants = [
            Entrant(
                tuple(point for point in run if point[0] <= reached[i]),
                run[-1][1] if reached[i] == 1.0 else None,
                stopped[i],
                rates[i],
            )
            for i, run in enumerate(runs)
        ]
        verdicts = judge(entrants)
        free = [i for i in range(len(runs)) if reached[i] < 1.0 and not stopped[i] and not verdicts[i].wait]
        if not free:
            return reached
        for i in free:
            stopped[i] = verdicts[i].stop
            reached[i] = reached[i] if stopped[i] else verdicts[i].until or 1.0


def test_a_real_high_rate_whose_curve_rose_in_between_is_not_stopped_before_it_wins() -> None:
    """LoRA of nano-0.05m with AdamW at 0.01 and 0.05, 256 examples: the high rate wins by 0.028 nats."""
    usual = Entrant(((1 / 8, 4.2021), (1 / 4, 4.1460), (1 / 2, 4.0907), (1.0, 4.0704)), 4.0704, rate=0.01)
    high = ((1 / 8, 4.2127), (1 / 4, 4.1365), (1 / 2, 4.1710))
    for passed in (1, 2, 3):
        entrant = Entrant(high[:passed], rate=0.05)
        assert not judge([usual, entrant])[1].stop
    smooth = Entrant((high[0], (1 / 4, 4.1900), high[2]), rate=0.05)
    assert judge([usual, smooth])[1].stop
