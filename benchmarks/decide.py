"""What `finescale run --until-decided` costs, and whether it says what the whole study says: replays.

A replay runs a study until a question is decided, through the same runner, order and stopping rule as the
command; in place of training it looks up the recorded losses. The first resample has them as they are; in
the others every run's loss is its setting's mean plus a deviation drawn from those of repeated settings (so
the whole study's advice is another one, too). Workers (1, 2, 4) and the order in which runs arrive vary. The
whole study's advice is what `finescale advise` says of all its records.

    decide_cost        median share of the study's cost (recorded seconds, sweeps included) at which the whole
                       study's advice is reached; replays that do not reach it count as infinitely dear
    decide_same        1 - the share of replays that end with another method than the whole study's
    decide_reached     share of replays that end with the whole study's method (the rest abstain)
    decide_replays     replays whose whole study gives an advice: those that the figures above are of
                       (`_NAME`: of one study; without a name the worst recorded study's, or the sum)
    abstain_replays    replays whose whole study abstains; _named: share of them in which a method was named
                       before all was run, _cost: median share of the cost at which they stopped

On the nano studies full tuning wins almost everywhere, so that a guess would do as well. So there are
simulated studies, too, shown apart (`_simulated`): the runs of nano_full with losses from random laws in
which full tuning overtakes LoRA somewhere between 128 and 32,768 examples, noise of 0.004 to 0.02 nats, and
one random question each. `decide_true_simulated`: share of the named methods that are truly the best,
`whole_true_simulated` that of the whole study's.

Questions: the study's smallest, middle and largest data size and 4 times that, at its smallest and middle
model, between its largest two and at twice its largest.

    python benchmarks/decide.py [--resamples 5] [--simulated 40] [--study TABLE=STUDY.yaml ...] [--no-keep]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from report import RESULTS, publish

from finescale.advice.candidates import Candidates, candidates
from finescale.advice.cost import Costs, costs
from finescale.advice.options import Question
from finescale.advice.recommend import advise
from finescale.errors import DataError
from finescale.executors.local import Job, Result
from finescale.front.deciding import until_decided
from finescale.records.records import DATA_SIZE, read_records
from finescale.spec.expand import PlannedRun
from finescale.spec.file import load_study
from finescale.spec.run import ModelSpec
from finescale.spec.study import Study
from finescale.study.plan import FinetunePlan
from finescale.study.runner import run_study

ROOT = Path(__file__).resolve().parents[1]
BASIS = "nano_full"
"""The study whose runs simulated studies have."""
STUDIES = {
    "nano_full": (ROOT / "examples" / "nano_full.parquet", ROOT / "studies" / "nano_full.yaml"),
    "nano": (ROOT / "results" / "nano" / "records.parquet", ROOT / "studies" / "nano.yaml"),
    "smollm2": (ROOT / "examples" / "smollm2_135m.parquet", ROOT / "studies" / "smollm2.yaml"),
}
"""Tables of records, and the studies that they are of; a table that is not there is left out, and said so."""
SETTING = ("method", "model", "pretrain_tokens", "pet_size", DATA_SIZE)
RATES = ("optimizer", "learning_rate", "batch_size")
WORKERS = (1, 2, 4)
TUNED = (pl.col("purpose") == "study") & (pl.col("status") == "done") & (pl.col(DATA_SIZE) > 0)
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Recorded:
    """A study and its records."""

    name: str
    study: Study
    table: pl.DataFrame

    def models(self) -> dict[tuple[str, int], ModelSpec]:
        """Its models by name and pretraining tokens, as the records know them."""
        columns = ["model", "pretrain_tokens", "revision", "model_params", "model_params_nonembedding"]
        found = {}
        for name, tokens, revision, params, bare in self.table.select(columns).unique().iter_rows():
            sizes = {"params": params, "nonembedding_params": bare}
            found[name, tokens] = ModelSpec(
                name=name, pretrain_tokens=tokens, revision=revision or "", **sizes
            )
        return found

    def plan(self, folder: Path) -> FinetunePlan:
        """Its plan, without its models and data."""
        models = self.models()
        last = {name: max(t or 0 for n, t in models if n == name) or None for name, _ in models}

        def resolve(task: str, name: str, tokens: int | str) -> tuple[ModelSpec, dict[str, str]]:
            model = models[name, last[name] if tokens == "last" else tokens]  # type: ignore[index]
            return model, {"weights": f"{name}@{model.pretrain_tokens}", "data": task}

        return FinetunePlan(self.study, resolve, folder)

    def questions(self) -> list[dict[str, float]]:
        """Data sizes inside and beyond, at small and middle models, between the largest and beyond."""
        tuned = self.table.filter(TUNED)
        data = sorted(tuned[DATA_SIZE].unique())
        asked = [data[0], data[len(data) // 2], data[-1], 4 * data[-1]]
        models = sorted(tuned["model_params"].drop_nulls().unique())
        sizes = [models[0], models[len(models) // 2]]
        sizes += [float(np.sqrt(models[-2] * models[-1])), 2 * models[-1]] if len(models) > 1 else []
        sizes = list(dict.fromkeys(sizes))
        return [{DATA_SIZE: float(d), "model_params": float(m)} for m in sizes for d in asked]

    def resampled(self, number: int) -> pl.DataFrame:
        """The table with losses drawn anew: setting's mean plus a deviation of the repeated settings."""
        if not number:
            return self.table
        rng = np.random.default_rng(number)
        keys = [name for name in SETTING if name in self.table.columns]
        loss, many = pl.col("test_loss"), pl.len().over(keys)
        tuned = self.table.with_row_index("row").filter(TUNED)
        tuned = tuned.with_columns(loss.mean().over(keys).alias("mean"), many.alias("many"))
        off = tuned.filter(pl.col("many") > 1)
        spread = (pl.col("test_loss") - pl.col("mean")) * (pl.col("many") / (pl.col("many") - 1)).sqrt()
        deviations = off.select(spread).to_series().to_numpy()
        drawn = tuned["mean"].to_numpy() + rng.choice(deviations, tuned.height)
        losses = self.table["test_loss"].to_numpy().copy()
        losses[tuned["row"].to_numpy()] = drawn
        return self.table.with_columns(pl.Series("test_loss", losses))


