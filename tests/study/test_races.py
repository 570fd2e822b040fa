"""Races of a sweep, driven by the runner: what is stopped, what stays the same, kills, and other drivers."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from example import TEXT, plan, study
from inline import InlineExecutor

from finescale.executors.local import Job, LocalExecutor, Result
from finescale.records.records import read_records
from finescale.study.dry_run import dry_run_view
from finescale.study.ledger import Ledger
from finescale.study.runner import Summary, run_study

SUPPORT = Path(__file__).parents[1] / "support"
RATES = "full: [1e-4, 1e-3, 3e-3, 9e-3, 3e-2]"
FULL = TEXT.replace("full: [1e-3, 3e-3]", RATES)
RACE = FULL.replace("finetune_examples: 64}", "finetune_examples: 1024, race: true}")
SWEEP = FULL.replace("finetune_examples: 64}", "finetune_examples: 1024}")


def run(folder: Path, text: str = RACE, executor: object = None) -> Summary:
    folder.mkdir(exist_ok=True)
    where = executor or InlineExecutor()
    return run_study(plan(folder, "raced", text), folder, where)  # type: ignore[arg-type]


def records(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "records.parquet")


def legs(folder: Path) -> dict[float, list[int]]:
    """The legs that each candidate made, by its learning rate."""
    sweep = records(folder).filter(pl.col("purpose") == "sweep")
    found = {}
    for name, rate in sweep.select("run", "learning_rate").iter_rows():
        file = folder / "runs" / name / "legs"
        found[rate] = [int(line) for line in file.read_text().split()]
    return found


class Shuffled(InlineExecutor):
    """Runs up to four jobs at a time, which end in any order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = random.Random(seed)
        self.waiting: list[Job] = []

    def free(self) -> int:
        return 4 - len(self.waiting)

    def submit(self, job: Job) -> None:
        self.waiting.append(job)

    def wait(self, seconds: float) -> list[Result]:
        job = self.waiting.pop(self.random.randrange(len(self.waiting)))
        super().submit(job)
        return super().wait(seconds)


class Breaking(InlineExecutor):
    """The first legs of candidates break: the worker died."""

    EVERY = 3

    def __init__(self) -> None:
        super().__init__()
        self.left = self.EVERY

    def submit(self, job: Job) -> None:
        if self.left and len(job.arguments) == 3:
            self.left -= 1
            self.finished.append(Result(job.run, error="the worker process was killed by SIGKILL"))
        else:
            super().submit(job)


