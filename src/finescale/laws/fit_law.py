"""One law, all groups: from records to fitted laws. What chooses among laws stands above (``fit``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from finescale.errors import DataError, UsageError
from finescale.laws.bounded import fit_with_chance
from finescale.laws.estimate import estimate, solve_alike, split_by_group
from finescale.laws.fits import Fits
from finescale.laws.fitted import FittedLaw
from finescale.laws.formulas import get_law
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut, reason_of
from finescale.laws.options import FitOptions, RunFilter
from finescale.laws.slices import Slice, slices
from finescale.laws.solver.assembly import Assembly, assemble
from finescale.records.records import Records
from finescale.records.settings import varying_factors


def fit_law(
    records: Records,
    law: str | Law,
    factors: Sequence[str] | str | None,
    choice: RunFilter,
    options: FitOptions,
) -> Fits:
    """Fits one law to every group of runs.

    Args:
        records: The runs.
        law: The law, by name or itself; not ``auto``.
        factors: Factors for the law's X; None: those that vary.
        choice: Which runs are fitted.
        options: How.

    Returns:
        The fitted laws, and the groups that the data do not allow.

    Raises:
        UsageError: A column, law or parameter that does not exist.
        DataError: The data do not allow any fit.
    """
    check_finished(records)
    chosen, names = _law_and_factors(law, factors, records, choice.by)
    pieces, notes, left_out = _all_slices(records, chosen, names, choice)
    notes = [*records.notes, *notes, *(note for piece in pieces for note in piece.notes)]
    failures: list[DataError] = []
    assemblies: list[Assembly] = []
    for bundle, suffixes in _bundles(pieces, options):
        try:
            assemblies.append(_assemble(chosen, bundle, suffixes, options))
        except DataError as error:
            failures.append(error)
            left_out += [
                LeftOut(piece.by, chosen.name, piece.factor, reason_of(error, chosen.name))
                for piece in bundle
            ]
    apart = bool(options.fixed) or chosen.bounded
    solved = [None] * len(assemblies) if apart else solve_alike(assemblies, options)
    laws: list[FittedLaw] = []
    for assembly, solution in zip(assemblies, solved, strict=True):
        if chosen.bounded:
            made = fit_with_chance(assembly, options, choice.loss)
        else:
            made = estimate(assembly, options, choice.loss, solution=solution)
        laws += split_by_group(made, assembly) if options.across else [made]
    if not laws:
        nothing = DataError(
            "no law could be fitted",
            got="; ".join((*notes, *map(str, left_out))) or "no groups",
            remedy="choose another --factor",
        )
        raise failures[0] if failures else nothing
    return Fits(tuple(laws), tuple(dict.fromkeys(notes)), records.source, tuple(left_out))


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


def _assemble(law: Law, bundle: Sequence[Slice], suffixes: Sequence[str], options: FitOptions) -> Assembly:
    """One problem; a curve in parameters in which it is solved faster, where its law has such."""
    assembly = assemble(law, bundle, suffixes, options.shared)
    plain = law.reparametrise is None or options.fixed or len(assembly.pieces) > 1
    return assembly if plain or law.reparametrise is None else law.reparametrise(assembly)


def _law_and_factors(
    law: str | Law, factors: Sequence[str] | str | None, records: Records, by: Sequence[str]
) -> tuple[Law, list[str | None]]:
    """The law, and the factors that stand for its X one after the other (None: it has no X)."""
    names = [factors] if isinstance(factors, str) else list(factors or ())
    chosen = get_law(law, names or varying_factors(records.frame)) if law == "joint" else get_law(law)
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
    records: Records, law: Law, factors: Sequence[str | None], choice: RunFilter
) -> tuple[list[Slice], list[str], list[LeftOut]]:
    pieces: list[Slice] = []
    notes: list[str] = []
    left_out: list[LeftOut] = []
    for factor in factors:
        more, said, lost = slices(records, law, factor, choice)
        pieces += more
        notes += said
        left_out += lost
    return pieces, notes, left_out


def _bundles(pieces: Sequence[Slice], options: FitOptions) -> list[tuple[list[Slice], list[str]]]:
    """Which slices are fitted together, with the suffixes of their own parameters."""
    if not options.shared:
        return [([piece], [piece.factor or ""]) for piece in pieces]
    across = options.across
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
