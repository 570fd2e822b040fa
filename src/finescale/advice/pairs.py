"""The crossovers of candidates: which pairs are looked at, and at which model sizes."""

from __future__ import annotations

import numpy as np

from finescale.advice.candidate import Candidates
from finescale.advice.crossovers import Crossovers, crossovers
from finescale.advice.options import Advice

_MOST_PAIRED = 4
"""So many candidates are paired for crossovers; of more, those with the lowest predicted losses."""


def find_crossovers(found: Candidates, advice: Advice | None = None) -> tuple[Crossovers, ...]:
    """The crossovers of the candidates, at the model sizes of the records (at most nine of them).

    Where results follow from the model's size, a candidate that was run on one model only crosses nobody.
    """
    members = [member for member in found.members if member.law.factors or not found.factor]
    if advice is not None and len(members) > _MOST_PAIRED:
        leading = [option.name for option in advice.options[:_MOST_PAIRED]]
        members = [member for member in members if member.name in leading]
    sizes = found.sizes
    if len(sizes) > 9:
        sizes = tuple(sizes[round(at)] for at in np.linspace(0, len(sizes) - 1, 9))
    return crossovers([member.law for member in members], sizes if found.factor else None)
