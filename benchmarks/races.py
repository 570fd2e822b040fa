"""Races of learning rates against full sweeps: the same choice, for how much of the compute?

Usage: python benchmarks/races.py [--replays 200]   (about a minute)

Replayed are sweeps whose candidates were all trained to their ends, by the rule that `sweep: {race: true}`
uses (`finescale.study.race_rule`): what a race would have seen is shown to it, in random orders of arrival on
1 to 8 workers. Three groups, shown apart:

- recorded, resampled: sweeps whose dev losses were also taken where a race looks
  (examples/nano_sweeps_curves.parquet, made by benchmarks/race_sweeps.py: the sweep of studies/nano.yaml and
  others, with other seeds, models and data sizes), as they are, and those that were made with several seeds
  with resampled ones: the mean of their curves, and what a seed adds, drawn with its correlations;
- evaluations: recorded sweeps with their few evaluations alone (every other examples/*_curves.parquet): then
  the first rung is the first evaluation, a third of a run or more;
- simulated: sweeps of rates that nobody tried, on curves fitted to the mean ones (at each share of the run a
  parabola in the log of the rate), with another seed.

Figures: race_cost (compute of the race over that of the full sweep: training, dev losses where the race
looks included, the test evaluation of what is finished), race_same_choice and race_as_good (the choice is
within 0.05% of the best dev loss: what the rule takes for equal), means over the recorded and the resampled
sweeps; race_many_... of those with five candidates or more, race_few_... with fewer; each group's own;
NAME_cost_training (steps alone); NAME_regret (mean dev loss lost by another choice, nats); race_order_matters
(replays whose outcome depends on the order of arrival: 0).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
from report import publish

from finescale.spec.file import load_study
from finescale.spec.parts import for_method
from finescale.spec.study import Study
from finescale.study.race_rule import RUNGS, TOLERANCE, Entrant, judge, loss_at

ROOT = Path(__file__).parent.parent
STUDIES = {"nano": "nano.yaml", "nano_sweeps": "nano.yaml", "smollm2_135m": "smollm2.yaml"}
"""The study file that says how many dev and test examples the runs of a table of curves were evaluated on."""
SETTING = ("task", "model", "method", "pet_size", "finetune_examples", "seed")
SIMULATED = 500
PARTS = ("cost", "same_choice", "as_good")
MANY = 5
"""Candidates of a sweep that has many."""
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
    if table not in STUDIES:
        print(f"{path.name}: no study file is known for it; it is left out")
        return
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
        dev = float(for_method(study.train.dev_examples, str(part["method"][0])) or 256)
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
    """Dev losses of the rates of an optimiser: at each share a parabola through the three nearest rates.

    Attributes:
        sweep: The sweep that it is fitted to.
        optimizer: The optimiser.
        rates: log2 of the rates, rising.
        losses: Their dev losses [rates, shares].
    """

    sweep: Sweep
    optimizer: str
    rates: np.ndarray
    losses: np.ndarray

    @property
    def shares(self) -> tuple[float, ...]:
        """Shares of a run."""
        return tuple(share for share, _ in self.sweep.candidates[0].curve)

    def at(self, rate: float) -> np.ndarray:
        """The dev losses of a rate [shares]."""
        x = math.log2(rate)
        near = np.argsort(np.abs(self.rates - x))[:3]
        fitted = np.polynomial.polynomial.polyfit(self.rates[near], self.losses[near], 2)
        return np.asarray(np.polynomial.polynomial.polyval(x, fitted))


def surfaces(sweep: Sweep) -> Iterator[Surface]:
    """The surface of each optimiser with three rates or more."""
    shares = [share for share, _ in sweep.candidates[0].curve]
    for optimizer in dict.fromkeys(one.optimizer for one in sweep.candidates):
        family = sorted((one for one in sweep.candidates if one.optimizer == optimizer), key=lambda o: o.rate)
        if len(family) > 2 and all([share for share, _ in one.curve] == shares for one in family):
            losses = np.array([[loss for _, loss in one.curve] for one in family])
            yield Surface(sweep, optimizer, np.log2([one.rate for one in family]), losses)


@dataclass(frozen=True)
class Noise:
    """What seeds add to the curves of a method, measured: the same sweep was made with several seeds.

    Attributes:
        shares: Shares of a run.
        fields: (optimiser, log2 of the rate) to what each seed adds to its curve [seeds, shares], over the
            sweep's gain after the first rung; what a seed adds to all candidates alike is not in it.
    """

    shares: tuple[float, ...]
    fields: dict[tuple[str, float], np.ndarray]

    def draw(self, rng: np.random.Generator) -> Callable[[str, float, Sequence[float]], np.ndarray]:
        """A new seed: (optimiser, rate, shares) -> what it adds, correlated as the measured ones are."""
        many = len(next(iter(self.fields.values())))
        weights = rng.standard_normal(many) / math.sqrt(many - 1)

        def adds(optimizer: str, rate: float, shares: Sequence[float]) -> np.ndarray:
            known = [(abs(x - math.log2(rate)), name, x) for name, x in self.fields if name == optimizer]
            field = weights @ self.fields[min(known)[1:]]
            return np.interp(shares, self.shares, field)

        return adds


def averaged(sweeps: Sequence[Sweep]) -> tuple[list[Sweep], dict[str, Noise]]:
    """Sweeps that differ in their seeds alone as one of mean curves, and what a seed adds, by method."""
    groups: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        groups.setdefault(sweep.name.rpartition(" ")[0], []).append(sweep)
    means: list[Sweep] = []
    found = {}
    for name, group in groups.items():
        grids = {tuple((one.optimizer, one.rate) for one in sweep.candidates) for sweep in group}
        if len(group) < 2 or len(grids) > 1:
            continue
        shares = [share for share, _ in group[0].candidates[0].curve]
        curves = np.array(  # seeds, candidates, shares
            [
                [[loss_at(one.curve, share) for share in shares] for one in sweep.candidates]
                for sweep in group
            ],
            dtype=float,
        )
        mean = [
            changed(replace(one, curve=tuple((share, 0.0) for share in shares)), added, group[0].evaluations)
            for one, added in zip(group[0].candidates, curves.mean(axis=0), strict=True)
        ]
        means.append(replace(group[0], name=f"{name}, {len(group)} seeds", candidates=tuple(mean)))
        left = curves - np.median(curves, axis=1, keepdims=True)
        left = (left - left.mean(axis=0)) / np.mean([gain(sweep) for sweep in group])
        keys = [(one.optimizer, math.log2(one.rate)) for one in group[0].candidates]
        found[group[0].method] = Noise(tuple(shares), {key: left[:, i] for i, key in enumerate(keys)})
    return means, found


def gain(sweep: Sweep) -> float:
    """What the best candidate of a sweep gains from the first rung to its end, nats."""
    best = sweep.candidates[sweep.best()]
    at = loss_at(best.curve, RUNGS[0])
    return max((best.loss if at is None else at) - best.loss, 1e-3 * best.loss)


def changed(one: Candidate, added: np.ndarray, evaluations: Sequence[float]) -> Candidate:
    """A candidate with other dev losses."""
    curve = tuple((share, loss + float(more)) for (share, loss), more in zip(one.curve, added, strict=True))
    own = [loss for share, loss in curve if any(abs(share - at) < 1e-9 for at in evaluations)]
    return replace(one, curve=curve, loss=min(own))


def simulated(found: Sequence[Surface], noise: Mapping[str, Noise], rng: np.random.Generator) -> Sweep:
    """A sweep of rates that nobody tried, on the surfaces of a recorded sweep, with another seed."""
    first = found[int(rng.integers(len(found)))]
    both = [one for one in found if one.sweep is first.sweep]
    adds = noise[first.sweep.method].draw(rng)
    candidates: list[Candidate] = []
    for surface in both if rng.random() < 0.5 else [first]:
        many, step = int(rng.integers(3, 6)), rng.uniform(math.log2(1.5), math.log2(3.2))
        middle = rng.uniform(surface.rates[0], surface.rates[-1])
        places = [middle + (place - (many - 1) / 2) * step for place in range(many)]
        for place in places:
            if surface.rates[0] - 0.5 <= place <= surface.rates[-1] + 0.5:
                rate, shares = float(2**place), surface.shares
                blank = Candidate(surface.optimizer, rate, tuple((share, 0.0) for share in shares), 0.0)
                losses = surface.at(rate) + adds(surface.optimizer, rate, shares) * gain(first.sweep)
                candidates.append(changed(blank, losses, first.sweep.evaluations))
    if len(candidates) < 3:
        return simulated(found, noise, rng)
    return replace(first.sweep, name=f"simulated after {first.sweep.name}", candidates=tuple(candidates))


def reseeded(sweep: Sweep, noise: Mapping[str, Noise], rng: np.random.Generator) -> Sweep:
    """A recorded sweep as another seed might have made it."""
    if sweep.method not in noise:
        return sweep
    adds = noise[sweep.method].draw(rng)
    candidates = []
    for one in sweep.candidates:
        added = adds(one.optimizer, one.rate, [share for share, _ in one.curve]) * gain(sweep)
        candidates.append(changed(one, added, sweep.evaluations))
    return replace(sweep, candidates=tuple(candidates))


@dataclass
class Tally:
    """What the replays of a group came to."""

    costs: list[float] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    same: list[bool] = field(default_factory=list)
    regrets: list[float] = field(default_factory=list)
    good: list[bool] = field(default_factory=list)
    ordered: int = 0

    def mean(self, part: str) -> float:
        """The mean of a figure."""
        return float(np.mean({"cost": self.costs, "same_choice": self.same, "as_good": self.good}[part]))

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
    means, noise = averaged(looked)
    looked += [part for sweep in looked if (part := subsweep(sweep, nano)) is not None]
    found = [one for sweep in means for one in surfaces(sweep)]
    resampled = means + [part for sweep in means if (part := subsweep(sweep, nano)) is not None]
    groups = {
        "recorded": looked,
        "resampled": [reseeded(sweep, noise, rng) for sweep in resampled for _ in range(arguments.replays)],
        "evaluations": [sweep for sweep in sweeps if sweep.rungs != RUNGS],
        "simulated": [simulated(found, noise, rng) for _ in range(SIMULATED if found else 0)],
    }
    tallies = {name: Tally() for name in groups}
    by_sweep: dict[str, Tally] = {}
    for name, members in groups.items():
        for sweep in members:
            tallies[name].take(sweep, rng)
            if name in ("recorded", "resampled"):
                key = f"{name:9} {len(sweep.candidates)} candidates, {sweep.name}"
                by_sweep.setdefault(key, Tally()).take(sweep, rng)
    figures: dict[str, float | int | None] = {"recorded_sweeps": len(looked)}
    for key, one in by_sweep.items():
        shown = (f"{part.replace('_', ' ')} {one.mean(part):4.0%}" for part in PARTS)
        print(*shown, key, sep=", ")
    for name, least, most in (("race", 2, 99), ("race_many", MANY, 99), ("race_few", 2, MANY - 1)):
        real = [one for key, one in by_sweep.items() if least <= int(key.split()[1]) <= most]
        figures |= {
            f"{name}_{part}": round(float(np.mean([one.mean(part) for one in real])), 3) for part in PARTS
        }
    figures["race_order_matters"] = sum(one.ordered for one in tallies.values())
    for name, one in tallies.items():
        figures |= one.figures(name) if one.same else {}
    publish("races", figures)


if __name__ == "__main__":
    main()
