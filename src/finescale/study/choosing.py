"""Who chooses which runs of a study come next, and when enough is known: a study without one runs whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from finescale.study.ledger import Entry, Ledger


class Chooser(Protocol):
    """Asked whenever nothing is left to do: once the sweeps are done, then after each batch of runs."""

    def choose(
        self, ledger: Ledger, entries: Sequence[Entry], statuses: Mapping[str, str], slots: int
    ) -> Sequence[str]:
        """The runs that come next; none: the study stops here.

        Args:
            ledger: The study's ledger.
            entries: Every run that is known.
            statuses: How the finished ones ended.
            slots: How many can be made at a time.
        """
        ...
