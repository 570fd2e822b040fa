"""The noise of a run on public tables: what the prior of forecasts rests on, and what stands in for repeats.

    python benchmarks/forecast_noise.py [--shared ../shared]

One line a task and outcome, on the outcome's own scale (logs of losses, log odds of scores): the standard
deviation of one run by repeated settings, its degrees of freedom, and what stands in for it when one run of
each setting is kept: the scatter around smooth curves, before the prior (``finescale.forecasts.noise``).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from finescale.forecasts.curves import Curves, curves_of
from finescale.forecasts.scale import OutcomeScale
from finescale.forecasts.trend import thinned, wander
from finescale.records.outcomes import TEST_LOSS, Outcome

ROOT = Path(__file__).resolve().parents[1]
ACCURACY = Outcome("accuracy", "accuracy", "score", "higher", 0.0, 1.0)
SETTING = ("task", "method", "model", "model_params", "pretrain_tokens", "pet_size", "finetune_examples")


def tables(shared: Path) -> Iterator[tuple[str, pl.DataFrame]]:
    """The tables; GLUE's models are apart."""
    nano = pl.read_parquet(ROOT / "examples" / "nano_full.parquet")
    yield "nano", nano.filter((pl.col("purpose") == "study") & (pl.col("method") != "none"))
    for name in ("methods_glue", "lora_ranks_glue", "methods_indic", "full_tuning_30_models"):
        path = shared / "runs" / f"{name}.csv"
        if not path.exists():
            print(f"forecast_noise: no {path}")
            continue
        frame = pl.read_csv(path, infer_schema_length=100_000).filter(pl.col("finetune_examples") > 0)
        if name == "methods_glue":
            for (model,), part in frame.group_by("model", maintain_order=True):
                yield f"{name} {model}", part
        else:
            yield name, frame


def scatter(runs: pl.DataFrame, scale: OutcomeScale) -> tuple[float, int]:
    """Standard deviation of one run by repeated settings, and its degrees of freedom."""
    keys = [name for name in SETTING if name in runs.columns]
    z = pl.Series("z", scale.to_z(runs[scale.outcome.column].to_numpy()))
    cells = runs.with_columns(z).group_by(keys).agg(pl.len(), squares=pl.col("z").var() * (pl.len() - 1.0))
    freedom = int((cells["len"] - 1).sum())
    return (float(cells["squares"].sum()) / freedom) ** 0.5 if freedom else np.nan, freedom


def around(curves: Curves) -> float:
    """Standard deviation of the settings around the smooth curves of their means."""
    paths = curves.paths
    bare = type(paths)(paths.u, paths.z, 0 * paths.noise)
    return float(np.sqrt(wander(thinned(bare)).nugget))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("FINESCALE_SHARED", "../shared")))
    ratios = []
    for name, frame in tables(parser.parse_args().shared):
        for outcome in (TEST_LOSS, ACCURACY):
            if outcome.column not in frame.columns:
                continue
            scale = OutcomeScale(outcome)
            keys = [column for column in SETTING if column in frame.columns]
            one = frame.sample(fraction=1, shuffle=True, seed=1).unique(
                keys, keep="first", maintain_order=True
            )
            by = ["task", "model"] if name == "full_tuning_30_models" else ["task", "method"]
            for curves in curves_of(one, by, scale, name):
                sd, freedom = scatter(frame.filter(pl.col("task") == curves.task), scale)
                instead = around(curves)
                ratios += [instead / sd] if freedom else []
                print(
                    f"{name} {curves.task} {outcome.name}: {sd:.4f} ({freedom}), one run each {instead:.4f}"
                )
    print(f"one run each over repeats: {np.round(np.sort(ratios), 2).tolist()}")


if __name__ == "__main__":
    main()
