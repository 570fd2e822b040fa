"""Do forecasts hold? Public tables with their largest sizes hidden, and simulated tables.

    python benchmarks/forecasts.py [--shared ../shared] [--baseline] [--fresh] [--no-keep]

``--baseline`` asks ``fs.fit(law="auto")`` instead of the forecast ("now" in the docs, measured at the
version before); its scores stay in ``benchmarks/results/forecasts_baseline.json``, with which those of the
forecast are compared. Every block's answers are kept in ``results/forecasts/`` and not asked again
(``--fresh``: they are).

A question is a task, a model and a hidden size, at each cut. It is *clear* where the winner's hidden mean
leads by more than twice the standard error of the difference to the runner-up (without seeds: by 2% of the
spread between methods). Every hidden run is held against ``run_low`` and ``run_high``. The prior of a block's
discrepancy is estimated from the other sources. Intervals of the figures resample tasks.

    coverage_x2 ... x16, coverage_data   hidden runs of the 30-model table inside the 90% interval
    mae_x16, mae_x4                      mean absolute error from 12,800 examples at 204,800 and 51,200
    coverage_largest_model               the same for the largest model of a family, hidden
    coverage_methods                     the same for the tables with several methods
    interval_score_over_bootstrap        Gneiting and Raftery's score of 90% intervals over the baseline's:
                                         the geometric mean over blocks (their units differ)
    leader_right_minus_largest_seen      on clear questions: how often the forecast's leader wins, less how
                                         often whoever leads at the largest size seen does; in points
    regret_over_largest_seen             what the two choices lose to the winner
    advice_share, advice_right           answers with a probability of 0.8 or more: their share of all
                                         questions, and how many name the method whose hidden mean is best;
                                         advice_not_wrong: that none beats by more than 2 standard errors
    calibration_80_90, calibration_over_90  the share of right answers by their probability
    curves_other_fields_rmsle            root mean square error of logs over that of the best single law
    simulated_inside, simulated_abstains tables of known laws: the mean's coverage inside the data; how often
                                         equal methods get no advice
    lawful_x2, lawful_x4, lawful_x16     80 tables of power laws, clean ones too, three in ten of which bend
                                         near the end: the mean's coverage that far beyond the data, the
                                         median width of its interval in logs; questions about the best
                                         method: the share answered, and how many of these rightly
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from forecast_tables import SIZE, Block, blocks
from report import RESULTS, publish

import finescale as fs
from finescale.forecasts.discrepancy import Prior
from finescale.forecasts.priors import ACROSS
from finescale.records.outcomes import Outcome

Array = np.ndarray[Any, Any]
Rows = list[dict[str, Any]]
SURE = 0.8
LAWS = ("power", "rectified", "broken", "loglinear")
WITHOUT = {
    "full_tuning_30_models": {"along": Prior(0.09), "across": ACROSS},
    "methods_glue": {"along": Prior(0.06)},
    "lora_ranks_glue": {"along": Prior(0.07)},
    "methods_indic": {"along": Prior(0.07)},
    "curves_other_fields": {"along": Prior(0.07)},
}
"""Priors of each source, from the root mean square errors per doubling of the others."""


def outcome_of(loss: str) -> Outcome:
    """The outcome of a block: a loss, or an error rate between 0 and 1."""
    if loss == "error":
        return Outcome("error", "error rate", "loss", "lower", 0.0, 1.0)
    return Outcome(loss, "test loss", "loss", "lower", 0.0, np.inf, "nats")


def asked(block: Block) -> list[dict[str, Any]]:
    """The distinct settings that are hidden: columns of the curve and sizes, with the runs' outcomes."""
    names = [*block.by, "model_params", SIZE] if block.kind == "largest" else [*block.by, SIZE]
    groups = block.hidden.group_by(names, maintain_order=True).agg(pl.col(block.loss).alias("truth"))
    return groups.to_dicts()


