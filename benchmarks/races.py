"""Races of learning rates against full sweeps: the same choice, for how much of the compute?

Usage: python benchmarks/races.py [--replays 200]   (about a minute)

Replayed are sweeps whose candidates were all trained to their ends, by the rule that `sweep: {race: true}`
uses (`finescale.study.race_rule`): what a race would have seen is shown to it, in random orders of arrival on
1 to 8 workers. Three groups, shown apart:

- looks: recorded sweeps whose dev losses were also taken where a race looks
  (examples/nano_sweeps_curves.parquet: the sweep of studies/nano.yaml and others, with other seeds, models
  and data sizes);
- evaluations: recorded sweeps with their few evaluations alone (every other examples/*_curves.parquet): then
  the first rung is the first evaluation, a third of a run or more;
- simulated: sweeps drawn from surfaces fitted to the recorded ones (the dev loss at a share of the run as a
  parabola in the log of the rate), with other rates, and the residuals of the fits as noise.

Recorded sweeps are replayed as they are and with resampled seeds: their fitted surface with other residuals.

Figures: race_cost (compute of the race over that of the full sweep: training, dev losses where the race looks
included, the test evaluation of what is finished) and race_same_choice of recorded sweeps with looks and the
simulated ones together; race_as_good (the choice is within 0.05% of the best dev loss: what the rule takes
for equal); each group's own; NAME_cost_training (steps alone); NAME_regret (mean dev loss lost by another
choice, nats); race_order_matters (replays whose outcome depends on the order of arrival: 0).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from report import publish

from finescale.spec.file import load_study
from finescale.spec.study import Study
from finescale.study.race_rule import RUNGS, TOLERANCE, Entrant, judge, loss_at

ROOT = Path(__file__).parent.parent
STUDIES = {"nano": "nano.yaml", "nano_sweeps": "nano.yaml", "smollm2_135m": "smollm2.yaml"}
"""The study file that says how many dev and test examples the runs of a table of curves were evaluated on."""
SETTING = ("task", "model", "method", "pet_size", "finetune_examples", "seed")
SIMULATED = 500
Point = tuple[float, float]


@dataclass(frozen=True)
class Candidate:
    """A candidate that was trained to its end.

    Attributes:
        optimizer, rate: What it is.
        curve: Share of its steps and dev loss, evaluations and looks.
        loss: The lowest dev loss of its evaluations.
    """

    optimizer: str
    rate: float
    curve: tuple[Point, ...]
    loss: float


@dataclass(frozen=True)
class Sweep:
    """A sweep of a method.

    Attributes:
        name: Where it is from.
        method: The method.
        candidates: What was tried.
        rungs: Where a race can look.
        evaluations: Shares at which the full sweep takes the dev loss.
        dev, test: The compute of an evaluation on dev and of one on test, over that of a run's training.
    """

    name: str
    method: str
    candidates: tuple[Candidate, ...]
    rungs: tuple[float, ...]
    evaluations: tuple[float, ...]
    dev: float
    test: float

    def best(self) -> int:
        """The full sweep's choice."""
        return min(
            range(len(self.candidates)), key=lambda i: (self.candidates[i].loss, self.candidates[i].rate)
        )

    def cost(self, share: float, looks: Sequence[float], finished: bool) -> float:
        """The compute of a candidate that was trained for a share of its steps, in trainings."""
        seen = {point for point in (*self.evaluations, *looks) if point <= share + 1e-9}
        return share + len(seen) * self.dev + finished * self.test


@dataclass(frozen=True)
class Outcome:
    """What a race came to: its choice, its compute and that of its steps alone, over the full sweep's."""

    chosen: int
    cost: float
    training: float
    stopped: tuple[float | None, ...]


