"""Curves with fewer sizes than the others: cut one at its first sizes, leave the others whole, and ask.

    python benchmarks/forecast_behind.py [--shared ../shared] [--no-keep]

Every method on every model of public tables (of 30 models every fifth) is cut after 1, 2, 3 and 5 sizes in
turn, all other runs stay, and its hidden sizes are asked for.

    behind_error_K       root mean square error of a method known at K sizes, on logs of losses or log odds,
                         over that of "nothing changes": the geometric mean over tables (_TABLE: of one)
    behind_coverage_K    hidden runs inside the 90% interval of a new run, all tables pooled
    behind_advice_K      share of questions about the best method that are answered with 0.8 or more, and how
                         many of these name the method with the best hidden mean: [share, right, answers]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from report import publish

import finescale as fs
from finescale.forecasts.scale import OutcomeScale
from finescale.records.outcomes import TEST_LOSS, Outcome

ROOT = Path(__file__).resolve().parents[1]
SIZE = "finetune_examples"
KNOWN = (1, 2, 3, 5)
SURE = 0.8
ACCURACY = Outcome("accuracy", "accuracy", "score", "higher", 0.0, 1.0)
SHARED = (
    ("full_tuning_30_models", TEST_LOSS),
    ("methods_glue", TEST_LOSS),
    ("methods_glue", ACCURACY),
    ("methods_indic", ACCURACY),
)
OURS = (("nano_full", {"lora": 4, "prompt": 16}), ("smollm2_135m", {"lora": 8, "prompt": 16}))
"""Our tables at one PET size, and the last checkpoint."""


@dataclass(frozen=True)
class Answer:
    """One question about a method that was cut."""

    table: str
    known: int
    error: float
    still: float
    inside: float
    methods: int
    sure: bool
    right: bool


def tables(shared: Path) -> Iterator[tuple[str, pl.DataFrame, Outcome]]:
    """The tables with several methods, and what is asked of them."""
    for name, sizes in OURS:
        frame = pl.read_parquet(ROOT / "examples" / f"{name}.parquet")
        frame = frame.filter((pl.col("purpose") == "study") & (pl.col(SIZE) > 0))
        pet = pl.col("method").replace_strict(sizes, default=None, return_dtype=pl.Int64)
        frame = frame.filter(pl.col("pet_size").is_null() | (pl.col("pet_size") == pet))
        yield name, frame.filter(pl.col("pretrain_tokens") == pl.col("pretrain_tokens").max()), TEST_LOSS
    for name, outcome in SHARED:
        path = shared / "runs" / f"{name}.csv"
        if path.exists():
            frame = pl.read_csv(path, infer_schema_length=100_000).filter(pl.col(SIZE) > 0)
            yield f"{name}-{outcome.column}", frame, outcome
        else:
            print(f"forecast_behind: no {path}", file=sys.stderr)


def answers(name: str, frame: pl.DataFrame, outcome: Outcome) -> Iterator[Answer]:
    """Every method of every task and model, cut after each number of sizes; every fifth model of many."""
    for _, part in frame.group_by("task", maintain_order=True):
        models = part["model"].unique().sort()
        for model in models.gather_every(max(1, models.len() // 6)):
            curves = part.filter(pl.col("model") == model)
            for method in curves["method"].unique().sort():
                sizes = curves.filter(pl.col("method") == method)[SIZE].unique().sort()
                for known in KNOWN:
                    if known < sizes.len():
                        yield from cut(name, part, outcome, (model, method), sizes[:known].to_list())


def cut(
    name: str, part: pl.DataFrame, outcome: Outcome, which: tuple[str, str], known: list[float]
) -> Iterator[Answer]:
    """One method on one model known up to a size: what is said of its hidden ones."""
    model, method = which
    mine, scale = (pl.col("method") == method) & (pl.col("model") == model), OutcomeScale(outcome)
    column, last = outcome.column, known[-1]
    records = fs.read_records(
        part.filter(~mine | (pl.col(SIZE) <= last)), score=None if outcome is TEST_LOSS else column
    )
    found = fs.forecast(records, ("task", "method", "model"), hold_out=False).select(model=model)
    group = found.only(method=method)
    z_last = float(scale.to_z(part.filter(mine & (pl.col(SIZE) == last))[column].mean()))  # type: ignore[arg-type]
    hidden = part.filter((pl.col(SIZE) > last) & (pl.col("model") == model))
    for (size,), runs in hidden.group_by(SIZE, maintain_order=True):
        means = dict(runs.group_by("method").agg(pl.col(column).mean()).iter_rows())
        if method not in means:
            continue
        at = {SIZE: float(size)}  # type: ignore[arg-type]
        told = group.predict(at)
        own = runs.filter(mine)[column].to_numpy()
        candidates = [one for one in found if one.by["method"] in means]
        draws = np.stack([one.mean_draws(at) for one in candidates], axis=1)
        chance = np.bincount((outcome.sign * draws).argmin(axis=1), minlength=len(candidates)) / len(draws)
        best = min(means, key=lambda each: outcome.sign * means[each])
        z, truth = float(scale.to_z(told.value)), float(scale.to_z(own.mean()))
        yield Answer(
            name, len(known), z - truth, z_last - truth,
            float(np.mean((own >= told.run_low) & (own <= told.run_high))),
            len(candidates), bool(chance.max() >= SURE),
            candidates[int(chance.argmax())].by["method"] == best,
        )  # fmt: skip


def figures_of(rows: list[Answer]) -> dict[str, Any]:
    """The figures, for each number of known sizes."""
    figures: dict[str, Any] = {}
    for known in KNOWN:
        mine = [row for row in rows if row.known == known]
        ratios = {}
        for table in dict.fromkeys(row.table for row in mine):
            pairs = np.array([(row.error, row.still) for row in mine if row.table == table])
            error, still = np.sqrt((pairs**2).mean(axis=0))
            ratios[table] = round(float(error / still), 3)
        asked = [row for row in mine if row.methods > 1]
        sure = [row.right for row in asked if row.sure]
        figures |= {
            f"behind_error_{known}": round(float(np.exp(np.mean(np.log(list(ratios.values()))))), 3),
            **{f"behind_error_{known}_{table}": ratio for table, ratio in ratios.items()},
            f"behind_coverage_{known}": round(float(np.mean([row.inside for row in mine])), 3),
            f"behind_advice_{known}": [
                round(len(sure) / len(asked), 3), round(float(np.mean(sure)), 3) if sure else None, len(sure)
            ],
        }  # fmt: skip
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("FINESCALE_SHARED", "../shared")))
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    rows = [row for table in tables(options.shared) for row in answers(*table)]
    publish("forecast_behind", figures_of(rows), keep=not options.no_keep)


if __name__ == "__main__":
    main()
