"""Fitting laws to records: ``fit``, and ``joint_fit`` with the paper's two steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
import polars as pl

from finescale.errors import DataError, UsageError
from finescale.laws.assembly import Assembly, assemble
from finescale.laws.bootstrap import (
    BLOCKS,
    SeedEffect,
    run_deviations,
    seed_effect,
    seed_shifts,
    setting_blocks,
    setting_keys,
    setting_weights,
)
from finescale.laws.fitted import Fits, FittedLaw, Parameter
from finescale.laws.formulas import Law, named
from finescale.laws.slices import Choice, Slice, slices, varying_factors
from finescale.laws.solver import Problem, Solution, one_step, polish, residual, solve
from finescale.laws.status import soft_trouble
from finescale.records import Records, read_records

Array = np.ndarray[Any, Any]
DELTA = 1e-3
"""Huber's delta, as in the paper (Eq. 2)."""
_REPROFILED = 3


@dataclass(frozen=True)
class _Settings:
    """How each problem is solved; the fields mean what they mean in ``fit``."""

    residual: str
    bootstrap: int
    seed: int
    solver: str
    level: float
    loss: str
    shared: tuple[str, ...]


def fit(
    records: Records | Any,
    law: str | Law = "multiplicative",
    factors: Sequence[str] | str | None = None,
    *,
    by: Sequence[str] = ("task", "method"),
    loss: str | None = None,
    residual: str = "raw",
    hold_out: str | bool | None = None,
    shared: Sequence[str] = (),
    across: Sequence[str] = (),
    base: Mapping[str, Any] | None = None,
    fixed: Mapping[str, float] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    solver: str = "varpro",
    average_seeds: bool = True,
    weights: str | None = None,
    level: float = 0.9,
) -> Fits:
    """Fits a law to every group of runs.

    Args:
        records: Records, or what ``read_records`` takes.
        law: A law's name, a law made with ``@law``, or ``auto`` (chosen per task by backtest).
        factors: Factors for the law's X; one fit for each unless parameters are shared. Default: those that
            vary.
        by: Columns that make groups.
        loss: The loss column; default: that of the records.
        residual: ``raw`` (the paper) or ``log`` (Chinchilla).
        hold_out: An expression, ``largest`` (the largest value of factor and data size), False (nothing), or
            None: the column ``held_out`` where there is one.
        shared: Parameters with one value for all factors of a group, e.g. ``("beta", "E")``; one fit then
            has them all.
        across: Columns of ``by`` over whose values the parameters in ``shared`` are shared instead, e.g.
            ``("method",)``.
        base: Values of the other factors at which a factor's slice is taken (``{"pretrain_tokens": "any"}``:
            no slice).
        fixed: Parameters that keep a given value.
        bootstrap: Number of resamples; 0 for none.
        seed: Seed of the bootstrap.
        solver: ``varpro``, or ``lbfgs`` (scipy from a grid of starts; its bootstrap is varpro's).
        average_seeds: A setting's runs are averaged first, as in the paper.
        weights: A column of weights.
        level: Coverage of the intervals.

    Returns:
        The fitted laws.

    Raises:
        UsageError: A column, law or option that does not exist.
        DataError: The data do not allow the fit.
    """
    records = _as_records(records, loss)
    _check_options(residual, solver, bootstrap, level)
    if law == "auto":
        from finescale.laws.selection import fit_auto  # noqa: PLC0415 - selection fits with this module

        options = {"by": by, "residual": residual, "hold_out": hold_out, "base": base, "bootstrap": bootstrap}
        options |= {"seed": seed, "level": level, "loss": loss, "weights": weights}
        return fit_auto(records, factors, average_seeds=average_seeds, **options)
    chosen, names = _law_and_factors(law, factors, records, by)
    choice = Choice(tuple(by), loss or records.loss, hold_out, dict(base or {}), average_seeds, weights)
    pieces, notes = _all_slices(records, chosen, names, choice)
    bundles = _bundles(pieces, shared, tuple(across))
    settings = _Settings(residual, bootstrap, seed, solver, level, choice.loss, tuple(shared))
    laws: list[FittedLaw] = []
    notes = [*records.notes, *notes, *(note for piece in pieces for note in piece.notes)]
    failures: list[DataError] = []
    for bundle, suffixes in bundles:
        try:
            put = assemble(chosen, bundle, suffixes, shared)
        except DataError as error:
            failures.append(error)
            continue
        made = _fit_one(put, settings, fixed or {})
        laws += _apart(made, put) if across else [made]
    if not laws:
        raise (
            failures[0]
            if failures
            else DataError(
                "no law could be fitted",
                got="; ".join(notes) or "no groups",
                remedy="choose another --factor",
            )
        )
    notes += [str(error).replace("\n  ", "; ") for error in failures]
    return Fits(tuple(laws), tuple(dict.fromkeys(notes)), records.source)


