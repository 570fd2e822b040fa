"""A formula as plain data: what a Python function computes, found by calling it with symbols.

An expression is a number, the name of an argument, or a tuple of an operation and its operands:
``A * D**-beta + E`` is ``("+", ("*", "A", ("**", "D", ("neg", "beta"))), "E")``. The report's page evaluates
it, so no formula is written a second time in another language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Expression = float | str | tuple[Any, ...]

OPERATIONS: dict[str, np.ufunc] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
    "neg": np.negative,
    "abs": np.absolute,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "max": np.maximum,
    "min": np.minimum,
}
"""Every operation by the name that ``assets/explorer.js`` knows it by."""
_NAMES = {ufunc: name for name, ufunc in OPERATIONS.items()}
_NAMES |= {np.float_power: "**", np.square: "**"}
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "**": 4}
_MOST = 2_000
"""An expression with more operations is no formula that anybody reads."""


class _Symbol:
    """Stands for an argument, or for what was computed from arguments."""

    def __init__(self, node: Expression, size: int = 1) -> None:
        """Keeps the expression and its number of operations."""
        if size > _MOST:
            raise ValueError("more than a formula")
        self.node, self.size = node, size

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        name = _NAMES.get(ufunc)
        if name is None or method != "__call__" or options:
            return NotImplemented
        if ufunc is np.square:
            return _symbol("**", self, 2.0)
        return _symbol(name, *inputs)

    def __bool__(self) -> bool:
        raise TypeError("the formula branches on its arguments")

    def __neg__(self) -> _Symbol:
        return _symbol("neg", self)

    def __pos__(self) -> _Symbol:
        return self

    def __abs__(self) -> _Symbol:
        return _symbol("abs", self)

    def __add__(self, other: Any) -> _Symbol:
        return _symbol("+", self, other)

    def __radd__(self, other: Any) -> _Symbol:
        return _symbol("+", other, self)

    def __sub__(self, other: Any) -> _Symbol:
        return _symbol("-", self, other)

    def __rsub__(self, other: Any) -> _Symbol:
        return _symbol("-", other, self)

    def __mul__(self, other: Any) -> _Symbol:
        return _symbol("*", self, other)

    def __rmul__(self, other: Any) -> _Symbol:
        return _symbol("*", other, self)

    def __truediv__(self, other: Any) -> _Symbol:
        return _symbol("/", self, other)

    def __rtruediv__(self, other: Any) -> _Symbol:
        return _symbol("/", other, self)

    def __pow__(self, other: Any) -> _Symbol:
        return _symbol("**", self, other)

    def __rpow__(self, other: Any) -> _Symbol:
        return _symbol("**", other, self)


def trace(function: Callable[..., Any], names: Sequence[str]) -> Expression | None:
    """The expression that a function of these arguments computes; None where it is not plain arithmetic."""
    try:
        return _node(function(**{name: _Symbol(name) for name in names}))
    except Exception:
        return None


def evaluate(node: Expression, values: Mapping[str, Any]) -> Any:
    """The expression's value for given arguments."""
    if isinstance(node, str):
        return values[node]
    if isinstance(node, tuple):
        return OPERATIONS[node[0]](*(evaluate(part, values) for part in node[1:]))
    return node


def text_of(node: Expression) -> str:
    """The expression as a line of Python."""
    return _text(node)[0]


def _text(node: Expression) -> tuple[str, int]:
    """A line, and how strongly its outermost operation binds."""
    if isinstance(node, str):
        return node, 9
    if not isinstance(node, tuple):
        return f"{node:.17g}" if node != int(node) else f"{int(node)}", 9 if node >= 0 else 3
    name, *parts = node
    strength = _STRENGTH.get(name)
    if strength is None:
        return f"{name}({', '.join(text_of(part) for part in parts)})", 9
    if name == "neg":
        return "-" + _within(parts[0], strength), strength
    left = _within(parts[0], strength + (name == "**"))
    right = _within(parts[1], 3 if name == "**" else strength + (name in "-/"))
    return f"{left} {name} {right}", strength


def _within(node: Expression, least: int) -> str:
    line, strength = _text(node)
    return line if strength >= least else f"({line})"


def _symbol(name: str, *operands: Any) -> _Symbol:
    size = 1 + sum(operand.size for operand in operands if isinstance(operand, _Symbol))
    return _Symbol((name, *map(_node, operands)), size)


def _node(value: Any) -> Expression:
    if isinstance(value, _Symbol):
        return value.node
    number = float(value)
    if np.ndim(value) or not np.isfinite(number):
        raise TypeError("not a number")
    return number
