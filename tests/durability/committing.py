"""Processes that commit runs to one ledger at the same time, each as a driver does: claim, then commit."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from finescale.spec.run import OptimizerSpec
from finescale.study.ledger import Entry, Ledger
from finescale.study.owner import this_process


@dataclass(frozen=True)
class Outcome:
    """What many writers left.

    Attributes:
        lost: Commits that a process saw succeed and the ledger does not hold as they were.
        milliseconds: What each claim and commit took.
        seconds: From the first commit to the last.
    """

    lost: int
    milliseconds: list[float]
    seconds: float


def many_writers(folder: Path, processes: int, commits: int) -> Outcome:
    """Starts the processes and compares what they report with what the ledger holds.

    Args:
        folder: A new folder.
        processes: How many.
        commits: Of each process.
    """
    names = [f"{process}-{number}" for process in range(processes) for number in range(commits)]
    spec = OptimizerSpec()  # stands for a run's specification: any pydantic model will do
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.sync_plan("many", [Entry(name, "study", False, False, 1.0, {}, spec) for name in names])
    command = [sys.executable, __file__, str(folder), str(commits)]
    writers = [
        subprocess.Popen([*command, str(process)], stdout=subprocess.PIPE, text=True)
        for process in range(processes)
    ]
    reports = [json.loads(writer.communicate()[0]) for writer in writers]
    with Ledger(folder / "ledger.sqlite", create=False) as ledger:
        rows = ledger.read("SELECT run, fields FROM records")
    kept = {row["run"]: json.loads(row["fields"])["test_loss"] for row in rows}
    noted = {name: loss for report in reports for name, loss in report["committed"].items()}
    lost = sum(kept.get(name) != loss for name, loss in noted.items()) + len(names) - len(noted)
    return Outcome(
        lost,
        [taken for report in reports for taken in report["milliseconds"]],
        max(report["ended"] for report in reports) - min(report["began"] for report in reports),
    )


def _write(folder: Path, commits: int, process: int) -> dict[str, object]:
    owner, committed, milliseconds = this_process(), {}, []
    began = time.time()
    with Ledger(folder / "ledger.sqlite", create=False) as ledger:
        for number in range(commits):
            name, loss = f"{process}-{number}", 3.0 + number / 7 + process
            start = time.perf_counter()
            attempt = ledger.claim(name, owner)
            if attempt is not None and ledger.commit(
                name, attempt, {name: {"status": "done", "test_loss": loss}}
            ):
                committed[name] = loss
            milliseconds.append(1e3 * (time.perf_counter() - start))
    return {"committed": committed, "milliseconds": milliseconds, "began": began, "ended": time.time()}


if __name__ == "__main__":
    print(json.dumps(_write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
