"""Runs of one setting that differ in a hyperparameter: a sweep, of which the best candidate counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from finescale.errors import UsageError
from finescale.records.roles import Role
from finescale.wording import listed

_CANDIDATE, _SCORE, _BEST, _TRIED = "_candidate", "_score", "_best", "_tried"
MORE = 2.0
"""Where one method had more than so many times as many candidates as another, its best is flattered."""


@dataclass(frozen=True)
class Reduced:
    """What a sweep comes to.

    Attributes:
        keep: One boolean a row.
        swept: The hyperparameters that differ inside settings.
        tuned: Whether the row's setting had several learning rates; one boolean a row.
        notes: What was done, in sentences.
        doubts: Why a comparison of methods is not to be trusted, in clauses.
    """

    keep: pl.Series
    swept: tuple[str, ...] = ()
    tuned: pl.Series | None = None
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def reduce_sweeps(
    frame: pl.DataFrame, roles: Mapping[str, Role], *, outcome: str, lower: bool, choice: str, origin: str
) -> Reduced:
    """Finds settings with several candidates, and which rows count.

    Args:
        frame: Finished runs with an outcome, one row each.
        roles: The columns' roles.
        outcome: The column that is analysed.
        lower: Whether lower is better.
        choice: ``best``: the best candidate of each setting; ``all``: all, averaged; ``refuse``: none.
        origin: The table, for messages.

    Returns:
        The rows that count.

    Raises:
        UsageError: There is a sweep, and ``choice`` is ``refuse``.
    """
    everything = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    settings = [name for name, role in roles.items() if role == "setting"]
    hyper = [name for name, role in roles.items() if role == "hyperparameter" and _is_flat(frame[name])]
    hyper = [name for name in hyper if frame[name].n_unique() > 1]
    if not hyper or frame.height < 2:
        return Reduced(everything)
    swept = _varying(frame, hyper, settings)
    if not swept:
        return Reduced(everything)
    names = listed(swept)
    if choice == "refuse":
        raise UsageError(
            f"runs of one setting differ in {names}",
            wanted="runs that differ in seeds alone (--sweep refuse)",
            got=_example(frame, settings, swept[0]),
            remedy="--sweep best: the best candidate of each setting counts; or --where EXPRESSION",
            where=origin,
        )
    tuned = _tuned(frame, settings, swept)
    if choice == "all":
        words = f"Runs of one setting differ in {names}: they are averaged as they are (--sweep all)."
        return Reduced(everything, swept, tuned, (words,), (f"runs that differ in {names} are averaged",))
    by, low = ("dev_loss", True) if _usable(frame, "dev_loss") and outcome != "dev_loss" else (outcome, lower)
    counted = _candidates(frame, settings, swept, by, lower=low)
    keep = counted[_BEST]
    optimistic = "" if by != outcome else ", which is optimistic: it is judged by what it was chosen by"
    many = counted.filter(pl.col(_TRIED) > 1)[_TRIED]
    note = (
        f"Runs of one setting differ in {names}: a sweep. The best of {_range(many)} candidates a setting "
        f"counts, by {by}{optimistic}; {frame.height - int(keep.sum())} rows of the others do not "
        "(--sweep all: average them)."
    )
    return Reduced(keep, swept, tuned, (note, *_cursed(counted)))


def _varying(frame: pl.DataFrame, names: Sequence[str], settings: Sequence[str]) -> tuple[str, ...]:
    """The hyperparameters with several values in some setting."""
    count = [pl.col(name).n_unique() for name in names]
    counts = frame.group_by(list(settings)).agg(count) if settings else frame.select(count)
    return tuple(name for name in names if (counts[name] > 1).any())


def _candidates(
    frame: pl.DataFrame, settings: Sequence[str], swept: Sequence[str], by: str, *, lower: bool
) -> pl.DataFrame:
    """The rows with how many candidates their setting has, and whether theirs is the best of them."""
    rows = frame.with_columns(pl.col(by).mean().over([*settings, *swept]).alias(_SCORE))
    rows = rows.with_columns(pl.struct(swept).alias(_CANDIDATE))
    score = pl.col(_SCORE) if lower else -pl.col(_SCORE)
    score = pl.when(score.is_finite()).then(score).otherwise(float("inf"))
    first = pl.col(_CANDIDATE).sort_by(score, maintain_order=True).first()
    group = list(settings)
    if group:
        first, tried = first.over(group), pl.col(_CANDIDATE).n_unique().over(group)
    else:
        tried = pl.col(_CANDIDATE).n_unique()
    rows = rows.with_columns(first.alias("_first"), tried.alias(_TRIED))
    return rows.with_columns(pl.col(_CANDIDATE).eq_missing(pl.col("_first")).alias(_BEST))


def _cursed(counted: pl.DataFrame) -> tuple[str, ...]:
    """A note where one method's best was chosen from many more candidates than another's."""
    if "method" not in counted.columns:
        return ()
    keys = [name for name in ("task", "method") if name in counted.columns]
    means = counted.filter(_BEST).group_by(keys, maintain_order=True).agg(pl.col(_TRIED).mean())
    notes: list[str] = []
    groups = means.group_by("task", maintain_order=True) if "task" in keys else [((), means)]
    for _, part in groups:
        part = part.sort(_TRIED, descending=True, maintain_order=True)  # noqa: PLW2901
        many, few = part.row(0, named=True), part.row(-1, named=True)
        if many[_TRIED] > MORE * few[_TRIED]:
            notes.append(
                f"{many['method']} had {many[_TRIED]:.3g} candidates a setting and {few['method']} "
                f"{few[_TRIED]:.3g}: the best of more looks better by luck; {many['method']} is flattered."
            )
    return tuple(dict.fromkeys(notes))


def _tuned(frame: pl.DataFrame, settings: Sequence[str], swept: Sequence[str]) -> pl.Series | None:
    """Whether several learning rates were tried in the row's setting; None where rates are not swept."""
    rates = [name for name in swept if name == "learning_rate"]
    if not rates:
        return None
    several = pl.col("learning_rate").n_unique() > 1
    return frame.with_columns((several.over(list(settings)) if settings else several).alias("_t"))["_t"]


def _usable(frame: pl.DataFrame, name: str) -> bool:
    return name in frame.columns and frame[name].dtype.is_numeric() and bool(frame[name].is_not_null().all())


def _is_flat(values: pl.Series) -> bool:
    return not values.dtype.is_nested() and values.dtype != pl.Object


def _range(counts: pl.Series) -> str:
    low, high = int(counts.min() or 0), int(counts.max() or 0)  # type: ignore[arg-type]
    return f"{low}" if low == high else f"{low} to {high}"


def _example(frame: pl.DataFrame, settings: Sequence[str], name: str) -> str:
    """One setting with its values of a hyperparameter."""
    for _, part in frame.group_by(list(settings), maintain_order=True) if settings else [((), frame)]:
        if part[name].n_unique() > 1:
            where = ", ".join(f"{key} {_plain(part[key][0])}" for key in settings)
            return f"{where or 'all rows'}: {name} " + ", ".join(
                _plain(v) for v in part[name].unique().sort()[:5]
            )
    return ""


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
