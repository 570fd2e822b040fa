"""Fitted laws as plain numbers and text, and back: the Fit JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveFloat,
    ValidationError,
    field_validator,
)

from finescale.errors import UsageError, printable
from finescale.laws.formulas import get_law
from finescale.laws.law import Law
from finescale.laws.left_out import LeftOut
from finescale.records.outcomes import TEST_LOSS, Outcome

if TYPE_CHECKING:
    from finescale.laws.fitted import FittedLaw

SCHEMA = 1


def law_to_dict(law: FittedLaw) -> dict[str, Any]:
    """See ``FittedLaw.to_dict``."""
    made = law.formula
    return {
        "schema": SCHEMA,
        "by": dict(law.by),
        "factors": list(law.factors),
        "law": law.law,
        "formula": {"text": made.text, "probe": list(made.probe)} if made else None,
        "base": dict(law.base),
        "parameters": {
            name: {"value": p.value, "low": _null(p.low), "high": _null(p.high)}
            for name, p in law.parameters.items()
        },
        "draws": {name: draw.tolist() for name, draw in law.draws.items()},
        "run_deviation": law.run_deviation.tolist(),
        "objective": _null(law.objective),
        "n_fitted": law.n_fitted,
        "n_held_out": law.n_held_out,
        "delta_e": _null(law.delta_e),
        "delta_h": _null(law.delta_h),
        "status": list(law.status),
        "columns": {factor: dict(columns) for factor, columns in law.columns.items()},
        "ranges": {name: list(limits) for name, limits in law.ranges.items()},
        "residual": law.residual,
        "huber_delta": "inf" if np.isinf(law.huber_delta) else law.huber_delta,
        "loss": law.loss,
        "level": law.level,
        "shared": list(law.shared),
        **({"outcome": _outcome(law.outcome)} if law.outcome.kind == "score" else {}),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        name: _null(value) if isinstance(value, float) else value for name, value in asdict(outcome).items()
    }


def fits_to_dict(
    laws: Sequence[FittedLaw], notes: Sequence[str], left_out: Sequence[LeftOut]
) -> dict[str, Any]:
    """See ``Fits.to_dict``."""
    return {
        "schema": SCHEMA,
        "fits": [law_to_dict(law) for law in laws],
        "notes": list(notes),
        "left_out": [one.to_dict() for one in left_out],
    }


_GIVE_IT = "give the law that it was made with: --law MODULE:NAME, or from_dict(data, laws=[it])"


class _Plain(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


class _Interval(_Plain):
    value: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None


class _Formula(_Plain):
    """What tells formulas of one name apart: how it reads, and its values at fixed arguments."""

    text: str
    probe: list[FiniteFloat | None]


class _Measured(_Plain):
    """The score that a law predicts; bounds that are not there are null."""

    column: str
    name: str
    kind: Literal["score"]
    better: Literal["lower", "higher"]
    low: FiniteFloat | None
    high: FiniteFloat | None
    unit: str
    chance: FiniteFloat | None = None

    @property
    def outcome(self) -> Outcome:
        low, high = (-np.inf if self.low is None else self.low), (np.inf if self.high is None else self.high)
        chance = np.nan if self.chance is None else self.chance
        return Outcome(self.column, self.name, self.kind, self.better, low, high, self.unit, chance)


class _LeftOut(_Plain):
    by: dict[str, Any]
    law: str
    factor: str | None
    reason: str


class _Stored(_Plain):
    """What the Fit JSON of a law holds."""

    by: dict[str, Any]
    factors: list[str]
    law: str
    formula: _Formula | None = None
    base: dict[str, Any]
    parameters: dict[str, _Interval]
    draws: dict[str, list[FiniteFloat]]
    run_deviation: list[FiniteFloat]
    objective: FiniteFloat | None
    n_fitted: int
    n_held_out: int
    delta_e: FiniteFloat | None
    delta_h: FiniteFloat | None
    status: list[str]
    columns: Annotated[dict[str, dict[str, str]], Field(min_length=1)]
    ranges: dict[str, Annotated[list[PositiveFloat], Field(min_length=2, max_length=2)]]
    residual: Literal["raw", "log"]
    huber_delta: PositiveFloat | Literal["inf"]
    loss: str
    level: Annotated[float, Field(gt=0, lt=1)]
    shared: list[str]
    outcome: _Measured | None = None

    @field_validator("by", "base")
    @classmethod
    def _single_values(cls, named: dict[str, Any]) -> dict[str, Any]:
        if not all(isinstance(value, str | int | float | None) for value in named.values()):
            raise ValueError("a number or text for each name")
        return named


def law_fields(data: Any, laws: Sequence[Law] = (), where: str = "") -> dict[str, Any]:
    """The fields of a ``FittedLaw``; ``where`` is the law's place in a file, for the error.

    Parameters are (value, low, high). A fit of an older version, which does not say its formula, is read too.

    Raises:
        UsageError: See ``FittedLaw.from_dict``.
    """
    prefix = f"{where}." if where else ""
    if isinstance(data, Mapping) and data.get("schema", SCHEMA) != SCHEMA:
        got = str(data.get("schema"))[:80]
        raise UsageError("a fit of another schema", wanted=str(SCHEMA), got=got, where=f"{prefix}schema")
    try:
        stored = _Stored.model_validate(_safe_to_show(data))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in problem["loc"])[:200]
        raise UsageError(
            "not a fit",
            wanted="what `finescale fit --json` wrote",
            got=problem["msg"],
            where=(prefix + field).rstrip("."),
        ) from None
    own = {law.name: law for law in laws}
    factors = tuple(stored.factors)
    formula = own.get(stored.law) or _find_law(stored.law, factors, prefix)
    _check_formula(stored, formula, prefix)
    _check_names(stored, formula, prefix)
    return {
        "by": stored.by,
        "factors": factors,
        "law": stored.law,
        "base": stored.base,
        "parameters": {
            name: (p.value, _number(p.low), _number(p.high)) for name, p in stored.parameters.items()
        },
        "draws": {name: np.array(draw, dtype=float) for name, draw in stored.draws.items()},
        "run_deviation": np.array(stored.run_deviation, dtype=float),
        "objective": _number(stored.objective),
        "n_fitted": stored.n_fitted,
        "n_held_out": stored.n_held_out,
        "delta_e": _number(stored.delta_e),
        "delta_h": _number(stored.delta_h),
        "status": tuple(stored.status),
        "columns": stored.columns,
        "ranges": {name: (low, high) for name, (low, high) in stored.ranges.items()},
        "residual": stored.residual,
        "huber_delta": float(stored.huber_delta),
        "loss": stored.loss,
        "level": stored.level,
        "shared": tuple(stored.shared),
        "formula": formula,
        "outcome": stored.outcome.outcome if stored.outcome else replace(TEST_LOSS, column=stored.loss),
    }


def fits_fields(
    data: Any, laws: Sequence[Law] = ()
) -> tuple[list[dict[str, Any]], tuple[str, ...], tuple[LeftOut, ...]]:
    """The fields of every law of ``Fits``, the notes, and what was left out.

    Raises:
        UsageError: See ``Fits.from_dict``.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("fits"), list):
        wanted = 'what `finescale fit --json` wrote: {"fits": [...]}'
        raise UsageError("not a table of fits", wanted=wanted)
    read = [law_fields(item, laws, f"fits[{index}]") for index, item in enumerate(data["fits"])]
    notes = data.get("notes", ())
    said = tuple(map(str, notes)) if isinstance(notes, list | tuple) else ()
    try:
        lost = [_LeftOut.model_validate(_safe_to_show(item)) for item in data.get("left_out", ())]
    except (ValidationError, TypeError):
        wanted = 'as `finescale fit --json` writes it: [{"by", "law", "factor", "reason"}]'
        raise UsageError("not a list of what was left out", wanted=wanted, where="left_out") from None
    return read, said, tuple(LeftOut(one.by, one.law, one.factor, one.reason) for one in lost)


