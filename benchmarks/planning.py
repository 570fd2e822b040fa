"""What planned runs cost against the best design that knows the law, on simulated and on real studies.

Simulated: for every task and method of the paper's Table 4, studies whose law lies around its row (exponents
and floor within 10%), 0.005 nats of noise a run, cost N x D_f. The planner does not know the law: it starts
from its prior, plans, sees its runs, plans again. The paper's grid has three runs a setting; held out are 16B
and the largest D_f. A study's cost is what its design costs when its predictions at the held-out settings
are as good, under the study's own law, as the grid's; the limit is the cost of the continuous V-optimal
design that knows the law. The law is then fitted to the runs, to see that the errors are what they should be.

    planning_cost_over_limit   the grid's own settings: cost over the limit, the worst task and method
                               (medians over studies)
    planning_cost_ratio_open   models from 0.125B and D_f from 1/16 of the grid's smallest: cost over the
                               grid's, the worst task and method
    planning_cost_by_error     the same asked of fitted laws: money over the limit at which their mean
                               absolute held-out error equals the grid's (medians over all studies)
    planning_limit_by_error    that of the yardstick's own runs: the law's curvature and the kind of mean keep
                               it from 1; planning_cost_over_limit_by_error: the two divided
    planning_error_over_grid   mean absolute held-out error of the fitted laws at 1.25 x the limit over the
                               grid's (median over all studies); open: at 2 x the limit
    planning_rms_over_grid     the same of root mean squares, which is what the limit is about

Replayed: 60 real curves (30 models, 2 tasks, full tuning); the target is the loss at the largest D_f.
Planned, random and cheapest-first designs have the same budgets, one run a setting, the same final fit.

    python benchmarks/planning.py [--studies 200] [--shared ../shared] [--no-keep]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from paper_tables import examples  # pyright: ignore[reportMissingImports] - beside the tests
from report import publish

import finescale as fs
from finescale.laws.formulas import LAWS
from finescale.planning.beliefs import PRIORS, DesignPoints, ParameterPrior, fit_normal
from finescale.planning.known import MethodKnowledge
from finescale.planning.search import DesignProblem, best_shares

Array = np.ndarray[Any, Any]
NOISE = 0.005
SHARE = 0.2
STAGES = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
STAGES_OPEN = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""Money spent after each plan, over the limit; the laws are fitted when TESTED has been spent."""
TESTED, TESTED_OPEN = 1.25, 2.0
MODELS = np.array([1e9, 2e9, 4e9, 8e9, 16e9])
SMALL = np.array([0.125e9, 0.25e9, 0.5e9])
BUDGETS = (0.05, 0.1, 0.2, 0.3, 0.4)
LEAST_SQUARES = replace(LAWS["multiplicative"], huber_delta=np.inf)


@dataclass(frozen=True)
class Setup:
    """One task and method: the candidates, the grid and the held-out settings around one centre."""

    candidates: DesignPoints
    grid: DesignPoints
    held_out: DesignPoints
    sizes: tuple[Array, Array]
    cost: Array
    grid_cost: float
    centre: tuple[float, float]


def setup(task: str, method: str, *, small: bool) -> Setup:
    """The paper's settings, or with smaller models and fewer examples too."""
    data = np.array(examples(task, method))
    x, d = (axis.ravel() for axis in np.meshgrid(MODELS, data, indexing="ij"))
    held = (x == MODELS[-1]) | (d == data[-1])
    models, some = MODELS[:-1], data[:-1]
    if small:
        models, some = np.r_[SMALL, models], np.r_[data[0] / np.array([16, 8, 4, 2]), some]
    cx, cd = (axis.ravel() for axis in np.meshgrid(models, some, indexing="ij"))
    centre = float(np.exp(np.log(cx).mean())), float(np.exp(np.log(cd).mean()))
    return Setup(
        DesignPoints.around(cx, cd, centre),
        DesignPoints.around(x[~held], d[~held], centre),
        DesignPoints.around(x[held], d[held], centre),
        (cx, cd),
        cx * cd,
        3 * float((x * d)[~held].sum()),
        centre,
    )


def laws(row: dict[str, float], place: Setup, studies: int, rng: np.random.Generator) -> Array:
    """Laws around a row of Table 4, [studies, 4]: exponents and floor within 10%, the level kept."""
    near = rng.uniform(0.9, 1.1, size=(3, studies))
    alpha, beta, floor = near * np.array([row["alpha_model"], row["beta"], row["E"]])[:, None]
    level = np.log(row["A_model"]) - row["alpha_model"] * np.log(3e9) - row["beta"] * np.log(1e5)
    a = level - alpha * np.log(place.centre[0] / 3e9) - beta * np.log(place.centre[1] / 1e5)
    return np.stack([a, alpha, beta, floor], axis=-1)


def told(settings: DesignPoints, theta: Array, runs: Array) -> Array:
    """Information of runs [..., N] at the laws theta [..., 4]."""
    slopes = settings.slopes(theta) / NOISE
    return np.swapaxes(slopes * runs[..., None], -1, -2) @ slopes


def variance(place: Setup, theta: Array, information: Array) -> Array:
    """Mean variance of the held-out predictions, [studies]."""
    slopes = place.held_out.slopes(theta)
    target = np.swapaxes(slopes, -1, -2) @ slopes / slopes.shape[-2]
    return np.einsum("spq,sqp->s", target, np.linalg.inv(information))


def limits(place: Setup, theta: Array) -> tuple[Array, Array, Array]:
    """The V-optimal design that knows the law and is as good as the grid.

    Returns:
        Its cost [studies], its runs [studies, N] (not whole numbers), the grid's V [studies].
    """
    slopes = place.held_out.slopes(theta)
    target = np.swapaxes(slopes, -1, -2) @ slopes / slopes.shape[-2]
    n, one = place.cost.size, np.ones(len(theta))
    problem = DesignProblem(
        (place.candidates.slopes(theta) / NOISE)[:, None],
        np.zeros((len(theta), 1, 4, 4)),
        np.zeros((len(theta), n)),
        target[:, None],
        place.cost,
        np.zeros(n),
    )
    runs = best_shares(problem, one, np.full((len(theta), n), np.inf), steps=2000)
    grid = variance(place, theta, told(place.grid, theta, np.full(place.grid.x.size, 3.0)))
    cost = problem.variance(runs)[:, 0] / grid
    return cost, runs * cost[:, None], grid


def least_squares(settings: DesignPoints, runs: Array, mean: Array, start: Array) -> Array:
    """The law fitted to the runs, [studies, 4]; the floor is kept at 0 or above, as in ``fit``."""
    weight = np.sqrt(runs) / NOISE
    free, _ = fit_normal(settings, mean * weight, weight, start, np.full(4, 1e-12))
    at_zero = start * np.array([1.0, 1.0, 1.0, 0.0])
    bound, _ = fit_normal(settings, mean * weight, weight, at_zero, np.array([1e-12, 1e-12, 1e-12, 1e12]))
    return np.where(free[:, 3:] < 0, bound, free)


def off(place: Setup, found: Array, theta: Array) -> Array:
    """Mean absolute and root mean square deviation on the held-out settings, [2, studies]."""
    missed = place.held_out.loss(found) - place.held_out.loss(theta)
    return np.stack([np.abs(missed).mean(axis=-1), np.sqrt((missed**2).mean(axis=-1))])


