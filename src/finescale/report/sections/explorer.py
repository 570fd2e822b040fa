"""The explorer: what the page's script needs to predict for any model size, data size and price.

The script (``assets/explorer.js``) shows the numbers of ``finescale advise``: it reads a forecast from its
grid by the rule that Python reads it with (``forecasts/grid.py``), with the same joint draws; where one law
was asked for, it evaluates that law in every bootstrap draw. It knows no law: each comes as data.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from importlib import resources
from typing import Any

import numpy as np

from finescale.advice.candidate import SAME_SIZE, SIZE, Candidate
from finescale.advice.scan import SURE, Belief
from finescale.forecasts.grid import Surface
from finescale.forecasts.group import Forecast
from finescale.laws.fitted import FAR, FittedLaw
from finescale.laws.trace import Expression
from finescale.records.outcome_words import heading, noun
from finescale.records.outcomes import Outcome
from finescale.records.records import DATA_SIZE
from finescale.report.decisions import Decision
from finescale.report.drawing import palette
from finescale.report.drawing.markup import Html, join, tag
from finescale.report.section import Content, Made, Section
from finescale.report.sections.parts import missing
from finescale.wording import method_name

STEPS = 240
SHOWN = len(palette.SERIES)
"""At most so many candidates are shown at a time: the best ones at the chosen place."""
_TABLES = ("centre", "seen", "beyond", "shared")
_BYTES = 3_000_000
"""What the draws of all tasks of a page may take up in it."""


def _fill(content: Content) -> Made:
    parts: list[Html] = []
    for index, (task, made) in enumerate(content.decisions.items()):
        if len(content.decisions) > 1:
            parts.append(tag("h3", task))
        if isinstance(made, str):
            parts.append(missing(f"Nothing to explore: {made}"))
        elif not explorable(made):
            parts.append(
                missing("The explorer needs draws (--bootstrap), and laws that are plain arithmetic.")
            )
        else:
            parts.append(_controls(made, index, len(content.decisions)))
    how = (
        "Move model size, data and price, at most ten times beyond the runs: the numbers are those of "
        "finescale advise. All runs count, held-out ones too."
    )
    if not parts:
        return Made(missing("The explorer needs finished runs."))
    return Made(join(tag("p", how, class_="soft"), *parts))


def script() -> str:
    """The script's text."""
    return resources.files("finescale.report").joinpath("assets/explorer.js").read_text(encoding="utf-8")


def script_hash() -> str:
    """The script's hash, for the page's content security policy: no other script runs."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()


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
    """What the script reads: forecasts or laws (base64, little-endian doubles), ranges, costs.

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
    return {
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
        "candidates": [_candidate(member, decision, index) for index, member in enumerate(members)],
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    """What the script's sentences say of the outcome."""
    return {
        "noun": noun(outcome),
        "sign": outcome.sign,
        "unit": f" {outcome.unit}" if outcome.unit else "",
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


def _controls(decision: Decision, index: int, tasks: int = 1) -> Html:
    """The controls, the place for the answer, and the data.

    Args:
        decision: The laws and the advice of a task.
        index: The task's number on the page.
        tasks: How many tasks the page has.
    """
    most = room(decision, tasks)
    data = payload(decision, most)
    name = f"explorer-{index}"
    sliders = []
    if data["sizes"]:
        sliders.append(_slider(name, "size", "Model size (parameters)"))
    sliders.append(_slider(name, "data", "Finetuning examples"))
    flops = any(candidate["flops"][1] for candidate in data["candidates"])
    rated = all(candidate["rate"] or candidate["hours"][1] for candidate in data["candidates"])
    if flops or rated:
        unit = "Price of an hour" if rated else "Price of 10\u00b9\u2078 FLOPs"
        sliders.append(_slider(name, "price", unit))
    outcome = decision.found.outcome
    heads = ["method", f"predicted {noun(outcome)}", "mean, 90%", "a new run, 90%", "best with"]
    heads += ["FLOPs"] if flops else []
    heads += ["time"] if rated else []
    heads += ["cost"] if flops or rated else []
    table = tag(
        "table",
        tag("caption", f"Predicted {heading(outcome)}"),
        tag("thead", tag("tr", *[tag("th", h, scope="col", **_look(h)) for h in heads])),
        tag("tbody"),
    )
    parts = [
        tag("div", *sliders, class_="sliders"),
        tag("p", class_="headline verdict", aria_live="polite"),
        tag("p", class_="small why"),
        tag("div", table, class_="scroll", tabindex="0", role="group", aria_label="Predictions"),
        tag("div", class_="plot"),
        tag(
            "noscript",
            tag("p", "The explorer needs JavaScript; the same: finescale advise.", class_="missing"),
        ),
        Html(f'<script type="application/json" class="data">{_safe(data)}</script>'),
    ]
    have = len(decision.found.members)
    if have > SHOWN:
        words = f"The best {SHOWN} of {have} are shown; the probability is that of being the best of "
        words += "all." if have <= most else f"the {most} that lead at the advice's own question."
        parts.append(tag("p", words, class_="small"))
    return tag("div", join(*parts), class_="explorer", id=name)


def _slider(name: str, what: str, label: str) -> Html:
    identity = f"{name}-{what}"
    control = tag("input", type="range", id=identity, min="0", max=str(STEPS), step="1", data_what=what)
    return tag("div", tag("label", label, for_=identity), control, tag("output", "", for_=identity))


def _look(heading: str) -> dict[str, str]:
    return {} if heading == "method" else {"class_": "n"}


def _base64(values: Any) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def _null(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _safe(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


SECTION = Section("explorer", "Ask for another model, data size or price", _fill)
