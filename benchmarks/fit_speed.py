"""Speed of the fit against scipy, ratios measured in one run, every optimum compared.

240 seeded points like Chinchilla's (additive law, log residual, Huber 1e-3); with the shared tables at
hand, also the published 240 points. Scipy's routes: L-BFGS-B from 500 of Hoffmann's 4,500 starts with
numeric and with analytic gradients at scipy's defaults; its bootstrap is warm-started at the optimum.

With --random N, instead: N random tables of every law of the zoo (tests/support/random_tables.py),
the default solver's excess over the best of L-BFGS from 64 starts. Hours; every table is kept when it is
done, and the next call goes on. The worst excess stands among the figures: at most 1e-6 where none is missed.

    python benchmarks/fit_speed.py --random 400
    python benchmarks/fit_speed.py [--starts 500] [--refits 1000] [--rows 1000000] [--repeats 5] [--no-keep]
                                   [--chinchilla PYTHON]   (see chinchilla_peer.py)
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from report import RESULTS, publish
from scipy.optimize import minimize
from scipy.special import logsumexp

import finescale as fs
from finescale.laws.bootstrap import setting_keys, setting_weights
from finescale.laws.formulas import LAWS
from finescale.laws.options import RunFilter
from finescale.laws.slices import slices
from finescale.laws.solver.assembly import Assembly, assemble
from finescale.laws.solver.problem import Problem, objective
from finescale.laws.solver.profile import solve
from finescale.laws.solver.resamples import refit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))
from random_tables import excess, random_table

Array = np.ndarray[Any, Any]
DELTA = 1e-3
CHOICE = RunFilter((), "test_loss", False, {}, True, None)


def seeded_points() -> pl.DataFrame:
    """240 points like those of Chinchilla's Figure 4: their law, spread and outliers."""
    rng = np.random.default_rng(240)
    flops = 10 ** rng.uniform(18.8, 21.5, size=240)
    params = np.sqrt(flops / 6 / 20) * np.exp(rng.normal(0, 0.9, size=240))
    tokens = flops / 6 / params
    mean = 482.0 * params**-0.3478 + 2085.4 * tokens**-0.3658 + 1.8172
    noise = rng.standard_t(3, size=240) * 0.006
    return pl.DataFrame(
        {"model_params": params, "finetune_examples": tokens, "test_loss": mean * np.exp(noise)}
    )


def published_points() -> pl.DataFrame | None:
    """The 240 points of the shared table (the five highest losses are dropped), if it is there."""
    path = Path(os.environ.get("FINESCALE_SHARED", "../shared")) / "runs" / "chinchilla_figure4.csv"
    if not path.exists():
        return None
    table = pl.read_csv(path).sort("loss").head(240)
    return table.select(model_params="params", finetune_examples="tokens", test_loss="loss")


def assembled(frame: pl.DataFrame) -> tuple[Assembly, Problem]:
    """The problem that ``fit`` solves."""
    pieces, *_ = slices(fs.read_records(frame), LAWS["additive"], "model_params", CHOICE)
    assembly = assemble(LAWS["additive"], pieces, [""], ())
    return assembly, assembly.problem(log=True, delta=DELTA)


def multiplicative(repeats: int) -> dict[str, float | None]:
    """Seconds of the paper's law on grids of 40, 152 and 400 settings; with 1,000 resamples of the last."""
    figures: dict[str, float | None] = {}
    for models, sizes in ((5, 8), (8, 19), (10, 40)):
        rng = np.random.default_rng(models)
        x, d = (
            values.ravel()
            for values in np.meshgrid(np.geomspace(1e8, 1.6e10, models), np.geomspace(1e3, 1e6, sizes))
        )
        loss = 90 * x**-0.2 * d**-0.1 + 0.6 + rng.normal(0, 0.003, x.size)
        frame = pl.DataFrame({"model_params": x, "finetune_examples": d, "test_loss": loss})
        pieces, *_ = slices(fs.read_records(frame), LAWS["multiplicative"], "model_params", CHOICE)
        assembly = assemble(LAWS["multiplicative"], pieces, [""], ())
        problem = assembly.problem(log=False, delta=DELTA)
        figures[f"multiplicative_{x.size}_seconds"] = seconds(
            lambda p=problem, a=assembly: solve(p, a.grid()), repeats
        )[0]
    whole = seconds(lambda: fs.fit(frame, "multiplicative", "model_params"), repeats)[0]
    return figures | {"multiplicative_400_call_seconds": whole}