def simulate(
    place: Setup, theta: Array, rng: np.random.Generator, stages: tuple[float, ...], tested: float
) -> dict[str, Any]:
    """Plans and runs the studies, stage by stage.

    Returns:
        By name and study: ``limit`` and ``cost`` (both over the grid's cost; NaN where the last stage was not
        enough), ``error`` at ``tested`` x the limit, ``grid_error``, ``nearest`` (distance of the nearest
        run from a held-out setting); ``spent`` [stages], ``errors`` and ``yardstick`` [stages, 2, studies]:
        the money of each stage over the limit, and the errors of laws that were fitted to the planned runs
        and to the yardstick's runs for that money; ``sample``: runs and means of the first study, its fit.
    """
    limit, best, grid = limits(place, theta)
    studies, n = len(theta), place.cost.size
    known = MethodKnowledge(
        PRIORS["model_params"], place.candidates, place.held_out, place.cost, NOISE, 0.0,
        np.zeros((studies, n)), np.zeros((studies, n)),
    )  # fmt: skip
    cost, tested_at, found = np.full(studies, np.nan), known, theta
    errors, yardstick = [], []
    for stage in stages:
        spent = (known.runs * known.cost).sum(-1)
        more = known.next_runs(stage * limit - spent, rng, check_share=SHARE)
        seen = place.candidates.loss(theta) * more + NOISE * np.sqrt(more) * rng.standard_normal(more.shape)
        runs = known.runs + more
        mean = (known.runs * known.mean + seen) / np.maximum(runs, 1)
        known = replace(known, runs=runs, mean=mean)
        spent = (runs * known.cost).sum(-1)
        ratio = variance(place, theta, told(place.candidates, theta, runs) + 1e-9 * np.eye(4)) / grid
        reached = np.isnan(cost) & (ratio <= 1)
        cost[reached] = (spent * ratio)[reached]
        fitted = least_squares(place.candidates, runs, mean, theta)
        errors.append(off(place, fitted, theta))
        yardstick.append(off(place, _measured(place, stage * best, theta, rng), theta))
        if stage == tested:
            tested_at, found = known, fitted
    three = np.full((studies, place.grid.x.size), 3.0)
    drawn = place.grid.loss(theta) + NOISE / np.sqrt(3) * rng.standard_normal(three.shape)
    grid_error = off(place, least_squares(place.grid, three, drawn, theta), theta)
    nearest = np.where(known.runs > 0, known.distance, np.inf).min(axis=-1)
    return {
        "limit": limit / place.grid_cost,
        "cost": cost / place.grid_cost,
        "error": off(place, found, theta),
        "spent": np.array(stages),
        "errors": np.stack(errors),
        "yardstick": np.stack(yardstick),
        "grid_error": grid_error,
        "nearest": nearest,
        "sample": (tested_at.runs[0], tested_at.mean[0], found[0]),
    }


def _measured(place: Setup, runs: Array, theta: Array, rng: np.random.Generator) -> Array:
    """The law fitted to simulated runs of a design, [studies, 4]."""
    runs = np.where(runs > 1e-6 * runs.max(axis=-1, keepdims=True), runs, 0.0)
    noise = NOISE / np.sqrt(np.where(runs > 0, runs, 1.0)) * rng.standard_normal(runs.shape)
    return least_squares(place.candidates, runs, place.candidates.loss(theta) + noise, theta)


def checked(place: Setup, sample: tuple[Array, Array, Array]) -> float:
    """Largest difference in nats between the benchmark's fit of a study and that of ``finescale.fit``."""
    runs, mean, found = sample
    used = runs > 0
    frame = pl.DataFrame(
        {"model_params": place.sizes[0][used], "finetune_examples": place.sizes[1][used]}
        | {"test_loss": mean[used], "runs": runs[used]}
    )
    law = fs.fit(frame, LEAST_SQUARES, "model_params", weights="runs", bootstrap=0)[0]
    x, d = (
        np.exp(axis) * c for axis, c in zip((place.held_out.x, place.held_out.d), place.centre, strict=True)
    )
    asked = law.predict(model_params=x, finetune_examples=d)
    return float(np.abs(asked.value - place.held_out.loss(found)).max())


def curves(path: Path) -> tuple[Array, Array]:
    """Data sizes [N + 1] and the losses of each curve [curves, N + 1]."""
    table = pl.read_csv(path).filter(pl.col("finetune_examples") > 0).sort("finetune_examples")
    parts = [part["test_loss"].to_numpy() for _, part in table.group_by("task", "model", maintain_order=True)]
    return np.sort(table["finetune_examples"].unique().to_numpy()).astype(float), np.stack(parts)


