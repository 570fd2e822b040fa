"""What may be spent, as people write it: FLOPs (5e15), time (2h, 1h30m, 3 days) or money (20usd, $20)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from finescale.errors import UsageError
from finescale.records.values import number

WANTED = "FLOPs (5e15), time (90min, 2h, 3d) or money (20usd, with --price-per-hour)"
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "week", "weeks"), 604800.0),
}
_CURRENCIES = {
    "usd": "USD", "$": "USD", "dollar": "USD", "dollars": "USD", "eur": "EUR", "€": "EUR", "euro": "EUR",
    "euros": "EUR", "gbp": "GBP", "£": "GBP", "chf": "CHF", "jpy": "JPY", "¥": "JPY", "inr": "INR",
    "cny": "CNY",
}  # fmt: skip
_TIME = re.compile(r"(?:\d+(?:\.\d+)?\s*[a-z]+\s*)+")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_FLOPS = re.compile(r"\s*(?P<prefix>[kmgtpez]?)flops?$")
_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21}


@dataclass(frozen=True)
class Budget:
    """What may be spent.

    Attributes:
        text: As it was written.
        kind: Of what.
        amount: FLOPs, seconds, or money.
        currency: Of money.
    """

    text: str
    kind: Literal["flops", "time", "money"]
    amount: float
    currency: str = ""

    def seconds(self, price_per_hour: float | None, where: str = "--budget") -> float:
        """Seconds of the machine that time or money buys.

        Args:
            price_per_hour: Price of an hour of it, in the money's currency.
            where: The option, for the error.

        Raises:
            UsageError: Money, and no price; or FLOPs, which are no time.
        """
        if self.kind == "time":
            return self.amount
        if self.kind == "flops":
            raise UsageError("FLOPs are no time", wanted="time or money", got=self.text, where=where)
        if price_per_hour is None:
            raise UsageError(
                "money buys hours, and their price is not known",
                wanted="the price of an hour of the machine",
                got=self.text,
                remedy="--price-per-hour 2.5",
                where=where,
            )
        return self.amount / price_per_hour * 3600

    def flops(self, rate: float | None, price_per_hour: float | None, where: str = "--budget") -> float:
        """FLOPs that it buys.

        Args:
            rate: FLOP/s that the machine sustains.
            price_per_hour: Price of an hour of it.
            where: The option, for the error.

        Raises:
            UsageError: Time or money, and no rate; money, and no price.
        """
        if self.kind == "flops":
            return self.amount
        seconds = self.seconds(price_per_hour, where)
        if rate is None:
            raise UsageError(
                "how many FLOPs a time buys is not known",
                wanted="the machine's FLOP/s, or records with FLOPs and times",
                got=self.text,
                remedy="--flops-per-second 1e14, or the budget in FLOPs",
                where=where,
            )
        return seconds * rate


def read_budget(text: str, where: str = "--budget") -> Budget:
    """A budget of a command line.

    Args:
        text: The budget.
        where: The option, for errors.

    Raises:
        UsageError: It is none, or could be two.

    Example:
        >>> read_budget("1h30min"), read_budget("$20").currency, read_budget("5 PFLOP").amount
        (Budget(text='1h30min', kind='time', amount=5400.0, currency=''), 'USD', 5000000000000000.0)
    """
    plain = text.strip().lower()
    found = _money(text, plain, where) or _time(text, plain, where)
    if found is None:
        flops = _FLOPS.search(plain)
        digits, scale = (plain[: flops.start()], _PREFIXES[flops["prefix"]]) if flops else (text, 1.0)
        found = Budget(text, "flops", number(digits, where, wanted=WANTED) * scale)
    if not 0 < found.amount < float("inf"):
        raise UsageError("nothing to spend", wanted=WANTED, got=text, where=where)
    return found


def _money(text: str, plain: str, where: str) -> Budget | None:
    for name in sorted(_CURRENCIES, key=len, reverse=True):
        digits = plain.removesuffix(name) if plain.endswith(name) else plain.removeprefix(name)
        if digits != plain:
            return Budget(text, "money", number(digits.strip(), where, wanted=WANTED), _CURRENCIES[name])
    return None


def _time(text: str, plain: str, where: str) -> Budget | None:
    if not _TIME.fullmatch(plain):
        return None
    parts = _PART.findall(plain)
    if [unit for _, unit in parts] == ["m"]:
        raise UsageError(
            "minutes or millions",
            wanted=WANTED,
            got=text,
            remedy=f"write {parts[0][0]}min, or {parts[0][0]}e6",
            where=where,
        )
    if not all(unit in _UNITS or unit == "m" for _, unit in parts):
        return None
    seconds = sum(float(amount) * _UNITS.get(unit, 60.0) for amount, unit in parts)
    return Budget(text, "time", seconds)
