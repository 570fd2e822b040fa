"""Speed of reading what trainers leave: a folder of Trainer outputs, with a checkpoint and weights each.

The folders have the files of a real one; the header of the weights names 200 tensors, and the weights are
not there. Also: what reading adds to the fit of a table of 600 rows.

    python benchmarks/collecting.py [--runs 1000] [--repeats 3] [--no-keep]
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
import time
from pathlib import Path

import polars as pl
from report import publish

import finescale as fs

EVALUATIONS = 10


def write_run(folder: Path, number: int) -> None:
    """One run: a state with evaluations, results, and a checkpoint with the header of its weights."""
    checkpoint = folder / "checkpoint-100"
    checkpoint.mkdir(parents=True)
    log = [
        {"step": 10 * at, "epoch": at / 10, "eval_loss": 2 - at / 100 + number / 1e5}
        for at in range(1, EVALUATIONS + 1)
    ]
    log += [{"step": at, "loss": 2.0, "learning_rate": 1e-4, "grad_norm": 1.0} for at in range(100)]
    state = {"global_step": 100, "max_steps": 100, "num_train_epochs": 1, "log_history": log}
    for place in (folder, checkpoint):
        (place / "trainer_state.json").write_text(json.dumps(state))
    (folder / "all_results.json").write_text(json.dumps({"train_samples": 1000 * (1 + number % 5)}))
    (checkpoint / "config.json").write_text(json.dumps({"_name_or_path": "some/model"}))
    tensors = {
        f"model.layers.{at}.weight": {"dtype": "BF16", "shape": [64, 64], "data_offsets": [0, 0]}
        for at in range(200)
    }
    header = json.dumps(tensors).encode()
    (checkpoint / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)


def seconds(repeats: int, source: Path | pl.DataFrame, **options: str) -> float:
    """The least of several times."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        fs.read_records(source, **options)  # type: ignore[arg-type]
        taken.append(time.perf_counter() - start)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.runs):
            write_run(Path(folder) / f"run-{number}", number)
        folders = seconds(options.repeats, Path(folder), loss="eval_loss")
    sizes = [100.0 * 2 ** (at % 10) for at in range(600)]
    table = pl.DataFrame(
        {
            "method": ["full", "lora"] * 300,
            "finetune_examples": sizes,
            "seed": [at // 20 for at in range(600)],
            "test_loss": [1 + size**-0.2 for size in sizes],
        }
    )
    figures = {
        "runs": options.runs,
        "folders_seconds": folders,
        "table_of_600_rows_seconds": seconds(options.repeats, table),
    }
    publish("collecting", figures, keep=not options.no_keep)


if __name__ == "__main__":
    main()
