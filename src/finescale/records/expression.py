"""A safe expression over columns, for ``hold_out: "model_params>=1.5e10 or finetune_examples>=4.5e6"``.

Comparisons of columns with numbers, texts or ``max(column)`` / ``min(column)``, joined with ``and``, ``or``,
``not`` and brackets; ``in`` with a list; a name with blanks or signs stands in backquotes. Parsed by Python's
parser and translated node by node into a polars expression: nothing is ever evaluated as code.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from finescale.errors import UsageError
from finescale.records.names import find

if TYPE_CHECKING:
    import polars as pl

_COMPARE: dict[type[ast.cmpop], str] = {
    ast.GtE: ">=",
    ast.Gt: ">",
    ast.LtE: "<=",
    ast.Lt: "<",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_WANTED = 'comparisons joined with and/or/not, e.g. "model_params>=1.5e10 or pet_size==max(pet_size)"'
_VALUE = r"""'[^']*'|"[^"]*"|[^\s<>=!()\[\]'"`](?:[^<>=!()\[\]'"`]*[^\s<>=!()\[\]'"`])?"""
_SIMPLE = re.compile(rf"(`[^`]+`|[^\W\d]\w*)\s*(==|!=|>=|<=|=|<|>)\s*({_VALUE})")
_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?")
_KEPT = re.compile(r"'[^']*'|\"[^\"]*\"|True|False|\d+\s*\*\*\s*\d+")
"""What a simple comparison's value may be; a number; what else of it is Python already."""
_LONGEST = 2_000
_DEEPEST = 50
"""Levels of brackets, `not` and chains; polars walks an expression recursively, too."""
_FOUND = "_found"
_LARGEST = 2**63
"""Whole numbers from here on are no values of a column; polars has no constants for them."""


def written_out(text: str) -> str:
    """A simple expression with quotes and signs where people leave them out; any other as it is.

    Simple are comparisons of a name with one value, joined with ``and`` or ``or``. One ``=`` is ``==``; a
    value that is no number is a text; sizes may be written as in tables (``50k``).

    Args:
        text: The expression.

    Example:
        >>> written_out("model = facebook/opt-1.3b and finetune_examples <= 50k")
        "model == 'facebook/opt-1.3b' and finetune_examples <= 50000.0"
    """
    parts = re.split(r"(\s+(?:and|or)\s+)", text.strip())
    for at in range(0, len(parts), 2):
        simple = _SIMPLE.fullmatch(parts[at])
        if simple is None:
            return text
        name, sign, value = simple.groups()
        parts[at] = f"{name} {'==' if sign == '=' else sign} {_literal(value, sign)}"
    return "".join(parts)


def quoted(name: str) -> str:
    """A column's name as an expression writes it: in backquotes where it is no plain word."""
    return name if name.isidentifier() else f"`{name}`"


def _literal(value: str, sign: str) -> str:
    """A value of a simple comparison as Python writes it."""
    if _NUMBER.fullmatch(value) or _KEPT.fullmatch(value):
        return value
    if sign in {"=", "==", "!="}:
        return repr(value)
    found = _as_number(value)
    return value if isinstance(found, str) else repr(found)


def _as_number(value: str) -> float | str:
    """A number as tables write it (``50k``, ``7B``); any other text as it is."""
    from finescale.records.values import number  # noqa: PLC0415 - polars only where a number needs it

    try:
        return number(value, "")
    except UsageError:
        return value


def parse_expression(text: str, columns: Sequence[str], numeric: Collection[str] = ()) -> pl.Expr:
    """Translates the expression into a polars filter.

    Args:
        text: The expression.
        columns: The columns that a name may mean.
        numeric: Those that hold numbers: compared with them, ``125M`` is one too.

    Returns:
        A boolean polars expression. A comparison with an empty cell counts as false.

    Raises:
        UsageError: A syntax error, an unknown column, or anything but comparisons.
    """

    def see(name: str) -> str:
        found = find(name, columns)
        if found is not None:
            return found
        if name not in columns:
            near = get_close_matches(name, columns, n=1)
            hint = f"did you mean `{near[0]}`?" if near else f"columns: {', '.join(columns)}"
            raise UsageError(f"unknown column `{name}`", remedy=hint, where=f'expression "{text}"')
        return name

    return _Translator(text, see, numeric).condition(_parsed(text))


def matches(frame: pl.DataFrame, text: str, by: Sequence[str] = ()) -> pl.Series:
    """Which rows match the expression.

    Args:
        frame: The table.
        text: The expression.
        by: Columns of the groups inside which ``max`` and ``min`` are taken.

    Returns:
        One boolean a row.

    Raises:
        UsageError: As ``parse_expression``; or a text compared with a number.
    """
    import polars as pl  # noqa: PLC0415

    numeric = [name for name, kind in frame.schema.items() if kind.is_numeric()]
    condition = parse_expression(text, frame.columns, numeric)
    try:
        # with_columns: a comparison of max(column) with a constant counts for every row, too
        return frame.with_columns((condition.over(by) if by else condition).alias(_FOUND))[_FOUND]
    except pl.exceptions.PolarsError as error:
        got = str(error).splitlines()[0]
        raise UsageError(
            "cannot be compared", wanted=_WANTED, got=got, where=f'expression "{text}"'
        ) from None