class Failing(InlineExecutor):
    """The second leg of the candidate with a rate raises."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.seen: set[str] = set()

    def submit(self, job: Job) -> None:
        train = job.arguments[0].run.train
        if len(job.arguments) == 3 and train.learning_rate == self.rate and job.run in self.seen:
            self.finished.append(Result(job.run, error="OSError: no such file"))
        else:
            self.seen.add(job.run)
            super().submit(job)


def outcomes(folder: Path) -> list[str]:
    """How every attempt ended."""
    if not (folder / "ledger.sqlite").exists():
        return []
    with Ledger(folder / "ledger.sqlite") as ledger:
        return [row["outcome"] for row in ledger.read("SELECT outcome FROM attempts")]


def wait_for(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_candidates_that_will_not_win_are_stopped_and_the_choice_is_the_same(tmp_path: Path) -> None:
    summary, full = run(tmp_path / "race"), run(tmp_path / "full", SWEEP)
    assert (summary.exit_code, full.exit_code) == (0, 0)
    assert summary.counts == {"done": full.counts["done"] - 4, "stopped": 4}
    with (
        Ledger(tmp_path / "race" / "ledger.sqlite") as ledger,
        Ledger(tmp_path / "full/ledger.sqlite") as other,
    ):
        (raced,), (whole,) = ledger.choices(), other.choices()
        assert raced["chosen"] == whole["chosen"]
        stopped = [one for one in raced["evidence"]["candidates"] if one["status"] == "stopped"]
        assert len(stopped) == 4
        told = [attempt for one in stopped for attempt in ledger.attempts(one["run"])]
        assert {attempt["outcome"] for attempt in told} == {"stopped"}
        assert all("would win with" in attempt["error"] for attempt in told)


def test_what_is_finished_is_what_the_full_sweep_has_to_the_last_bit(tmp_path: Path) -> None:
    run(tmp_path / "race"), run(tmp_path / "full", SWEEP)
    measured = ("wall_seconds", "peak_memory_bytes")
    race, full = (records(tmp_path / name).drop(measured) for name in ("race", "full"))
    assert race.filter(pl.col("status") == "done").equals(
        full.join(race.filter(pl.col("status") == "done").select("run"), on="run", how="semi")
    )


def test_stopped_runs_have_their_curve_and_steps_and_never_enter_a_fit(tmp_path: Path) -> None:
    run(tmp_path)
    stopped = records(tmp_path).filter(pl.col("status") == "stopped")
    assert set(stopped["steps"]) <= {8, 16, 32}
    assert stopped["test_loss"].null_count() == 4
    assert stopped["dev_loss"].null_count() == 0
    read = read_records(tmp_path / "records.parquet")
    assert "stopped" not in set(read.frame["status"])
    everything = pl.read_parquet(tmp_path / "records.parquet").with_columns(pl.lit("study").alias("purpose"))
    everything.write_parquet(tmp_path / "other.parquet")
    assert read_records(tmp_path / "other.parquet").left_out["status stopped"] == 4


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_arrival_changes_nothing(tmp_path: Path, seed: int) -> None:
    run(tmp_path / "plain")
    run(tmp_path / "shuffled", executor=Shuffled(seed))
    assert legs(tmp_path / "shuffled") == legs(tmp_path / "plain")


def test_worker_processes_race_as_well(tmp_path: Path) -> None:
    summary = run(tmp_path, executor=LocalExecutor(2))
    assert (summary.exit_code, summary.counts["stopped"]) == (0, 4)


def test_a_killed_driver_that_goes_on_comes_to_the_same_race(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(RACE)
    folder, plain = tmp_path / "killed", tmp_path / "plain"
    command = [sys.executable, str(SUPPORT / "drive.py"), str(tmp_path / "study.yaml"), str(folder)]
    process = subprocess.Popen([*command, "raced_slowly", "2"], start_new_session=True)
    wait_for(lambda: outcomes(folder).count("paused") >= 3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    summary = run(folder)
    run(plain)
    assert (summary.exit_code, summary.counts["stopped"]) == (0, 4)
    assert {rate: set(made) for rate, made in legs(folder).items()} == {
        rate: set(made) for rate, made in legs(plain).items()
    }
    measured = ("wall_seconds", "peak_memory_bytes")
    assert records(folder).drop(measured).equals(records(plain).drop(measured))
    assert outcomes(folder).count("done") == summary.counts["done"]


def test_a_leg_that_breaks_is_tried_again_and_costs_the_race_nothing(tmp_path: Path) -> None:
    summary = run(tmp_path / "broken", executor=Breaking())
    run(tmp_path / "plain")
    assert summary.exit_code == 0
    assert legs(tmp_path / "broken") == legs(tmp_path / "plain")
    assert outcomes(tmp_path / "broken").count("broken") == Breaking.EVERY


def test_a_candidate_that_fails_or_diverges_is_out_of_the_race(tmp_path: Path) -> None:
    text = RACE + "retries: 0\n"
    summary = run(tmp_path, text, Failing(3e-3))
    assert summary.exit_code == 3
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (choice,) = ledger.choices()
    assert choice["chosen"]["learning_rate"] == 1e-3
    frame = records(tmp_path).filter(pl.col("purpose") == "sweep").sort("learning_rate")
    assert frame["status"].to_list() == ["stopped", "done", "failed", "stopped", "stopped"]


def test_a_stopped_candidate_that_the_study_comes_to_need_is_run_whole(tmp_path: Path) -> None:
    grid = "finetune_examples: {full: [128, 256], lora: [128]}"
    run(tmp_path)
    raced = records(tmp_path).filter((pl.col("learning_rate") == 1e-3) & (pl.col("purpose") == "sweep"))
    assert raced["status"].to_list() == ["stopped"]
    one = FULL.replace(RATES, "full: 1e-3").replace(
        grid, "finetune_examples: {full: [128, 1024], lora: [128]}"
    )
    summary = run(tmp_path, one.replace("model: nano-0.1m}", "model: nano-0.05m}"))
    assert (summary.exit_code, "stopped" in summary.counts) == (0, False)
    again = records(tmp_path).filter(pl.col("run") == raced["run"][0])
    assert (again["status"].to_list(), again["purpose"].to_list()) == (["done"], ["study"])


def test_a_trainer_of_ones_own_that_knows_no_races_makes_whole_runs(tmp_path: Path) -> None:
    summary = run_study(plan(tmp_path, "noted", RACE), tmp_path, LocalExecutor(2))
    assert (summary.exit_code, set(summary.counts)) == (0, {"done"})


def test_a_dry_run_calls_the_sweeps_cost_an_upper_bound_until_it_has_chosen(tmp_path: Path) -> None:
    def said() -> str:
        parts = dry_run_view(study(RACE), plan(tmp_path, "raced", RACE), tmp_path)
        return " ".join(part for part in parts if isinstance(part, str))

    assert "The sweep is a race: its cost here is an upper bound." in said()
    run(tmp_path)
    assert "race" not in said()
    assert "4 stopped" in said()


def test_a_sweep_that_has_chosen_is_not_raced_again(tmp_path: Path) -> None:
    run(tmp_path, SWEEP)
    assert run(tmp_path, RACE).made == 0
    assert "stopped" not in set(records(tmp_path)["status"])
