r"""The laws: one function each. Its signature names variables and parameters, its docstring the equation.

``X`` is the factor (model size, pretraining tokens or PET size), ``D`` the finetuning data size; any other
variable is the column of its name. Beside the function stand which parameters are linear coefficients (kept
>= 0) and the ranges of the others. Derivatives are never asked for. Adding a law is one function here and one
test::

    @law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})
    def my_law(D, A, beta, E):
        return A / (1 + D) ** beta + E
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np

from finescale.errors import UsageError
from finescale.laws.law import LAWS, Law, Range, law
from finescale.laws.solver.rectified import reparametrise
from finescale.records.outcomes import TEST_LOSS, Outcome

Array = np.ndarray[Any, Any]
EXPONENT = (-1.0, 3.0)
"""The default range of an exponent: Table 4 of the paper has negative ones."""


@law(
    linear=("A", "E"),
    nonlinear={"beta": EXPONENT},
    monomials={"A": {"beta": "D"}, "E": {}},
    contender=True,
)
def power(D: Array, A: Array, beta: Array, E: Array) -> Array:
    r"""$$L(D_f) = A\,D_f^{-\beta} + E$$. Single variable (arXiv 2402.17193, Figure 1)."""
    return A * D**-beta + E


@law(
    linear=("A", "E"),
    nonlinear={"alpha": EXPONENT, "beta": EXPONENT},
    monomials={"A": {"alpha": "X", "beta": "D"}, "E": {}},
    contender=True,
)
def multiplicative(X: Array, D: Array, A: Array, alpha: Array, beta: Array, E: Array) -> Array:  # noqa: PLR0917
    r"""$$L(X, D_f) = A\,X^{-\alpha} D_f^{-\beta} + E$$. The paper's joint law (arXiv 2402.17193, Eq. 1)."""
    return A * X**-alpha * D**-beta + E


@law(
    linear=("A", "B", "E"),
    nonlinear={"alpha": EXPONENT, "beta": EXPONENT},
    monomials={"A": {"alpha": "X"}, "B": {"beta": "D"}, "E": {}},
    contender=True,
)
def additive(X: Array, D: Array, A: Array, alpha: Array, B: Array, beta: Array, E: Array) -> Array:  # noqa: PLR0917
    r"""$$L(X, D_f) = A\,X^{-\alpha} + B\,D_f^{-\beta} + E$$. Hoffmann et al. 2022 (arXiv 2203.15556)."""
    return A * X**-alpha + B * D**-beta + E


def _rectified_starts(variables: Mapping[str, Array]) -> Array:
    """Starts [beta, transition size, parameter]: D_l is a transition size to the power of beta."""
    size = next(iter(variables.values()))
    beta, transition = np.meshgrid(
        np.linspace(0.05, 2.5, 16), np.geomspace(size.min() / 8, size.max() * 2, 12), indexing="ij"
    )
    return np.stack([transition**beta, beta], axis=-1)


@law(
    linear=("B", "E"),
    nonlinear={"D_l": Range(1e-6, 1e30, log=True), "beta": (0.0, 3.0)},
    starts=_rectified_starts,
    reparametrise=reparametrise,
    contender=True,
)
def rectified(D: Array, B: Array, D_l: Array, beta: Array, E: Array) -> Array:
    r"""$$L(D_f) = \frac{B}{D_l + D_f^{\beta}} + E$$. Rectified law (Lin et al. 2024, arXiv 2402.02314)."""
    return B / (D_l + D**beta) + E


def _broken_starts(variables: Mapping[str, Array]) -> Array:
    """Starts [slope before, slope after, d, f, parameter]: the break lies inside the data."""
    size = next(iter(variables.values()))
    before = [-0.35, -0.1, 0.05, 0.2, 0.5, 1.2]
    after = [-0.45, -0.2, 0.0, 0.12, 0.35, 0.8, 1.8]
    breaks = np.geomspace(size.min() * 1.5, max(size.max() / 1.5, size.min() * 1.6), 12)
    c0, end, d, f = np.meshgrid(before, after, breaks, [0.08, 0.3, 1.0, 2.5], indexing="ij")
    return np.stack([c0, end - c0, d, f], axis=-1)


@law(
    linear=("A", "E"),
    nonlinear={
        "c0": (-0.5, 3.0),
        "c1": (-2.0, 3.0),
        "d": Range(1e-3, 1e15, log=True),
        "f": Range(0.05, 4.0, log=True),
    },
    starts=_broken_starts,
)
def broken(D: Array, A: Array, c0: Array, c1: Array, d: Array, f: Array, E: Array) -> Array:  # noqa: PLR0917
    r"""$$L(D_f) = E + A\,D_f^{-c_0}\left(1 + (D_f/d)^{1/f}\right)^{-c_1 f}$$. One break (2210.14891)."""
    return E + A * D**-c0 * (1 + (D / d) ** (1 / f)) ** (-c1 * f)


