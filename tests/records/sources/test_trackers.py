"""Stores that the trackers' own libraries wrote in this test run are read as runs, told by their content."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import finescale as fs
from finescale.errors import UsageError
from finescale.records.sources import open_source

METHODS = {"full": [2.0, 1.8, 1.9], "lora": [2.2, 2.1, 2.0]}
"""Losses at three evaluations of each run."""


def settings(method: str) -> dict[str, object]:
    return {"method": method, "learning_rate": 1e-3, "train_samples": 1000, "seed": 1}


@pytest.fixture(scope="module")
def wandb_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wandb = pytest.importorskip("wandb")
    folder = tmp_path_factory.mktemp("w")
    quiet = wandb.Settings(
        mode="offline", silent=True, console="off", x_disable_meta=True, x_disable_stats=True
    )
    for method, losses in METHODS.items():
        config = settings(method) | {"model": {"params": 7e9}}
        run = wandb.init(project="p", name=method, config=config, dir=str(folder), settings=quiet)
        for step, loss in enumerate(losses):
            run.log({"train/loss": loss + 1}, step=2 * step)
            run.log({"eval/loss": loss, "eval/runtime": 3.0}, step=2 * step + 1)
        run.summary["test/accuracy"] = 0.5
        run.finish(exit_code=1 if method == "full" else 0)
    for _ in range(100):  # on a busy machine the library's own process may still be writing the end
        if "running" not in set(open_source(folder).frame["State"]):
            break
        time.sleep(0.1)
    return folder


def test_a_folder_of_w_and_b_has_each_evaluation_the_settings_and_how_a_run_ended(wandb_folder: Path) -> None:
    records = fs.read_records(wandb_folder)
    assert records.left_out["status crashed"] == 3
    (row,) = records.frame.to_dicts()
    assert (row["method"], row["test_loss"], row["finetune_examples"]) == ("lora", 2.0, 1000)
    assert (row["model_params"], row["learning_rate"], row["seed"]) == (7e9, 1e-3, 1)
    assert row["test/accuracy"] == 0.5
    assert fs.read_records(wandb_folder, step="best").frame["test_loss"].to_list() == [2.0]


def test_a_run_of_w_and_b_that_is_cut_off_counts_as_running(wandb_folder: Path, tmp_path: Path) -> None:
    for file in wandb_folder.rglob("run-*.wandb"):
        raw = file.read_bytes()
        (tmp_path / file.name).write_bytes(raw[: len(raw) - 40])
    frame = open_source(tmp_path).frame
    assert frame["State"].unique().to_list() == ["running"]
    assert sorted(frame["eval/loss"].drop_nulls()) == sorted([*METHODS["full"], *METHODS["lora"]])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports of a project: the runs table of the page, and the frames that W&B's guide makes of runs."""
    wandb, pandas = pytest.importorskip("wandb"), pytest.importorskip("pandas")
    folder = tmp_path_factory.mktemp("e")
    quiet = wandb.Settings(
        mode="offline", silent=True, console="off", x_disable_meta=True, x_disable_stats=True
    )
    config = {"method": "", "seed": 0, "data": {"train_samples": 0, "shuffle": None},
              "model": {"name": "Qwen/Qwen2.5-0.5B", "params": 494_000_000},
              "trainer": {"lr": 2e-4, "epochs": 3, "betas": [0.9, 0.99]}}  # fmt: skip
    run = wandb.init(project="p", name="r", config=config, dir=folder, settings=quiet)
    run.log({"eval/loss": 2.0, "train/loss": 3.0, "train/learning_rate": 1e-9, "grad_norm": float("nan")})
    logged, config = dict(run.summary._as_dict()), dict(run.config)
    run.finish()
    page, guide = [], []
    for at, (method, samples, seed) in enumerate(GRID):
        own = {**config, "method": method, "seed": seed, "data": {**config["data"], "train_samples": samples}}
        summary = logged | {"eval/loss": loss(method, samples, seed), "train/learning_rate": 1e-9 * (at % 3)}
        guide.append({"summary": summary, "config": own, "name": f"run-seed{seed}"})
        crashed = (method, samples, seed) == ("lora", 8000, 1)
        state = "crashed" if crashed else "finished"
        named = {"Name": f"run-seed{seed}", "State": state, "User": f"u{at % 3}",
                 "Notes": "one line\nanother, longer", "Tags": "v2, good", "Runtime": 321 + at,
                 "Created": f"2025-11-{at + 1:02d}T10:11:12.000Z", "Sweep": None}  # fmt: skip
        numbers = {key: value for key, value in summary.items() if key != "_wandb"}
        numbers |= {"eval/loss": None} if crashed else {}
        page.append(named | pandas.json_normalize(own).to_dict("records")[0] | numbers)
    pandas.DataFrame(page).to_csv(folder / "page.csv", index=False)
    pandas.DataFrame(guide).to_csv(folder / "guide.csv")
    pandas.json_normalize(guide).to_csv(folder / "normal.csv")
    return {name: folder / f"{name}.csv" for name in ("page", "guide", "normal")}


