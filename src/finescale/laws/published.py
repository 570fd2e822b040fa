"""The paper's own laws (Table 4) as fitted laws without intervals, for comparison with one's own.

Two-digit figures as printed: good for orders of magnitude, not for crossovers (those need full precision).
Sizes are
nominal: 1e9 ... 16e9 parameters. Source: B. Zhang, Z. Liu, C. Cherry, O. Firat, "When Scaling Meets LLM
Finetuning", ICLR 2024 (arXiv 2402.17193), Table 4.
"""

from __future__ import annotations

import numpy as np

from finescale.errors import UsageError
from finescale.laws.fitted import FittedLaw, Parameter
from finescale.laws.formulas import multiplicative
from finescale.records.records import DATA_SIZE

FACTORS = ("model_params", "pretrain_tokens", "pet_size")
STATUS = (
    "two-digit figures as printed in the paper (Table 4): no intervals, not precise enough for crossovers"
)
_TABLE4: dict[tuple[str, str], tuple[float, float, tuple[tuple[float, float] | None, ...]]] = {
    # (task, method): E, beta, (A, alpha) for each factor
    ("wmt14-en-de", "full"): (0.75, 0.15, ((1.2e5, 0.52), (6.3e2, 0.21), None)),
    ("wmt14-en-de", "prompt"): (0.62, 0.051, ((3.9e3, 0.4), (2.7e2, 0.21), (1.0, 0.0027))),
    ("wmt14-en-de", "lora"): (0.62, 0.081, ((2.1e3, 0.36), (1.4e2, 0.18), (1.4, -0.0017))),
    ("wmt19-en-zh", "full"): (1.0, 0.14, ((3.3e3, 0.34), (2.4e2, 0.17), None)),
    ("wmt19-en-zh", "prompt"): (0.77, 0.015, ((8.5e2, 0.33), (2e2, 0.2), (1.0, 0.0019))),
    ("wmt19-en-zh", "lora"): (0.73, 0.025, ((6.6e2, 0.31), (1.3e2, 0.18), (1.2, 0.0044))),
    ("mlsum", "full"): (0.98, 0.087, ((3.3e2, 0.24), (42.0, 0.11), None)),
    ("mlsum", "prompt"): (0.00051, 0.025, ((23.0, 0.1), (16.0, 0.069), (2.6, 0.0026))),
    ("mlsum", "lora"): (0.2, 0.03, ((26.0, 0.11), (17.0, 0.073), (2.4, 0.00022))),
}
_LAST_CHECKPOINT = {"wmt14-en-de": 283e9, "wmt19-en-zh": 206e9, "mlsum": 283e9}
_DATA = {
    ("wmt14-en-de", "full"): (1e5, 4e6),
    ("wmt19-en-zh", "full"): (1e6, 2e7),
    ("mlsum", "full"): (1e5, 8e5),
}
_PET_DATA = (8e3, 9e4)
_RANGES = {
    "model_params": lambda task, method: (1e9, 8e9),
    "pretrain_tokens": lambda task, method: (84e9, _LAST_CHECKPOINT[task]),
    "pet_size": lambda task, method: (50.0, 400.0) if method == "prompt" else (4.0, 64.0),
}


def published_names() -> tuple[tuple[str, str, str], ...]:
    """Every (task, method, factor) of Table 4."""
    return tuple(
        (task, method, factor)
        for (task, method), (_, _, pairs) in _TABLE4.items()
        for factor, pair in zip(FACTORS, pairs, strict=True)
        if pair
    )


def published(task: str, method: str, *, factor: str = "model_params") -> FittedLaw:
    """A law of the paper's Table 4.

    Args:
        task: ``wmt14-en-de``, ``wmt19-en-zh`` or ``mlsum``.
        method: ``full``, ``lora`` or ``prompt``.
        factor: ``model_params``, ``pretrain_tokens`` or ``pet_size``.

    Returns:
        The law, without draws and intervals, marked as two-digit figures.

    Raises:
        UsageError: The paper has no such law.

    Example:
        >>> paper = fs.published("wmt14-en-de", "lora", factor="model_params")
        >>> round(float(paper.predict(model_params=8e9, finetune_examples=5e4).value), 2)
        0.86
    """
    if (task, method, factor) not in published_names():
        have = "; ".join(sorted({f"{name}, {how}" for name, how, _ in published_names()}))
        raise UsageError(
            f"the paper has no law for {task}, {method}, {factor}",
            wanted=f"one of {have}; factor one of {', '.join(FACTORS)} (pet_size not with full)",
        )
    floor, beta, pairs = _TABLE4[task, method]
    pair = pairs[FACTORS.index(factor)]
    assert pair is not None
    numbers = {"A": pair[0], "alpha": pair[1], "beta": beta, "E": floor}
    base = {"model_params": 1e9, "pretrain_tokens": _LAST_CHECKPOINT[task]}
    if method != "full":
        base["pet_size"] = 100.0 if method == "prompt" else 4.0
    base.pop(factor)
    ranges = {factor: _RANGES[factor](task, method), DATA_SIZE: _DATA.get((task, method), _PET_DATA)}
    return FittedLaw(
        by={"task": task, "method": method},
        factors=(factor,),
        law="multiplicative",
        base=base,
        parameters={name: Parameter(value, np.nan, np.nan) for name, value in numbers.items()},
        draws={},
        run_deviation=np.empty(0),
        objective=float("nan"),
        n_fitted=0,
        n_held_out=0,
        delta_e=float("nan"),
        delta_h=float("nan"),
        status=(STATUS,),
        columns={factor: {"X": factor, "D": DATA_SIZE}},
        ranges=ranges,
        shared=("beta", "E"),
        formula=multiplicative,
    )


def equal_reducible_loss(first: FittedLaw, second: FittedLaw) -> tuple[float, float]:
    r"""H and gamma of Eq. 3: at D_f = H X^gamma two multiplicative laws have equal reducible loss.

    It is the crossover only where both laws have the same floor E.

    Args:
        first: A multiplicative law of one factor.
        second: Another of the same factor.

    Returns:
        H = (A_1 / A_2)^(1 / (beta_1 - beta_2)) and gamma = (alpha_2 - alpha_1) / (beta_1 - beta_2); NaN where
        the betas are equal, or a law is its floor alone (A = 0).
    """
    gap = first.value("beta") - second.value("beta")
    if gap == 0 or not (first.value("A") > 0 and second.value("A") > 0):
        return float("nan"), float("nan")
    with np.errstate(over="ignore"):
        H = np.exp(np.log(first.value("A") / second.value("A")) / gap)
    return float(H), (second.value("alpha") - first.value("alpha")) / gap