def seconds(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Median seconds of some calls, and the last result."""
    taken: list[float] = []
    result: Any = None
    for _ in range(repeats):
        began = time.perf_counter()
        result = work()
        taken.append(time.perf_counter() - began)
    return median(taken), result


class Textbook:
    """Hoffmann's fit as it is usually written: a, b, e are logarithms, the prediction a log-sum-exp."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.n, self.d, self.y = (
            np.log(frame[name].to_numpy()) for name in ("model_params", "finetune_examples", "test_loss")
        )

    def value(self, v: Array, w: Array | float = 1.0) -> float:
        """The objective at (a, b, e, alpha, beta)."""
        a, b, e, alpha, beta = v
        r = logsumexp([a - alpha * self.n, b - beta * self.d, np.full_like(self.n, e)], axis=0) - self.y
        size = np.abs(r)
        return float(np.sum(w * np.where(size <= DELTA, 0.5 * r * r, DELTA * (size - 0.5 * DELTA))))

    def value_and_slope(self, v: Array, w: Array | float = 1.0) -> tuple[float, Array]:
        """The objective and its gradient."""
        a, b, e, alpha, beta = v
        terms = np.stack([a - alpha * self.n, b - beta * self.d, np.full_like(self.n, e)])
        total = logsumexp(terms, axis=0)
        r = total - self.y
        share = np.exp(terms - total)
        psi = w * np.clip(r, -DELTA, DELTA)
        size = np.abs(r)
        value = float(np.sum(w * np.where(size <= DELTA, 0.5 * r * r, DELTA * (size - 0.5 * DELTA))))
        slopes = [psi @ share[0], psi @ share[1], psi @ share[2]]
        slopes += [-(psi * share[0]) @ self.n, -(psi * share[1]) @ self.d]
        return value, np.array(slopes)

    def starts(self, count: int) -> list[Array]:
        """Some of Hoffmann's 4,500 starts, always the same."""
        exponents, floors = np.arange(0, 2.5, 0.5), np.arange(-1, 1.5, 0.5)
        grid = list(itertools.product(np.arange(0, 30, 5), np.arange(0, 30, 5), floors, exponents, exponents))
        chosen = np.random.default_rng(0).permutation(len(grid))[:count]
        return [np.array(grid[index], dtype=float) for index in chosen]

    def best(self, count: int, *, analytic: bool) -> float:
        """The best objective over the starts."""
        work = self.value_and_slope if analytic else self.value
        return min(minimize(work, start, jac=analytic, method="L-BFGS-B").fun for start in self.starts(count))

    def bootstrap(self, start: Array, weights: Array) -> Array:
        """Warm-started refits, [refits, 5]."""
        found = [
            minimize(self.value_and_slope, start, args=(w,), jac=True, method="L-BFGS-B").x for w in weights
        ]
        return np.array(found)