def race(sweep: Sweep, rng: np.random.Generator, workers: int) -> Outcome:
    """Replays a sweep as a race: so many runs at a time, which end in a random order."""
    many = len(sweep.candidates)
    reached = [0.0] * many
    stopped: list[float | None] = [None] * many
    done = [False] * many
    running: dict[int, float] = {}
    while True:
        entrants = [
            Entrant(
                tuple(point for point in one.curve if point[0] <= reached[i] + 1e-9),
                one.loss if done[i] else None,
                out=stopped[i] is not None,
                rate=one.rate,
                family=one.optimizer,
            )
            for i, one in enumerate(sweep.candidates)
        ]
        verdicts = judge(entrants, sweep.rungs)
        fresh = [
            i for i, verdict in enumerate(verdicts) if verdict.stop and stopped[i] is None and not done[i]
        ]
        for i in fresh:
            stopped[i] = reached[i]
        if fresh:
            continue
        free = [i for i in range(many) if not done[i] and stopped[i] is None and i not in running]
        ready = [i for i in free if not verdicts[i].wait]
        for i in rng.permutation(ready)[: workers - len(running)]:
            running[int(i)] = verdicts[i].until or 1.0
        if not running:
            break
        ended = int(rng.choice(list(running)))
        reached[ended] = running.pop(ended)
        done[ended] = reached[ended] >= 1.0
    finished = [i for i in range(many) if done[i]]
    chosen = min(finished, key=lambda i: (sweep.candidates[i].loss, sweep.candidates[i].rate))
    whole = many * sweep.cost(1.0, (), True)
    made = sum(sweep.cost(reached[i], sweep.rungs, done[i]) for i in range(many))
    return Outcome(chosen, made / whole, sum(reached) / many, tuple(stopped))


def recorded(path: Path) -> Iterator[Sweep]:
    """The sweeps of a table of curves."""
    frame = pl.read_parquet(path)
    table = path.stem.removesuffix("_curves")
    study = load_study(ROOT / "studies" / STUDIES[table])
    assert isinstance(study, Study)
    frame = frame.filter((pl.col("purpose") == "sweep") & (pl.col("status") == "done"))
    looks = pl.col("look") if "look" in frame.columns else pl.lit(False)
    frame = frame.with_columns(looks.alias("look"), (pl.col("step") / pl.col("steps")).alias("share"))
    for key, part in frame.group_by(SETTING, maintain_order=True):
        candidates = []
        for (optimizer, rate), rows in part.group_by("optimizer", "learning_rate", maintain_order=True):
            points = rows.sort("share")
            own = points.filter(~pl.col("look"))
            curve = tuple(points.select("share", "dev_loss").iter_rows())
            candidates.append(Candidate(str(optimizer), float(rate), curve, float(own["dev_loss"].min())))  # type: ignore[arg-type]
        if len(candidates) < 2:
            continue
        batch, steps = int(part["batch_size"][0]), int(part["steps"][0])
        passes = {"full": 3.0}.get(str(part["method"][0]), 2.0) * batch * steps  # 6ND and 4ND against 2ND
        shares = tuple(part.filter(~pl.col("look"))["share"].unique().sort())
        rungs = RUNGS if part["look"].any() else tuple(share for share in shares if share < 1)
        dev = study.train.dev_examples
        assert isinstance(dev, int)
        yield Sweep(
            f"{table}: {' '.join(str(item) for item in key)}",
            str(part["method"][0]),
            tuple(candidates),
            rungs,
            shares,
            dev / passes,
            study.test_examples / passes,
        )


def subsweep(sweep: Sweep, study: Study) -> Sweep | None:
    """The candidates of a sweep that a study has; None where some of them lack, or all are the same."""
    wanted = {(choice.optimizer.name, choice.learning_rate) for choice in study.candidates(sweep.method)}
    kept = tuple(one for one in sweep.candidates if (one.optimizer, one.rate) in wanted)
    if len(kept) < len(wanted) or len(kept) == len(sweep.candidates):
        return None
    return replace(sweep, name=f"{sweep.name}, the rates of {study.name}", candidates=kept)