def _parsed(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise UsageError(
            "the expression is too long", wanted=f"at most {_LONGEST} characters", got=str(len(text))
        )
    try:
        tree = ast.parse(_unquoted(written_out(text))[0].strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f'expression "{text}"'
        raise UsageError(
            "not an expression", wanted=_WANTED, got=str(error).split("(")[0], where=where
        ) from None
    if _depth(tree) > _DEEPEST:
        raise UsageError(
            "the expression is nested too deeply",
            wanted=f"at most {_DEEPEST} levels of brackets, `not` and comparisons",
            where=f'expression "{text[:80]}..."',
        )
    return tree


def _depth(tree: ast.AST) -> int:
    """Levels of a syntax tree, counted without recursion."""
    depth, level = 0, [tree]
    while level:
        depth += 1
        level = [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def _unquoted(text: str) -> tuple[str, dict[str, str]]:
    """The expression with names of Python for those in backquotes, and what these stand for."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        names[f"_quoted_{len(names)}_"] = match[1]
        return f" _quoted_{len(names) - 1}_ "

    return re.sub(r"`([^`]+)`", name, text), names


class _Translator:
    """Walks the syntax tree; every node that is not listed here is refused."""

    def __init__(self, text: str, see: Callable[[str], str], numeric: Collection[str]) -> None:
        self.text, self.numeric = text, numeric
        _, quoted = _unquoted(written_out(text))
        self.see: Callable[[str], str] = lambda name: see(quoted.get(name, name))

    def refuse(self, node: ast.AST) -> UsageError:
        got = ast.get_source_segment(written_out(self.text).strip(), node) or type(node).__name__
        return UsageError(
            "not allowed in an expression", wanted=_WANTED, got=got, where=f'expression "{self.text}"'
        )

    def condition(self, node: ast.expr) -> pl.Expr:
        match node:
            case ast.BoolOp(op=op, values=values):
                import polars as pl  # noqa: PLC0415 - keeps the module light for study files

                parts = [self.condition(value) for value in values]
                return pl.all_horizontal(parts) if isinstance(op, ast.And) else pl.any_horizontal(parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return ~self.condition(operand)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self.comparison(left, ops, comparators)
            case ast.Name(id=name):
                import polars as pl  # noqa: PLC0415

                return pl.col(self.see(name)).cast(pl.Boolean).fill_null(value=False)
        raise self.refuse(node)

    def comparison(self, left: ast.expr, ops: list[ast.cmpop], comparators: list[ast.expr]) -> pl.Expr:
        import polars as pl  # noqa: PLC0415

        parts: list[pl.Expr] = []
        for op, right in zip(ops, comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple | ast.Set):
                values = [self.constant(item, self.is_numeric(left)) for item in right.elts]
                if len({isinstance(value, str) for value in values}) > 1:
                    raise self.refuse(right)  # texts and numbers in one list fit no column
                # one by one: polars refuses to look for whole numbers in a column of fractions
                inside = pl.any_horizontal(pl.lit(False), *[self.operand(left) == value for value in values])
                parts.append((~inside if isinstance(op, ast.NotIn) else inside).fill_null(value=False))
            elif type(op) in _COMPARE:
                numeric = self.is_numeric(left) or self.is_numeric(right)
                a, b = self.operand(left, numeric), self.operand(right, numeric)
                made = {">=": a >= b, ">": a > b, "<=": a <= b, "<": a < b, "==": a == b, "!=": a != b}
                parts.append(made[_COMPARE[type(op)]].fill_null(value=False))
            else:
                raise self.refuse(right)
            left = right
        return pl.all_horizontal(parts)

    def is_numeric(self, node: ast.expr) -> bool:
        """Whether a side of a comparison is a column of numbers, or its largest or smallest."""
        match node:
            case ast.Name(id=name) | ast.Call(func=ast.Name(id="max" | "min"), args=[ast.Name(id=name)]):
                return self.see(name) in self.numeric
        return False

    def operand(self, node: ast.expr, numeric: bool = False) -> pl.Expr:
        import polars as pl  # noqa: PLC0415

        match node:
            case ast.Name(id=name):
                return pl.col(self.see(name))
            case ast.Call(func=ast.Name(id="max" | "min" as which), args=[ast.Name(id=name)], keywords=[]):
                column = pl.col(self.see(name))
                return column.max() if which == "max" else column.min()
        return pl.lit(self.constant(node, numeric))

    def constant(self, node: ast.expr, numeric: bool = False) -> float | str | bool:
        match node:
            case ast.Constant(value=str() as value) if numeric:
                return _as_number(value)
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return _fitting(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return -_fitting(value)
            case ast.BinOp(left=ast.Constant(value=int() | float() as base), op=ast.Pow(), right=exponent):
                power = self.constant(exponent)
                if isinstance(power, int | float) and abs(power) <= 30 and 0 < base <= 1000:
                    return float(base) ** power
        raise self.refuse(node)


def _fitting(value: Any) -> Any:
    """A constant as polars can hold it: whole numbers beyond 64 bits as the nearest fraction, or infinity."""
    if not isinstance(value, int) or abs(value) < _LARGEST:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf
