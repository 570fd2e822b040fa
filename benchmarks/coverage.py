"""Coverage of the 90% intervals on simulated studies around the paper's Table 4 and its grids.

Each simulated study draws a law near a row of Table 4 (model-size factor), three seeds a setting, noise of
0.005 nats a run, with or without an effect of 0.003 nats that all runs of a seed share; the largest model
and the largest data size are held out. Counted is how often the interval holds the true mean loss (inside
the grid; at the held-out corner: extrapolation) and a new run's loss.

    python benchmarks/coverage.py [--studies 200] [--draws 1000] [--table table4.csv] [--no-keep]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from paper_tables import examples, simulate  # pyright: ignore[reportMissingImports] - beside the tests
from report import publish

import finescale as fs

MODELS = np.array([1e9, 2e9, 4e9, 8e9])


def near(row: dict[str, float], rng: np.random.Generator) -> dict[str, float]:
    """A law around a row of Table 4: exponents within 10%, the level kept at the grid's middle."""
    law = dict(row)
    law["alpha_model"] = row["alpha_model"] * rng.uniform(0.9, 1.1)
    law["beta"] = row["beta"] * rng.uniform(0.9, 1.1)
    shift = (law["alpha_model"] - row["alpha_model"]) * np.log(3e9) + (law["beta"] - row["beta"]) * np.log(
        1e5
    )
    law["A_model"] = row["A_model"] * float(np.exp(shift))
    law["E"] = row["E"] * rng.uniform(0.9, 1.1)
    return law


def mean_loss(law: dict[str, float], x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The law's mean loss."""
    return law["A_model"] * x ** -law["alpha_model"] * d ** -law["beta"] + law["E"]


def study(
    row: dict[str, float], key: tuple[str, str], seed_effect: float, draws: int, rng: np.random.Generator
) -> dict[str, float]:
    """Shares of the questions whose interval holds the truth, in one simulated study."""
    task, method = key
    law = near(row, rng)
    frame = simulate(law, task, method, noise=0.005, seed_effect=seed_effect, seeds=3, rng=rng)
    fitted = fs.fit(
        frame, "multiplicative", "model_params", bootstrap=draws, seed=int(rng.integers(1 << 30))
    )[0]
    sizes = np.array(examples(task, method))[:-1]
    x, d = (grid.ravel() for grid in np.meshgrid(MODELS, sizes))
    truth = mean_loss(law, x, d)
    inside = fitted.predict(model_params=x, finetune_examples=d)
    new_run = truth + rng.normal(0, seed_effect, size=truth.size) + rng.normal(0, 0.005, size=truth.size)
    far = fitted.predict(model_params=16e9, finetune_examples=examples(task, method)[-1])
    corner = float(mean_loss(law, np.array(16e9), np.array(examples(task, method)[-1])))
    parameters = [
        fitted.parameters[name].low <= law[own] <= fitted.parameters[name].high
        for name, own in (("alpha", "alpha_model"), ("beta", "beta"))
    ]
    return {
        "mean": float(np.mean((inside.low <= truth) & (truth <= inside.high))),
        "run": float(np.mean((inside.run_low <= new_run) & (new_run <= inside.run_high))),
        "extrapolation": float(far.low <= corner <= far.high),
        "parameters": float(np.mean(parameters)),
        "width": float(np.mean(inside.high - inside.low)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200, help="simulated studies a row and kind")
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--table", default=os.environ.get("FINESCALE_SHARED", "../shared"))
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    path = Path(options.table)
    path = path / "paper" / "table4.csv" if path.is_dir() else path
    if not path.exists():
        sys.exit(f"coverage: no Table 4 at {path}: give --table or FINESCALE_SHARED")
    rows = {(row["task"], row["method"]): row for row in pl.read_csv(path).to_dicts()}
    results: dict[float, list[dict[str, float]]] = {0.0: [], 0.003: []}
    began = time.perf_counter()
    for seed_effect, kept in results.items():
        for number, (key, row) in enumerate(rows.items()):
            rng = np.random.default_rng((number, int(1e6 * seed_effect)))
            found = [study(row, key, seed_effect, options.draws, rng) for _ in range(options.studies)]
            kept.extend(found)
            shown = {name: round(float(np.mean([one[name] for one in found])), 4) for name in found[0]}
            print(f"{key} seed effect {seed_effect}: {shown}", file=sys.stderr)
    plain, shared = results[0.0], results[0.003]

    def mean(found: list[dict[str, float]], name: str) -> float:
        return round(float(np.mean([one[name] for one in found])), 4)

    figures = {
        "coverage_inside": mean(plain, "mean"),
        "coverage_seed_effect": mean(shared, "mean"),
        "coverage_new_run": mean(plain + shared, "run"),
        "coverage_extrapolation": mean(plain, "extrapolation"),
        "coverage_extrapolation_seed_effect": mean(shared, "extrapolation"),
        "coverage_parameters": mean(plain + shared, "parameters"),
        "studies": len(plain) + len(shared),
        "seconds": round(time.perf_counter() - began, 1),
    }
    publish("coverage", figures, keep=not options.no_keep)


if __name__ == "__main__":
    main()