def _find_law(name: str, factors: tuple[str, ...], prefix: str) -> Law:
    """The law of this name; where there is none, the error says how a law of one's own is given."""
    try:
        return get_law(name, factors)
    except UsageError as error:
        remedy = "; ".join(filter(None, (error.remedy, _GIVE_IT)))
        raise UsageError(error.problem, wanted=error.wanted, remedy=remedy, where=f"{prefix}law") from None


def _check_formula(stored: _Stored, formula: Law, prefix: str) -> None:
    """Refuses a formula other than the one that the fit was made with."""
    made = stored.formula
    if made is not None and not formula.is_same_formula(made.text, made.probe):
        raise UsageError(
            f"the fit was made with another formula called `{stored.law}`",
            wanted=made.text or "the formula that it was made with",
            got=formula.text or "a formula that gives other values",
            remedy=f"fit again, or {_GIVE_IT}",
            where=f"{prefix}formula",
        )


def _check_names(stored: _Stored, formula: Law, prefix: str) -> None:
    """Refuses variables, parameters and draws that do not belong to the law."""
    for factor, columns in stored.columns.items():
        if set(columns) != set(formula.variables):
            raise UsageError(
                f"other variables than those of the law `{formula.name}`",
                wanted=", ".join(formula.variables),
                got=", ".join(columns) or "none",
                where=f"{prefix}columns.{factor}",
            )
        for name in formula.parameters:
            if not {name, f"{name}.{factor}"} & stored.parameters.keys():
                raise UsageError(
                    f"the law `{formula.name}` without its parameter {name}",
                    wanted=", ".join(formula.parameters),
                    got=", ".join(stored.parameters) or "none",
                    where=f"{prefix}parameters",
                )
    for name, draw in stored.draws.items():
        if len(draw) != len(stored.run_deviation) or stored.draws.keys() != stored.parameters.keys():
            raise UsageError(
                "draws that do not belong together",
                wanted=f"{len(stored.run_deviation)} draws of each parameter, as in run_deviation",
                got=f"{len(draw)} of {name}",
                where=f"{prefix}draws",
            )


def _safe_to_show(value: Any) -> Any:
    """Plain data with every text safe to show."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_safe_to_show(key): _safe_to_show(item) for key, item in value.items()}
    return [_safe_to_show(item) for item in value] if isinstance(value, list) else value


def _null(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
