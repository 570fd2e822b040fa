"""Learning rates at the edge of what was tried: a better one may lie beyond, so the method may be better."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from finescale.records.records import Records, untuned
from finescale.records.settings import fill_groups, setting_columns
from finescale.wording import method_title

RATE = "learning_rate"
_ALIKE = ("optimizer", "batch_size")
"""Rates are compared with those that were tried with the same optimiser and batch size."""
_RATES, _USED = "_rates", "_used"
_OFTEN = 0.5
"""Of a method with a sweep at many settings, the best is at the edge in at least such a share of them."""


@dataclass(frozen=True)
class RateEdge:
    """A method whose chosen learning rate is the lowest or the highest that was tried.

    Attributes:
        task: The task.
        method: The method.
        rate: The rate; None where settings have different ones.
        end: ``lowest`` or ``highest``.
        settings: At how many settings.
        of: Of how many at which several rates were tried.
    """

    task: str
    method: str
    rate: float | None
    end: str
    settings: int
    of: int

    @property
    def words(self) -> str:
        """The sentence for a reader."""
        where = "" if self.of == 1 else f" at {self.settings} of {self.of} settings"
        rate = "" if self.rate is None else f" {self.rate:g}"
        return (
            f"{method_title(self.method)}: the chosen learning rate{rate} is the {self.end} that was "
            f"tried{where}; a better one may lie beyond, and the method may be better than it looks here."
        )


def rate_edges(records: Records, task: str | None = None) -> tuple[RateEdge, ...]:
    """Methods whose learning rate was chosen at the edge of its sweep.

    A sweep is one of a study (its runs have the purpose ``sweep``), or rows of one setting of any table that
    differ in their rate. What a run of any status tried was tried: a rate that diverged is not beyond.

    Args:
        records: The runs.
        task: The task; None: all.
    """
    every, kept = fill_groups(records.every_row), fill_groups(records.frame)
    if RATE not in every.columns or RATE not in kept.columns:
        return ()
    if task is not None:
        every, kept = (rows.filter(pl.col("task") == task) for rows in (every, kept))
    every, kept = (_tuned(rows) for rows in (every, kept))
    alike = [name for name in _ALIKE if name in every.columns and name in kept.columns]
    own = [name for name, role in records.reading.roles.items() if role == "setting"]
    named = dict.fromkeys([*setting_columns(every), *own, *alike])
    setting = [name for name in named if name in every.columns and name in kept.columns and name != RATE]
    tried = every.group_by(setting, maintain_order=True).agg(pl.col(RATE).unique().sort().alias(_RATES))
    tried = tried.filter(pl.col(_RATES).list.len() > 1)
    here, anywhere = (
        kept.group_by(keys).agg(pl.col(RATE).unique().alias(name))
        for keys, name in ((setting, _USED), (["task", "method", *alike], f"{_USED}_anywhere"))
    )
    chosen = tried.join(here, on=setting, how="left", nulls_equal=True)
    chosen = chosen.join(anywhere, on=["task", "method", *alike], how="left", nulls_equal=True)
    chosen = chosen.with_columns(pl.coalesce(_USED, f"{_USED}_anywhere").alias(_USED))
    return tuple(_edges(chosen.filter(pl.col(_USED).list.len() == 1)))


def _edges(chosen: pl.DataFrame) -> list[RateEdge]:
    """The methods at an edge, of settings with the rates tried and the one used."""
    used = chosen.with_columns(pl.col(_USED).list.first())
    found: list[RateEdge] = []
    for (task, method), part in used.group_by("task", "method", maintain_order=True):
        for end, edge in (("lowest", pl.col(_RATES).list.min()), ("highest", pl.col(_RATES).list.max())):
            there = part.filter(pl.col(_USED) == edge)
            if there.height and there.height >= _OFTEN * part.height:
                rates = there[_USED].unique()
                rate = float(rates[0]) if rates.len() == 1 else None
                found.append(RateEdge(str(task), str(method), rate, end, there.height, part.height))
    return found


def _tuned(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(~untuned(rows.columns) & pl.col(RATE).is_not_null())