GRID = [(method, samples, seed) for method in METHODS for samples in (500, 8000) for seed in (0, 1)]


def loss(method: str, samples: int, seed: int) -> float:
    return round((1.9 if method == "full" else 1.8) + samples**-0.2 + seed / 100, 4)


@pytest.mark.parametrize("kind", ["page", "guide", "normal"])
def test_an_export_of_w_and_b_needs_no_flag(exported: dict[str, Path], kind: str) -> None:
    records = fs.read_records(exported[kind])
    found = records.frame.select("method", "finetune_examples", "seed", "test_loss").rows()
    expected = {key: loss(*key) for key in GRID}
    if kind == "page":
        del expected["lora", 8000, 1]
        assert records.left_out == {"status crashed": 1}
    assert {row[:3]: row[3] for row in found} == pytest.approx(expected)
    assert records.frame["model_params"].unique().to_list() == [494_000_000]
    assert records.frame["learning_rate"].unique().to_list() == [2e-4]
    assert records.reading.doubts == ()
    (note,) = [
        note for note in records.notes if "status" not in note.partition(" ")[0] and "Left out" not in note
    ]
    assert "data.train_samples` as finetune_examples" in note


@pytest.fixture(scope="module")
def mlflow_stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("m")
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    for uri in ((folder / "files").as_uri(), f"sqlite:///{folder}/store.db"):
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = client.create_experiment("e", artifact_location=folder.as_uri())
        for method, losses in METHODS.items():
            run = client.create_run(experiment, run_name=method).info.run_id
            for name, value in settings(method).items():
                client.log_param(run, name, value)
            for step, loss in enumerate(losses):
                client.log_metric(run, "eval_loss", loss, step=step)
            client.set_terminated(run, "FAILED" if method == "full" else "FINISHED")
    return folder / "files", folder / "store.db"


@pytest.mark.parametrize("which", [0, 1])
def test_a_store_of_mlflow_is_read_from_files_and_from_sqlite(
    mlflow_stores: tuple[Path, Path], which: int
) -> None:
    records = fs.read_records(mlflow_stores[which], loss="eval_loss")
    (row,) = records.frame.to_dicts()
    assert (row["method"], row["metrics.eval_loss"], row["finetune_examples"]) == ("lora", 2.0, 1000)
    assert (row["learning_rate"], row["seed"]) == (1e-3, 1)
    assert records.left_out == {"status FAILED": 1}


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writers = pytest.importorskip("tensorboardX")
    pytest.importorskip("tensorboard")
    folder = tmp_path_factory.mktemp("t")
    for method, losses in METHODS.items():
        with writers.SummaryWriter(str(folder / method)) as writer:
            for step, loss in enumerate(losses):
                writer.add_scalar("train/loss", loss + 1, step)
                writer.add_scalar("eval/loss", loss, step)
            writer.add_hparams(settings(method), {"final": losses[-1]}, name="hparams")
    return folder


def test_event_files_of_tensorboard_have_evaluations_and_hyperparameters(events: Path) -> None:
    records = fs.read_records(events)
    rows = {row["method"]: row for row in records.frame.to_dicts()}
    assert {name: row["test_loss"] for name, row in rows.items()} == pytest.approx({"full": 1.9, "lora": 2.0})
    assert (rows["lora"]["finetune_examples"], rows["lora"]["learning_rate"]) == (1000, 1e-3)
    assert rows["lora"]["final"] == pytest.approx(2.0)
    best = fs.read_records(events, step="best").frame.filter(method="full")
    assert best["test_loss"].to_list() == pytest.approx([1.8])


