"""Wall time of `finescale advise` and `finescale report` on simulated runs, process start included.

python benchmarks/advising.py                # 1,000 runs
python benchmarks/advising.py --runs 100000  # the report's large table
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from report import publish

LAWS = {"full": (60.0, 0.14, 0.12, 0.9), "lora": (24.0, 0.12, 0.06, 0.9), "prompt": (20.0, 0.12, 0.05, 1.3)}
"""A, alpha, beta, E of the multiplicative law behind each method's runs."""
SIZES, SEEDS, NOISE = 6, 3, 0.005


def simulated(runs: int) -> pl.DataFrame:
    """About so many runs: 3 methods, 6 model sizes, 3 seeds, the rest data sizes."""
    rng = np.random.default_rng(0)
    sizes, data = np.geomspace(1e8, 1e10, SIZES), np.geomspace(1e3, 1e6, max(6, runs // (SIZES * SEEDS * 3)))
    rows = []
    for method, (A, alpha, beta, E) in LAWS.items():
        for size in sizes:
            for examples in np.unique(data.round()):
                loss = A * size**-alpha * examples**-beta + E + NOISE * rng.standard_normal(SEEDS)
                flops = (6 if method == "full" else 4) * size * examples * 100
                row = {"task": "simulated", "method": method, "model_params": size, "train_flops": flops}
                row |= {"finetune_examples": examples, "lr_tuned": True}
                rows += [row | {"seed": seed, "test_loss": float(loss[seed])} for seed in range(SEEDS)]
    return pl.DataFrame(rows)


def seconds(*arguments: str) -> float:
    """Wall time of one command."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "from finescale.cli import main; main()", *arguments],
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3, help="advise is timed so often; the median counts")
    parser.add_argument("--no-keep", dest="keep", action="store_false", help="do not write the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "runs.parquet"
        frame = simulated(options.runs)
        frame.write_parquet(table)
        times = [seconds("advise", str(table), "--json", f"{folder}/x.json") for _ in range(options.repeat)]
        report = seconds("report", str(table), "--out", f"{folder}/page")
        size = (Path(folder) / "page" / "index.html").stat().st_size
    figures = {"runs": frame.height, "advise_seconds": float(np.median(times)), "report_seconds": report}
    publish("advising", figures | {"page_megabytes": size / 1e6}, keep=options.keep)


if __name__ == "__main__":
    main()
