"""What no law was fitted to: groups and curves, each with its reason, and how many there are of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finescale.errors import DataError
from finescale.wording import count

_MANY = 1e6
"""Values from here on are counts of parameters or tokens, and told as such."""


@dataclass(frozen=True)
class LeftOut:
    """A group, or a curve of a group, that a law was not fitted to.

    Attributes:
        by: Which, e.g. ``{"task": "wmt14-en-de", "method": "lora"}``; empty where it is all runs.
        law: The law.
        factor: The factor that stands for the law's X; None where it has none.
        reason: Why, in words.

    Example:
        >>> str(fs.LeftOut({"method": "lora"}, "power", None, "too few settings"))
        'method lora: too few settings'
    """

    by: Mapping[str, Any]
    law: str
    factor: str | None
    reason: str

    def __str__(self) -> str:
        """The group and the reason, in a sentence."""
        return f"{group_label(self.by)}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {"by": dict(self.by), "law": self.law, "factor": self.factor, "reason": self.reason}


def group_label(group: Mapping[str, Any]) -> str:
    """A group's values in words."""
    return ", ".join(f"{name} {_value(value)}" for name, value in group.items()) or "all runs"


def reason_of(error: DataError, law: str) -> str:
    """What an error about too few data for a law says, in one line and without the law's name."""
    problem = error.problem.removesuffix(f" for the law `{law}`")
    found = ", wanted ".join(filter(None, (error.got, error.wanted)))
    return f"{problem}: {found}" if found else problem


def distinct(left_out: Sequence[LeftOut]) -> tuple[LeftOut, ...]:
    """Each group with each reason once: the steps of a backtest leave out the same curves again."""
    return tuple({(str(one), one.law, one.factor): one for one in left_out}.values())


def counted(left_out: Sequence[LeftOut]) -> list[dict[str, Any]]:
    """How many groups each law leaves out for each reason.

    Returns:
        One row a law, task, method, factor and reason: these, ``groups`` (how many) and ``which`` (the first
        of them). A column that no row has is not there.
    """
    alike: dict[tuple[Any, ...], list[LeftOut]] = {}
    for one in left_out:
        named = one.by.get("task"), one.by.get("method")
        alike.setdefault((one.law, *named, one.factor, one.reason), []).append(one)
    rows: list[dict[str, Any]] = []
    for (law, task, method, factor, reason), members in alike.items():
        which = _which([one.by for one in members])
        words = {"reason": reason, "law": law, "task": task, "method": method, "over": factor, "which": which}
        rows.append({**words, "groups": len(members)})
    return [{name: row[name] for name in row if any(other[name] for other in rows)} for row in rows]


def _which(groups: Sequence[Mapping[str, Any]]) -> str:
    """The first group of one method by what tells it apart, and how many more there are."""
    names = dict.fromkeys(name for group in groups for name in group if name not in ("task", "method"))
    apart = [n for n in names if len({group.get(n) for group in groups}) > 1] or list(names)
    first = ", ".join(f"{name} {_value(groups[0][name])}" for name in apart if name in groups[0])
    if len(groups) > 1:
        return f"{first} and {len(groups) - 1} more"
    return first or ("" if groups[0] else "all runs")


def _value(value: Any) -> str:
    if isinstance(value, float):
        return count(value) if value >= _MANY else f"{value:g}"
    return str(value)
