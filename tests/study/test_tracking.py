"""Trackers get every finished run and cost none; what they were told is read back from their own files."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from example import RUNS, TEXT, plan, study

from finescale.errors import UsageError
from finescale.executors.local import LocalExecutor
from finescale.records.records import read_records
from finescale.spec.file import parse_study
from finescale.spec.study import PretrainStudy
from finescale.study import tracking
from finescale.study.ledger import Entry, Ledger
from finescale.study.progress import Silent
from finescale.study.runner import run_study
from finescale.study.tracking import TRACKERS, Tracking, check_trackers, tracked_run

FIELDS = {
    "task": "t", "method": "lora", "model": "nano", "pet_size": 4, "learning_rate": 0.01,
    "finetune_examples": 128, "seed": 0, "lora_alpha": None,
}  # fmt: skip
ENTRY = Entry("0123456789", "study", True, False, 1.0, FIELDS, None)
RECORD = {
    "status": "done",
    "test_loss": 2.5,
    "steps": 20,
    "learning_rate": 0.01,
    "model": "nano",
    "error": None,
}
LOST = {"status": "diverged", "error": "the loss became nan at step 3"}
CURVE = [(10, 3.5), (20, 3.0)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    run = tmp_path / "runs" / ENTRY.run
    run.mkdir(parents=True)
    (run / "curve.json").write_text(json.dumps({"dev_loss": CURVE}))
    return tmp_path


def tell(folder: Path, *names: str, records: tuple[dict[str, Any], ...] = (RECORD,)) -> list[str]:
    said: list[str] = []
    with Tracking(Silent(), names, "my-study", folder, said.append) as told:
        for record in records:
            told.finished(ENTRY, record, 1.0)
    return said


def test_tensorboard_shows_settings_curve_losses_and_status(folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    assert tell(folder, "tensorboard") == []
    events = EventAccumulator(str(folder / "tracking" / "tensorboard" / ENTRY.run)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("dev_loss")] == CURVE
    assert [event.value for event in events.Scalars("run/test_loss")] == [2.5]
    assert events.Tensors("status/text_summary")[0].tensor_proto.string_val == [b"done"]
    events = EventAccumulator(str(folder / "tracking" / "tensorboard" / ENTRY.run / "settings")).Reload()
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert (settings["method"].string_value, settings["learning_rate"].number_value) == ("lora", 0.01)
    assert settings["held_out"].bool_value


def test_mlflow_s_file_store_holds_settings_curve_losses_and_status(folder: Path) -> None:
    assert tell(folder, "mlflow", records=(RECORD, LOST)) == []
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(folder / "tracking" / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("my-study")
    assert experiment is not None
    lost, done = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    if lost.info.status == "FINISHED":  # both began in the same millisecond
        lost, done = done, lost
    assert (done.info.status, lost.info.status) == ("FINISHED", "FAILED")
    assert done.info.run_name == "study lora 4 nano, 128 examples, seed 0"
    assert (done.data.params["method"], done.data.params["finetune_examples"]) == ("lora", "128")
    assert (done.data.metrics["test_loss"], done.data.tags["run"]) == (2.5, ENTRY.run)
    assert (lost.data.tags["status"], lost.data.tags["error"]) == ("diverged", LOST["error"])
    history = client.get_metric_history(done.info.run_id, "dev_loss_curve")
    assert [(metric.step, metric.value) for metric in history] == CURVE


def told_back(source: Path) -> dict[str, Any]:
    """The finished run as our own reader finds it in a tracker's files."""
    records = read_records(source, loss="test_loss")
    (row,) = records.frame.to_dicts()
    return {name: row[name] for name in ("method", "pet_size", "finetune_examples", "seed", "test_loss")}


TOLD = {"method": "lora", "pet_size": 4, "finetune_examples": 128, "seed": 0, "test_loss": 2.5}


def test_wandb_s_offline_files_hold_settings_losses_and_how_runs_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    assert tell(folder, "wandb", records=(RECORD,)) == []
    assert told_back(folder / "tracking") == TOLD


def test_trackio_s_database_holds_settings_and_losses(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(folder / "trackio"))
    assert tell(folder, "trackio") == []
    assert told_back(folder / "trackio") == TOLD


class Broken:
    def __init__(self, folder: Path) -> None:
        del folder

    def log(self, tracked: object) -> None:
        raise ConnectionError("no route to the tracker")


class Kept:
    seen: list[str]

    def __init__(self, folder: Path) -> None:
        del folder

    def log(self, tracked: Any) -> None:
        self.seen.append(tracked.run)


def test_a_tracker_that_fails_is_told_once_and_costs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Kept.seen = []
    monkeypatch.setitem(TRACKERS, "wandb", Broken)  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(TRACKERS, "mlflow", Kept)  # pyright: ignore[reportArgumentType]
    said: list[str] = []
    progress = Tracking(Silent(), ("wandb", "mlflow"), "small", tmp_path, said.append)
    summary = run_study(plan(tmp_path, "instant"), tmp_path, LocalExecutor(2), progress=progress)
    assert summary.counts == {"done": RUNS}
    assert said == [
        "wandb did not take a run (ConnectionError: no route to the tracker); the study goes on without it."
    ]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert sorted(Kept.seen) == sorted(ledger.statuses())


def test_a_tracker_that_hangs_holds_a_finished_study_up_no_longer_than_stated(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    end = threading.Event()
    hanging = SimpleNamespace(log=lambda tracked: end.wait())
    monkeypatch.setitem(TRACKERS, "mlflow", lambda folder: hanging)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(tracking, "PATIENCE_SECONDS", 0.1)
    said = tell(folder, "mlflow")
    end.set()
    assert said == ["Trackers did not take every run in 0 s; the ledger has them all."]


def test_a_missing_package_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "trackio" else found(name))
    with pytest.raises(UsageError, match=r"^tracking: the package for trackio(.|\n)*finescale\[trackers\]"):
        check_trackers(["tensorboard", "trackio"])


def test_tracking_is_a_name_or_a_list_and_changes_no_fingerprint(tmp_path: Path) -> None:
    plain = {task.entry.run for task in plan(tmp_path, "instant").tasks()}
    for text, names in (("mlflow", ("mlflow",)), ("[mlflow, tensorboard]", ("mlflow", "tensorboard"))):
        stated = f"{TEXT}tracking: {text}\n"
        assert study(stated).tracking == names
        assert {task.entry.run for task in plan(tmp_path, "instant", stated).tasks()} == plain
    spec = parse_study("kind: pretrain\nname: p\nlanguages: [en]\nmodels: [nano-1m]\ntracking: wandb\n")
    assert isinstance(spec, PretrainStudy)
    assert spec.tracking == ("wandb",)
    with pytest.raises(UsageError, match="tracking"):
        parse_study(f"{TEXT}tracking: [mlflow, mlflow]\n")
    with pytest.raises(UsageError, match=r"line 14, tracking(.|\n)*did you mean 'mlflow'"):
        parse_study(f"{TEXT}tracking: mlfow\n")


def test_a_run_without_a_curve_is_told_without_one(tmp_path: Path) -> None:
    told = tracked_run("s", ENTRY, {**LOST, "wall_seconds": 1}, tmp_path)
    assert (told.curve, told.numbers, told.status) == ([], {"wall_seconds": 1.0}, "diverged")
    assert "lora_alpha" not in told.settings
    assert os.listdir(tmp_path) == []