def replay(sizes: Array, losses: Array, bend: float, orders: int) -> dict[str, Array]:
    """Absolute errors at the largest size, [budgets, curves], of planned, random and cheapest-first runs."""
    cost, n = sizes[:-1], sizes.size - 1
    centre = (1.0, float(np.exp(np.log(cost).mean())))
    place = DesignPoints.around(np.ones(n), cost, centre)
    target = DesignPoints.around(np.ones(1), sizes[-1:], centre)
    prior: ParameterPrior = PRIORS["model_params"]
    errors: dict[str, list[Array]] = {"planned": [], "random": [], "cheapest": []}
    rng = np.random.default_rng(0)
    for share in BUDGETS:
        budget = share * float(cost.sum())
        found: dict[str, list[float]] = {name: [] for name in errors}
        for loss in losses:
            nothing = MethodKnowledge(prior, place, target, cost, 0.01, bend, np.zeros(n), loss[:-1])

            def miss(runs: Array, known: MethodKnowledge = nothing, truth: float = float(loss[-1])) -> float:
                draws = replace(known, runs=runs).draws(64, np.random.default_rng(1))
                return abs(float(np.median(target.loss(draws))) - truth)

            found["planned"].append(miss(planned(nothing, budget, rng)))
            found["cheapest"].append(miss(bought(cost, np.argsort(cost), budget)))
            random = [miss(bought(cost, rng.permutation(n), budget)) for _ in range(orders)]
            found["random"].append(float(np.median(random)))
        for name, values in found.items():
            errors[name].append(np.array(values))
    return {name: np.stack(values) for name, values in errors.items()}


def planned(known: MethodKnowledge, budget: float, rng: np.random.Generator, stages: int = 3) -> Array:
    """Runs chosen without seeing the others: plans are for all that is left, cheap runs are made first."""
    for stage in range(1, stages + 1):
        left = budget - float(known.runs @ known.cost)
        plan = known.next_runs(np.asarray(left), rng, check_share=SHARE, most=np.ones(known.runs.size))
        room = budget * stage / stages - float(known.runs @ known.cost)
        order = np.argsort(np.where(plan > 0, known.cost, np.inf))[: int(plan.sum())]
        runs = known.runs.copy()
        for index in order:
            if known.cost[index] <= room * (1 + 1e-9):
                runs[index] += 1
                room -= known.cost[index]
        known = replace(known, runs=runs)
    return known.runs


