"""The paper's two steps: shared parameters over several factors first, then every factor again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from finescale.errors import DataError, UsageError
from finescale.laws.estimate import estimate
from finescale.laws.fit_law import fit_law
from finescale.laws.fits import Fits
from finescale.laws.fitted import FittedLaw
from finescale.laws.formulas import get_law
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut, distinct, reason_of
from finescale.laws.options import FitKeywords, FitOptions, RunFilter, read_options
from finescale.laws.slices import slices
from finescale.laws.solver.assembly import assemble
from finescale.records.records import FACTORS, Records
from finescale.records.settings import varying_factors

if TYPE_CHECKING:
    from finescale.records.tables import TableLike

SHARED = ("beta", "E")
"""What the paper's first step finds for all factors."""


def joint_fit(
    records: Records | TableLike,
    law: str | Law = "multiplicative",
    *,
    joint: Sequence[str] = ("model_params", "pretrain_tokens"),
    then: Sequence[str] = ("pet_size",),
    **options: Unpack[FitKeywords],
) -> Fits:
    """The paper's two steps: shared beta and E over the joint factors, then every factor again.

    Args:
        records: Records, or what ``read_records`` takes.
        law: A law of X and D with the shared parameters.
        joint: Factors of the first step; those that do not vary in a group are left out of its first step.
        then: Further factors for the second step alone.
        **options: As for ``fit``. ``shared`` are the parameters that the first step finds (default: beta and
            E); ``fixed`` may name these alone; ``across`` means nothing here.

    Returns:
        One law a group and factor; in draw i the shared parameters of the first step's draw i.

    Raises:
        UsageError: As ``fit``; a law without an X, or ``auto``.
        DataError: As ``fit``; or no joint factor varies.

    Example:
        >>> fits = fs.joint_fit("examples/nano_full.parquet", bootstrap=0)
        >>> law = fits.only(factor="pretrain_tokens", method="lora")
        >>> law.value("beta") == fits.only(factor="model_params", method="lora").value("beta")
        True
    """
    chosen = _with_factor(law)
    because = "no `across`: the parameters in `shared` are shared over the factors"
    keywords = {"shared": SHARED, **options}
    records, choice, how = read_options(records, keywords, without=("across",), because=because)
    own = [name for name in how.fixed if name not in how.shared]
    if own:
        raise UsageError(
            f"`{own[0]}` cannot be fixed in both steps",
            wanted="some of the shared parameters: " + ", ".join(how.shared),
            remedy="fit one factor with fixed=...",
        )
    present = [name for name in (*joint, *then) if name in records.frame.columns]
    moving = (*varying_factors(records.frame), "model_params_nonembedding")
    first_names = [name for name in joint if name in present and name in moving]
    if not first_names:
        raise DataError(
            "no factor for the joint step varies", wanted=" or ".join(joint), remedy="use fit with one factor"
        )
    first = fit_law(records, chosen, first_names, choice, how)
    laws: list[FittedLaw] = []
    notes, left_out = list(first.notes), list(first.left_out)
    for factor in dict.fromkeys((*first_names, *then)):
        if factor in present:
            more, said, lost = _second_step(records, chosen, factor, first, choice, how)
            laws += more
            notes += said
            left_out += lost
    return Fits(tuple(laws), tuple(dict.fromkeys(notes)), records.source, distinct(left_out))


def two_steps(
    records: Records,
    law: str | Law,
    factors: Sequence[str] | str | None = None,
    **options: Unpack[FitKeywords],
) -> Fits:
    """The paper's two steps (``joint_fit``) for the laws that have beta and E; one fit for others.

    Args:
        records: The runs.
        law: A law.
        factors: The factors; default: those that vary. Where only PET size does, it is fitted alone.
        **options: As for ``fit``.

    Raises:
        UsageError: As ``fit``.
        DataError: As ``fit``.
    """
    records, choice, how = read_options(records, options)
    chosen = get_law(law, varying_factors(records.frame)) if law == "joint" else get_law(law)
    names = (factors,) if isinstance(factors, str) else tuple(factors or varying_factors(records.frame))
    joint, then = (tuple(name for name in names if (name == "pet_size") is pet) for pet in (False, True))
    able = "X" in chosen.variables and set(SHARED) <= set(chosen.parameters) and "shared" not in options
    known = set(joint) <= set(FACTORS) & set(records.frame.columns)
    if not able or not joint or not known:
        return fit_law(records, law, factors, choice, how)
    try:
        return joint_fit(records, law, joint=joint, then=then, **options)
    except DataError:
        if not then:
            raise
        return fit_law(records, law, then, choice, how)


def _second_step(  # noqa: PLR0917
    records: Records, law: Law, factor: str, first: Fits, choice: RunFilter, options: FitOptions
) -> tuple[list[FittedLaw], list[str], list[LeftOut]]:
    """The laws of one factor, with the shared parameters kept at what the first step found."""
    pieces, notes, left_out = slices(records, law, factor, choice)
    laws: list[FittedLaw] = []
    for piece in pieces:
        together = [step for step in first if step.by == piece.by]
        if not together:
            left_out.append(LeftOut(piece.by, law.name, factor, "no joint step, so no second step"))
            continue
        step = together[0]
        try:
            assembly = assemble(law, [piece], [factor], ())
        except DataError as error:
            left_out.append(LeftOut(piece.by, law.name, factor, reason_of(error, law.name)))
            continue
        found = replace(options, fixed={name: step.value(name) for name in options.shared})
        draws = {name: step.draws[name] for name in options.shared if name in step.draws}
        laws.append(estimate(assembly, found, choice.loss, fixed_draws=draws))
    return laws, notes, left_out


def _with_factor(law: str | Law) -> Law:
    """The law of both steps: one law with an X."""
    if law in ("auto", "joint"):
        raise UsageError(
            f"joint_fit cannot take law={law!r}",
            wanted="one law of X and D, whose parameters both steps share",
            remedy="multiplicative, the paper's; see compare for which one predicts best",
        )
    chosen = get_law(law)
    if "X" not in chosen.variables:
        raise UsageError(
            f"the law `{chosen.name}` has no factor to share parameters over",
            wanted="a law of X and D, e.g. multiplicative",
            got=", ".join(chosen.variables),
        )
    return chosen