@dataclass(frozen=True)
class Surface:
    """Dev losses of a family of rates, fitted: at each share a parabola in log2 of the rate.

    Attributes:
        sweep: The sweep that it is fitted to.
        optimizer: The family.
        shares: Shares of a run.
        low, high: log2 of the lowest and highest rate.
        coefficients: Of the parabolas [shares, 3].
        residuals: Of the rates [rates, shares], over the sweep's gain after the first rung, made as large as
            the noise that they are what is left of.
    """

    sweep: Sweep
    optimizer: str
    shares: tuple[float, ...]
    low: float
    high: float
    coefficients: np.ndarray
    residuals: np.ndarray


def surfaces(sweep: Sweep) -> Iterator[Surface]:
    """The surface of each optimiser with four rates or more."""
    for optimizer in dict.fromkeys(one.optimizer for one in sweep.candidates):
        family = [one for one in sweep.candidates if one.optimizer == optimizer]
        shares = tuple(share for share, _ in family[0].curve)
        if len(family) < 4 or any(tuple(share for share, _ in one.curve) != shares for one in family):
            continue
        x = np.array([math.log2(one.rate) for one in family])
        losses = np.array([[loss for _, loss in one.curve] for one in family])
        design = np.stack([np.ones_like(x), x, x * x], axis=1)
        coefficients = np.linalg.lstsq(design, losses, rcond=None)[0].T
        left = (losses - design @ coefficients.T) * math.sqrt(len(x) / (len(x) - 3))
        yield Surface(sweep, optimizer, shares, x.min(), x.max(), coefficients, left / gain(sweep))


def gain(sweep: Sweep) -> float:
    """What the best candidate of a sweep gains from the first rung to its end, nats."""
    best = sweep.candidates[sweep.best()]
    at = loss_at(best.curve, RUNGS[0])
    return max((best.loss if at is None else at) - best.loss, 1e-3 * best.loss)


def made(surface: Surface, rate: float, noise: np.ndarray) -> Candidate:
    """A candidate of a surface: a rate's losses and what a seed adds, nats."""
    x = math.log2(rate)
    losses = surface.coefficients @ np.array([1.0, x, x * x]) + noise
    curve = tuple(zip(surface.shares, map(float, losses), strict=True))
    own = [loss for share, loss in curve if any(abs(share - at) < 1e-9 for at in surface.sweep.evaluations)]
    return Candidate(surface.optimizer, rate, curve, min(own))


def simulated(found: Sequence[Surface], rng: np.random.Generator) -> Sweep:
    """A sweep of rates that nobody tried, on one or both surfaces of a recorded sweep."""
    first = found[int(rng.integers(len(found)))]
    both = [one for one in found if one.sweep is first.sweep]
    pool = np.concatenate([one.residuals for one in found if one.sweep.method == first.sweep.method])
    candidates: list[Candidate] = []
    for surface in both if rng.random() < 0.5 else [first]:
        many = int(rng.integers(3, 6))
        step = rng.uniform(math.log2(1.5), math.log2(3.2))
        middle = rng.uniform(surface.low, surface.high)
        for place in range(many):
            rate = 2 ** (middle + (place - (many - 1) / 2) * step)
            noise = pool[int(rng.integers(len(pool)))] * rng.choice([-1, 1]) * gain(first.sweep)
            candidates.append(made(surface, rate, noise))
    return replace(first.sweep, name=f"simulated after {first.sweep.name}", candidates=tuple(candidates))


def reseeded(sweep: Sweep, pools: dict[str, np.ndarray], rng: np.random.Generator) -> Sweep:
    """A recorded sweep as another seed might have made it: other residuals on the same curves."""
    pool = pools.get(sweep.method)
    if pool is None:
        return sweep
    candidates = []
    for one in sweep.candidates:
        noise = pool[int(rng.integers(len(pool)))] * rng.choice([-1, 1]) * gain(sweep)
        shares = [share for share, _ in one.curve]
        if len(noise) != len(shares):  # evaluations alone: the noise of a share near by
            noise = np.interp(shares, np.linspace(0, 1, len(noise)), noise)
        curve = tuple((share, loss + float(e)) for (share, loss), e in zip(one.curve, noise, strict=True))
        own = [loss for share, loss in curve if any(abs(share - at) < 1e-9 for at in sweep.evaluations)]
        candidates.append(replace(one, curve=curve, loss=min(own)))
    return replace(sweep, candidates=tuple(candidates))


