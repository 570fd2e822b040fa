"""From a problem to a fitted law: its minimum, bootstrap intervals and status."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl

from finescale.errors import UsageError
from finescale.laws.bootstrap import (
    BLOCKS,
    block_weights,
    run_deviations,
    seed_effect,
    seed_shifts,
    setting_keys,
    setting_weights,
)
from finescale.laws.fitted import FittedLaw, Parameter
from finescale.laws.options import FitOptions
from finescale.laws.shifts import join_shifts
from finescale.laws.solver.assembly import Assembly
from finescale.laws.solver.problem import Problem, Solution, residual
from finescale.laws.solver.profile import distinct, solve, solve_curves
from finescale.laws.solver.resamples import exchange, one_step, refit
from finescale.laws.trouble import soft_trouble
from finescale.records.outcomes import Outcome
from finescale.records.records import DATA_SIZE

Array = np.ndarray[Any, Any]
DELTA = 1e-3
"""Huber's delta, as in the paper (Eq. 2)."""
_REPROFILED = 3
_TOLERANCE = 1e-4
"""Resamples are solved to this relative decrease: parameters err by 0.002 of their standard deviation."""


def solve_alike(assemblies: Sequence[Assembly], settings: FitOptions) -> list[Solution | None]:
    """Solves the problems that differ in their losses only side by side; None for one that is on its own."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    for index, assembly in enumerate(assemblies):
        columns = [points[name] for points in assembly.points for name in assembly.pieces[0].columns.values()]
        sizes = tuple(column.to_numpy().tobytes() for column in columns)
        alike.setdefault((assembly.names, len(assembly.pieces), *sizes), []).append(index)
    solved: list[Solution | None] = [None] * len(assemblies)
    for members in alike.values():
        first = assemblies[members[0]]
        if len(members) == 1 or len(first.pieces) > 1 or settings.solver != "varpro":
            continue
        y, weights = (np.stack([getattr(assemblies[i], name) for i in members]) for name in ("y", "weights"))
        together = replace(_problem(first, settings, ()), y=y, weights=weights)
        for index, solution in zip(members, solve_curves(together, first.grid()), strict=True):
            solved[index] = solution
    return solved


def _problem(assembly: Assembly, settings: FitOptions, fixed: tuple[str, ...]) -> Problem:
    delta = (
        DELTA * _unit(assembly.pieces[0].outcome)
        if assembly.law.huber_delta is None
        else assembly.law.huber_delta
    )
    log = (assembly.law.residual or settings.residual) == "log"
    return assembly.problem(log=log, delta=delta, fixed=fixed)


def _unit(outcome: Outcome) -> float:
    """What Huber's delta is relative to: 1 nat, or the distance of a score's bounds."""
    return outcome.width if outcome.kind == "score" and math.isfinite(outcome.width) else 1.0


def _solve(problem: Problem, grid: Array, start: Array, solver: str) -> Solution:
    """The minima that the solver of this name finds."""
    if solver == "lbfgs":
        from finescale.laws.solver.lbfgs import solve_lbfgs  # noqa: PLC0415 - scipy only where it is asked for

        return solve_lbfgs(problem, grid, start)
    return solve(problem, grid, start=start)


def estimate(
    assembly: Assembly,
    settings: FitOptions,
    loss: str,
    *,
    fixed_draws: Mapping[str, Array] | None = None,
    solution: Solution | None = None,
) -> FittedLaw:
    """Solves one problem (unless its solution is given), resamples it and tells what came out."""
    fixed = settings.fixed
    unknown = [name for name in fixed if name not in assembly.names]
    if unknown:
        raise UsageError(
            f"`{unknown[0]}` is no parameter of this fit", wanted="some of " + ", ".join(assembly.names)
        )
    problem = _problem(assembly, settings, tuple(fixed))
    start = assembly.inside(
        {name: np.array([value]) for name, value in fixed.items()}, np.zeros((1, len(assembly.names)))
    )[0]
    if solution is None:
        solution = _solve(problem, assembly.grid(tuple(fixed)), start, settings.solver)
    public = {name: float(value[0]) for name, value in assembly.public(solution.z[:1]).items()}
    draws, deviation = _draws(assembly, problem, solution, settings, fixed_draws)
    first = assembly.pieces[0]
    columns = {
        suffix: dict(piece.columns) for suffix, piece in zip(assembly.suffixes, assembly.pieces, strict=True)
    }
    made = FittedLaw(
        by={n: v for n, v in first.by.items() if all(p.by.get(n) == v for p in assembly.pieces)},
        factors=_factors(assembly),
        law=assembly.law.name,
        base={n: v for piece in assembly.pieces for n, v in piece.base.items()},
        parameters=_parameters(public, draws, settings.level),
        draws=draws,
        run_deviation=deviation,
        objective=float(solution.objective[0]),
        n_fitted=assembly.y.size,
        n_held_out=sum(int(piece.points["held_out"].sum()) for piece in assembly.pieces),
        delta_e=float("nan"),
        delta_h=float("nan"),
        status=(),
        columns=columns,
        ranges=_ranges(assembly),
        residual="log" if problem.log else "raw",
        huber_delta=float(problem.delta),
        loss=loss,
        level=settings.level,
        shared=settings.shared,
        formula=assembly.law,
        outcome=replace(first.outcome, column=loss),
    )
    points = _with_predictions(made, assembly)
    deltas = {held: _mean_deviation(points, held) for held in (False, True)}
    made = replace(made, points=points, delta_e=deltas[False], delta_h=deltas[True])
    return replace(made, status=tuple(soft_trouble(made, assembly, problem, solution)))


def _factors(assembly: Assembly) -> tuple[str, ...]:
    """The columns that the law moves along beside the data size."""
    if "X" not in assembly.law.variables and assembly.law.variables != ("D",):
        return tuple(name for name in assembly.law.variables if name not in ("D", DATA_SIZE))
    return tuple(dict.fromkeys(piece.factor for piece in assembly.pieces if piece.factor))


def _parameters(
    public: Mapping[str, float], draws: Mapping[str, Array], level: float
) -> dict[str, Parameter]:
    """Each parameter with its interval; NaN ends where nothing was resampled."""
    tail = 100 * (1 - level) / 2
    parameters: dict[str, Parameter] = {}
    for name, value in public.items():
        low, high = np.percentile(draws[name], [tail, 100 - tail]) if draws else (np.nan, np.nan)
        parameters[name] = Parameter(value, float(low), float(high))
    return parameters


def _draws(
    assembly: Assembly,
    problem: Problem,
    solution: Solution,
    settings: FitOptions,
    fixed_draws: Mapping[str, Array] | None,
) -> tuple[dict[str, Array], Array]:
    """Bootstrap draws of every parameter, and of a new run's deviation from the mean."""
    bootstrap, seed = settings.bootstrap, settings.seed
    if not bootstrap:
        return {}, np.empty(0)
    free = int(problem.free.sum())
    spread = assembly.y.size / max(1, assembly.y.size - free)
    effects = [seed_effect(piece.runs, log=problem.log) for piece in assembly.pieces]
    shifts = join_shifts(
        [
            (seed_shifts(effect, piece, seed, bootstrap), points.height)
            for piece, points, effect in zip(assembly.pieces, assembly.points, effects, strict=True)
        ]
    )
    start = np.repeat(solution.z[:1], bootstrap, axis=0)
    if fixed_draws:
        start = assembly.inside({name: draw[:bootstrap] for name, draw in fixed_draws.items()}, start)
    if assembly.y.size > BLOCKS:
        z = one_step(problem, solution, start, block_weights(seed, bootstrap), shifts)
    else:
        pairs = zip(assembly.pieces, assembly.points, strict=True)
        keys = [key for piece, points in pairs for key in setting_keys(piece, points)]
        weights = problem.weights * setting_weights(keys, seed, bootstrap, spread)
        y = problem.y
        if shifts is not None:
            moved = shifts.dense(y.size)
            y = y * np.exp(moved) if problem.log else np.maximum(y + moved, 1e-12)
        resampled = replace(problem, y=y, weights=weights)
        steps = 100 if assembly.law.monomials else 40
        z, value = start, np.full(bootstrap, np.inf)
        for other in distinct(problem, solution)[:_REPROFILED]:
            again = refit(resampled, np.where(problem.free, other, start), steps=steps, tolerance=_TOLERANCE)
            better = again.objective < value
            z = np.where(better[:, None], again.z, z)
            value = np.where(better, again.objective, value)
        z = exchange(resampled, z, value, steps=steps, tolerance=_TOLERANCE)
    residuals = residual(problem, solution.z[:1])[0]
    first = effects[0] if len(effects) == 1 else max(effects, key=lambda effect: effect.run_freedom)
    runs = float(np.mean(np.concatenate([points["runs"].to_numpy() for points in assembly.points])))
    name = "|".join(str(value) for value in assembly.pieces[0].by.values())
    key = (seed, crc32(f"run|{name}".encode()))
    return assembly.public(z), run_deviations(first, residuals, free, runs=runs, key=key, draws=bootstrap)