@dataclass(frozen=True)
class RandomLaws:
    """Laws of three methods over model and data, of which full tuning overtakes LoRA: what is simulated."""

    parameters: Mapping[str, tuple[float, float, float]]
    floor: float
    noise: float
    centre: tuple[float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator, model_params: float) -> RandomLaws:
        """Random laws; they cross at this model."""
        at = float(np.exp(rng.uniform(np.log(128), np.log(32_768))))
        alpha = rng.uniform(0.05, 0.25)
        lora, prompt = rng.uniform(0.05, 0.2), rng.uniform(0.03, 0.1)
        full = lora + rng.uniform(0.05, 0.2)
        level = np.log(rng.uniform(0.8, 1.6))
        worse = level + rng.uniform(0.02, 0.2)
        found = {
            "full": (level, alpha + rng.uniform(-0.03, 0.03), full),
            "lora": (level, alpha, lora),
            "prompt": (worse, alpha, prompt),
        }
        return cls(found, rng.uniform(1.0, 2.5), rng.uniform(0.004, 0.02), (model_params, at))

    def loss(self, method: str, model_params: float, examples: float) -> float:
        """The mean loss."""
        level, alpha, beta = self.parameters[method]
        x, d = np.log(model_params / self.centre[0]), np.log(examples / self.centre[1])
        return float(np.exp(level - alpha * x - beta * d) + self.floor)

    def best(self, asked: Mapping[str, float]) -> str:
        """The method that is truly the best."""
        at = asked["model_params"], asked[DATA_SIZE]
        return min(self.parameters, key=lambda method: self.loss(method, *at))


