"""The paper's own numbers (Tables 5, 6 and 7), to stand beside those of records on its tasks.

Source: B. Zhang, Z. Liu, C. Cherry, O. Firat, "When Scaling Meets LLM Finetuning", ICLR 2024 (arXiv
2402.17193), as printed. Table 4 is in ``finescale.laws.published``.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

TASKS = ("wmt14-en-de", "wmt19-en-zh", "mlsum")
_FACTORS = {"model_params": "model", "pretrain_tokens": "pretrain", "pet_size": "pet"}


def held_out_deviation(task: str, method: str, factor: str, law: str) -> float | None:
    """Table 6: a law's mean absolute deviation on held-out settings; None where the paper has none.

    Args:
        task: The task.
        method: ``full``, ``lora`` or ``prompt``.
        factor: A factor's column.
        law: ``multiplicative`` or ``additive``.
    """
    for row in _table(6):
        if (row["task"], row["factor"], row["law"]) == (task, _FACTORS.get(factor), law):
            return _number(row.get(method))
    return None


def equal_reducible(task: str, first: str, second: str, factor: str) -> tuple[float, float] | None:
    """Table 5: H and gamma of Eq. 3 for a pair of methods (in either order); None where there are none."""
    for row in _table(5):
        if (row["task"], row["factor"]) == (task, _FACTORS.get(factor)) and set(row["pair"].split("-")) == {
            first,
            second,
        }:
            return float(row["H"]), float(row["gamma"])
    return None


def correlation(task: str, method: str, factor: str) -> float | None:
    """Table 7: Pearson's correlation of test loss and BLEURT or ROUGE-L; None where there is none."""
    for row in _table(7):
        if (row["task"], row["factor"]) == (task, _FACTORS.get(factor)):
            return _number(row.get(method))
    return None


@cache
def _table(number: int) -> list[dict[str, str]]:
    file = resources.files("finescale.report").joinpath(f"assets/paper/table_{number}.csv")
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def _number(cell: str | None) -> float | None:
    return float(cell) if cell else None