def joint_fit(
    records: Records | Any,
    law: str | Law = "multiplicative",
    *,
    joint: Sequence[str] = ("model_params", "pretrain_tokens"),
    then: Sequence[str] = ("pet_size",),
    shared: Sequence[str] = ("beta", "E"),
    by: Sequence[str] = ("task", "method"),
    **options: Any,
) -> Fits:
    """The paper's two steps: shared beta and E over the joint factors, then every factor again.

    Args:
        records: Records, or what ``read_records`` takes.
        law: A law with the shared parameters.
        joint: Factors of the first step; those that do not vary in a group are left out of its first step.
        then: Further factors for the second step alone.
        shared: The parameters that the first step finds.
        by: Columns that make groups.
        **options: As for ``fit``.

    Returns:
        One law a group and factor; in draw i the shared parameters of the first step's draw i.

    Raises:
        UsageError: As ``fit``.
        DataError: As ``fit``; or no joint factor varies.
    """
    records = _as_records(records, options.get("loss"))
    present = [name for name in (*joint, *then) if name in records.frame.columns]
    moving = (*varying_factors(records.frame), "model_params_nonembedding")
    first_names = [name for name in joint if name in present and name in moving]
    if not first_names:
        raise DataError(
            "no factor for the joint step varies", wanted=" or ".join(joint), remedy="use fit with one factor"
        )
    first = fit(records, law, first_names, by=by, shared=shared, **options)
    chosen = named(law, ())
    notes = list(first.notes)
    choice = Choice(
        tuple(by),
        options.get("loss") or records.loss,
        options.get("hold_out"),
        dict(options.get("base") or {}),
        options.get("average_seeds", True),
        options.get("weights"),
    )
    settings = _Settings(
        options.get("residual", "raw"),
        options.get("bootstrap", 1000),
        options.get("seed", 0),
        options.get("solver", "varpro"),
        options.get("level", 0.9),
        choice.loss,
        tuple(shared),
    )
    laws: list[FittedLaw] = []
    for factor in dict.fromkeys((*first_names, *then)):
        if factor not in present:
            continue
        pieces, more = slices(records, chosen, factor, choice)
        notes += more
        for piece in pieces:
            together = [step for step in first if step.by == piece.by]
            if not together:
                notes.append(f"{piece.label}: no joint step, so no second step.")
                continue
            step = together[0]
            try:
                put = assemble(chosen, [piece], [factor], ())
            except DataError as error:
                notes.append(str(error).replace("\n  ", "; "))
                continue
            values = {name: step.value(name) for name in shared}
            draws = {name: step.draws[name] for name in shared if name in step.draws}
            laws.append(_fit_one(put, settings, values, draws))
    return Fits(tuple(laws), tuple(dict.fromkeys(notes)), records.source)


def _as_records(records: Any, loss: str | None) -> Records:
    return records if isinstance(records, Records) else read_records(records, loss=loss or "test_loss")


def _check_options(residual: str, solver: str, bootstrap: int, level: float) -> None:
    for value, known, name in (
        (residual, ("raw", "log"), "residual"),
        (solver, ("varpro", "lbfgs"), "solver"),
    ):
        if value not in known:
            raise UsageError(f"unknown {name}", wanted=" or ".join(known), got=str(value))
    if bootstrap < 0 or bootstrap == 1:
        raise UsageError("the number of resamples", wanted="0, or 2 and more", got=str(bootstrap))
    if not 0 < level < 1:
        raise UsageError("the level of the intervals", wanted="between 0 and 1", got=str(level))


def _law_and_factors(
    law: str | Law, factors: Sequence[str] | str | None, records: Records, by: Sequence[str]
) -> tuple[Law, list[str | None]]:
    names = [factors] if isinstance(factors, str) else list(factors or ())
    chosen = named(law, names or varying_factors(records.frame)) if law == "joint" else named(law)
    missing = [name for name in names if name not in records.frame.columns]
    if missing:
        have = ", ".join(records.frame.columns)
        raise UsageError(
            f"no column `{missing[0]}`", got=f"columns {have}", remedy=f"--column {missing[0]}=THEIRS"
        )
    if chosen.name == "joint" or (not chosen.per_curve and "X" not in chosen.variables):
        return chosen, [None]
    if chosen.per_curve:
        return chosen, list(names) if names else [None]
    if not names:
        names = [name for name in varying_factors(records.frame) if name not in by]
        if not names:
            raise DataError(
                f"no factor varies, and the law `{chosen.name}` needs one",
                remedy="fit --law power, or name the column: --factor NAME",
                where=records.source,
            )
    return chosen, list(names)


