"""Soft trouble in words: what a careful reader would want to know about a fit before believing it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from finescale.laws.fitted import FittedLaw
from finescale.laws.solver.assembly import Assembly
from finescale.laws.solver.problem import Problem, Solution
from finescale.records.outcome_words import noun
from finescale.records.records import DATA_SIZE

Array = np.ndarray[Any, Any]
_MOST_POINTS = 2_000


def soft_trouble(made: FittedLaw, assembly: Assembly, problem: Problem, solution: Solution) -> Iterator[str]:
    """Yields one line for each trouble.

    Args:
        made: The fitted law.
        assembly: Its problem.
        problem: What was minimised.
        solution: All minima that were found, best first.
    """
    yield from dict.fromkeys(status for piece in assembly.pieces for status in piece.status)
    constant = float(np.ptp(assembly.y)) <= 1e-9 * float(np.abs(assembly.y).max())
    if constant:
        what = noun(made.outcome)
        yield f"constant {what}: every run has the same {what}, so the exponents mean nothing"
    if not solution.converged[0]:
        yield "not converged: the solver stopped early"
    yield from _bounds(made, assembly, problem, solution)
    if not constant:
        yield from _flat(made, assembly, problem, solution)
        yield from _several(problem, solution)
        yield from _outside_own_interval(made, assembly, problem)
    yield from _direction(made, assembly)
    freedom = assembly.y.size - int(problem.free.sum())
    if freedom < 3:
        parameters = int(problem.free.sum())
        yield f"few settings: {assembly.y.size} for {parameters} parameters, so the intervals are rough"
    yield from _outside(made)
    yield from _seeds(made, assembly)


def _bounds(made: FittedLaw, assembly: Assembly, problem: Problem, solution: Solution) -> Iterator[str]:
    P = len(assembly.linear)
    z = solution.z[0]
    for index, name in enumerate(assembly.names):
        if not problem.free[index]:
            continue
        if index < P:
            reach = float(problem.model.basis(solution.z[:1, P:])[0, index].max())
            if z[index] * reach <= 1e-9 * float(assembly.y.max()):
                what = _no_floor(made) if name.split(".")[0] == "E" else "this term is not needed"
                yield f"{name} at 0: {what}"
        elif z[index] <= problem.lower[index] + 1e-9 or z[index] >= problem.upper[index] - 1e-9:
            yield f"{name} at its bound {made.value(name):g}: the data do not fit this law's shape"


def _no_floor(made: FittedLaw) -> str:
    if made.outcome.kind == "loss":
        return "no floor is visible"
    return f"no limit short of the best value, {made.outcome.best:g}, is visible"


def _flat(made: FittedLaw, assembly: Assembly, problem: Problem, solution: Solution) -> Iterator[str]:
    hessian = solution.curvature[0][np.ix_(problem.free, problem.free)]
    unit = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-300))
    scaled = hessian * unit * unit[:, None]
    if np.all(np.isfinite(scaled)) and np.linalg.eigvalsh(scaled)[0] < 1e-9:
        yield "flat: some combination of parameters is not determined by these runs"
    for name in assembly.nonlinear:
        if name not in made.draws:
            continue
        low, high, logarithmic = assembly.limits(name)
        parameter = made.parameters[name]
        if logarithmic:
            wide = np.log(parameter.high / max(parameter.low, 1e-300)) > 0.5 * np.log(high / low)
        else:
            wide = parameter.high - parameter.low > 0.5 * (high - low)
        if wide:
            yield f"flat: {name} is not pinned down ({parameter.low:.3g} to {parameter.high:.3g})"


def _several(problem: Problem, solution: Solution) -> Iterator[str]:
    best = solution.objective[0]
    close = np.flatnonzero(solution.objective <= 1.01 * best + 1e-15)
    scale = 1e-3 * (1 + np.abs(solution.z[0]))
    apart = [at for at in close[1:] if np.any(np.abs(solution.z[at] - solution.z[0]) > scale)]
    if apart and best > 1e-14:
        yield f"several minima: {len(apart) + 1} fits are within 1% of the best objective"


def _outside_own_interval(made: FittedLaw, assembly: Assembly, problem: Problem) -> Iterator[str]:
    if not made.draws:
        return
    outside: list[str] = []
    for name, free in zip(assembly.names, problem.free, strict=True):
        value, low, high = (getattr(made.parameters[name], end) for end in ("value", "low", "high"))
        slack = 1e-6 * (high - low) + 1e-9 * abs(value)
        if free and not low - slack <= value <= high + slack:
            outside.append(f"{name} {value:.3g} ({low:.3g} to {high:.3g})")
    if outside:
        yield (
            f"outside its own interval: {', '.join(outside)}; the resamples prefer another fit, "
            "so trust neither before there are more runs"
        )


def _direction(made: FittedLaw, assembly: Assembly) -> Iterator[str]:
    for piece, fitted in zip(assembly.pieces, assembly.points, strict=True):
        points = fitted.sample(min(_MOST_POINTS, fitted.height), seed=0)
        loss = points["loss"].to_numpy()
        sizes = {column: np.log(points[column].to_numpy()) for column in piece.columns.values()}
        for column, size in sizes.items():
            others = [values for name, values in sizes.items() if name != column]
            slopes = _slopes(size, loss, others)
            rises = np.median(slopes) if slopes.size else 0.0
            if rises > 1e-9 * loss.mean() / max(float(np.ptp(size)), 1e-9):
                more = "more data" if column == DATA_SIZE else f"a larger {column}"
                turns = "rises" if made.outcome.lower else "falls"
                yield f"the {noun(made.outcome)} {turns} with {column}: {more} does not help in these runs"


def _slopes(size: Array, loss: Array, others: list[Array]) -> Array:
    """The slopes of straight lines through the losses over a size, one for each setting of the others."""
    group = np.zeros(size.size, dtype=int)
    if others:
        group = np.unique(np.stack(others), axis=1, return_inverse=True)[1].ravel()
    count = np.bincount(group)
    x = size - (np.bincount(group, size) / count)[group]
    spread = np.bincount(group, x * x)
    several = spread > 1e-18 * count
    return np.bincount(group, x * loss)[several] / spread[several]


def _outside(made: FittedLaw) -> Iterator[str]:
    if made.points is None or not made.n_held_out:
        return
    held = made.points.filter(made.points["held_out"])
    for column, (low, high) in made.ranges.items():
        if column in held.columns and held[column].drop_nulls().len():
            values = held[column].drop_nulls().to_numpy()
            factor = max(float(values.max()) / high, low / float(values.min()))
            if factor > 1 + 1e-9:
                yield f"held-out runs lie up to {factor:.3g}x outside the fitted {column}"


def _seeds(made: FittedLaw, assembly: Assembly) -> Iterator[str]:
    if not made.draws:
        return
    names = {seed for piece in assembly.pieces for seed in piece.runs["seed"].drop_nulls().unique().to_list()}
    repeated = any((points["runs"] > 1).any() for points in assembly.points)
    if not repeated:
        yield "one run a setting: the spread between seeds is unknown, and no interval holds it"
    elif names and len(names) == 2:
        yield "two seeds: the effect that a seed's runs share is poorly known, so intervals are wide"
