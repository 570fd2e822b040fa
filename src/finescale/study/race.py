"""A race between the candidates of a method: the ledger's part of `race_rule`.

Every run goes in legs, each a job of its own that ends with a pause and its curve. All of it is in the ledger
and in the runs' checkpoints: a driver that was killed, and another driver, come to the same verdicts.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import fsspec

from finescale.runs.expected import planned_steps
from finescale.runs.leg import Leg
from finescale.spec.expand import PlannedRun
from finescale.study.ledger import Ledger
from finescale.study.race_rule import RUNGS, Entrant, Verdict, judge

LEAST_STEPS = 4
"""Before so many steps no candidate is judged: LoRA's second matrix has hardly left zero."""


class Race:
    """The candidates of one method's sweep and what each of them is to do next."""

    def __init__(self, items: Sequence[PlannedRun], folder: Path) -> None:
        """Takes the candidates.

        Args:
            items: Their runs.
            folder: The study's folder.
        """
        self._items = {item.run.fingerprint(): item for item in items}
        self._steps = {run: planned_steps(item.run) for run, item in self._items.items()}
        self._folder = folder
        self._verdicts: dict[str, Verdict] = {}

    def holds(self, run: str) -> bool:
        """Whether the run waits for others."""
        return run in self._verdicts and self._verdicts[run].wait

    def leg(self, run: str) -> Leg | None:
        """What of a run is to be made next; None: it is not in this race."""
        if run not in self._items:
            return None
        verdict = self._verdicts.get(run)
        looks = tuple(_step(rung, self._steps[run]) for rung in RUNGS)
        until = None if verdict is None or verdict.until is None else _step(verdict.until, self._steps[run])
        return Leg(until, tuple(dict.fromkeys(looks)))

    def advance(self, ledger: Ledger) -> None:
        """Judges the candidates by what the ledger has of them, and ends those that will not win."""
        while True:
            self._verdicts = dict(zip(self._items, judge(self._entrants(ledger)), strict=True))
            stopped = [run for run, verdict in self._verdicts.items() if verdict.stop]
            for run in stopped:
                ledger.stop(run, self._verdicts[run].why)
                self._forget(run)
            if not stopped:
                return

    def _entrants(self, ledger: Ledger) -> list[Entrant]:
        found = []
        for run, steps in self._steps.items():
            record = ledger.record(run)
            curve = tuple((_share(step, steps), loss) for step, loss in ledger.curve(run))
            status = None if record is None else record["status"]
            loss = record["dev_loss"] if record is not None and status == "done" else None
            train = self._items[run].run.train
            family = f"{train.optimizer.model_dump_json()} {train.batch_size}"
            out = status not in (None, "done")
            found.append(Entrant(curve, loss, out, train.learning_rate, family))
        return found

    def _forget(self, run: str) -> None:
        """Removes the checkpoints of a run that will not go on; where that fails they only fill the disk."""
        url = self._items[run].resume.url
        with suppress(Exception):  # whatever a store raises
            if url is None:
                shutil.rmtree(self._folder / "runs" / run / "checkpoints", ignore_errors=True)
            else:
                system, path = fsspec.url_to_fs(f"{url.rstrip('/')}/{run}")
                system.rm(path, recursive=True)


def _step(share: float, steps: int) -> int:
    """The step of a rung."""
    return max(LEAST_STEPS, round(share * steps))


def _share(step: int, steps: int) -> float:
    """The share of a run at a step: of a rung's step the rung (the last, where several have the same)."""
    return max((rung for rung in RUNGS if _step(rung, steps) == step), default=step / steps)
