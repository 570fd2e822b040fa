"""Simulated score tables whose truth is known: parameters, coverage, the bounds, error rate against accuracy.

python benchmarks/scores.py [--tables 200] [--part recovered,bounded,agreed]

Prints, and keeps in benchmarks/results/scores.json, for sigmoid tables of accuracies: how far the fitted
sigmoid's chance level, asymptote, slope and middle are off (medians), how often the 90% intervals of the mean
hold the truth inside the grid (law and forecast; the forecast's by what of its curve a size has come), how
often a new run lies in its interval, whether anything leaves the bounds on random tables, and whether advice
by accuracy and by error rate agree. The random tables (five times as many) go on where they were interrupted.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import finescale as fs

SIZES = np.array([32, 64, 128, 256, 512, 1024, 2048, 4096, 8192])
METHODS = ("full", "lora")
TOGETHER = 25
"""So many random tables are read, forecast and fitted at once."""
RESULTS = Path(__file__).parent / "results" / "scores.json"
REGIONS = {"chance": (0.0, 0.1), "middle": (0.1, 0.9), "asymptote": (0.9, 1.01)}
"""Shares of the way from the chance level to the asymptote."""


def keep(part: str, found: dict[str, Any]) -> None:
    """Writes what a part found, beside what the others did."""
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(results | {part: found}, indent=1) + "\n")


def truth(rng: np.random.Generator) -> dict[str, float]:
    """Chance level, asymptote, slope and middle of one method's accuracies."""
    return {
        "chance": rng.uniform(0.2, 0.5),
        "top": rng.uniform(0.75, 0.97),
        "k": rng.uniform(0.7, 1.8),
        "d": 2 ** rng.uniform(6.5, 10.5),
    }


def mean(one: dict[str, float], size: np.ndarray) -> np.ndarray:
    """The accuracy that one truth has at data sizes."""
    return one["top"] + (one["chance"] - one["top"]) / (1 + (size / one["d"]) ** one["k"])


def table(
    seed: int, examples: int = 1000, seeds: int = 3
) -> tuple[pl.DataFrame, dict[str, dict[str, float]]]:
    """Accuracies on a test set of so many examples, and their truths."""
    rng = np.random.default_rng(seed)
    truths = {method: truth(rng) for method in METHODS}
    rows = []
    for method, one in truths.items():
        for size, p in zip(SIZES, mean(one, SIZES), strict=True):
            for repeat in range(seeds):
                value = rng.binomial(examples, p) / examples
                row = {"task": "t", "method": method, "finetune_examples": int(size), "seed": repeat}
                rows.append(row | {"accuracy": value, "error_rate": 1 - value, "lr_tuned": True})
    return pl.DataFrame(rows), truths


def recovered(tables: int) -> None:
    """Parameters and coverage of the sigmoid and of the forecast."""
    off: dict[str, list[float]] = {name: [] for name in ("chance", "top", "k", "d")}
    held: dict[str, list[bool]] = {
        name: [] for name in ("law mean", "law run", "forecast mean", "forecast run")
    }
    inside = SIZES[1:-1]
    where: dict[str, list[bool]] = {name: [] for name in REGIONS}
    for seed in range(tables):
        runs, truths = table(seed)
        records = fs.read_records(runs, score="accuracy")
        rng = np.random.default_rng((seed, 1))
        fits = fs.fit(records, "sigmoid", bootstrap=300)
        forecasts = fs.forecast(records, draws=50)
        for method, one in truths.items():
            law, group = fits.only(method=method), forecasts.only(method=method)
            off["chance"].append(abs(1 - law.value("C") - one["chance"]))
            off["top"].append(abs(1 - law.value("E") - one["top"]))
            off["k"].append(abs(np.log(law.value("k") / one["k"])))
            off["d"].append(abs(np.log(law.value("d") / one["d"])))
            p = mean(one, inside)
            new = rng.binomial(1000, p) / 1000
            for name, told in (("law", law), ("forecast", group)):
                at = told.predict(finetune_examples=inside)
                held[f"{name} mean"] += list((at.low <= p) & (p <= at.high))
                held[f"{name} run"] += list((at.run_low <= new) & (new <= at.run_high))
            come = (p - one["chance"]) / (one["top"] - one["chance"])
            at = group.predict(finetune_examples=inside)
            for name, (low, high) in REGIONS.items():
                here = (low <= come) & (come < high)
                where[name] += list(((at.low <= p) & (p <= at.high))[here])
    covered = {name: round(float(np.mean(v)), 3) for name, v in held.items()}
    near = {name: round(float(np.mean(v)), 3) for name, v in where.items()}
    errors = {name: round(float(np.median(v)), 4) for name, v in off.items()}
    keep(
        "recovered", {"tables": tables, "error": errors, "coverage": covered, "forecast mean by region": near}
    )
    print("coverage of the forecast's mean by region:", near)
    print("median error:", ", ".join(f"{name} {np.median(values):.3f}" for name, values in off.items()))
    print("coverage of 90% intervals:", ", ".join(f"{name} {np.mean(v):.3f}" for name, v in held.items()))