@pytest.fixture(scope="module")
def storages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    optuna = pytest.importorskip("optuna")
    from optuna.storages import JournalStorage, journal

    folder = tmp_path_factory.mktemp("o")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    files = folder / "study.db", folder / "study.log"
    for storage in (f"sqlite:///{files[0]}", JournalStorage(journal.JournalFileBackend(str(files[1])))):
        study = optuna.create_study(storage=storage, study_name="s")
        for rate, loss in ((1e-4, 2.0), (1e-3, 1.5), (1e-2, None)):
            trial = study.ask(
                {"lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True)},
            )
            trial.set_user_attr("train_samples", 1000)
            trial.set_user_attr("rate", rate)
            if loss is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, loss)
    return files


@pytest.mark.parametrize("which", [0, 1])
def test_a_storage_of_optuna_is_read_from_sqlite_and_from_a_journal(
    storages: tuple[Path, Path], which: int
) -> None:
    records = fs.read_records(storages[which], loss="value", constants={"method": "lora"})
    (row,) = records.frame.to_dicts()
    assert (row["value"], row["user_attrs_rate"], row["finetune_examples"]) == (1.5, 1e-3, 1000)
    assert records.left_out == {"status FAIL": 1, "another candidate of their sweep": 1}
    assert open_source(storages[which]).frame["params_lr"].null_count() == 0


WITH_TRACKIO = """
import json, sys, trackio
for method, (config, losses) in json.loads(sys.argv[1]).items():
    trackio.init(project="p", name=method, config=config)
    for loss in losses:
        trackio.log({"eval/loss": loss, "train/loss": loss + 1})
    trackio.finish()
"""


def test_a_project_of_trackio_is_read_from_sqlite(tmp_path: Path) -> None:
    runs = json.dumps({method: (settings(method), losses) for method, losses in METHODS.items()})
    here = os.environ | {"TRACKIO_DIR": str(tmp_path)}  # trackio looks at it once a process
    subprocess.run([sys.executable, "-c", WITH_TRACKIO, runs], env=here, check=True, capture_output=True)
    frame = fs.read_records(tmp_path, loss="eval/loss").frame.sort("method")
    assert frame["eval/loss"].to_list() == [1.9, 2.0]
    assert frame["finetune_examples"].to_list() == [1000, 1000]


def test_two_kinds_in_one_folder_are_refused_unless_one_is_named(
    events: Path, storages: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(events, tmp_path / "logs")
    shutil.copy(storages[0], tmp_path)
    with pytest.raises(
        UsageError, match=r"2 kinds(.|\n)*event files of TensorBoard \((.|\n)*--source tensorboard or"
    ):
        open_source(tmp_path)
    assert open_source(tmp_path, "optuna").frame.height == 3
    assert fs.read_records(tmp_path, kind="tensorboard").frame.height == 2
    with pytest.raises(UsageError, match=r"no runs of W&B here"):
        open_source(tmp_path, "wandb")
    with pytest.raises(UsageError, match=r"did you mean 'optuna'"):
        open_source(tmp_path, "optun")


def test_a_package_that_is_not_installed_is_named_with_its_extra(
    storages: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(UsageError, match=r'pip install "finescale\[optuna\]"'):
        open_source(storages[0])


def test_all_sources_together_are_one_table(
    wandb_folder: Path, mlflow_stores: tuple[Path, Path], events: Path, tmp_path: Path
) -> None:
    found = fs.collect(wandb_folder, mlflow_stores[0], events, constants={"model_params": "7B"})
    assert found.frame.height == 6 + 2 + 6
    assert found.frame["model_params"].unique().to_list() == [7e9]
    assert found.reading is not None
    assert any("the same run" in doubt for doubt in found.reading.doubts)
    (file,) = found.write(tmp_path / "runs.parquet")
    assert pl.read_parquet(file).equals(found.frame)
    assert fs.read_records(file).frame.height == found.runs == 4
