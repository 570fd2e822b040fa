"""A part of a run: until which step it goes, and where the dev loss is looked at besides."""

from __future__ import annotations

from dataclasses import dataclass

PAUSED = "paused"
"""The status of what a run returns after a leg that is not its last; it goes on from its checkpoint."""


@dataclass(frozen=True, slots=True)
class Leg:
    """What of a run is to be made now, in a race.

    Attributes:
        until: The step (from 1) after which it pauses; None: to its end.
        looks: Steps after which the dev loss is taken beside the run's own evaluations. They choose no
            checkpoint and end nothing: a run with looks ends with the same bits as one without.
    """

    until: int | None = None
    looks: tuple[int, ...] = ()