def bought(cost: Array, order: Array, budget: float) -> Array:
    """One run a setting in this order, each that the budget still pays for."""
    runs = np.zeros(cost.size)
    for index in order:
        if cost[index] <= budget:
            runs[index] = 1
            budget -= float(cost[index])
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--orders", type=int, default=20, help="random designs a curve and budget")
    parser.add_argument("--shared", default=os.environ.get("FINESCALE_SHARED", "../shared"))
    parser.add_argument("--no-keep", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    shared = Path(options.shared)
    table, real = shared / "paper" / "table4.csv", shared / "runs" / "full_tuning_30_models.csv"
    if not table.exists():
        sys.exit(f"planning: no Table 4 at {table}: give --shared or FINESCALE_SHARED")
    rows = {(row["task"], row["method"]): row for row in pl.read_csv(table).to_dicts()}
    closed: list[dict[str, Any]] = []
    opened: list[dict[str, Any]] = []
    differences: list[float] = []
    for number, ((task, method), row) in enumerate(rows.items()):
        for small, kept in ((False, closed), (True, opened)):
            place = setup(task, method, small=small)
            rng = np.random.default_rng((number, small))
            stages = (STAGES_OPEN, TESTED_OPEN) if small else (STAGES, TESTED)
            found = simulate(place, laws(row, place, options.studies, rng), rng, *stages)
            differences.append(checked(place, found["sample"]))
            kept.append(found)
            shown = {
                "limit": np.median(found["limit"]),
                "cost over limit": middle(found["cost"] / found["limit"]),
                "error over grid": error_ratio([found]),
                "rms over grid": rms_ratio([found]),
                "nearest": np.median(found["nearest"]),
                "cost by error": cost_by_error([found], "errors", 0),
                "yardstick by error": cost_by_error([found], "yardstick", 0),
            }
            kind = "small models" if small else "the grid's settings"
            words = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
            print(f"{task} {method}, {kind}: {words}", file=sys.stderr)
    over = [middle(found["cost"] / found["limit"]) for found in closed]
    ratio = [middle(found["cost"]) for found in opened]
    limit = [float(np.median(found["limit"])) for found in closed]
    limit_open = [float(np.median(found["limit"])) for found in opened]
    figures: dict[str, float | None] = {
        "planning_cost_over_limit": max(over),
        "planning_cost_over_limit_median": float(np.median(over)),
        "planning_cost_ratio_open": max(ratio),
        "planning_cost_ratio_open_median": float(np.median(ratio)),
        "planning_limit_least": min(limit),
        "planning_limit_most": max(limit),
        "planning_limit_open_least": min(limit_open),
        "planning_limit_open_most": max(limit_open),
        "planning_cost_by_error": cost_by_error(closed, "errors", 0),
        "planning_limit_by_error": cost_by_error(closed, "yardstick", 0),
        "planning_cost_by_error_open": cost_by_error(opened, "errors", 0),
        "planning_limit_by_error_open": cost_by_error(opened, "yardstick", 0),
        "planning_error_over_grid": error_ratio(closed),
        "planning_error_over_grid_open": error_ratio(opened),
        "planning_rms_over_grid": rms_ratio(closed),
        "planning_rms_over_grid_open": rms_ratio(opened),
        "planning_fit_difference": max(differences),
        "planning_check_share": SHARE,
        "studies": float(sum(len(found["cost"]) for found in closed + opened)),
    }
    by_error = [cost_by_error(closed, name, 0) for name in ("errors", "yardstick")]
    figures["planning_cost_over_limit_by_error"] = by_error[0] / by_error[1]
    ratios = [cost_by_error([one], "errors", 0) * float(np.median(one["limit"])) for one in opened]
    figures["planning_cost_ratio_open_by_error"] = max(ratios)
    figures |= replayed(real, options.orders)
    figures["seconds"] = time.perf_counter() - began
    publish("planning", {name: _short(value) for name, value in figures.items()}, keep=not options.no_keep)


def middle(values: Array) -> float:
    """The median; studies that did not get there count as infinitely dear."""
    return float(np.median(np.where(np.isnan(values), np.inf, values)))


def cost_by_error(found: list[dict[str, Any]], name: str, kind: int) -> float:
    """Money over the limit at which fitted laws are as far off as the grid's, in the median over studies.

    Args:
        found: Setups.
        name: ``errors`` (planned) or ``yardstick``.
        kind: 0: mean absolute, 1: root mean square over the held-out settings of a study.
    """
    scaled = [one[name][:, kind] / np.median(one["grid_error"][kind]) for one in found]
    middle_error = np.median(np.concatenate(scaled, axis=1), axis=1)  # [stages]
    slope, level = np.polyfit(np.log(found[0]["spent"]), np.log(middle_error), 1)
    return float(np.exp(-level / slope))


def error_ratio(found: list[dict[str, Any]]) -> float:
    """Held-out errors of the planned designs over the grid's, each over the grid's median in its setup."""
    scaled = np.concatenate([one["error"][0] / np.median(one["grid_error"][0]) for one in found])
    return float(np.median(scaled))


def rms_ratio(found: list[dict[str, Any]]) -> float:
    """The same of root mean squares, over settings and studies."""
    ratios = [np.mean(one["error"][1] ** 2) / np.mean(one["grid_error"][1] ** 2) for one in found]
    return float(np.sqrt(np.mean(ratios)))


def replayed(path: Path, orders: int) -> dict[str, float | None]:
    """The replay's figures; None without its table."""
    names = ("replay_error_vs_random", "replay_error_vs_cheapest")
    if not path.exists():
        print(f"planning: no {path}, so no replay", file=sys.stderr)
        return dict.fromkeys(names)
    from finescale.planning.question import BEND  # noqa: PLC0415

    errors = replay(*curves(path), BEND, orders)
    for name, error in errors.items():
        shown = ", ".join(f"{value:.3f}" for value in np.median(error, axis=1))
        print(f"replay, {name}: median error by budget {shown} nats", file=sys.stderr)
    means = {name: float(np.mean(np.median(error, axis=1))) for name, error in errors.items()}
    return {
        names[0]: means["planned"] / means["random"],
        names[1]: means["planned"] / means["cheapest"],
        "replay_error": means["planned"],
        "replay_wins_vs_random": float(np.mean(errors["planned"] < errors["random"])),
        "replay_wins_vs_cheapest": float(np.mean(errors["planned"] < errors["cheapest"])),
    }


def _short(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")


if __name__ == "__main__":
    main()
