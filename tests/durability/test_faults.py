"""Faults put into real studies: each is told in words, and the study is complete once its cause is gone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cutting
import killing
import memory_group
import polars as pl
import pytest

from finescale.study.ledger import Ledger
from finescale.study.state import study_state

STUDIES = Path(__file__).parents[1] / "support"
sys.path.insert(0, str(STUDIES))
from example import RUNS, TEXT  # noqa: E402 - the runner's study, whose runs need no torch

AHEAD = """\
import os, runpy, sys, time
real = time.time
time.time = lambda: real() + 3600 * (int(real() * 3) % 2)
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""A driver whose clock jumps by an hour, forwards and back, three times a second."""

METHODS = """\
name: cut
task: mini-en-de
seeds: [0]
test_examples: 48
base: {model: nano-0.05m, pet_size: {lora: 2, prompt: 4}}
grids:
  - {vary: model, values: [nano-0.05m], finetune_examples: {full: [40], lora: [40], prompt: [40]}}
learning_rates: {full: 0.001, lora: 0.01, prompt: 0.1}
train: {optimizer: adamw, batch_size: 4, epochs: 3, evaluations: 5, dev_examples: 24}
resume: {every_seconds: null, every_steps: 3}
retries: {broken: 3, diverged: 1}
"""


class Disk:
    """A small file system in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mount(self, options: str) -> None:
        """Mounts it, or mounts it anew with other options."""
        command = ["mount", "-t", "tmpfs", "-o", options, "finescale-test", str(self.folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no file system can be mounted here: {done.stderr.decode().strip()}")

    def fill(self, room: int) -> Path:
        """Leaves so many bytes; what takes the others."""
        ballast = self.folder / "ballast"
        ballast.unlink(missing_ok=True)
        space = os.statvfs(self.folder)
        ballast.write_bytes(b"0" * max(0, space.f_bavail * space.f_frsize - room))
        return ballast


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path], Disk]]:
    """Mounts a file system of 8 MB."""
    mounted: list[Path] = []

    def mount(folder: Path) -> Disk:
        folder.mkdir(parents=True)
        disk = Disk(folder)
        disk.mount("size=8m")
        mounted.append(folder)
        return disk

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def drive(
    scratch: Path, folder: Path, function: str = "instant", text: str = TEXT, *, prefix: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """A driver of the study in `folder` whose runs are `functions.FUNCTION`; its file is in `scratch`."""
    file = scratch / "study.yaml"
    file.write_text(text)
    command = [sys.executable, *prefix, str(STUDIES / "drive.py"), str(file), str(folder), function, "1"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def driven(scratch: Path, folder: Path, text: str = TEXT) -> tuple[int, str]:
    """Drives the study; exit code and what was said, which is never a traceback."""
    process = drive(scratch, folder, text=text)
    said = process.communicate(timeout=900)[0]
    assert "Traceback" not in said, said
    return process.returncode, " ".join(said.split())


def table(folder: Path) -> pl.DataFrame:
    frame = killing.scientific(pl.read_parquet(folder / "records.parquet"))
    return frame.sort("run")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert driven(folder, folder / "study")[0] == 0
    return table(folder / "study")


@pytest.mark.parametrize("room", [0, 40_000, 250_000])
def test_a_full_disk_ends_the_driver_in_words_and_loses_nothing_finished(
    tmp_path: Path, small_disk: Callable[[Path], Disk], undisturbed: pl.DataFrame, room: int
) -> None:
    disk = small_disk(tmp_path / "disk")
    ballast = disk.fill(room)
    study = disk.folder / "study"
    code, said = driven(tmp_path, study)
    assert code != 0
    assert "free some disk space" in said
    ballast.unlink()
    finished = []
    if (study / "ledger.sqlite").exists():
        with Ledger(study / "ledger.sqlite") as ledger:
            finished = list(ledger.rows())
    code, said = driven(tmp_path, study)
    assert code == 0, said
    assert f"({RUNS - len(finished)} made now)" in said
    assert table(study).equals(undisturbed)


def test_a_folder_that_became_read_only_is_told_and_the_study_goes_on_when_it_is_writable(
    tmp_path: Path, small_disk: Callable[[Path], Disk]
) -> None:
    disk = small_disk(tmp_path / "disk")
    study = disk.folder / "study"
    assert driven(tmp_path, study)[0] == 0
    more = TEXT.replace("[128, 256]", "[128, 512]")
    disk.mount("remount,ro")
    code, said = driven(tmp_path, study, more)
    assert code != 0
    assert "writable" in said
    disk.mount("remount,rw")
    code, said = driven(tmp_path, study, more)
    assert code == 0
    assert "(4 made now)" in said


def test_a_damaged_page_is_told_overwrites_nothing_and_a_copy_restores_the_study(tmp_path: Path) -> None:
    study = tmp_path / "study"
    assert driven(tmp_path, study)[0] == 0
    file, whole = study / "ledger.sqlite", (study / "ledger.sqlite").read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    for number in (1, 2, len(whole) // page - 1):
        broken = bytearray(whole)
        broken[number * page : number * page + page] = random.Random(number).randbytes(page)
        file.write_bytes(broken)
        exported = (study / "records.parquet").read_bytes()
        code, said = driven(tmp_path, study)
        assert code == 1
        assert "the ledger is damaged" in said
        assert "restore the file from a copy" in said
        assert file.read_bytes() == broken
        assert (study / "records.parquet").read_bytes() == exported
        for left in study.glob("ledger.sqlite-*"):
            left.unlink()
    file.write_bytes(whole)
    code, said = driven(tmp_path, study)
    assert (code, "(0 made now)" in said) == (0, True)


def test_two_drivers_one_with_a_clock_that_jumps_by_an_hour_make_each_run_once(
    tmp_path: Path,
) -> None:
    study = tmp_path / "study"
    drivers = [drive(tmp_path, study, "slow"), drive(tmp_path, study, "slow", prefix=("-c", AHEAD))]
    said = [process.communicate(timeout=900)[0] for process in drivers]
    assert [process.returncode for process in drivers] == [0, 0], said
    executions = [len(list(run.glob("began-*"))) for run in (study / "runs").iterdir()]
    assert executions == [1] * RUNS
    with Ledger(study / "ledger.sqlite", create=False) as ledger:
        assert len({tried["owner"] for row in ledger.plan() for tried in ledger.attempts(row["run"])}) == 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The undisturbed study of the three methods."""
    folder = tmp_path_factory.mktemp("trained") / "study"
    cutting.make(folder, text=METHODS)
    return folder


@pytest.mark.slow
def test_a_damaged_checkpoint_a_loss_that_is_no_number_and_a_lack_of_memory_cost_one_attempt_each(
    tmp_path: Path, trained: Path
) -> None:
    study, runs = tmp_path / "study", cutting.runs_of(trained)
    damaged, diverged, killed = (runs[method, "adamw"] for method in ("full", "lora", "prompt"))
    memory = memory_group.make() is not None
    memory_group.remove()
    orders = {
        damaged: ("damage", 14),
        diverged: ("nan", 11),
        killed: ("memory" if memory else "step", 17),
    }
    cutting.make(study, orders, METHODS)
    with Ledger(study / "ledger.sqlite", create=False) as ledger:
        first = {run: ledger.attempts(run)[0]["error"] for run in orders}
        assert [len(ledger.attempts(run)) for run in orders] == [2, 2, 2]
    assert "SIGKILL" in first[damaged]
    assert first[diverged] == "loss was not finite at step 11"
    assert "SIGKILL" in first[killed]
    assert "out of memory" in first[killed]
    history = json.loads((study / "runs" / damaged / "curve.json").read_text())["checkpoints"]
    assert history[0].startswith("the checkpoint of step 12 was skipped: the checksum")
    assert history[1] == "resumed at step 9"
    for run in orders:
        assert cutting.evidence(study, run) == cutting.evidence(trained, run)
    memory_group.remove()
    if not memory:
        pytest.skip("everything but the kernel's own kill was seen: no control group can be made here")


@pytest.mark.slow
def test_a_run_whose_disk_is_full_goes_on_without_checkpoints_or_fails_with_the_remedy(
    tmp_path: Path, small_disk: Callable[[Path], Disk], trained: Path
) -> None:
    text = METHODS.replace("{broken: 3, diverged: 1}", "0")
    study, runs = tmp_path / "study", cutting.runs_of(trained)
    disk = small_disk(study / "runs")
    disk.fill(0)
    cutting.make(study, {}, text, workers=1)
    with Ledger(study / "ledger.sqlite") as ledger:
        troubles = study_state(ledger, study)["troubles"]
        assert {trouble["run"] for trouble in troubles} >= set(runs.values())
        assert all("No space left on device" in trouble["error"] for trouble in troubles)
        assert all("free some disk space" in trouble["remedy"] for trouble in troubles)
        ledger.retry("failed")
    disk.fill(400_000)
    cutting.make(study, {}, text, workers=1)  # a second run would find the disk full in turns
    for run in runs.values():
        assert cutting.evidence(study, run) == cutting.evidence(trained, run)
    history = json.loads((study / "runs" / runs["full", "adamw"] / "curve.json").read_text())["checkpoints"]
    assert history[0].startswith("checkpoints could not be saved: ")
    assert "No space left on device" in history[0]