@dataclass
class Tally:
    """What the replays of a group came to."""

    costs: list[float]
    training: list[float]
    same: list[bool]
    regrets: list[float]
    good: list[bool]
    ordered: int = 0

    def take(self, sweep: Sweep, rng: np.random.Generator) -> None:
        """Replays a sweep twice, in two orders of arrival on different numbers of workers."""
        one, other = (race(sweep, rng, int(rng.integers(1, 9))) for _ in range(2))
        self.ordered += one != other
        best = sweep.best()
        self.costs.append(one.cost)
        self.training.append(one.training)
        self.same.append(one.chosen == best)
        least = sweep.candidates[best].loss
        self.regrets.append(sweep.candidates[one.chosen].loss - least)
        self.good.append(self.regrets[-1] <= TOLERANCE * least)

    def figures(self, name: str) -> dict[str, float | int | None]:
        """The figures of the group."""
        return {
            f"{name}_replays": len(self.same),
            f"{name}_cost": round(float(np.mean(self.costs)), 3),
            f"{name}_cost_training": round(float(np.mean(self.training)), 3),
            f"{name}_same_choice": round(float(np.mean(self.same)), 3),
            f"{name}_as_good": round(float(np.mean(self.good)), 3),
            f"{name}_regret": round(float(np.mean(self.regrets)), 5),
            f"{name}_regret_at_most": round(float(np.quantile(self.regrets, 0.99)), 5),
        }


def tally() -> Tally:
    """An empty one."""
    return Tally([], [], [], [], [])


def main() -> None:
    """Replays everything and publishes the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--replays", type=int, default=100, help="replays of each recorded sweep")
    parser.add_argument("--examples", type=Path, default=ROOT / "examples")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    sweeps = [
        sweep for path in sorted(arguments.examples.glob("*_curves.parquet")) for sweep in recorded(path)
    ]
    looked = [sweep for sweep in sweeps if sweep.rungs == RUNGS]
    nano = load_study(ROOT / "studies" / "nano.yaml")
    assert isinstance(nano, Study)
    looked += [part for sweep in looked if (part := subsweep(sweep, nano)) is not None]
    found = [surface for sweep in looked for surface in surfaces(sweep)]
    pools = {
        method: np.concatenate([one.residuals for one in found if one.sweep.method == method])
        for method in {one.sweep.method for one in found}
    }
    groups = {"looks": looked, "evaluations": [sweep for sweep in sweeps if sweep.rungs != RUNGS]}
    tallies = {}
    for name, members in groups.items():
        tallies[name] = tally()
        for sweep in members:
            own = tally()
            for replay in range(arguments.replays):
                again = sweep if replay == 0 else reseeded(sweep, pools, rng)
                own.take(again, rng)
                tallies[name].take(again, rng)
            print(f"{np.mean(own.costs):6.0%} {np.mean(own.same):6.0%}  {len(sweep.candidates)} {sweep.name}")
    tallies["simulated"] = tally()
    for _ in range(SIMULATED if found else 0):
        tallies["simulated"].take(simulated(found, rng), rng)
    figures: dict[str, float | int | None] = {"recorded_sweeps": len(looked), "surfaces": len(found)}
    both = [tallies["looks"], tallies["simulated"]]
    figures["race_cost"] = round(float(np.mean([np.mean(one.costs) for one in both])), 3)
    figures["race_same_choice"] = round(float(np.mean([np.mean(one.same) for one in both])), 3)
    figures["race_as_good"] = round(float(np.mean([np.mean(one.good) for one in both])), 3)
    figures["race_order_matters"] = sum(one.ordered for one in tallies.values())
    for name, one in tallies.items():
        figures |= one.figures(name) if one.same else {}
    publish("races", figures)


if __name__ == "__main__":
    main()
