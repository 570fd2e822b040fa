"""Checkpoints of a run: when one is saved, which are kept, and which one a run goes on from."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch.distributed as dist

from finescale.training.checkpoint_store import CheckpointStore, Damaged, DataFile
from finescale.training.sharding import from_first, gather, is_first, own_part, ranks
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

    Where several processes share the run each writes and reads the parts that it holds, all at the same step:
    the first one says when, and commits the checkpoint once all have written; every method has to be called
    in all of them.

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
        told: list[str] = []
        manifests, problem = from_first(self._manifests() if is_first() else None)
        for manifest in manifests:
            step = int(manifest.split("-")[1])
            try:
                restore, problem = self._loaded(training, manifest), None
            except (Damaged, ValueError, KeyError, TypeError) as reason:
                restore, problem = None, f"the checkpoint of step {step} was skipped: {reason}"
            except Exception as error:  # whatever a store raises: the run can begin again
                restore, problem = None, f"checkpoints could not be read: {_describe_error(error)}"
            problem = next(filter(None, gather(problem)), None)
            if problem is None and restore is not None:
                restore()
                told.append(f"resumed at step {training.progress.step}")
                break
            told.append(str(problem))
        else:
            told += [problem] if problem and not manifests else []
            told += ["started from the beginning"] if manifests else []
        self.history += told
        self._last = time.monotonic()

    def offer(self, training: Training) -> None:
        """Saves the training if it is time to.

        Args:
            training: After a step and its evaluation.
        """
        by_time = False
        if self._every_seconds is not None:
            elapsed = time.monotonic() - self._last
            by_time = from_first(elapsed >= max(self._every_seconds, LEAST_SHARE * self._took))
        if by_time or (self._every_steps is not None and training.progress.step % self._every_steps == 0):
            self.save(training)

    def save(self, training: Training) -> None:
        """Saves the training now; where that fails the run goes on without."""
        began = time.monotonic()
        files, problem = {}, None
        try:
            files = self._write(training)
        except Exception as error:  # whatever a store raises: the run is worth more than its checkpoint
            problem = _describe_error(error)
        written = gather((files, problem))
        problem = next((problem for _, problem in written if problem), None)
        files = {name: file for part, _ in written for name, file in part.items()}
        if problem is None:
            problem = from_first(self._commit(training, files) if is_first() else None)
        if problem is not None:
            told = f"checkpoints could not be saved: {problem}"
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
            if is_first():
                self._store.clear()
        except Exception as error:  # the run is finished all the same
            self.history.append(f"checkpoints could not be removed: {_describe_error(error)}")

    def _write(self, training: Training) -> dict[str, DataFile]:
        """Writes the tensors that this process holds; the files by their place in the manifest."""
        progress = training.progress
        files = {_place("state"): self._store.write("state", progress.step, training.tensors())}
        if progress.best_state is not None:
            if self._best is None or self._best[0] != progress.best_step:
                parts = {name: own_part(item) for name, item in progress.best_state.items()}
                tensors = {name: item.cpu().contiguous() for name, item in parts.items()}
                self._best = (progress.best_step, self._store.write("best", progress.best_step, tensors))
            files[_place("best")] = self._best[1]
        return files

    def _commit(self, training: Training, files: dict[str, DataFile]) -> str | None:
        """Makes a checkpoint of the files of all processes; what went wrong, if anything."""
        body: dict[str, Any] = {
            "run": self._run,
            "processes": ranks(),
            "wall_seconds": self.wall_seconds(),
            "history": self.history,
            **training.plain(),
        }
        try:
            manifest = self._store.commit(training.progress.step, files, body)
            self._kept = [*(kept for kept in self._kept if kept[0] != manifest), (manifest, files)][-KEPT:]
            self._keep()
        except Exception as error:  # whatever a store raises
            return _describe_error(error)
        return None

    def _keep(self) -> None:
        if not is_first():
            return
        names = {manifest for manifest, _ in self._kept}
        self._store.keep_only(names | {file.name for _, files in self._kept for file in files.values()})

    def _manifests(self) -> tuple[list[str], str | None]:
        """The manifests, newest first; or why they cannot be read."""
        try:
            return self._store.manifests(), None
        except Exception as error:  # whatever a store raises: the run can begin again
            return [], f"checkpoints could not be read: {_describe_error(error)}"

    def _loaded(self, training: Training, manifest: str) -> Callable[[], None]:
        """Reads a checkpoint; what it returns puts the training and this object where it was.

        Raises:
            Damaged: It cannot be used.
        """
        files, body = self._store.read(manifest)
        if body["run"] != self._run:
            raise Damaged(f"it is of another run ({str(body['run'])[:20]})")
        if body.get("processes", 1) != ranks():
            raise Damaged(
                f"it was saved by {body.get('processes', 1)} processes, and the run has {ranks()} now"
            )
        tensors = self._store.load(files[_place("state")])
        best = self._store.load(files[_place("best")]) if _place("best") in files else None
        earlier, history = float(body["wall_seconds"]), [str(told) for told in body["history"]]
        put_back = training.restoring(tensors, best, body)

        def restore() -> None:
            put_back()
            self._earlier, self.history = earlier, history + self.history
            self._kept = [(manifest, files)]
            if best is not None:
                self._best = (training.progress.best_step, files[_place("best")])

        return restore


def _place(kind: str) -> str:
    """Where a manifest has this process's file of a kind."""
    return kind if ranks() == 1 else f"{kind}-{dist.get_rank()}"


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
