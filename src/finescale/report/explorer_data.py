"""What the explorer's script reads: forecasts or laws with their draws, ranges and costs of every candidate.

The script (``assets/explorer.js``) shows the numbers of ``finescale advise``: it reads a forecast from its
grid by the rule that Python reads it with (``forecasts/grid.py``), with the same joint draws; where one law
was asked for, it evaluates that law in every bootstrap draw. It knows no law: each comes as data.
"""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

from finescale.advice.candidate import SAME_SIZE, SIZE, Candidate
from finescale.advice.scan import SURE, Belief
from finescale.forecasts.grid import Surface
from finescale.forecasts.group import Forecast
from finescale.laws.fitted import FAR, FittedLaw
from finescale.laws.trace import Expression
from finescale.records.outcome_words import after_difference, after_value, digits, noun
from finescale.records.outcomes import Outcome
from finescale.records.records import DATA_SIZE
from finescale.records.values import rules
from finescale.report.decisions import Decision
from finescale.report.drawing import palette
from finescale.wording import method_name

STEPS = 240
SHOWN = len(palette.SERIES)
"""At most so many candidates are shown at a time: the best ones at the chosen place."""
_TABLES = ("centre", "seen", "beyond", "shared")
HOURS_PRICE, FLOPS_PRICE = "price_per_hour", "price_per_1e18_flops"
"""What a link to the explorer calls the price: of an hour, where every method's time is known."""
_BYTES = 3_000_000
"""What the draws of all tasks of a page may take up in it."""


def explorable(decision: Decision) -> bool:
    """Whether the script can say the same: forecasts over model size, or laws that are plain arithmetic."""

    def known(law: Belief) -> bool:
        if isinstance(law, Forecast):
            return set(law.factors) <= {SIZE}
        if law.outcome.kind == "score":  # the script knows formulas of losses only
            return False
        return _expression(law) is not None

    return all(law.drawn and known(law) for law in decision.found.laws)


def room(decision: Decision, tasks: int) -> int:
    """How many candidates of a task the page has room for."""
    each = max(map(_numbers, decision.found.laws)) * 8 * 4 / 3  # base64: 4 letters for 3 bytes
    return max(SHOWN, int(_BYTES / max(tasks, 1) / each))


def _numbers(law: Belief) -> int:
    """How many numbers the script needs of one candidate."""
    if isinstance(law, Forecast):
        return len(_TABLES) * _surface(law).centre.size + law.variates.size
    return (len(law.draws) + 1) * law.run_deviation.size


def payload(decision: Decision, most: int) -> dict[str, Any]:
    """What the script reads: forecasts or laws (base64, little-endian doubles), ranges, costs, names.

    Args:
        decision: The laws and the advice of a task.
        most: At most so many candidates, the best ones at the advice's question.
    """
    place = {option.name: rank for rank, option in enumerate(decision.advice.options[:most])}
    members = [member for member in decision.found.members if member.name in place]
    if len(members) > SHOWN:  # the leading ones get colours of their own
        members.sort(key=lambda member: place[member.name])
    sizes = _reach(members, SIZE) if any(SIZE in member.law.ranges for member in members) else None
    option = decision.advice.options[0]
    shown = [_candidate(member, decision, index) for index, member in enumerate(members)]
    timed = all(candidate["rate"] or candidate["hours"][1] for candidate in shown)
    return {
        "task": decision.task,
        "names": {"size": SIZE, "data": DATA_SIZE, "price": HOURS_PRICE if timed else FLOPS_PRICE},
        "numbers": rules(),
        "sizes": sizes,
        "data": _reach(members, DATA_SIZE),
        "start": {"size": option.model_params if sizes else None, "data": option.examples},
        "steps": STEPS,
        "shown": SHOWN,
        "level": members[0].law.level,
        "sure": SURE,
        "far": FAR,
        "same": SAME_SIZE,
        "forecast": decision.found.forecast,
        "doubts": list(decision.found.doubts),
        "outcome": _outcome(decision.found.outcome),
        "candidates": shown,
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    """What the script's sentences say of the outcome."""
    return {
        "noun": noun(outcome),
        "sign": outcome.sign,
        "unit": after_value(outcome),
        "apart": after_difference(outcome),
        "digits": digits(outcome),
        "lead": "below" if outcome.lower else "above",
        "most": "lowest" if outcome.lower else "highest",
    }


def _candidate(member: Candidate, decision: Decision, index: int) -> dict[str, Any]:
    law = member.law
    none = np.empty(0), np.empty(0)
    sizes, flops = decision.prices.tables.get(member.method, none)
    timed = decision.prices.timed.get(member.method, none)
    return {
        "name": member.name,
        "label": method_name(member.name),
        "series": index,
        **(_forecast(law) if isinstance(law, Forecast) else _fitted(law)),
        "ranges": {"size": law.ranges.get(SIZE), "data": law.ranges[DATA_SIZE]},
        "misses": [_null(v) for v in (member.misses.inside, member.misses.data, member.misses.size)],
        "tuned": member.tuned,
        "size": member.size,
        "flops": [[_null(float(s)) for s in sizes], [float(f) for f in flops]],
        "rate": decision.prices.rates.get(member.method),
        "hours": [[_null(float(s)) for s in timed[0]], [float(h) for h in timed[1]]],
    }


def _fitted(law: FittedLaw) -> dict[str, Any]:
    """A law: its formula, its parameters, and those of every draw."""
    return {
        "formula": _expression(law),
        "log": law.residual == "log",
        "parameters": {name: parameter.value for name, parameter in law.parameters.items()},
        "draws": {name: _base64(draws) for name, draws in law.draws.items()},
        "run": _base64(law.run_deviation),
    }


def _forecast(law: Forecast) -> dict[str, Any]:
    """A forecast: its grid, its joint draws, and what turns them into intervals on the outcome's scale."""
    surface, outcome = _surface(law), law.outcome
    normal, student = law.quantiles
    return {
        "grid": {name: _base64(getattr(surface, name)) for name in ("d", "x", *_TABLES)},
        "variates": [_base64(row) for row in law.variates],
        "scale": {
            "name": outcome.scale,
            "sign": outcome.sign,
            "low": _null(outcome.low),
            "high": _null(outcome.high),
        },
        "normal": normal,
        "student": student,
        "noise": law.noise,
    }


def _surface(law: Forecast) -> Surface:
    """The surface that answers a question of model size and data size."""
    return law.surfaces[SIZE] if SIZE in law.surfaces else next(iter(law.surfaces.values()))


def _expression(law: FittedLaw) -> Expression | None:
    """What the script computes: the law's formula, with its variables as the places on the page."""
    formula, columns = law.formula, next(iter(law.columns.values()))
    places = {SIZE: ("size",), DATA_SIZE: ("data",)}
    if formula is None or formula.expression is None or not set(columns.values()) <= set(places):
        return None

    def placed(node: Expression) -> Expression:
        if isinstance(node, tuple):
            return (node[0], *map(placed, node[1:]))
        return places[columns[node]] if isinstance(node, str) and node in columns else node

    return placed(formula.expression)


def _reach(members: list[Candidate], column: str) -> tuple[float, float]:
    """Ten times beyond the data on either side; a candidate of one model says nothing of other sizes."""
    ranges = [member.law.ranges[column] for member in members if column in member.law.ranges]
    return min(low for low, _ in ranges) / FAR, max(high for _, high in ranges) * FAR


def _base64(values: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None
