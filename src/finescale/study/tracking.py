"""Finished runs in the trackers that a study names: MLflow, W&B, trackio, TensorBoard (`tracking`).

The driver tells them, from a thread of its own, after a run is committed: whatever a tracker does, no run
waits for it or is lost by it. The ledger is the truth; a tracker is a copy to look at. Every tracker is one
class with `log` (`Tracker`). Where its data goes is said by the tracker's own environment variables; files of
TensorBoard, MLflow and W&B are by default in the study's folder, in `tracking`.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, Self

from finescale.errors import UsageError
from finescale.study.ledger import Entry
from finescale.study.progress import Progress, title

PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb", "trackio": "trackio"}
"""Tracker to the package that it needs (of MLflow, mlflow-skinny is enough)."""
PATIENCE_SECONDS = 60.0
"""How long a finished study waits for its trackers."""


@dataclass(frozen=True)
class Tracked:
    """A finished run as trackers are told.

    Attributes:
        study, run, name: The study, the run's fingerprint, and the run in words.
        settings: What was known before it ran.
        numbers: What it measured: losses, steps, seconds ...
        curve: Step and dev loss of each evaluation.
        status: `done`, `diverged` or `failed`.
        error: Why it is not done.
    """

    study: str
    run: str
    name: str
    settings: Mapping[str, str | int | float | bool]
    numbers: Mapping[str, float]
    curve: Sequence[tuple[int, float]]
    status: str
    error: str


class Tracker(Protocol):
    """A place to look at runs."""

    def log(self, tracked: Tracked) -> None:
        """Takes one finished run; may raise whatever it likes."""
        ...


class TensorBoard:
    """Event files in the study's folder: `tensorboard --logdir FOLDER/tracking/tensorboard`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "tensorboard"

    def log(self, tracked: Tracked) -> None:
        """Writes the run's events anew."""
        from tensorboardX import SummaryWriter  # noqa: PLC0415

        with SummaryWriter(str(self._folder / tracked.run)) as writer:
            for step, loss in tracked.curve:
                writer.add_scalar("dev_loss", loss, step)
            writer.add_text("status", f"{tracked.status} {tracked.error}".strip())
            for name, value in tracked.numbers.items():
                writer.add_scalar(f"run/{name}", value)
            writer.add_hparams(dict(tracked.settings), dict(tracked.numbers), name="settings")


class MLflow:
    """A run in the experiment that is called as the study; `MLFLOW_TRACKING_URI` says where."""

    def __init__(self, folder: Path) -> None:
        from mlflow import MlflowClient  # noqa: PLC0415

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if not uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # plain files: no server or database
            uri = (folder / "mlflow").absolute().as_uri()
        self._client = MlflowClient(tracking_uri=uri)

    def log(self, tracked: Tracked) -> None:
        """Makes the run, with its settings as parameters."""
        from mlflow.entities import Metric, Param  # noqa: PLC0415

        known = self._client.get_experiment_by_name(tracked.study)
        experiment = known.experiment_id if known else self._client.create_experiment(tracked.study)
        tags = {"run": tracked.run, "status": tracked.status, "error": tracked.error[:5000]}
        run = self._client.create_run(experiment, run_name=tracked.name, tags=tags)
        now = run.info.start_time
        metrics = [Metric(name, value, now, 0) for name, value in tracked.numbers.items()]
        metrics += [Metric("dev_loss_curve", loss, now, step) for step, loss in tracked.curve]
        params = [Param(name, str(value)) for name, value in tracked.settings.items()]
        for start in range(0, max(len(metrics), 1), 900):  # a batch holds a thousand at most
            batch = metrics[start : start + 900]
            self._client.log_batch(run.info.run_id, batch, params if start == 0 else ())
        status = "FINISHED" if tracked.status == "done" else "FAILED"
        self._client.set_terminated(run.info.run_id, status)


