"""What a law is: a formula as a value that carries all that the rest of finescale needs to know of it."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from finescale.errors import UsageError
from finescale.laws.trace import Expression, evaluate, text_of, trace

if TYPE_CHECKING:
    from finescale.laws.solver.assembly import Assembly

Array = np.ndarray[Any, Any]
BUILTIN = "finescale.laws."
"""Formulas of modules that begin so are finescale's own."""
RESERVED = ("auto", "joint")
"""Names that stand for a choice among laws, and for a law that is made for its factors."""
_PROBED = (2.0, 50.0, 3000.0)
_SAME = 1e-9


@dataclass(frozen=True)
class Range:
    """Where a nonlinear parameter may lie.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Searched on a logarithmic scale (then low > 0).

    Example:
        >>> fs.Range(1, 1e7, log=True)
        Range(low=1, high=10000000.0, log=True)
    """

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Law:
    """A formula and what the fit, the advice and the page must know about it.

    Attributes:
        name: The formula's name.
        function: The formula; called with keyword arguments that broadcast.
        variables: Its variables: ``X``, ``D`` or column names.
        linear: Parameters that enter linearly; each is >= 0.
        nonlinear: The other parameters and their ranges.
        monomials: For laws that are sums of products of powers: for each linear coefficient, which exponent
            belongs to which variable (``{"A": {"alpha": "X", "beta": "D"}, "E": {}}``); None for other laws.
        starts: Optional; gives a grid of nonlinear starts, shape [axis 1, axis 2, ..., parameter], from the
            variables.
        per_curve: Every value of the other factors is a curve of its own; so it is for a law of one variable.
        residual: The only residual that the law is defined for, or None for the caller's choice.
        huber_delta: Overrides Huber's delta (infinite: least squares).
        last_sizes: Fit only that many of the largest sizes (0: all of them).
        contender: The law takes part wherever a law is chosen or laws are shown side by side: ``auto``,
            ``compare`` and ``backtest`` without names, advice, the report.
        bounded: The law is one of bounded scores (of their distance from the best value); its parameter C is
            the distance of the chance level, which is kept where it is known.
        reparametrise: Optional; writes the problem of one curve in parameters in which it is solved faster.

    Example:
        >>> @fs.law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})
        ... def shifted(D, A, beta, E):
        ...     return A / (1 + D) ** beta + E
        >>> shifted.variables, shifted.parameters, shifted.kind
        (('D',), ('A', 'beta', 'E'), 'curve')
        >>> shifted(D=3, A=2, beta=1, E=0.5)
        1.0
    """

    name: str
    function: Callable[..., Any]
    variables: tuple[str, ...]
    linear: tuple[str, ...]
    nonlinear: Mapping[str, Range]
    monomials: Mapping[str, Mapping[str, str]] | None = None
    starts: Callable[[Mapping[str, Array]], Array] | None = None
    per_curve: bool = False
    residual: str | None = None
    huber_delta: float | None = None
    last_sizes: int = 0
    contender: bool = False
    bounded: bool = False
    reparametrise: Callable[[Assembly], Assembly] | None = None

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """All parameters, in the order of the signature; a formula without one: the linear ones first."""
        known = (*self.linear, *self.nonlinear)
        stated = [name for name in inspect.signature(self.function).parameters if name in known]
        return tuple(stated) if len(stated) == len(known) else known

    @property
    def kind(self) -> Literal["curve", "surface"]:
        """A curve over one variable, or a surface over a factor (or several) and the data size."""
        return "curve" if self.per_curve else "surface"

    @property
    def takes_factor(self) -> bool:
        """Whether ``factors`` says something to it: its X, the D of a curve, the factors of ``joint``."""
        return "X" in self.variables or self.name == "joint" or self.variables == ("D",)

    @property
    def is_builtin(self) -> bool:
        """Whether the formula is one of finescale's own."""
        return str(self.function.__module__).startswith(BUILTIN)

    def __call__(self, **arguments: Any) -> Any:
        """Evaluates the formula."""
        return self.function(**arguments)

    @property
    def equation(self) -> str:
        """The equation in LaTeX: what stands between the dollar signs of the formula's docstring."""
        parts = (inspect.getdoc(self.function) or "").split("$$")
        return parts[1].strip() if len(parts) > 2 else ""

    @cached_property
    def expression(self) -> Expression | None:
        """The formula as plain data, for the page's script; None where it is not plain arithmetic."""
        found = trace(self.function, (*self.variables, *self.parameters))
        if found is None or not self.probe:
            return found
        with np.errstate(all="ignore"):
            again = _plain(evaluate(found, _probing(self)))
        return found if _alike(self.probe, again) else None

    @property
    def text(self) -> str:
        """The formula in one line: as arithmetic, or as its source where it is more than that; else empty."""
        return text_of(self.expression) if self.expression is not None else _source(self.function)

    @cached_property
    def probe(self) -> tuple[float | None, ...]:
        """The formula's values at fixed arguments (None: not finite); empty where it cannot take them."""
        try:
            with np.errstate(all="ignore"):
                return _plain(self.function(**_probing(self)))
        except Exception:
            return ()

    def is_same_formula(self, text: str, probe: Sequence[float | None]) -> bool:
        """Whether a formula that looked and behaved like that is this one: values decide, else the text."""
        if probe and self.probe:
            return _alike(self.probe, probe)
        return not text or text == self.text


