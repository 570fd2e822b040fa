"""The curves of one group along one factor, the others at the base setting of every other command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from finescale.forecasts.curves import Curve, Curves
from finescale.laws.slice_bases import scoped_bases
from finescale.records.records import FACTORS
from finescale.records.settings import UNNAMED, Base, base_value, of_equals, tuned_runs

Array = np.ndarray[Any, Any]
_SAME = 1e-9


@dataclass(frozen=True)
class FactorSlice:
    """The curves of one group along one factor, the others at the base.

    Attributes:
        group: Which group, an index.
        factor: The factor; None for one curve.
        base: The group's base setting.
        curves: Indices of the curves, [m].
        x: log2 of the factor's values, ascending, [m].
    """

    group: int
    factor: str | None
    base: Mapping[str, Any]
    curves: Array
    x: Array


@dataclass(frozen=True)
class Bases:
    """The base settings of a table's groups: those of every other command.

    Attributes:
        scopes: The columns that tell groups with a base setting of their own apart.
        found: The base setting of each.
        asked: Values that were asked for.
    """

    scopes: Sequence[str]
    found: Mapping[tuple[Any, ...], Base]
    asked: Mapping[str, Any]

    @classmethod
    def of(cls, frame: pl.DataFrame, by: Sequence[str], asked: Mapping[str, Any]) -> Bases:
        """Those of runs, hidden ones too, that are grouped by some columns."""
        scopes = [name for name in by if name not in ("method", *FACTORS)]
        return cls(scopes, scoped_bases(frame.filter(tuned_runs(frame)), scopes, asked), asked)

    def usual(self, group: Mapping[str, Any], name: str) -> Any:
        """A factor's value at the base of a group; None where it has none."""
        base = self.found.get(tuple(group[scope] for scope in self.scopes))
        return None if base is None else base_value(base.values, name, group.get("method") or UNNAMED)


def slices_of(curves: Curves, groups: Sequence[Mapping[str, Any]], bases: Bases) -> list[FactorSlice]:
    """The slices of every group: one a factor that varies in it, or one curve."""
    found = []
    for index, group in enumerate(groups):
        own = [i for i, curve in enumerate(curves.curves) if dict(curve.by) == dict(group)]
        rest = _base_of([curves.curves[i] for i in own], curves.columns, group, bases)
        factors = [
            name
            for name in FACTORS
            if name in curves.columns
            and len({_plain(curves.curves[i].place.get(name)) for i in own} - {None}) > 1
        ]
        made = [_slice(index, name, own, curves, rest) for name in factors]
        made = [one for one in made if one is not None]
        if not made:
            kept = [i for i in own if _at(curves.curves[i], rest)] or own[:1]
            made = [FactorSlice(index, None, rest, np.array(kept[:1]), np.zeros(1))]
        found += made
    return found


def _plain(value: Any) -> Any:
    return None if value is None else float(value)


def _base_of(
    own: Sequence[Curve], columns: Sequence[str], group: Mapping[str, Any], bases: Bases
) -> dict[str, Any]:
    """The base value of each column; a group that was not run there has its own, with most settings."""
    found: dict[str, Any] = {}
    for name in columns:
        key = f"{name}.{group.get('method')}"
        if (asked := bases.asked.get(key, bases.asked.get(name))) is not None:
            found[name] = asked
            continue
        here = [curve for curve in own if name in curve.place and _at(curve, found)]
        usual = bases.usual(group, name)
        if usual is not None and any(_at(curve, {name: usual}) for curve in here):
            found[name] = usual
            continue
        counts: dict[Any, int] = {}
        for curve in here:
            counts[curve.place[name]] = counts.get(curve.place[name], 0) + curve.u.size
        if counts:
            most = sorted(value for value, count in counts.items() if count == max(counts.values()))
            found[name] = of_equals(np.array(most), key if name == "pet_size" else name)[0].item()
    return found


def _at(curve: Curve, wanted: Mapping[str, Any], free: Sequence[str] = ()) -> bool:
    for name, value in wanted.items():
        have = curve.place.get(name)
        if name in free or have is None or value == "any":
            continue
        same = abs(have / value - 1) < _SAME if isinstance(value, int | float) else have == value
        if not same:
            return False
    return True


def _slice(
    group: int, factor: str, own: Sequence[int], curves: Curves, base: Mapping[str, Any]
) -> FactorSlice | None:
    free = [factor, "model"] if factor.startswith("model_params") else [factor]
    kept = [i for i in own if factor in curves.curves[i].place and _at(curves.curves[i], base, free)]
    x = np.array([np.log2(float(curves.curves[i].place[factor])) for i in kept])
    if np.unique(np.round(x, 9)).size < 2:
        return None
    order = np.argsort(x, kind="stable")
    return FactorSlice(group, factor, base, np.array(kept)[order], x[order])
