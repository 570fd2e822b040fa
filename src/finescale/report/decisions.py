"""What the page advises for each task: candidates fitted once, the advice, the crossovers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finescale.advice.candidates import FORECAST, SIZE, Candidates, candidates
from finescale.advice.cost import Costs, costs
from finescale.advice.crossovers import Crossovers
from finescale.advice.options import Advice, Question
from finescale.advice.pairs import find_crossovers
from finescale.advice.recommend import advise
from finescale.errors import FinescaleError
from finescale.laws.law import Law
from finescale.records.records import Records
from finescale.report.drawing.sheet import Row, Sheet, Shown, column, plain
from finescale.wording import count, factor_name, method_name, number, slug


@dataclass(frozen=True)
class Decision:
    """What can be advised on one task.

    Attributes:
        task: The task.
        found: The candidates.
        prices: What runs cost.
        advice: The advice at the base setting and the largest data size that every method was run with.
        pairs: The crossovers of every pair; empty with one candidate.
    """

    task: str
    found: Candidates
    prices: Costs
    advice: Advice
    pairs: tuple[Crossovers, ...]


def decide(
    records: Records,
    task: str,
    *,
    law: str | Law = "auto",
    base: Mapping[str, Any] | None = None,
    bootstrap: int,
    seed: int,
) -> Decision | str:
    """Answers as ``finescale advise`` does; where that cannot be done, says why in a sentence.

    Args:
        records: The runs.
        task: The task.
        law: A law, which is fitted and answers alone; ``auto``: the forecast, as in the command.
        base: Values of the base setting; default: the most frequent.
        bootstrap: Number of joint draws, or of resamples.
        seed: Their seed.
    """
    try:
        asked = FORECAST if law == "auto" else law
        options: dict[str, Any] = {"base": base, "bootstrap": bootstrap, "seed": seed}
        found = candidates(records, task, law=asked, fitted=True, **options)
        prices = costs(found.runs)
        advice = advise(found, Question(), prices)
        pairs = find_crossovers(found, advice) if len(found.members) > 1 else ()
    except FinescaleError as error:
        return "; ".join(line.strip() for line in str(error).splitlines())
    return Decision(task, found, prices, advice, pairs)


def crossover_sheet(decision: Decision) -> Sheet:
    """The critical points (Figure 5 in numbers): the crossovers of every pair, with their intervals."""
    rows: list[Row] = []
    for pair in decision.pairs:
        for point in pair.points:
            row = {"task": decision.task, "first": pair.first, "second": pair.second, "factor": pair.factor}
            row |= {"at": point.at, "ahead": point.ahead, "probability": point.probability}
            row |= {"H": pair.H, "gamma": pair.gamma, "equal_reducible_loss": point.equal_reducible}
            first = point.crossings[0] if point.crossings else None
            row |= {"crossings": len(point.crossings), "examples": first.examples if first else None}
            row |= {"low": first.low if first else None, "high": first.high if first else None}
            rows.append(row | {"times_outside": first.outside if first else None})
    shown: list[Shown] = [
        Shown("pair", lambda r: f"{method_name(r['first'])} / {method_name(r['second'])}", numeric=False)
    ]
    if decision.found.factor:
        shown.append(column(factor_name(SIZE), "at", count))
    shown += [plain("who is ahead", "ahead"), column("draws that cross", "probability", _percent)]
    notes = [
        "In brackets: the 90% interval; outside: how many times outside the data of either method it lies."
    ]
    if any(math.isfinite(pair.H) for pair in decision.pairs):
        shown.append(column("equal reducible loss", "equal_reducible_loss", count))
        shown += [column("H", "H", number), column("gamma", "gamma", number)]
        notes.append(
            "Equal reducible loss is H X^gamma (Eq. 3): the crossover only if both floors E were equal."
        )
    by = decision.found.law + ("" if decision.found.forecast else " law")
    title = f"Crossovers: at which data size the better method changes ({by})"
    return Sheet(crossover_name(decision.task), title, rows, shown, tuple(notes))


def crossover_name(task: str) -> str:
    """The name of a task's table of crossovers."""
    return f"crossovers-{slug(task)}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"