LAWS: dict[str, Law] = {}
"""Every law by its name; ``@law`` puts it here."""


def law(
    *,
    linear: Sequence[str],
    nonlinear: Mapping[str, tuple[float, float] | Range],
    monomials: Mapping[str, Mapping[str, str]] | None = None,
    per_curve: bool | None = None,
    **options: Any,
) -> Callable[[Callable[..., Any]], Law]:
    """Makes a law of a formula, and makes it known by the function's name; a decorator.

    A law of one's own replaces an earlier one of its name (a cell of a notebook may run again).

    Args:
        linear: Names of the arguments that enter linearly; each is kept >= 0.
        nonlinear: Names and ranges of the other parameters; every argument not named is a variable.
        monomials: See ``Law``.
        per_curve: See ``Law``; default: so for a law of one variable.
        **options: Further fields of ``Law``.

    Returns:
        The decorator; its result is the ``Law`` (which can be called as the function can).

    Raises:
        UsageError: A name that is not an argument of the function, an option that no law has, the name of a
            law of finescale, a contender that is neither a curve nor a law of X and D.

    Example:
        >>> @fs.law(linear=("A", "E"), nonlinear={"beta": (-1, 3), "half": fs.Range(1, 1e7, log=True)})
        ... def saturating(D, A, beta, half, E):
        ...     return A / (1 + D / half) ** beta + E
        >>> saturating.text
        'A / (1 + D / half) ** beta + E'
    """
    unknown = [name for name in options if name not in Law.__dataclass_fields__]
    if unknown:
        raise UsageError(
            f"no law has an option `{unknown[0]}`",
            wanted="some of per_curve, monomials, starts, residual, huber_delta, last_sizes, contender",
        )

    def decorate(function: Callable[..., Any]) -> Law:
        arguments = list(inspect.signature(function).parameters)
        strange = [name for name in (*linear, *nonlinear) if name not in arguments]
        if strange:
            raise UsageError(
                f"`{strange[0]}` is not an argument of the law", wanted="one of " + ", ".join(arguments)
            )
        variables = tuple(name for name in arguments if name not in linear and name not in nonlinear)
        if not variables or not linear:
            raise UsageError(
                "a law needs a variable and a linear coefficient",
                wanted="e.g. f(D, A, beta, E) with linear A, E",
            )
        ranges = {
            name: value if isinstance(value, Range) else Range(*value) for name, value in nonlinear.items()
        }
        alone = len(variables) == 1 if per_curve is None else per_curve
        fields = {"monomials": monomials, "per_curve": alone, **options}
        return register(Law(function.__name__, function, variables, tuple(linear), ranges, **fields))

    return decorate


def register(made: Law) -> Law:
    """Makes a law known by its name; one of the user's replaces an earlier one.

    Raises:
        UsageError: The name is taken by finescale; a contender that cannot stand beside the others.
    """
    old = LAWS.get(made.name)
    if made.name in RESERVED or (old is not None and old.is_builtin and not made.is_builtin):
        raise UsageError(
            f"`{made.name}` is a law of finescale",
            wanted="a name of its own: fits are kept under their law's name",
            remedy=f"call the function my_{made.name}",
        )
    if made.contender and set(made.variables) not in ({"D"}, {"X", "D"}):
        raise UsageError(
            f"the law `{made.name}` cannot be a contender",
            wanted="a law of X and D, or of the data size alone",
            got=", ".join(made.variables),
        )
    LAWS[made.name] = made
    return made


def _probing(law: Law) -> dict[str, Any]:
    """Fixed arguments of a formula: parameters by their names' order, variables that differ."""
    names = sorted((*law.linear, *law.nonlinear))
    arguments: dict[str, Any] = {name: 0.3 + 0.07 * at for at, name in enumerate(names)}
    return arguments | {name: np.roll(_PROBED, at) for at, name in enumerate(sorted(law.variables))}


def _plain(values: Any) -> tuple[float | None, ...]:
    numbers = np.broadcast_to(np.asarray(values, dtype=float), (len(_PROBED),))
    return tuple(float(value) if math.isfinite(value) else None for value in numbers)


def _alike(first: Sequence[float | None], second: Sequence[float | None]) -> bool:
    if len(first) != len(second):
        return False
    for one, other in zip(first, second, strict=True):
        if one is None or other is None:
            if one is not other:
                return False
        elif not math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-300):
            return False
    return True


def _source(function: Callable[..., Any]) -> str:
    """The function's source without docstring, comments and layout; empty where there is none."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ""
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    body = bodies[0] if bodies else []
    kept = [
        node for node in body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    return "; ".join(ast.unparse(node) for node in kept)