def simulated(one: Recorded, number: int) -> tuple[pl.DataFrame, dict[str, float], RandomLaws]:
    """A study's table with losses from random laws, a random question about it, and the laws."""
    rng = np.random.default_rng((1, number))
    models = sorted(one.table.filter(TUNED)["model_params"].unique())
    laws = RandomLaws.draw(rng, float(models[len(models) // 2]))
    losses = one.table["test_loss"].to_numpy().copy()
    for index, row in enumerate(one.table.iter_rows(named=True)):
        if row["purpose"] == "study":
            mean = laws.floor + 4.0
            if row[DATA_SIZE]:
                mean = laws.loss(row["method"], row["model_params"], row[DATA_SIZE])
            losses[index] = mean + laws.noise * rng.standard_normal()
    size = float(rng.choice([*models, 2 * models[-1]]))
    asked = {DATA_SIZE: float(round(np.exp(rng.uniform(np.log(128), np.log(32_768))))), "model_params": size}
    return one.table.with_columns(pl.Series("test_loss", losses)), asked, laws


class ReplayExecutor:
    """Gives back recorded runs, those that are made at a time in any order (an executor)."""

    def __init__(self, table: pl.DataFrame, workers: int, rng: np.random.Generator) -> None:
        self.rows = {key_of_row(row): row for row in table.iter_rows(named=True)}
        self.workers, self.rng = workers, rng
        self.waiting: list[Job] = []
        self.missing = 0
        self.seconds = self.flops = 0.0

    def free(self) -> int:
        """How many jobs can be submitted now."""
        return self.workers - len(self.waiting)

    def submit(self, job: Job) -> None:
        """Takes a job."""
        self.waiting.append(job)

    def wait(self, seconds: float) -> list[Result]:
        """One result, of any of the jobs."""
        del seconds
        if not self.waiting:
            return []
        job = self.waiting.pop(int(self.rng.integers(len(self.waiting))))
        return [self.result(job)]

    def result(self, job: Job) -> Result:
        """The recorded run of a job."""
        key = key_of_run(job.arguments[0])
        row = self.rows.get(key) or self.rows.get(("study", *key[1:-1], ()))  # the candidate that was chosen
        if row is None:
            self.missing += 1
            return Result(job.run, {"status": "failed", "error": "not recorded"})
        self.seconds += row["wall_seconds"] or 0.0
        self.flops += row["train_flops"] or 0.0
        kept = ("status", "dev_loss", "test_loss", "train_flops", "tokens_processed", "wall_seconds", "steps")
        return Result(job.run, {name: row[name] for name in kept if name in row})

    def progress(self) -> Mapping[str, float]:
        """Nothing is known of running jobs."""
        return {}

    def close(self) -> None:
        """Forgets its jobs."""
        self.waiting.clear()


def key_of_row(row: Mapping[str, Any]) -> Key:
    """What tells a run from all others of its study."""
    method = row["method"] if row[DATA_SIZE] else "none"
    setting = (row["model"], row["pretrain_tokens"], row["pet_size"] if row[DATA_SIZE] else None)
    rates = tuple(row[name] for name in RATES) if row["purpose"] == "sweep" else ()
    return row["purpose"], method, *setting, row[DATA_SIZE], row["seed"] if row[DATA_SIZE] else 0, rates


def key_of_run(planned: PlannedRun) -> Key:
    """The same of a planned run."""
    run = planned.run
    fields = {
        "purpose": planned.purpose,
        "method": run.method.name,
        "model": run.model.name,
        "pretrain_tokens": run.model.pretrain_tokens,
        "pet_size": run.method.pet_size,
        DATA_SIZE: run.finetune_examples,
        "seed": run.seed,
        "optimizer": run.train.optimizer.name,
        "learning_rate": run.train.learning_rate,
        "batch_size": run.train.batch_size,
    }
    return key_of_row(fields)


@dataclass(frozen=True)
class Replay:
    """How one replay ended."""

    question: Mapping[str, float]
    whole: str | None
    method: str | None
    why: str
    share: float
    flops: float
    batches: int


def replay(
    one: Recorded, table: pl.DataFrame, asked: Mapping[str, float], whole: str | None, number: int
) -> Replay:
    """Runs a study until a question is decided."""
    rng = np.random.default_rng((number, *map(int, asked.values())))
    executor = ReplayExecutor(table, int(rng.choice(WORKERS)), rng)
    told: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = one.plan(folder)
        chooser = until_decided(one.study, plan, asked, say=told.append)
        run_study(plan, folder, executor, chooser=chooser)
    if executor.missing:
        sys.exit(f"decide: {executor.missing} runs of {one.name} are not in its table")
    decision = chooser.decision
    assert decision is not None
    best = decision.advice.best if decision.advice is not None else None
    paid = {name: float(table[name].sum()) for name in ("wall_seconds", "train_flops")}
    return Replay(
        asked, whole, None if best is None else best.method, decision.why,
        executor.seconds / paid["wall_seconds"], executor.flops / paid["train_flops"], len(told),
    )  # fmt: skip


def whole_advice(table: pl.DataFrame) -> tuple[Candidates, Costs]:
    """What the finished study's advice is made from: as `finescale advise` takes it."""
    found = candidates(read_records(table))
    return found, costs(found.runs)


def advised(found: Candidates, prices: Costs, asked: Mapping[str, float]) -> str | None:
    """The method that the finished study advises; None where it abstains."""
    try:
        best = advise(found, Question(asked[DATA_SIZE], asked["model_params"]), prices).best
    except DataError:
        return None
    return None if best is None else best.method


def figures_of(name: str, replays: list[Replay]) -> dict[str, float | None]:
    """A study's figures."""
    counted = [one for one in replays if one.whole is not None]
    others = [one for one in replays if one.whole is None]
    reached = [one.method == one.whole for one in counted]
    costly = [one.share if ok else np.inf for one, ok in zip(counted, reached, strict=True)]
    flops = [one.flops if ok else np.inf for one, ok in zip(counted, reached, strict=True)]
    other = [one.method not in (None, one.whole) for one in counted]
    named = [one.method is not None and one.why != "all" for one in others]
    figures = {
        "decide_cost": float(np.median(costly)) if counted else None,
        "decide_cost_flops": float(np.median(flops)) if counted else None,
        "decide_same": 1 - float(np.mean(other)) if counted else None,
        "decide_reached": float(np.mean(reached)) if counted else None,
        "decide_replays": len(counted),
        "abstain_replays": len(others),
        "abstain_named": float(np.mean(named)) if others else None,
        "abstain_cost": float(np.median([one.share for one in others])) if others else None,
    }
    return {f"{key}_{name}": _short(value) for key, value in figures.items()}


def _short(value: float | None) -> float | None:
    if value is None or isinstance(value, int):
        return value
    return round(value, 4) if np.isfinite(value) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--resamples", type=int, default=5)
    parser.add_argument("--simulated", type=int, default=40, help="simulated studies; 0: none")
    parser.add_argument("--study", action="append", default=[], help="TABLE=STUDY.yaml, beside those there")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        help="studies, or simulated; figures of others stay (default: all)",
    )
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    studies = dict(STUDIES)
    for stated in options.study:
        path, _, file = stated.partition("=")
        studies[Path(file).stem] = Path(path), Path(file)
    figures = kept() if options.only else {}
    for name, (path, file) in studies.items():
        wanted = [one for one in (name, "simulated") if not options.only or one in options.only]
        if not path.exists() or not (name in wanted or name == BASIS):
            print(f"decide: {'not asked' if path.exists() else f'no {path}'}: no {name}", file=sys.stderr)
            continue
        study = load_study(file)
        assert isinstance(study, Study)
        one = Recorded(name, study, pl.read_parquet(path))
        if name in wanted:
            figures |= figures_of(name, replays_of(one, options.resamples))
        if name == BASIS and "simulated" in wanted and options.simulated:
            figures |= simulations(one, options.simulated)
    publish("decide", {**over_all(figures, list(studies)), **figures}, keep=not options.no_keep)


def kept() -> dict[str, float | None]:
    """The figures of the results that are kept, those of studies only."""
    file = RESULTS / "decide.json"
    return json.loads(file.read_text("utf-8"))["figures"] if file.exists() else {}


def over_all(figures: Mapping[str, float | None], studies: list[str]) -> dict[str, float | None]:
    """The worst of the recorded studies' figures, and how many replays they are of."""
    found: dict[str, float | None] = {}
    for name, worst in (
        ("decide_cost", max), ("decide_cost_flops", max), ("decide_same", min), ("decide_reached", min),
        ("decide_replays", sum), ("abstain_replays", sum),
    ):  # fmt: skip
        values = [figures[f"{name}_{study}"] for study in studies if f"{name}_{study}" in figures]
        known = [value for value in values if value is not None]
        found[name] = worst(known) if known else None
    return found


def simulations(one: Recorded, many: int) -> dict[str, float | None]:
    """The figures of simulated studies, and how often what is named is truly the best."""
    replays, truth = [], []
    for number in range(many):
        table, asked, laws = simulated(one, number)
        replays.append(replay(one, table, asked, advised(*whole_advice(table), asked), number))
        truth.append(laws.best(asked))
        tell(f"simulated {number} (truly {truth[-1]})", replays[-1])
    named = [made.method == best for made, best in zip(replays, truth, strict=True) if made.method]
    whole = [made.whole == best for made, best in zip(replays, truth, strict=True) if made.whole]
    true = {
        "decide_true_simulated": round(float(np.mean(named)), 4) if named else None,
        "whole_true_simulated": round(float(np.mean(whole)), 4) if whole else None,
    }
    return figures_of("simulated", replays) | true


def tell(name: str, made: Replay) -> None:
    """A line about a replay."""
    words = ", ".join(f"{key} {value:.4g}" for key, value in made.question.items())
    said = f"whole {made.whole}, said {made.method} ({made.why}) at {made.share:.0%}, {made.batches} lines"
    print(f"{name}: {words}: {said}", file=sys.stderr, flush=True)


def replays_of(one: Recorded, resamples: int) -> list[Replay]:
    """Every question on every resample."""
    replays = []
    for number in range(resamples):
        table = one.resampled(number)
        found, prices = whole_advice(table)
        for asked in one.questions():
            replays.append(replay(one, table, asked, advised(found, prices, asked), number))
            tell(f"{one.name} {number}", replays[-1])
    return replays


if __name__ == "__main__":
    main()
