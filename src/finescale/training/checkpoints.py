"""Checkpoints of a run: when one is saved, which are kept, and which one a run goes on from."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from finescale.training.checkpoint_store import CheckpointStore, Damaged, DataFile
from finescale.training.state import Training

LEAST_SHARE = 20.0
"""Between two saves by time pass at least so many times the seconds that the last one took."""
KEPT = 2
"""The newest checkpoint, and the one before it in case the newest is damaged."""


class Checkpoints:
    """Saves a training now and then, and puts it back after an interruption.

    A checkpoint holds the trained tensors, the optimiser, torch's random states, the progress (schedule,
    data, early stopping, curves, the best step's tensors) and the time spent. What cannot be saved or read
    costs the run nothing but the repeated work: it goes on, and `history` says so.

    Attributes:
        history: What happened, in sentences: resumed, skipped, not saved.
    """

    def __init__(
        self, url: str, run: str, *, every_seconds: float | None = 60.0, every_steps: int | None = None
    ) -> None:
        """Takes a place for the run's checkpoints; nothing is written yet.

        Args:
            url: A folder, or a URL that fsspec knows; of this run only.
            run: The run's fingerprint; a checkpoint of another one is never used.
            every_seconds: Save after so much time, but at most a twentieth of the time; None: not by time.
            every_steps: Save after so many steps; None: not by steps.

        Raises:
            UsageError: The package for such URLs is not installed.
        """
        self.history: list[str] = []
        self._store = CheckpointStore(url)
        self._run = run
        self._every_seconds = every_seconds
        self._every_steps = every_steps
        self._earlier = 0.0
        self._began = self._last = time.monotonic()
        self._took = 0.0
        self._kept: list[tuple[str, dict[str, DataFile]]] = []
        self._best: tuple[int, DataFile] | None = None

    def wall_seconds(self) -> float:
        """Wall-clock time: of this attempt, and of earlier ones up to the checkpoint that it began with."""
        return self._earlier + time.monotonic() - self._began

    def resume(self, training: Training) -> None:
        """Puts a fresh training where the newest whole checkpoint was; without one, changes nothing.

        Args:
            training: Built exactly as it was the first time.
        """
        skipped: list[str] = []
        try:
            for manifest in self._store.manifests():
                try:
                    self._restore(training, manifest)
                except (Damaged, ValueError, KeyError, TypeError) as reason:
                    step = int(manifest.split("-")[1])
                    skipped.append(f"the checkpoint of step {step} was skipped: {reason}")
                else:
                    skipped.append(f"resumed at step {training.progress.step}")
                    break
            else:
                skipped += ["started from the beginning"] if skipped else []
        except Exception as error:  # whatever a store raises: the run can begin again
            skipped.append(f"checkpoints could not be read: {_told(error)}")
        self.history += skipped
        self._last = time.monotonic()

    def offer(self, training: Training) -> None:
        """Saves the training if it is time to.

        Args:
            training: After a step and its evaluation.
        """
        elapsed = time.monotonic() - self._last
        by_time = self._every_seconds is not None and elapsed >= max(
            self._every_seconds, LEAST_SHARE * self._took
        )
        if by_time or (self._every_steps is not None and training.progress.step % self._every_steps == 0):
            self.save(training)

    def save(self, training: Training) -> None:
        """Saves the training now; where that fails the run goes on without."""
        began = time.monotonic()
        try:
            self._write(training)
        except Exception as error:  # whatever a store raises: the run is worth more than its checkpoint
            told = f"checkpoints could not be saved: {_told(error)}"
            if told not in self.history:
                self.history.append(told)
            self._best = None
            with suppress(Exception):  # what was written without a manifest only fills the disk
                self._keep()
        self._last = time.monotonic()
        self._took = self._last - began

    def clear(self) -> None:
        """Removes the checkpoints of a finished run."""
        try:
            self._store.clear()
        except Exception as error:  # the run is finished all the same
            self.history.append(f"checkpoints could not be removed: {_told(error)}")

    def _write(self, training: Training) -> None:
        progress = training.progress
        files = {"state": self._store.write("state", progress.step, training.tensors())}
        if progress.best_state is not None:
            if self._best is None or self._best[0] != progress.best_step:
                tensors = {name: item.cpu().contiguous() for name, item in progress.best_state.items()}
                self._best = (progress.best_step, self._store.write("best", progress.best_step, tensors))
            files["best"] = self._best[1]
        body: dict[str, Any] = {
            "run": self._run,
            "wall_seconds": self.wall_seconds(),
            "history": self.history,
            **training.plain(),
        }
        manifest = self._store.commit(progress.step, files, body)
        self._kept = [*(kept for kept in self._kept if kept[0] != manifest), (manifest, files)][-KEPT:]
        self._keep()

    def _keep(self) -> None:
        names = {manifest for manifest, _ in self._kept}
        self._store.keep_only(names | {file.name for _, files in self._kept for file in files.values()})

    def _restore(self, training: Training, manifest: str) -> None:
        files, body = self._store.read(manifest)
        if body["run"] != self._run:
            raise Damaged(f"it is of another run ({str(body['run'])[:20]})")
        tensors = self._store.load(files["state"])
        best = self._store.load(files["best"]) if "best" in files else None
        earlier, history = float(body["wall_seconds"]), [str(told) for told in body["history"]]
        training.restore(tensors, best, body)
        self._earlier, self.history = earlier, history + self.history
        self._kept = [(manifest, files)]
        if "best" in files:
            self._best = (training.progress.best_step, files["best"])


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
