"""The main job for real, small: train bundled models, stop in the middle, go on, fit, report."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

STUDY = """\
kind: finetune
name: small
task: mini-en-de
seeds: [0, 1]
test_examples: 40
base: {model: nano-0.1m, pet_size: {lora: 2, prompt: 4}}
grids:
  - vary: model
    values: [nano-0.05m, nano-0.1m]
    finetune_examples: {full: [32, 64, 128, 256], lora: [32, 64, 128, 256]}
  - {vary: pet_size, values: {lora: [1, 4]}, finetune_examples: {lora: [32, 128]}, seeds: [0]}
hold_out: finetune_examples == 256
learning_rates: {full: [0.0005, 0.001], lora: [0.01]}
sweep: {model: nano-0.05m, finetune_examples: 32}
train: {optimizer: adamw, epochs: 1, evaluations: 1, dev_examples: 16}
"""
RUNS = (
    2 + 2 + 2 * 2 * 4 * 2 + 4 - 1
)  # untuned, sweep, first star, second star; one sweep run is the star's own
FINESCALE = [sys.executable, "-c", "from finescale.cli import main; main()"]


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FINESCALE, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_study_that_is_stopped_goes_on_and_ends_in_laws_and_a_page(tmp_path):
    (tmp_path / "small.yaml").write_text(STUDY)
    driver = subprocess.Popen([*FINESCALE, "run", "small.yaml"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    ledger = tmp_path / "results" / "small" / "ledger.sqlite"
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline and finished(ledger) < 5:
        time.sleep(0.2)
    os.kill(driver.pid, signal.SIGINT)
    assert driver.wait(600) == 130
    before = call(tmp_path, "status", "small.yaml", "--export", "before.parquet")
    assert before.returncode == 0, before.stderr
    kept = pl.read_parquet(tmp_path / "before.parquet").filter(pl.col("status") == "done")
    assert 5 <= kept.height < RUNS

    again = call(tmp_path, "run", "small.yaml")
    assert again.returncode == 0, again.stderr
    assert f"({RUNS - kept.height} made now)" in " ".join(again.stdout.split())
    records = pl.read_parquet(tmp_path / "results" / "small" / "records.parquet")
    assert records.filter(pl.col("status") == "done").height == records["run"].n_unique() == RUNS
    both = kept.join(records, on="run", suffix="_now")
    assert (both["test_loss"] == both["test_loss_now"]).all()

    full = records.filter((pl.col("method") == "full") & (pl.col("model") == "nano-0.1m")).group_by(
        "finetune_examples"
    )
    losses = full.agg(pl.col("test_loss").mean()).sort("finetune_examples")["test_loss"].to_list()
    assert losses == sorted(losses, reverse=True)

    fitted = call(
        tmp_path, "fit", "results/small/records.parquet", "--factor", "model_params", "--bootstrap", "50"
    )
    assert fitted.returncode == 0, fitted.stderr
    assert "beta" in fitted.stdout
    page = call(tmp_path, "report", "small.yaml")
    assert page.returncode == 0, page.stderr
    assert "<html" in (tmp_path / "results" / "small" / "report" / "index.html").read_text()[:500]


def finished(ledger: Path) -> int:
    """Records that the ledger holds so far."""
    import sqlite3

    if not ledger.exists():
        return 0
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        try:
            return connection.execute("SELECT count(*) FROM records").fetchone()[0]
        except sqlite3.OperationalError:
            return 0
