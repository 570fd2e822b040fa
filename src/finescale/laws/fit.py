"""Fitting laws to records: ``fit``, and ``joint_fit`` with the paper's two steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finescale.errors import DataError, UsageError
from finescale.laws.estimate import Settings, apart, estimate, solve_alike
from finescale.laws.fitted import Fits, FittedLaw
from finescale.laws.formulas import Law, named
from finescale.laws.slices import Choice, Slice, slices, varying_factors
from finescale.laws.solver.assembly import Assembly, assemble
from finescale.laws.solver.rectified import centred
from finescale.records.records import Records, as_records


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
    records = as_records(records, loss)
    check_finished(records)
    _check_options(residual, solver, bootstrap, level)
    if law == "auto":
        from finescale.laws.select import fit_auto  # noqa: PLC0415 - selection fits with this module

        options = {"by": by, "residual": residual, "hold_out": hold_out, "base": base, "bootstrap": bootstrap}
        options |= {"seed": seed, "level": level, "weights": weights}
        return fit_auto(records, factors, average_seeds=average_seeds, **options)
    chosen, names = _law_and_factors(law, factors, records, by)
    choice = Choice(tuple(by), records.loss, hold_out, dict(base or {}), average_seeds, weights)
    pieces, notes = _all_slices(records, chosen, names, choice)
    bundles = _bundles(pieces, shared, tuple(across))
    settings = Settings(residual, bootstrap, seed, solver, level, choice.loss, tuple(shared))
    notes = [*records.notes, *notes, *(note for piece in pieces for note in piece.notes)]
    failures: list[DataError] = []
    puts: list[Assembly] = []
    for bundle, suffixes in bundles:
        try:
            put = assemble(chosen, bundle, suffixes, shared)
        except DataError as error:
            failures.append(error)
        else:
            puts.append(put if fixed else centred(put))
    solved = [None] * len(puts) if fixed else solve_alike(puts, settings)
    laws: list[FittedLaw] = []
    for put, solution in zip(puts, solved, strict=True):
        made = estimate(put, settings, fixed or {}, solution=solution)
        laws += apart(made, put) if across else [made]
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
    notes += _grouped(failures)
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
    records = as_records(records, options.get("loss"))
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
        records.loss,
        options.get("hold_out"),
        dict(options.get("base") or {}),
        options.get("average_seeds", True),
        options.get("weights"),
    )
    settings = Settings(
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
            laws.append(estimate(put, settings, values, draws))
    return Fits(tuple(laws), tuple(dict.fromkeys(notes)), records.source)


def check_finished(records: Records) -> None:
    """Refuses a table without a finished run.

    Raises:
        DataError: There is none; it says what there is.
    """
    if records.frame.height:
        return
    raise DataError(
        "no finished run: nothing can be fitted",
        wanted="runs with a loss, and status done",
        got=records.rows_in_words,
        remedy="see why they failed: finescale report",
        where=records.source,
    )


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


def _grouped(failures: Sequence[DataError]) -> list[str]:
    """Groups that could not be fitted for the same reason, in one sentence."""
    alike: dict[tuple[str, str], list[DataError]] = {}
    for error in failures:
        alike.setdefault((error.problem, error.wanted), []).append(error)
    notes: list[str] = []
    for (problem, wanted), errors in alike.items():
        others = f" and {len(errors) - 1} more" if len(errors) > 1 else ""
        notes.append(
            f"Not fitted: {errors[0].where}{others}: {problem}; wanted: {wanted}; got: {errors[0].got}"
        )
    return notes


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
    if names and not chosen.takes_factor:
        raise UsageError(
            f"the law `{chosen.name}` takes no factor",
            wanted=f"values of its own variables, {', '.join(chosen.variables)}",
            got=f"factor {', '.join(names)}",
            remedy="leave --factor out, or call a variable of the law X",
        )
    if chosen.name == "joint":
        return chosen, [None]
    if "X" not in chosen.variables:
        return chosen, list(names) or [None]
    if not names:
        names = [name for name in varying_factors(records.frame, by) if name not in by]
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
