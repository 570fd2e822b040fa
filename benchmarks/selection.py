"""Does the automatic choice of a law pay? 30 models finetuned on two tasks, the largest data size predicted.

Every law, and `auto`, is fitted to each model's curve up to 1/16 of the largest data size and predicts the
loss at the largest; `auto` chooses from the fitted sizes only. The shared table is read, never copied;
without it there is nothing to measure.

    python benchmarks/selection.py [--table full_tuning_30_models.csv] [--no-keep]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import polars as pl
from report import publish

import finescale as fs

SIZE = "finetune_examples"
LAWS = ("loglinear", "power", "rectified", "broken", "auto")
SHARE = 16


def errors(table: pl.DataFrame, law: str) -> pl.DataFrame:
    """Absolute errors at the largest size, one row a curve: ``task``, ``error``."""
    fits = fs.fit(table, law, by=("task", "model"), bootstrap=0)
    points = [
        made.points.filter(pl.col("held_out")).with_columns(task=pl.lit(str(made.by["task"])))
        for made in fits
        if made.points is not None
    ]
    error = (pl.col("predicted") - pl.col("loss")).abs().alias("error")
    return pl.concat([part.select("task", error) for part in points])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path(os.environ.get("FINESCALE_SHARED", "../shared"))
    parser.add_argument("--table", type=Path, default=shared / "runs" / "full_tuning_30_models.csv")
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    if not options.table.exists():
        parser.exit(1, f"no table {options.table}: nothing to measure\n")
    runs = pl.read_csv(options.table)
    largest = max(runs[SIZE].to_list())
    kept = runs.filter((pl.col(SIZE) <= largest / SHARE) | (pl.col(SIZE) == largest))
    kept = kept.with_columns(held_out=pl.col(SIZE) == largest)
    figures: dict[str, float | int | None] = {}
    for law in LAWS:
        began = time.perf_counter()
        found = errors(kept, law)
        figures[f"error_{law}"] = round(float(found["error"].mean()), 4)  # type: ignore[arg-type]
        for (task,), part in found.group_by("task", maintain_order=True):
            figures[f"error_{law}_{task}"] = round(float(part["error"].mean()), 4)  # type: ignore[arg-type]
        figures["curves"] = found.height
        figures[f"seconds_{law}"] = round(time.perf_counter() - began, 2)
    single = min(figures[f"error_{law}"] or 0.0 for law in LAWS if law != "auto")
    figures["error_auto_over_best_single"] = round((figures["error_auto"] or 0.0) / single, 4)
    publish("selection", figures, keep=not options.no_keep)


if __name__ == "__main__":
    main()