def row_of(block: Block, one: dict[str, Any], told: Any) -> dict[str, Any]:
    """One answer."""
    names = ("value", "low", "high", "run_low", "run_high")
    return {
        "block": block.name,
        "source": block.source,
        "kind": block.kind,
        **{name: str(one.get(name, "")) for name in ("task", "model", "method")},
        "cut": float(block.cut),
        "size": float(one[SIZE]),
        **{name: float(getattr(told, name)) for name in names},
        "truth": [float(value) for value in one["truth"]],
    }


def by_forecast(block: Block) -> tuple[Rows, Rows]:
    """Answers of the forecast; for tables with methods, the probabilities that each is best too."""
    records = fs.read_records(block.seen, loss=block.loss)
    prior = WITHOUT[block.source]
    found = fs.forecast(records, block.by, outcome=outcome_of(block.loss), hold_out=False, prior=prior)
    rows: Rows = []
    for one in asked(block):
        sizes = {name: one[name] for name in (SIZE, "model_params") if name in one}
        group = found.only(**{name: one[name] for name in block.by})
        rows.append(row_of(block, one, group.predict(sizes)))
    chances: Rows = []
    if block.kind == "methods":
        for (task, model), part in block.hidden.group_by("task", "model", maintain_order=True):
            mine = found.select(task=task, model=model)
            for size in part[SIZE].unique().sort():
                draws = np.stack([group.mean_draws({SIZE: float(size)}) for group in mine], axis=1)
                best = np.bincount(draws.argmin(axis=1), minlength=len(mine)) / len(draws)
                chances += [
                    {
                        "block": block.name,
                        "task": task,
                        "model": model,
                        "size": float(size),
                        "method": group.by["method"],
                        "chance": float(share),
                    }
                    for group, share in zip(mine, best, strict=True)
                ]
    return rows, chances


def by_law(block: Block, law: str = "auto", bootstrap: int = 1000) -> Rows:
    """Answers of fitted laws."""
    records = fs.read_records(block.seen, loss=block.loss)
    factor = "model_params" if block.kind == "largest" else None
    fits = fs.fit(records, law, factor, by=block.by, hold_out=False, bootstrap=bootstrap, loss=block.loss)
    rows: Rows = []
    for one in asked(block):
        for fitted in fits.select(**{name: one[name] for name in block.by}):
            columns = next(iter(fitted.columns.values())).values()
            if all(name in one for name in columns):
                rows.append(row_of(block, one, fitted.predict({name: one[name] for name in columns})))
    return rows


def fields_rmsle(block: Block, rows: Rows) -> dict[str, float]:
    """The forecast's error of logs over that of the best single law."""

    def error(answers: Rows) -> float:
        gaps = [np.log(r["value"]) - np.log(np.mean(r["truth"])) for r in answers]
        return float(np.sqrt(np.mean(np.square(gaps))))

    single = {law: error(by_law(block, law, bootstrap=0)) for law in LAWS}
    return {"own": error(rows), "best": min(single.values())}


def score(low: Array, high: Array, truth: Array) -> Array:
    """Gneiting and Raftery's interval score at 90%; lower is better."""
    return high - low + 20 * np.maximum(low - truth, 0) + 20 * np.maximum(truth - high, 0)