def _all_slices(
    records: Records, law: Law, factors: Sequence[str | None], choice: Choice
) -> tuple[list[Slice], list[str]]:
    pieces: list[Slice] = []
    notes: list[str] = []
    for factor in factors:
        more, said = slices(records, law, factor, choice)
        pieces += more
        notes += said
    return pieces, notes


def _bundles(
    pieces: Sequence[Slice], shared: Sequence[str], across: tuple[str, ...]
) -> list[tuple[list[Slice], list[str]]]:
    """Which slices are fitted together, with the suffixes of their own parameters."""
    if not shared:
        return [([piece], [piece.factor or ""]) for piece in pieces]
    groups: dict[tuple[Any, ...], list[Slice]] = {}
    for piece in pieces:
        key = tuple((name, value) for name, value in piece.by.items() if name not in across)
        groups.setdefault((*key, piece.factor if across else None), []).append(piece)
    return [
        (
            group,
            [
                ".".join(str(piece.by.get(name)) for name in across) if across else piece.factor or ""
                for piece in group
            ],
        )
        for group in groups.values()
    ]


def _fit_one(
    put: Assembly,
    settings: _Settings,
    fixed: Mapping[str, float],
    fixed_draws: Mapping[str, Array] | None = None,
) -> FittedLaw:
    """Solves one problem, resamples it and tells what came out."""
    log = (put.law.residual or settings.residual) == "log"
    delta = DELTA if put.law.huber_delta is None else put.law.huber_delta
    unknown = [name for name in fixed if name not in put.names]
    if unknown:
        raise UsageError(
            f"`{unknown[0]}` is no parameter of this fit", wanted="some of " + ", ".join(put.names)
        )
    problem = put.problem(log=log, delta=delta, fixed=tuple(fixed))
    start = put.inside(
        {name: np.array([value]) for name, value in fixed.items()}, np.zeros((1, len(put.names)))
    )[0]
    solution = solve(problem, put.grid(tuple(fixed)), start=start)
    if settings.solver == "lbfgs":
        from finescale.laws.lbfgs import solve_lbfgs  # noqa: PLC0415 - scipy only where it is asked for

        solution = solve_lbfgs(problem, put.grid(tuple(fixed)), start)
    public = {name: float(value[0]) for name, value in put.public(solution.z[:1]).items()}
    draws, deviation = _draws(put, problem, solution, settings, fixed_draws)
    tail = 100 * (1 - settings.level) / 2
    parameters: dict[str, Parameter] = {}
    for name, value in public.items():
        low, high = np.percentile(draws[name], [tail, 100 - tail]) if draws else (np.nan, np.nan)
        parameters[name] = Parameter(value, float(low), float(high))
    first = put.pieces[0]
    factors = tuple(dict.fromkeys(piece.factor for piece in put.pieces if piece.factor))
    if put.law.name == "joint":
        factors = tuple(name for name in put.law.variables if name != "D")
    apart = len({tuple(piece.by.items()) for piece in put.pieces}) > 1
    columns = {suffix: dict(piece.columns) for suffix, piece in zip(put.suffixes, put.pieces, strict=True)}
    made = FittedLaw(
        by={n: v for n, v in first.by.items() if not apart or all(p.by.get(n) == v for p in put.pieces)},
        factors=factors,
        law=put.law.name,
        base={n: v for piece in put.pieces for n, v in piece.base.items()},
        parameters=parameters,
        draws=draws,
        run_deviation=deviation,
        objective=float(solution.objective[0]),
        n_fitted=put.y.size,
        n_held_out=sum(int(piece.points["held_out"].sum()) for piece in put.pieces),
        delta_e=float("nan"),
        delta_h=float("nan"),
        status=(),
        columns=columns,
        ranges=_ranges(put),
        residual="log" if log else "raw",
        huber_delta=delta,
        loss=settings.loss,
        level=settings.level,
        shared=settings.shared,
        formula=put.law,
    )
    points = _predicted(made, put)
    deltas = {held: _mean_deviation(points, held) for held in (False, True)}
    made = replace(made, points=points, delta_e=deltas[False], delta_h=deltas[True])
    return replace(made, status=tuple(soft_trouble(made, put, problem, solution)))