def _with_predictions(made: FittedLaw, assembly: Assembly) -> pl.DataFrame:
    """All settings with their predictions."""
    frames: list[pl.DataFrame] = []
    values = {name: parameter.value for name, parameter in made.parameters.items()}
    for piece, suffix in zip(assembly.pieces, assembly.suffixes, strict=True):
        arguments = {name: values[assembly.own(name, suffix)] for name in assembly.law.parameters}
        variables = {name: piece.points[column].to_numpy() for name, column in piece.columns.items()}
        with np.errstate(all="ignore"):
            predicted = made.in_bounds(assembly.law.function(**variables, **arguments))
        factor = pl.Series("factor", [suffix] * piece.points.height, dtype=pl.String)
        points = piece.points.with_columns(piece.outcome.from_lost(pl.col("loss")).alias("loss"))
        frames.append(points.hstack([pl.Series("predicted", predicted), factor]))
    return pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]


def _mean_deviation(points: pl.DataFrame, held_out: bool) -> float:
    missed = np.abs((points["predicted"] - points["loss"]).to_numpy())
    part = missed[points["held_out"].to_numpy() == held_out]
    return float(np.mean(part)) if part.size else float("nan")


def split_by_group(made: FittedLaw, assembly: Assembly) -> list[FittedLaw]:
    """A fit that shares parameters across groups, as one law for each group."""
    if len(assembly.pieces) == 1:
        return [made]
    laws: list[FittedLaw] = []
    for piece, suffix in zip(assembly.pieces, assembly.suffixes, strict=True):
        names = {name: assembly.own(name, suffix) for name in assembly.law.parameters}
        points = made.points.filter(pl.col("factor") == suffix) if made.points is not None else None
        laws.append(
            replace(
                made,
                by=dict(piece.by),
                base=dict(piece.base),
                parameters={name: made.parameters[own] for name, own in names.items()},
                draws={name: made.draws[own] for name, own in names.items() if own in made.draws},
                columns={piece.factor or "": dict(piece.columns)},
                n_fitted=piece.fitted.height,
                n_held_out=piece.points.height - piece.fitted.height,
                delta_e=_mean_deviation(points, False) if points is not None else made.delta_e,
                delta_h=_mean_deviation(points, True) if points is not None else made.delta_h,
                points=points,
            )
        )
    return laws


def _ranges(assembly: Assembly) -> dict[str, tuple[float, float]]:
    ranges: dict[str, tuple[float, float]] = {}
    for piece, points in zip(assembly.pieces, assembly.points, strict=True):
        for column in piece.columns.values():
            low, high = float(points[column].min()), float(points[column].max())  # type: ignore[arg-type]
            old = ranges.get(column, (low, high))
            ranges[column] = (min(low, old[0]), max(high, old[1]))
    return ranges