def _sigmoid_starts(variables: Mapping[str, Array]) -> Array:
    """Starts [k, d, parameter]: the middle may lie outside the data."""
    size = next(iter(variables.values()))
    steep, middle = np.meshgrid(
        np.geomspace(0.1, 3.5, 12), np.geomspace(size.min() / 16, size.max() * 16, 14), indexing="ij"
    )
    return np.stack([steep, middle], axis=-1)


@law(
    linear=("C", "E"),
    nonlinear={"k": Range(0.02, 6.0, log=True), "d": Range(1e-6, 1e18, log=True)},
    starts=_sigmoid_starts,
    contender=True,
    bounded=True,
)
def sigmoid(D: Array, C: Array, E: Array, k: Array, d: Array) -> Array:
    r"""$$L(D_f) = E + \frac{C - E}{1 + (D_f/d)^k}$$. A bounded score's distance from its best value.

    A sigmoid in $\log D_f$: the score goes from a chance level (best - C) to an upper asymptote
    (best - E), and is half way at d. With C free it is the rectified law in other parameters.
    """
    low = 1 / (1 + (D / d) ** k)
    return C * low + E * (1 - low)


@law(
    linear=("A",),
    nonlinear={"beta": EXPONENT},
    monomials={"A": {"beta": "D"}},
    residual="log",
    huber_delta=np.inf,
    last_sizes=3,
)
def loglinear(D: Array, A: Array, beta: Array) -> Array:
    r"""$$\log L(D_f) = \log A - \beta \log D_f$$. No floor, last three sizes, least squares: the baseline."""
    return A * D**-beta


def joint(factors: Sequence[str]) -> Law:
    r"""$$L = A \prod_i X_i^{-\alpha_i} D_f^{-\beta} + E$$. Every factor with its own exponent, in one fit.

    Args:
        factors: The factors' columns.

    Returns:
        The law with the parameters A, ``alpha.FACTOR`` for each factor, beta, E.

    Raises:
        UsageError: No factor.
    """
    if not factors:
        raise UsageError(
            "the joint law needs a factor", wanted='e.g. factors=("model_params", "pretrain_tokens")'
        )
    exponents = {f"alpha.{name}": name for name in factors}

    def joint_formula(**values: Any) -> Any:
        r"""$$L = A \prod_i X_i^{-\alpha_i} D_f^{-\beta} + E$$."""
        result = values["A"] * values["D"] ** -values["beta"]
        for exponent, variable in exponents.items():
            result = result * values[variable] ** -values[exponent]
        return result + values["E"]

    ranges = {name: Range(*EXPONENT) for name in (*exponents, "beta")}
    monomials = {"A": {**exponents, "beta": "D"}, "E": {}}
    return Law("joint", joint_formula, (*factors, "D"), ("A", "E"), ranges, monomials)


BASELINE = loglinear.name
"""The law that every other one has to beat on hidden data sizes."""


_ONE_CURVE = {rectified.name: sigmoid.name}
"""One curve in two forms: of a bounded score the second stands for both."""


def contenders(kind: Literal["curve", "surface"], outcome: Outcome = TEST_LOSS) -> tuple[str, ...]:
    """The laws of a kind that take part wherever a law is chosen or laws are shown side by side.

    Args:
        kind: Curves, or surfaces.
        outcome: What is fitted: some laws are those of bounded scores.
    """
    bounded = outcome.scale == "logit"
    found = [name for name, one in LAWS.items() if one.contender and one.kind == kind]
    if bounded:
        return tuple(name for name in found if _ONE_CURVE.get(name) not in found)
    return tuple(name for name in found if not LAWS[name].bounded)


def get_law(law: str | Law, factors: Sequence[str] = ()) -> Law:
    """The law of this name.

    Args:
        law: A name of the zoo, or a law (returned as it is).
        factors: The factors that the ``joint`` law is made for.

    Raises:
        UsageError: No law of that name; a plain function where a law is wanted.
    """
    if isinstance(law, Law):
        return law
    if law == "joint":
        return joint(factors)
    if isinstance(law, str) and law in LAWS:
        return LAWS[law]
    known = sorted((*LAWS, "joint"))
    if not isinstance(law, str):
        raise UsageError(
            "not a law",
            wanted=f"a function under @law(linear=..., nonlinear=...), or one of {', '.join(known)}",
            got=type(law).__name__,
            remedy='e.g. law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})(my_function)',
        )
    near = get_close_matches(law, known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else ""
    raise UsageError(f"no law is called `{law}`", wanted="one of " + ", ".join(known), remedy=hint)
