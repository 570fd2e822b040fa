from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from example import TEXT, plan

from finescale.errors import UsageError
from finescale.executors import backends
from finescale.executors.local import Job, LocalExecutor, Result
from finescale.executors.slurm import SlurmExecutor
from finescale.spec.resources import Resources
from finescale.study.ledger import Ledger
from finescale.study.runner import Summary, run_study

pytest.importorskip("submitit")

SMALL = TEXT.replace("full: [128, 256]", "full: [256]").replace("seeds: [0, 1]", "seeds: [0]")

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs inherit the environment, as SLURM's do."""
    monkeypatch.setenv("PYTHONPATH", ":".join([str(SUPPORT), *(item for item in sys.path if item)]))


def results(executor: SlurmExecutor, count: int) -> dict[str, Result]:
    found: list[Result] = []
    deadline = time.monotonic() + 600
    while len(found) < count and time.monotonic() < deadline:
        found += executor.wait(0.2)
    assert len(found) == count
    return {result.run: result for result in found}


def records(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "records.parquet").drop("wall_seconds", "peak_memory_bytes")


@pytest.mark.slow
def test_jobs_make_the_records_that_this_machine_makes(tmp_path: Path) -> None:
    folders = [tmp_path / "jobs", tmp_path / "local"]
    for folder, executor in zip(
        folders, (SlurmExecutor(folders[0], cluster="local"), LocalExecutor(1)), strict=True
    ):
        folder.mkdir()
        assert run_study(plan(folder, "killed_once", SMALL), folder, executor) == Summary({"done": 8}, 8, 0)
    assert records(folders[0]).equals(records(folders[1]))
    with Ledger(folders[0] / "ledger.sqlite") as ledger:
        tries = [ledger.attempts(row["run"]) for row in ledger.plan()]
    killed = [attempts[0]["error"] for attempts in tries if len(attempts) == 2]
    assert len(killed) == 2
    assert all("ended without a result" in error for error in killed)


@pytest.mark.slow
def test_what_a_job_says_comes_back(tmp_path: Path) -> None:
    executor = SlurmExecutor(tmp_path, workers=3, cluster="local")
    executor.submit(Job("threads", "calls:threads", (), Resources(cpus=2)))
    executor.submit(Job("raising", "calls:raising", ()))
    executor.submit(Job("dying", "calls:dying", ()))
    assert executor.free() == 0
    found = results(executor, 3)
    assert found["threads"].value == {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "torch": False}
    assert found["raising"].error == "ZeroDivisionError: division by zero"
    assert "in raising" in (found["raising"].traceback or "")
    assert "ended without a result" in (found["dying"].error or "")
    assert executor.free() == 3


@pytest.mark.slow
def test_closing_cancels_what_runs(tmp_path: Path) -> None:
    executor = SlurmExecutor(tmp_path, cluster="local")
    executor.submit(Job("a", "functions:forever", (None, tmp_path)))
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("pid-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process = int(next(tmp_path.glob("pid-*")).name.removeprefix("pid-"))
    executor.close()
    while Path(f"/proc/{process}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{process}").exists()


def test_a_machine_without_slurm_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"no SLURM on this machine\n  wanted: the command sbatch"):
        SlurmExecutor(tmp_path)


def test_without_submitit_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "finescale\[slurm\]"'):
        SlurmExecutor(tmp_path)


def test_a_run_over_several_workers_is_not_for_slurm(tmp_path: Path) -> None:
    made = plan(tmp_path, "instant", TEXT + "resources: {full: {workers: 2}}\n")
    with pytest.raises(UsageError, match=r"wanted: --executor ray\n  got: workers: 2 and --executor slurm"):
        backends.open_executor("slurm", made, tmp_path)