def long(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a hidden run."""
    return frame.explode("truth").with_columns(
        inside=(pl.col("truth") >= pl.col("run_low")) & (pl.col("truth") <= pl.col("run_high")),
        times=(pl.col("size") / pl.col("cut")).round().cast(pl.Int64, strict=False),
    )


def scores_of(runs: pl.DataFrame) -> dict[str, float]:
    """Mean interval score of each block."""
    found = {}
    for (name,), part in runs.filter(pl.col("kind") != "fields").group_by("block", maintain_order=True):
        low, high, truth = (part[column].to_numpy() for column in ("run_low", "run_high", "truth"))
        found[str(name)] = float(f"{score(low, high, truth).mean():.5g}")
    return found


def with_interval(cells: pl.DataFrame, name: str, rng: np.random.Generator) -> list[float]:
    """A mean, its count and its 90% interval by resampling tasks."""
    parts = [part[name].cast(pl.Float64).to_numpy() for _, part in cells.group_by("block", "task")]
    sums, counts = np.array([p.sum() for p in parts]), np.array([p.size for p in parts])
    picks = rng.integers(len(parts), size=(2000, len(parts)))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.percentile(means, [5, 95])
    return [round(float(sums.sum() / counts.sum()), 4), int(counts.sum()), round(low, 3), round(high, 3)]


def questions(answers: pl.DataFrame, chances: pl.DataFrame, tables: dict[str, Block]) -> pl.DataFrame:
    """One row a question: who wins, whether it is clear, whom the forecast and the largest size name."""
    rows = []
    kept = answers.filter(pl.col("kind") == "methods")
    keys = ["block", "task", "model", "size"]
    for key, part in kept.group_by(keys, maintain_order=True):
        block = tables[str(key[0])]
        truths = [np.array(truth) for truth in part["truth"].to_list()]
        means = np.array([truth.mean() for truth in truths])
        errors = np.array([t.var(ddof=1) / t.size if t.size > 1 else np.nan for t in truths])
        first, second = np.argsort(means)[:2]
        lead = means[second] - means[first]
        needed = 2 * np.sqrt(errors[first] + errors[second])
        if np.isnan(needed):
            needed = 0.02 * (means.max() - means.min())
        seen = block.seen.filter((pl.col("task") == key[1]) & (pl.col("model") == key[2]))
        last = seen.filter(pl.col(SIZE) == pl.col(SIZE).max().over("method"))
        at_last = dict(last.group_by("method").agg(pl.col(block.loss).mean()).iter_rows())
        largest = int(np.argmin([at_last[method] for method in part["method"]]))
        leader = int(part["value"].arg_min() or 0)
        row = dict(zip(keys, key, strict=True)) | {"clear": bool(lead > needed)}
        row |= {"right": leader == first, "largest_right": largest == first}
        row |= {"regret": means[leader] - means[first], "largest_regret": means[largest] - means[first]}
        own = chances
        for name, value in zip(keys, key, strict=True):
            own = own.filter(pl.col(name) == value) if own.height else own
        if own.height:
            named = own.sort("chance", descending=True).row(0, named=True)
            chosen = part["method"].to_list().index(named["method"])
            gap = means[chosen] - means[first]
            row |= {"chance": named["chance"], "named_right": chosen == first}
            row["not_wrong"] = bool(gap <= 2 * np.sqrt(errors[chosen] + errors[first]))
        rows.append(row)
    return pl.DataFrame(rows)


def simulated(tables: int = 60) -> dict[str, float]:
    """Coverage inside the data, and abstention, on tables of known laws; small enough for CI."""
    rng = np.random.default_rng(11)
    inside: list[float] = []
    abstained: list[bool] = []
    sizes = 200.0 * 2.0 ** np.arange(7)
    for _ in range(tables):
        rows = []
        truth = {}
        for method in ("a", "b"):
            A, beta, E = rng.uniform(2, 8), rng.uniform(0.05, 0.4), rng.uniform(0.3, 1.0)
            truth[method] = A * sizes**-beta + E
            rows += [
                {
                    "task": "t",
                    "method": method,
                    SIZE: size,
                    "seed": seed,
                    "test_loss": mean + 0.005 * rng.normal(),
                }
                for size, mean in zip(sizes, truth[method], strict=True)
                for seed in range(3)
            ]
        for group in fs.forecast(pl.DataFrame(rows), draws=2):
            told, means = group.predict({SIZE: sizes}), truth[group.by["method"]]
            inside += ((told.low <= means) & (means <= told.high)).tolist()
        equal = [
            {
                "task": "t",
                "method": m,
                SIZE: s,
                "seed": k,
                "test_loss": 3 * s**-0.2 * np.exp(0.02 * rng.normal()),
            }
            for m in "abc"
            for s in sizes
            for k in range(2)
        ]
        draws = fs.forecast(pl.DataFrame(equal), draws=500).draws(
            **{SIZE: sizes[-1] * rng.choice([1.0, 4.0, 10.0])}
        )
        abstained.append(bool(np.bincount(draws.argmin(axis=1), minlength=3).max() < SURE * 500))
    return {
        "simulated_inside": round(float(np.mean(inside)), 4),
        "simulated_abstains": float(np.mean(abstained)),
    }


def lawful(tables: int = 80) -> dict[str, list[float]]:
    """What is said of tables that follow laws: how wide, how often answered, how often right."""
    found: dict[int, list[tuple[float, float, float, float]]] = {2: [], 4: [], 16: []}
    for number in range(tables):
        rng = np.random.default_rng((17, number))
        sizes = 500 * 2.0 ** np.arange(rng.integers(4, 10))
        models = 1e8 * 3.0 ** np.arange(rng.choice([1, 1, 2, 3]))
        noise, seeds = np.exp(rng.uniform(np.log(0.001), np.log(0.03))), range(int(rng.integers(1, 4)))
        floor, height, slope = rng.choice([0, 0.5, 1.5]), rng.uniform(1, 6), rng.uniform(0.08, 0.35)
        bend, turn = rng.uniform(-0.5, 0.5) * (rng.random() < 0.3), sizes[-1] * rng.uniform(0.25, 4)
        methods = [
            (height * np.exp(0.15 * rng.normal()), slope * np.exp(0.2 * rng.normal())) for _ in range(3)
        ]

        def loss(A: float, beta: float, size: float, model: float) -> float:
            bent = (1 + (size / turn) ** 2) ** (-bend * beta)  # noqa: B023
            return floor + A * (model / 1e8) ** -0.1 * size**-beta * bent  # noqa: B023

        rows = [
            {"task": "t", "method": f"m{at}", "model_params": model, SIZE: size, "seed": seed}
            | {"test_loss": loss(*law, size, model) * np.exp(noise * rng.normal())}
            for at, law in enumerate(methods)
            for model in models
            for size in sizes
            for seed in seeds
        ]
        groups = fs.forecast(pl.DataFrame(rows), draws=500)
        model = rng.choice(models)
        for times, answers in found.items():
            asked_at = {SIZE: sizes[-1] * times} | ({"model_params": model} if models.size > 1 else {})
            truth = np.array([loss(*law, sizes[-1] * times, model) for law in methods])
            told = [group.predict(asked_at) for group in groups]
            low, high = (np.array([float(getattr(one, end)) for one in told]) for end in ("low", "high"))
            draws = np.stack([group.mean_draws(asked_at) for group in groups], axis=1)
            best = np.bincount(draws.argmin(axis=1), minlength=len(methods)) / len(draws)
            inside = float(np.mean((low <= truth) & (truth <= high)))
            right = float(best.argmax() == truth.argmin())
            answers.append((inside, float(np.mean(np.log(high / low))), float(best.max()), right))
    result = {}
    for times, answers in found.items():
        inside, width, chance, right = np.array(answers).T
        given = chance >= SURE
        values = (inside.mean(), np.median(width), given.mean(), right[given].mean())
        result[f"lawful_x{times}"] = [round(float(value), 3) for value in values]
    return result


def figures(
    answers: pl.DataFrame, chances: pl.DataFrame, baseline: dict[str, float], tables: dict[str, Block]
) -> dict[str, Any]:
    """All figures on public tables: [value, count, low, high] where they are means."""
    rng = np.random.default_rng(0)
    runs = long(answers)
    found: dict[str, Any] = {}
    data = runs.filter(pl.col("kind") == "data")
    if data.height:
        found["coverage_data"] = with_interval(data, "inside", rng)
        for times in (2, 4, 8, 16):
            found[f"coverage_x{times}"] = with_interval(data.filter(pl.col("times") == times), "inside", rng)
        off = data.with_columns(error=(pl.col("value") - pl.col("truth")).abs())
        first = off.filter(pl.col("cut") == 12_800)
        found["mae_x16"] = with_interval(first.filter(pl.col("times") == 16), "error", rng)
        found["mae_x4"] = with_interval(first.filter(pl.col("times") == 4), "error", rng)
    for kind, name in (("largest", "coverage_largest_model"), ("methods", "coverage_methods")):
        part = runs.filter(pl.col("kind") == kind)
        if part.height:
            found[name] = with_interval(part, "inside", rng)
    scores = scores_of(runs)
    found["interval_score"] = scores
    both = {name: value / baseline[name] for name, value in scores.items() if name in baseline}
    if both:
        found["interval_score_over_bootstrap"] = [
            round(float(np.exp(np.mean(np.log(list(both.values()))))), 4),
            len(both),
        ]
        found["interval_score_by_block"] = {name: round(value, 3) for name, value in both.items()}
    asked_for = questions(answers, chances, tables)
    if asked_for.height:
        clear = asked_for.filter(pl.col("clear"))
        found["questions"], found["clear_questions"] = asked_for.height, clear.height
        right, largest = (100 * clear[name].mean() for name in ("right", "largest_right"))  # pyright: ignore
        found["leader_right"], found["largest_seen_right"] = round(right, 1), round(largest, 1)  # pyright: ignore
        found["leader_right_minus_largest_seen"] = round(right - largest, 1)  # pyright: ignore
        found["regret_over_largest_seen"] = round(clear["regret"].sum() / clear["largest_regret"].sum(), 3)  # pyright: ignore
        if "chance" in asked_for.columns:
            given = asked_for.filter(pl.col("chance") >= SURE)
            found["advice_share"] = round(given.height / asked_for.height, 3)
            found["advice_right"] = [round(float(given["named_right"].mean() or 0), 3), given.height]  # pyright: ignore
            found["advice_not_wrong"] = [round(float(given["not_wrong"].mean() or 0), 3), given.height]  # pyright: ignore
            for name, low, high in (("80_90", 0.8, 0.9), ("over_90", 0.9, 1.01)):
                part = given.filter((pl.col("chance") >= low) & (pl.col("chance") < high))
                mean = part["named_right"].mean()
                found[f"calibration_{name}"] = [None if mean is None else round(float(mean), 3), part.height]  # pyright: ignore
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("FINESCALE_SHARED", "../shared")))
    parser.add_argument("--baseline", action="store_true", help="ask fs.fit(law='auto')")
    parser.add_argument("--fresh", action="store_true", help="ask every block again")
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    tables = {block.name: block for block in blocks(options.shared / "runs")}
    if not tables:
        print(
            f"forecasts: no tables in {options.shared / 'runs'}: only simulated tables are measured",
            flush=True,
        )
    kept = Path("results") / "forecasts"
    kept.mkdir(parents=True, exist_ok=True)
    answers, chances, extra = [], [], {}
    for name, block in tables.items():
        path = kept / f"{name}{'-baseline' if options.baseline else ''}.parquet"
        if options.fresh or not path.exists():
            rows, best = (by_law(block), []) if options.baseline else by_forecast(block)
            pl.DataFrame(rows).write_parquet(path)
            if best:
                pl.DataFrame(best).write_parquet(path.with_suffix(".chances.parquet"))
        answers.append(pl.read_parquet(path))
        if path.with_suffix(".chances.parquet").exists():
            chances.append(pl.read_parquet(path.with_suffix(".chances.parquet")))
        if block.kind == "fields":
            extra = fields_rmsle(block, answers[-1].to_dicts())
    result: dict[str, Any] = {} if options.baseline else simulated() | lawful()
    if answers:
        old = RESULTS / "forecasts_baseline.json"
        known = old.exists() and not options.baseline
        baseline = json.loads(old.read_text())["figures"]["interval_score"] if known else {}
        best = pl.concat(chances) if chances else pl.DataFrame()
        result |= figures(pl.concat(answers), best, baseline, tables)
    if extra:
        result["curves_other_fields_rmsle"] = round(extra["own"] / extra["best"], 3)
        result["best_single_law_rmsle"] = round(extra["best"], 4)
    result["seconds"] = round(time.perf_counter() - began, 1)
    name = "forecasts_baseline" if options.baseline else "forecasts"
    publish(name, result, keep=not options.no_keep)


if __name__ == "__main__":
    main()
