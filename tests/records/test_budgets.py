"""Budgets as people write them; every other reading is refused in words."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from finescale.errors import UsageError
from finescale.records.budgets import read_budget


@pytest.mark.parametrize(
    ("text", "kind", "amount"),
    [
        ("5e15", "flops", 5e15),
        ("5e15 FLOPs", "flops", 5e15),
        ("3 PFLOP", "flops", 3e15),
        ("1,000,000", "flops", 1e6),
        ("7B", "flops", 7e9),
        ("2h", "time", 7200),
        ("1h30m", "time", 5400),
        ("1 day 2 hours", "time", 93600),
        ("90min", "time", 5400),
        ("1.5h", "time", 5400),
        ("20usd", "money", 20),
        ("$20", "money", 20),
        ("20 €", "money", 20),
        ("1000 EUR", "money", 1000),
    ],
)
def test_a_budget_is_read_as_it_is_meant(text: str, kind: str, amount: float) -> None:
    budget = read_budget(text)
    assert (budget.kind, budget.amount) == (kind, amount)


@pytest.mark.parametrize(
    "text", ["30m", "", "much", "0", "-5", "2 parsecs", "inf", "usd", "0h", "1h30x", "nan"]
)
def test_what_is_no_budget_is_refused_with_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match="--budget"):
        read_budget(text)


def test_minutes_are_not_millions() -> None:
    with pytest.raises(UsageError, match="write 30min, or 30e6"):
        read_budget("30m")


def test_times_agree_with_timedelta() -> None:
    chance = random.Random(5)
    for _ in range(200):
        parts = {
            "days": chance.randint(0, 9),
            "hours": chance.randint(1, 30),
            "minutes": chance.randint(0, 90),
        }
        short = chance.choice(["{days}d{hours}h{minutes}min", "{days} days {hours} hours {minutes} m"])
        assert read_budget(short.format(**parts)).amount == timedelta(**parts).total_seconds()


def test_money_and_time_buy_flops_only_with_a_price_and_a_rate() -> None:
    assert read_budget("20usd").flops(1e12, 2.5) == 8 * 3600 * 1e12
    assert read_budget("2h").flops(1e12, None) == 7200e12
    assert read_budget("5e15").flops(None, None) == 5e15
    with pytest.raises(UsageError, match="--price-per-hour"):
        read_budget("20usd").flops(1e12, None)
    with pytest.raises(UsageError, match="--flops-per-second"):
        read_budget("2h").flops(None, None)
    with pytest.raises(UsageError, match="FLOPs are no time"):
        read_budget("5e15").seconds(None)