def _draws(
    put: Assembly,
    problem: Problem,
    solution: Solution,
    settings: _Settings,
    fixed_draws: Mapping[str, Array] | None,
) -> tuple[dict[str, Array], Array]:
    """Bootstrap draws of every parameter, and of a new run's deviation from the mean."""
    bootstrap, seed = settings.bootstrap, settings.seed
    if not bootstrap:
        return {}, np.empty(0)
    free = int(problem.free.sum())
    spread = put.y.size / max(1, put.y.size - free)
    effects = [_effect(piece, log=problem.log) for piece in put.pieces]
    shifts = _shifts(put, effects, seed, bootstrap)
    start = np.repeat(solution.z[:1], bootstrap, axis=0)
    if fixed_draws:
        start = put.inside({name: draw[:bootstrap] for name, draw in fixed_draws.items()}, start)
    if put.y.size > BLOCKS:
        z = one_step(problem, start, *setting_blocks(put.y.size, seed, bootstrap), shifts)
    else:
        pairs = zip(put.pieces, put.points, strict=True)
        keys = [key for piece, points in pairs for key in setting_keys(piece, points)]
        weights = problem.weights * setting_weights(keys, seed, bootstrap, spread)
        y = problem.y
        if shifts is not None:
            y = y * np.exp(shifts) if problem.log else np.maximum(y + shifts, 1e-12)
        resampled = replace(problem, y=y, weights=weights)
        steps, tolerance = (100, 1e-7) if put.law.monomials else (40, 1e-5)
        near = solution.objective <= 1.5 * solution.objective[0] + 1e-15
        z, value = start, np.full(bootstrap, np.inf)
        for other in solution.z[near][:_REPROFILED]:
            again = polish(resampled, np.where(problem.free, other, start), steps=steps, tolerance=tolerance)
            better = again.objective < value
            z = np.where(better[:, None], again.z, z)
            value = np.where(better, again.objective, value)
    residuals = residual(problem, solution.z[:1])[0]
    first = effects[0] if len(effects) == 1 else max(effects, key=lambda effect: effect.run_freedom)
    runs = float(np.mean(np.concatenate([points["runs"].to_numpy() for points in put.points])))
    name = "|".join(str(value) for value in put.pieces[0].by.values())
    key = (seed, crc32(f"run|{name}".encode()))
    return put.public(z), run_deviations(first, residuals, free, runs=runs, key=key, draws=bootstrap)


def _effect(piece: Slice, *, log: bool) -> SeedEffect:
    return seed_effect(piece.runs, log=log)


def _shifts(put: Assembly, effects: Sequence[SeedEffect], seed: int, draws: int) -> Array | None:
    """By how much each draw moves each fitted setting, [draws, N]; None without a seed effect."""
    parts: list[Array] = []
    for piece, points, effect in zip(put.pieces, put.points, effects, strict=True):
        shift = seed_shifts(effect, piece, seed, draws)
        kept = np.flatnonzero(~piece.points["held_out"].to_numpy())
        parts.append(np.zeros((draws, points.height)) if shift is None else shift[:, kept])
    moved = np.concatenate(parts, axis=1)
    return moved if moved.any() else None


def _predicted(made: FittedLaw, put: Assembly) -> pl.DataFrame:
    """All settings with their predictions."""
    frames: list[pl.DataFrame] = []
    values = {name: parameter.value for name, parameter in made.parameters.items()}
    for piece, suffix in zip(put.pieces, put.suffixes, strict=True):
        arguments = {name: values[put.own(name, suffix)] for name in put.law.parameters}
        variables = {name: piece.points[column].to_numpy() for name, column in piece.columns.items()}
        with np.errstate(all="ignore"):
            predicted = put.law.function(**variables, **arguments)
        frames.append(
            piece.points.with_columns(pl.Series("predicted", predicted), pl.lit(suffix).alias("factor"))
        )
    return pl.concat(frames, how="diagonal_relaxed")


def _mean_deviation(points: pl.DataFrame, held_out: bool) -> float:
    part = points.filter(pl.col("held_out") == held_out)
    return (
        float(np.mean(np.abs((part["predicted"] - part["loss"]).to_numpy()))) if part.height else float("nan")
    )


def _apart(made: FittedLaw, put: Assembly) -> list[FittedLaw]:
    """A fit that shares parameters across groups, as one law for each group."""
    if len(put.pieces) == 1:
        return [made]
    laws: list[FittedLaw] = []
    for piece, suffix in zip(put.pieces, put.suffixes, strict=True):
        names = {name: put.own(name, suffix) for name in put.law.parameters}
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


def _ranges(put: Assembly) -> dict[str, tuple[float, float]]:
    ranges: dict[str, tuple[float, float]] = {}
    for piece, points in zip(put.pieces, put.points, strict=True):
        for column in piece.columns.values():
            low, high = float(points[column].min()), float(points[column].max())  # type: ignore[arg-type]
            old = ranges.get(column, (low, high))
            ranges[column] = (min(low, old[0]), max(high, old[1]))
    return ranges
