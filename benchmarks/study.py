"""How long the main job takes: the nano study from nothing to its page, and a second set-up.

Usage: make bench, or: python benchmarks/study.py   (about ten minutes, both cores)

Figures: study_seconds (finescale run + report in a new folder,
results/benchmark-study, set-up done), runs (finished runs),
setup_again_seconds (`make setup` when all is set up).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
from report import publish

ROOT = Path(__file__).parent.parent
PACKAGES = ("torch", "transformers", "peft")


def seconds(command: list[str]) -> float:
    """Wall-clock seconds of a command; its output is shown."""
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Runs the study once and publishes the figures."""
    finescale = str(Path(sys.executable).parent / "finescale")
    study = "studies/nano.yaml"
    setup = min(seconds(["make", "--no-print-directory", "setup"]) for _ in range(3))
    folder = ROOT / "results" / "benchmark-study"
    shutil.rmtree(folder, ignore_errors=True)
    took = seconds([finescale, "run", study, "--out", str(folder)])
    took += seconds([finescale, "report", str(folder)])
    records = pl.read_parquet(folder / "records.parquet")
    done = records.filter(pl.col("status") == "done").height
    publish("study", {"study_seconds": took, "runs": done, "setup_again_seconds": setup}, packages=PACKAGES)


if __name__ == "__main__":
    main()