class WandB:
    """A run in the project that is called as the study; `WANDB_MODE=offline` keeps it in the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def log(self, tracked: Tracked) -> None:
        """Makes the run; its id is the fingerprint."""
        import wandb  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

        self._folder.mkdir(parents=True, exist_ok=True)
        run = wandb.init(
            project=tracked.study,
            id=tracked.run,
            name=tracked.name,
            config=dict(tracked.settings),
            dir=str(self._folder),
            mode=os.environ.get("WANDB_MODE"),  # wandb reads it once, maybe before it was set  # type: ignore[arg-type]
            resume="allow",
        )
        for step, loss in tracked.curve:
            run.log({"dev_loss": loss}, step=step)
        run.summary.update({**tracked.numbers, "status": tracked.status, "error": tracked.error})
        run.finish(exit_code=0 if tracked.status == "done" else 1)


class Trackio:
    """A run in the project that is called as the study; `TRACKIO_DIR` says where."""

    def __init__(self, folder: Path) -> None:
        del folder

    def log(self, tracked: Tracked) -> None:
        """Makes the run."""
        import trackio  # noqa: PLC0415

        config = {**tracked.settings, "run": tracked.run, "status": tracked.status, "error": tracked.error}
        trackio.init(project=tracked.study, name=f"{tracked.name} ({tracked.run})", config=config)
        for step, loss in tracked.curve:
            trackio.log({"dev_loss": loss}, step=step)
        trackio.log(dict(tracked.numbers), step=tracked.curve[-1][0] + 1 if tracked.curve else 0)
        trackio.finish()


TRACKERS: Mapping[str, Callable[[Path], Tracker]] = {
    "tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB, "trackio": Trackio
}  # fmt: skip


def check_trackers(names: Sequence[str]) -> None:
    """Refuses a tracker whose package is not installed, before anything runs.

    Raises:
        UsageError: With the package to install.
    """
    for name in names:
        if find_spec(PACKAGES[name]) is None:
            raise UsageError(
                f"the package for {name} is not installed",
                wanted=PACKAGES[name],
                got="it is not installed",
                remedy='pip install "finescale[trackers]", or leave the tracker out',
                where="tracking",
            )


class Tracking:
    """A study's progress that also tells its trackers of every finished run."""

    def __init__(
        self, progress: Progress, names: Sequence[str], study: str, folder: Path, tell: Callable[[str], None]
    ) -> None:
        """Starts nothing yet.

        Args:
            progress: What shows the progress; told everything first.
            names: The trackers, by their names in the study file.
            study: The study's name.
            folder: The study's folder.
            tell: Shows a sentence: the first failure of each tracker.
        """
        self._progress, self._study, self._folder, self._tell = progress, study, folder, tell
        self._makers = {name: partial(TRACKERS[name], folder / "tracking") for name in names}
        self._queue: SimpleQueue[tuple[Entry, Mapping[str, Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        """Shows the progress, and begins to tell."""
        self._progress.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Waits for the trackers, but not for ever."""
        self._progress.__exit__(*error)
        self._queue.put(None)
        self._thread.join(PATIENCE_SECONDS)
        if self._thread.is_alive():
            self._tell(
                f"Trackers did not take every run in {PATIENCE_SECONDS:.0f} s; the ledger has them all."
            )

    def finished(self, entry: Entry, record: Mapping[str, Any], seconds: float) -> None:
        """Tells everybody."""
        self._progress.finished(entry, record, seconds)
        self._queue.put((entry, dict(record)))

    def plan(
        self,
        entries: Sequence[Entry],
        statuses: Mapping[str, str],
        seconds: Mapping[str, float],
        outlook: Sequence[float],
    ) -> None:
        """Passed on."""
        self._progress.plan(entries, statuses, seconds, outlook)

    def started(self, entry: Entry) -> None:
        """Passed on."""
        self._progress.started(entry)

    def running(self, shares: Mapping[str, float]) -> None:
        """Passed on."""
        self._progress.running(shares)

    def broken(self, entry: Entry, error: str, attempts: int) -> None:
        """Passed on: the run will be tried again."""
        self._progress.broken(entry, error, attempts)

    def paused(self, entry: Entry) -> None:
        """Passed on."""
        self._progress.paused(entry)

    def _work(self) -> None:
        trackers: dict[str, Tracker] = {}
        failed: set[str] = set()
        while (item := self._queue.get()) is not None:
            tracked = tracked_run(self._study, *item, self._folder)
            for name, make in self._makers.items():
                try:
                    if name not in trackers:
                        trackers[name] = make()
                    trackers[name].log(tracked)
                except Exception as error:  # whatever a tracker raises: the run is worth more
                    if name not in failed:
                        failed.add(name)
                        said = f"{type(error).__name__}: {error}"[:300]
                        self._tell(f"{name} did not take a run ({said}); the study goes on without it.")


def tracked_run(study: str, entry: Entry, record: Mapping[str, Any], folder: Path) -> Tracked:
    """A finished run as trackers receive it; its curve is read from its folder, where it is there."""
    train = getattr(getattr(entry.spec, "run", None), "train", None)
    stated = {**(train.science() if train else {}), **entry.fields, "purpose": entry.purpose}
    stated |= {"held_out": entry.held_out, "lr_tuned": entry.lr_tuned}
    plain = {name: value for name, value in stated.items() if isinstance(value, str | int | float | bool)}
    numbers = {
        name: float(value)
        for name, value in record.items()
        if name not in stated and isinstance(value, int | float) and not isinstance(value, bool)
    }
    curve: list[tuple[int, float]] = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        text = (folder / "runs" / entry.run / "curve.json").read_text(encoding="utf-8")
        curve = [(int(step), float(loss)) for step, loss in json.loads(text)["dev_loss"]]
    error = str(record.get("error") or "")
    return Tracked(study, entry.run, title(entry), plain, numbers, curve, str(record.get("status")), error)
