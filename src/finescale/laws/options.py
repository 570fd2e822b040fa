"""The options of a fit: stated once, read once, and passed whole to everything that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypedDict

from finescale.errors import UsageError, nearest
from finescale.records.records import Records, as_records
from finescale.records.settings import GROUP

if TYPE_CHECKING:
    from finescale.records.tables import TableLike


class FitKeywords(TypedDict, total=False):
    """The options of ``fit`` as keywords; ``RunFilter`` and ``FitOptions`` have their defaults.

    Attributes:
        by: Columns that make groups.
        loss: The loss column; default: that of the records.
        hold_out: An expression, ``largest`` (the largest value of factor and data size), False (nothing), or
            None: the column ``held_out`` where there is one.
        base: Values of the other factors at which a factor's slice is taken (``{"pretrain_tokens": "any"}``:
            no slice).
        average_seeds: A setting's runs are averaged first, as in the paper.
        weights: A column of weights.
        residual: ``raw`` (the paper) or ``log`` (Chinchilla).
        bootstrap: Number of resamples; 0 for none.
        seed: Seed of the bootstrap.
        solver: ``varpro``, or ``lbfgs`` (scipy from a grid of starts; its bootstrap is varpro's).
        level: Coverage of the intervals.
        shared: Parameters with one value for all factors of a group, e.g. ``("beta", "E")``; one fit then
            has them all.
        across: Columns of ``by`` over whose values the parameters in ``shared`` are shared instead, e.g.
            ``("method",)``.
        fixed: Parameters that keep a given value.

    Example:
        >>> options: fs.FitKeywords = {"residual": "log", "bootstrap": 0, "by": ("method",)}
        >>> fs.fit(records, factors="model_params", **options)[0].residual
        'log'
    """

    by: Sequence[str]
    loss: str | None
    hold_out: str | bool | None
    base: Mapping[str, Any] | None
    average_seeds: bool
    weights: str | None
    residual: str
    bootstrap: int
    seed: int
    solver: str
    level: float
    shared: Sequence[str]
    across: Sequence[str]
    fixed: Mapping[str, float] | None


@dataclass(frozen=True)
class RunFilter:
    """How runs are chosen; see ``FitKeywords`` for the meaning of each field."""

    by: tuple[str, ...] = GROUP
    loss: str = "test_loss"
    hold_out: str | bool | None = None
    base: Mapping[str, Any] = field(default_factory=dict)
    average_seeds: bool = True
    weights: str | None = None


@dataclass(frozen=True)
class FitOptions:
    """How a problem is solved and resampled; see ``FitKeywords`` for the meaning of each field.

    Raises:
        UsageError: A residual or solver that does not exist, a number of resamples or a level that is none.
    """

    residual: str = "raw"
    bootstrap: int = 1000
    seed: int = 0
    solver: str = "varpro"
    level: float = 0.9
    shared: tuple[str, ...] = ()
    across: tuple[str, ...] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the values."""
        for value, known, name in (
            (self.residual, ("raw", "log"), "residual"),
            (self.solver, ("varpro", "lbfgs"), "solver"),
        ):
            if value not in known:
                raise UsageError(f"unknown {name}", wanted=" or ".join(known), got=str(value))
        if self.bootstrap < 0 or self.bootstrap == 1:
            wanted, got = "0, or 2 and more", str(self.bootstrap)
            raise UsageError("the number of resamples", wanted=wanted, got=got)
        if not 0 < self.level < 1:
            wanted, got = "between 0 and 1", str(self.level)
            raise UsageError("the level of the intervals", wanted=wanted, got=got)


def read_options(
    records: Records | TableLike,
    keywords: Mapping[str, Any],
    *,
    without: Sequence[str] = (),
    because: str = "",
) -> tuple[Records, RunFilter, FitOptions]:
    """The table, which of its runs are fitted, and how.

    Args:
        records: Records, or what ``read_records`` takes.
        keywords: Options of ``fit``.
        without: Options that mean nothing here.
        because: Why, and what means something instead.

    Raises:
        UsageError: An option that does not exist or means nothing here; as ``read_records``.
    """
    for name in without:
        if keywords.get(name):
            got = f"{name}={keywords[name]!r}"
            raise UsageError(f"the option `{name}` means nothing here", wanted=because, got=got)
    known = list(FitKeywords.__annotations__)
    for name in keywords:
        if name not in known:
            wanted = "some of " + ", ".join(known)
            raise UsageError(f"no option `{name}`", wanted=wanted, remedy=nearest(name, known))
    loss = keywords.get("loss")
    table = as_records(records, loss)
    values = dict(keywords)
    values["loss"] = table.loss
    for name in ("by", "shared", "across"):
        if name in values:
            values[name] = _names(name, values[name])
    for name in ("base", "fixed"):
        if name in values:
            values[name] = dict(values[name] or {})
    runs = {one.name: values[one.name] for one in fields(RunFilter) if one.name in values}
    how = {one.name: values[one.name] for one in fields(FitOptions) if one.name in values}
    return table, RunFilter(**runs), FitOptions(**how)


def _names(option: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        raise UsageError(
            f"the option `{option}`", wanted=f'a list of names, e.g. ("{value}",)', got=repr(value)
        )
    return tuple(value or ())
