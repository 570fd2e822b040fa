"""finescale: which finetuning method, which model size and how much data - with intervals."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "read_records": "finescale.records.records",
    "Records": "finescale.records.records",
    "fit": "finescale.laws.fit",
    "joint_fit": "finescale.laws.fit",
    "law": "finescale.laws.formulas",
    "Law": "finescale.laws.formulas",
    "Range": "finescale.laws.formulas",
    "FittedLaw": "finescale.laws.fitted",
    "Fits": "finescale.laws.fitted",
    "compare": "finescale.laws.select",
    "backtest": "finescale.laws.select",
    "forecast": "finescale.forecasts.forecast",
    "Forecast": "finescale.forecasts.forecast",
    "Forecasts": "finescale.forecasts.forecast",
    "published": "finescale.laws.published",
    "recommend": "finescale.advice.recommend",
    "crossovers": "finescale.advice.crossovers",
    "Advice": "finescale.advice.options",
    "plan": "finescale.planning.plan",
}
__all__ = ["__version__", *sorted(_WHERE)]  # noqa: PLE0604 - names that __getattr__ finds


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: `import finescale` loads nothing heavy."""
    if name not in _WHERE:
        raise AttributeError(f"module 'finescale' has no attribute '{name}'")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
