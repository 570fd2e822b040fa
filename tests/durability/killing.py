"""Real nano studies whose driver and workers are killed with SIGKILL at random moments.

A commit counts as acknowledged once the driver has noted it in a file of its own (`acknowledging.py`). Lost
is an acknowledged record that the finished ledger does not hold as it was; duplicated is a run with two
records, or two acknowledged commits.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from acknowledging import digest

from finescale.study.ledger import Ledger

HERE = Path(__file__).parent
STUDY = """\
name: killed
task: mini-en-de
seeds: [0, 1]
test_examples: 16
base: {model: nano-0.05m, pet_size: {lora: 2, prompt: 4}}
grids:
  - {vary: model, values: [nano-0.05m], finetune_examples: {full: [16, 48], lora: [16, 48], prompt: [32]}}
hold_out: finetune_examples >= 48
learning_rates: {full: [0.005, 0.02], lora: 0.02, prompt: 0.3}
sweep: {model: nano-0.05m, finetune_examples: 24}
train: {batch_size: 8, epochs: 2, evaluations: 2, dev_examples: 8}
retries: 1000
"""
RUNS = 13
"""The untuned model, the sweep's two runs, and five settings with two seeds."""
MEASURED = re.compile(r"\w+_seconds|peak_memory_bytes|tokens_per_second")
"""Columns that a clock or the system gives; all others are the science."""
GIVE_UP_SECONDS = 1800.0


@dataclass(frozen=True)
class Outcome:
    """A study that was disturbed and then finished.

    Attributes:
        kills: Processes that were killed.
        acknowledged: Commits that the drivers noted.
        lost, duplicated: Of these.
        table: Hash of the scientific columns of its records.
    """

    kills: int
    acknowledged: int
    lost: int
    duplicated: int
    table: str


def scientific(records: pl.DataFrame) -> pl.DataFrame:
    """A table of records without what was measured."""
    return records.select(name for name in records.columns if not MEASURED.fullmatch(name))


def table_hash(folder: Path) -> str:
    """A hash of the records' scientific columns, every digit of every number."""
    frame = scientific(pl.read_parquet(folder / "records.parquet")).sort("run")
    return hashlib.sha256(frame.write_json().encode()).hexdigest()[:20]


def start(folder: Path, workers: int) -> subprocess.Popen[bytes]:
    """A driver of the study in `folder`, in a process group of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    study = folder / "killed.yaml"
    study.write_text(STUDY)
    command = [sys.executable, str(HERE / "acknowledging.py"), str(folder / "acknowledged")]
    command += ["run", str(study), "--out", str(folder / "study"), "--workers", str(workers)]
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )


def finish(folder: Path, workers: int) -> float:
    """Runs the study to its end, undisturbed.

    Returns:
        Seconds.
    """
    began = time.monotonic()
    code = start(folder, workers).wait(GIVE_UP_SECONDS)
    if code != 0:
        raise AssertionError((folder / "output").read_text(errors="replace")[-3000:])
    return time.monotonic() - began


def disturb(folder: Path, kills: int, seconds: float, chance: random.Random, workers: int = 2) -> Outcome:
    """Kills a study's processes at random moments, finishes it, and counts what is lost.

    Args:
        folder: A new folder.
        kills: Processes to kill at most; a study that is finished before then has fewer.
        seconds: A moment is drawn between 0 and so many seconds after the last start or kill.
        chance: Draws the moments and the victims.
        workers: Worker processes of a driver.
    """
    killed = 0
    driver = start(folder, workers)
    while killed < kills:
        try:
            driver.wait(chance.uniform(0.0, seconds))
            break
        except subprocess.TimeoutExpired:
            victims = [driver.pid, *children(driver.pid)]
            victim = victims[0] if chance.random() < 0.5 else chance.choice(victims)
            os.kill(victim, signal.SIGKILL)
            killed += 1
        if victim == driver.pid:
            driver.wait()
            driver = start(folder, workers)
    if driver.wait(GIVE_UP_SECONDS) != 0:
        raise AssertionError((folder / "output").read_text(errors="replace")[-3000:])
    return judged(folder, killed)


def children(process: int) -> list[int]:
    """The living children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ended meanwhile
            continue
        if int(parent) == process and state != "Z":
            found.append(int(stat.parent.name))
    return sorted(found)


def judged(folder: Path, kills: int) -> Outcome:
    """Compares what the drivers acknowledged with what the ledger and the exported table hold."""
    notes = [line.split() for line in (folder / "acknowledged").read_text().splitlines()]
    with Ledger(folder / "study" / "ledger.sqlite", create=False) as ledger:
        rows = ledger.read("SELECT run, record, fields FROM records ORDER BY record")
    kept: dict[str, dict[str, object]] = {}
    for row in rows:
        kept.setdefault(row["run"], {})[row["record"]] = json.loads(row["fields"])
    lost = sum(run not in kept or digest(kept[run]) != committed for run, committed in notes)  # type: ignore
    exported = pl.read_parquet(folder / "study" / "records.parquet")["run"].to_list()
    twice = len(notes) - len({run for run, _ in notes})
    duplicated = twice + len(exported) - len(set(exported)) + sum(len(item) - 1 for item in kept.values())
    lost += len(kept) - len(set(exported))
    return Outcome(kills, len(notes), lost, duplicated, table_hash(folder / "study"))