def cli_seconds(repeats: int) -> float:
    """Whole process: 10 groups of 60 runs, 1,000 resamples each."""
    rng = np.random.default_rng(1)
    rows = [
        {"task": f"task{g}", "method": "lora", "model_params": x, "finetune_examples": d, "seed": s,
         "test_loss": (80 + g) * x**-0.2 * d**-0.1 + 0.6 + rng.normal(0, 0.005)}
        for g in range(10) for x in (1e9, 2e9, 4e9, 8e9) for d in (8e3, 1.6e4, 3.2e4, 6.4e4, 1.28e5) for s in
        range(3)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        pl.DataFrame(rows).write_csv(path)
        command = [str(Path(sys.executable).with_name("finescale")), "fit", str(path)]
        return seconds(lambda: subprocess.run(command, check=True, capture_output=True), repeats)[0]


def help_cpu_seconds(repeats: int) -> float:
    """CPU seconds of ``finescale --help``."""
    script = str(Path(sys.executable).with_name("finescale"))
    taken: list[float] = []
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([script, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return median(taken)


def peer(python: str, frame: pl.DataFrame) -> dict[str, float]:
    """Seconds, starts and optimum of the `chinchilla` package, run by an interpreter that has it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "points.csv"
        frame.write_csv(path)
        script = Path(__file__).with_name("chinchilla_peer.py")
        done = subprocess.run(
            [python, str(script), str(path)], check=True, capture_output=True, text=True, env=_clean()
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


def _clean() -> dict[str, str]:
    """The environment without this interpreter's path."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


_BIG = """
import resource, sys, time
import numpy as np, polars as pl
import finescale as fs
import finescale.laws.fit, finescale.laws.solver.assembly
rows = int(sys.argv[1])
rng = np.random.default_rng(0)
x, d = 10 ** rng.uniform(8, 10, rows), 10 ** rng.uniform(3, 7, rows)
loss = 90 * x**-0.2 * d**-0.1 + 0.6 + rng.normal(0, 0.005, rows)
frame = pl.DataFrame({"model_params": x, "finetune_examples": d, "test_loss": loss})
fs.fit(frame.head(200), bootstrap=2)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
fs.fit(frame)
taken = time.perf_counter() - began
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(taken, (after - before) * 1024 / frame.estimated_size())
"""


def big(rows: int) -> tuple[float, float]:
    """Seconds of a fit with 1,000 resamples, and its memory over the table's size."""
    done = subprocess.run([sys.executable, "-c", _BIG, str(rows)], check=True, capture_output=True, text=True)
    taken, memory = done.stdout.split()
    return float(taken), float(memory)


RANDOM = RESULTS / "fit_speed_random.json"


def random_excesses() -> dict[int, float]:
    """The excess on every random table that was measured so far."""
    return (
        {int(number): excess for number, excess in json.loads(RANDOM.read_text()).items()}
        if RANDOM.exists()
        else {}
    )


def measure_random(numbers: Iterable[int]) -> None:
    """Measures the random tables that are missing, and keeps each."""
    done = random_excesses()
    for number in numbers:
        if number in done:
            continue
        table = random_table(number)
        done[number] = float(f"{excess(table):.3g}")
        lines = [f'  "{key}": {done[key]!r}' for key in sorted(done)]
        RANDOM.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        print(f"{number}: {table.law}, {table.frame.height} rows, {done[number]:.3g}", file=sys.stderr)


def random_figures() -> dict[str, float | None]:
    """How many random tables were measured, and the worst excess."""
    done = random_excesses()
    return {"random_tables": len(done), "worst_excess_random": max(done.values(), default=None)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=500)
    parser.add_argument("--refits", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--chinchilla", metavar="PYTHON", default=None)
    parser.add_argument("--no-keep", action="store_true")
    parser.add_argument("--random", type=int, metavar="N", default=0)
    options = parser.parse_args()
    if options.random:
        measure_random(range(options.random))
        print(json.dumps(random_figures()))
        return
    frame, repeats = seeded_points(), options.repeats
    assembly, problem = assembled(frame)
    ours, solution = seconds(lambda: solve(problem, assembly.grid()), repeats)
    whole, _ = seconds(
        lambda: fs.fit(frame, "additive", "model_params", residual="log", bootstrap=0), repeats
    )
    textbook = Textbook(frame)
    numeric, best_numeric = seconds(lambda: textbook.best(options.starts, analytic=False), 1)
    analytic, best_analytic = seconds(lambda: textbook.best(options.starts, analytic=True), 1)
    best = min(best_numeric, best_analytic, float(solution.objective[0]))
    names = {name: float(value[0]) for name, value in assembly.public(solution.z[:1]).items()}
    start = np.array(
        [np.log(names["A"]), np.log(names["B"]), np.log(names["E"]), names["alpha"], names["beta"]]
    )
    best = min(best, minimize(textbook.value_and_slope, start, jac=True, method="L-BFGS-B", tol=1e-16).fun)

    keys = setting_keys(assembly.pieces[0], assembly.points[0])

    def resample() -> Array:
        weights = setting_weights(keys, 0, options.refits)
        many = Problem(
            problem.model, problem.y, weights, True, DELTA, problem.lower, problem.upper, problem.free
        )
        return refit(many, np.repeat(solution.z[:1], options.refits, axis=0), steps=100, tolerance=1e-4).z

    refits, draws = seconds(resample, repeats)
    weights = setting_weights(keys, 0, options.refits)
    scipy_refits, scipy_draws = seconds(
        lambda: textbook.bootstrap(start, _unsorted(weights, assembly, frame)), 1
    )
    difference = np.abs(np.median(draws[:, 3]) - np.median(scipy_draws[:, 3])) / np.std(draws[:, 3])
    figures: dict[str, float | None] = {
        "speedup_vs_scipy_numeric": numeric / ours,
        "speedup_vs_scipy_analytic": analytic / ours,
        "speedup_vs_chinchilla": None,
        "chinchilla_objective_excess": None,
        "optimum_excess": float(solution.objective[0]) / best - 1,
        "fit_seconds": ours,
        "fit_call_seconds": whole,
        "bootstrap_1000_seconds": refits * 1000 / options.refits,
        "bootstrap_speedup_vs_scipy": scipy_refits / refits,
        "bootstrap_median_difference_in_sd": float(difference),
        "cli_fit_seconds": cli_seconds(repeats),
        "cli_help_cpu_seconds": help_cpu_seconds(repeats),
    }
    if options.chinchilla:
        theirs = peer(options.chinchilla, frame)
        at = [np.log(theirs["A"]), np.log(theirs["B"]), np.log(theirs["E"]), theirs["alpha"], theirs["beta"]]
        figures["speedup_vs_chinchilla"] = theirs["seconds"] / ours
        figures["chinchilla_starts"] = theirs["starts"]
        figures["chinchilla_objective_excess"] = textbook.value(np.array(at)) / best - 1
    if options.rows:
        tenth, _ = big(options.rows // 10)
        taken, memory = big(options.rows)
        figures |= {"rows": options.rows, "rows_seconds": taken, "rows_seconds_over_tenth": taken / tenth}
        figures |= {"rows_memory_over_table": memory}
    known = published_points()
    if known is not None:
        assembly, problem = assembled(known)
        found = solve(problem, assembly.grid())
        figures |= {"published_objective": float(objective(problem, found.z[:1])[0])}
    figures |= multiplicative(repeats) | random_figures()
    publish("fit_speed", {name: _short(value) for name, value in figures.items()}, keep=not options.no_keep)


def _unsorted(weights: Array, assembly: Assembly, frame: pl.DataFrame) -> Array:
    """The weights in the frame's order of rows (the fit sorts its settings)."""
    place = {loss: at for at, loss in enumerate(assembly.points[0]["loss"].to_list())}
    return weights[:, [place[loss] for loss in frame["test_loss"].to_list()]]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


if __name__ == "__main__":
    main()