def bounded(tables: int) -> None:
    """How many random tables have a prediction or an interval outside the bounds; goes on where it ended."""
    before = json.loads(RESULTS.read_text()).get("bounded", {}) if RESULTS.exists() else {}
    done, outside = int(before.get("tables", 0)), int(before.get("outside", 0))
    for first in range(done, tables, TOGETHER):
        outside += leave_the_bounds(range(first, min(first + TOGETHER, tables)))
        keep("bounded", {"tables": min(first + TOGETHER, tables), "outside": outside})
    print(f"outside the bounds: {outside} of {max(tables, done)} random tables")


def leave_the_bounds(tables: Sequence[int]) -> int:
    """In how many random tables of accuracies, tasks of one here, a forecast or a law leaves the bounds."""
    way = np.random.default_rng((tables[0], 2))
    scale, via = float(way.choice([1.0, 100.0])), str(way.choice(["direct", "loss"]))
    rows = []
    for seed in tables:
        rng = np.random.default_rng((seed, 3))
        rows += [
            {"task": str(seed), "method": m, "finetune_examples": int(s), "seed": k,
             "accuracy": scale * float(np.clip(rng.beta(*rng.uniform(0.3, 8, 2)), 0.02, 1)),
             "test_loss": float(np.exp(0.5 * rng.standard_normal()))}
            for m in METHODS for s in rng.choice(SIZES, 5, replace=False) for k in range(2)
        ]  # fmt: skip
    records = fs.read_records(pl.DataFrame(rows), score="accuracy", bounds=(0, scale))
    far, out = np.geomspace(1, 1e9, 20), set()
    for group in (*fs.forecast(records, via=via, draws=20), *fs.fit(records, "power", bootstrap=20)):
        told = group.predict(finetune_examples=far)
        ends = np.ravel([told.value, told.low, told.high, told.run_low, told.run_high])
        if ((ends < 0) | (ends > scale)).any():
            out.add(group.by["task"])
    return len(out)


def agreed(tables: int) -> None:
    """How often advice by accuracy and by error rate is the same."""
    same = 0
    for seed in range(tables):
        runs, _ = table(seed, seeds=2)
        read = (fs.read_records(runs, score="accuracy"), fs.read_records(runs, loss="error_rate"))
        told = [fs.recommend(records, examples=16384, bootstrap=200) for records in read]
        names = [[option.name for option in advice.options] for advice in told]
        values = [[option.loss for option in advice.options] for advice in told]
        same += names[0] == names[1] and bool(np.allclose(values[0], 1 - np.array(values[1]), atol=1e-6))
        same -= (told[0].best is None) != (told[1].best is None)
    keep("agreed", {"tables": tables, "same": same})
    print(f"the same advice by accuracy and by error rate: {same} of {tables} tables")


def main() -> None:
    """Runs all of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=int, default=200)
    parser.add_argument("--part", default="recovered,bounded,agreed")
    asked = parser.parse_args()
    parts = {"recovered": (recovered, 1), "bounded": (bounded, 5), "agreed": (agreed, 1)}
    for name in asked.part.split(","):
        part, times = parts[name]
        part(times * asked.tables)


if __name__ == "__main__":
    main()
