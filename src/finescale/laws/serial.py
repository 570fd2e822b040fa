"""Fitted laws as plain numbers and text, and back: the Fit JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from finescale.errors import UsageError
from finescale.laws.fitted import SCHEMA, FittedLaw, Parameter
from finescale.laws.formulas import Law, named


def law_to_dict(law: FittedLaw) -> dict[str, Any]:
    """See ``FittedLaw.to_dict``."""
    return {
        "schema": SCHEMA,
        "by": dict(law.by),
        "factors": list(law.factors),
        "law": law.law,
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
    }


def law_from_dict(data: Mapping[str, Any], laws: Sequence[Law] = ()) -> FittedLaw:
    """See ``FittedLaw.from_dict``."""
    if data.get("schema", SCHEMA) != SCHEMA:
        raise UsageError("a fit of another schema", wanted=str(SCHEMA), got=str(data.get("schema")))
    own = {law.name: law for law in laws}
    try:
        factors = tuple(data["factors"])
        formula = own.get(data["law"]) or named(data["law"], factors)
        return FittedLaw(
            by=data["by"],
            factors=factors,
            law=data["law"],
            base=data["base"],
            parameters={
                name: Parameter(p["value"], _number(p["low"]), _number(p["high"]))
                for name, p in data["parameters"].items()
            },
            draws={name: np.array(draw, dtype=float) for name, draw in data["draws"].items()},
            run_deviation=np.array(data["run_deviation"], dtype=float),
            objective=_number(data["objective"]),
            n_fitted=data["n_fitted"],
            n_held_out=data["n_held_out"],
            delta_e=_number(data["delta_e"]),
            delta_h=_number(data["delta_h"]),
            status=tuple(data["status"]),
            columns=data["columns"],
            ranges={name: (limits[0], limits[1]) for name, limits in data["ranges"].items()},
            residual=data["residual"],
            huber_delta=float(data["huber_delta"]),
            loss=data["loss"],
            level=data["level"],
            shared=tuple(data["shared"]),
            formula=formula,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("not a fit", wanted="what `finescale fit --json` wrote", got=repr(error)) from None


def _null(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
