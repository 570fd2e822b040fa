"""Laws of bounded scores: their chance level is kept where it is known, and never beyond the worst value."""

from __future__ import annotations

import math
from dataclasses import replace

from finescale.laws.estimate import estimate
from finescale.laws.fitted import FittedLaw
from finescale.laws.options import FitOptions
from finescale.laws.solver.assembly import Assembly
from finescale.records.chance import chance_level

CHANCE = "C"
"""The parameter of a bounded law that is the chance level's distance from the best value."""

_NOISE = 3.0
"""So many times what the law misses its own settings by, a setting may be worse than chance."""


def fit_with_chance(assembly: Assembly, options: FitOptions, loss: str) -> FittedLaw:
    """Fits a law of bounded scores.

    The chance level is that of the bounds that were stated, or of a task that is known; else it is free
    between the score's worst value and the worst that was seen, which noise may make a little worse.

    Args:
        assembly: The problem of one slice, or of several that share parameters (whose chance level is free).
        options: How it is fitted.
        loss: The column.
    """
    piece = assembly.pieces[0]
    outcome = piece.outcome
    stated = CHANCE in options.fixed or len(assembly.pieces) > 1
    level = math.nan if stated else chance_level(outcome, str(piece.by.get("task", "")))
    if math.isfinite(level):
        made = estimate(assembly, _fixed(options, float(outcome.lost(level))), loss)
        return replace(made, status=(*made.status, f"chance level {level:.3g}, as it is known of the task"))
    made = estimate(assembly, options, loss)
    if stated or not math.isfinite(outcome.width):
        return made
    seen = float(piece.fitted["loss"].max())  # type: ignore[arg-type]
    least = min(seen, outcome.width) - _NOISE * made.delta_e
    if least <= made.value(CHANCE) <= outcome.width:
        return made
    where = "the worst value" if made.value(CHANCE) > outcome.width else "the worst that was seen"
    worst = outcome.width if made.value(CHANCE) > outcome.width else min(seen, outcome.width)
    made = estimate(assembly, _fixed(options, worst), loss)
    return replace(made, status=(*made.status, f"no chance level is visible: it is taken for {where}"))


def _fixed(options: FitOptions, distance: float) -> FitOptions:
    return replace(options, fixed={**options.fixed, CHANCE: distance})
