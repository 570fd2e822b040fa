"""The base settings of a law's slices: one a task, and the runs of every group that are at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from finescale.errors import UsageError
from finescale.laws.law import Law
from finescale.laws.left_out import group_label
from finescale.laws.options import RunFilter
from finescale.records.records import DATA_SIZE, FACTORS
from finescale.records.settings import (
    ANY,
    GROUP,
    SIZE,
    SIZES,
    UNNAMED,
    Base,
    at_base,
    base_setting,
    base_value,
    fill_groups,
    of_group,
)

ROW = "_row"
"""The column that keeps the order of the table."""


def base_settings(
    frame: pl.DataFrame, law: Law, by: Sequence[str], choice: RunFilter
) -> dict[tuple[Any, ...], Base]:
    """The base settings; a law that is fitted to every curve leaves all values, but those asked for."""
    scopes = [name for name in by if name != "method"]
    if law.per_curve:
        return {key: Base(choice.base, {}) for key in _parts(frame, scopes)}
    return scoped_bases(frame, scopes, choice.base)


def scoped_bases(
    tuned: pl.DataFrame, scopes: list[str], asked: Mapping[str, Any]
) -> dict[tuple[Any, ...], Base]:
    """The base setting of each scope, by the values of its columns.

    Args:
        tuned: Finished runs of tuned models, held-out ones too.
        scopes: The columns that tell scopes apart: all that make groups but the method.
        asked: Values that are given.
    """
    needed = [name for name in (*GROUP, *FACTORS, "model") if name in tuned.columns]
    parts = _parts(tuned, scopes)
    return {key: base_setting(fill_groups(part.select(needed)), asked) for key, part in parts.items()}


def _parts(frame: pl.DataFrame, scopes: list[str]) -> dict[tuple[Any, ...], pl.DataFrame]:
    """The rows of each scope; a table of one scope is not copied."""
    keys = frame.select(scopes).unique(maintain_order=True) if scopes else None
    if keys is None or keys.height <= 1:
        return {(() if keys is None or not keys.height else keys.row(0)): frame}
    return frame.partition_by(scopes, as_dict=True, maintain_order=True)


def at_bases(
    frame: pl.DataFrame,
    bases: Mapping[tuple[Any, ...], Base],
    by: list[str],
    free: set[str],
    choice: RunFilter,
) -> tuple[pl.DataFrame, list[tuple[dict[str, Any], str]], list[str]]:
    """The runs at their scope's base setting, the groups without one, and notes on ties.

    Raises:
        UsageError: A group has no run at the base setting that was asked for.
    """
    kept: list[pl.DataFrame] = []
    lost: list[tuple[dict[str, Any], str]] = []
    ties: list[str] = []
    for scope, part in _parts(frame, [name for name in by if name != "method"]).items():
        base = bases[scope]
        rows = at_base(part, base.values, free=free)
        kept.append(rows)
        for group in _without_runs(part, rows, by):
            lost.append((group, _nothing_there(of_group(part, group), group, base.values, free, choice)))
        ties += [
            words[0].upper() + words[1:]
            for name, words in base.ties.items()
            if name.partition(".")[0] not in free
        ]
    return kept[0] if len(kept) == 1 else pl.concat(kept).sort(ROW), lost, ties


def _without_runs(rows: pl.DataFrame, kept: pl.DataFrame, by: list[str]) -> list[dict[str, Any]]:
    """The groups of which nothing is kept."""
    if kept.height == rows.height or not by:
        return [{}] if rows.height and not kept.height else []
    groups, left = (frame.select(by).unique(maintain_order=True) for frame in (rows, kept))
    return groups.join(left, on=by, how="anti", nulls_equal=True, maintain_order="left").to_dicts()


def _nothing_there(
    rows: pl.DataFrame, group: Mapping[str, Any], base: Mapping[str, Any], free: set[str], choice: RunFilter
) -> str:
    """Why a group without a run at the base setting is left out.

    Raises:
        UsageError: The setting was asked for.
    """
    method = group.get("method", UNNAMED)
    for name in (*FACTORS, "model", DATA_SIZE):
        wanted = base_value(choice.base, name, method)
        if name in free or wanted is None or name not in rows.columns:
            continue
        if not at_base(rows, {name: wanted}).height:
            have = ", ".join(_plain(value) for value in rows[name].drop_nulls().unique().sort())
            raise UsageError(
                f"no run of {group_label(group)} has {name} = {_plain(wanted)}",
                wanted=f"one of {have}",
                remedy="see --base",
            )
    named = {name: value for name in FACTORS if (value := base_value(base, name, method)) is not None}
    at = ", ".join(f"{name} {_plain(value)}" for name, value in named.items() if name not in free)
    return f"no run at the base setting ({at}), so left out (--base to choose it)."


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def base_of(
    rows: pl.DataFrame, base: Mapping[str, Any], group: Mapping[str, Any], free: set[str]
) -> dict[str, Any]:
    """The values of a group's constant factors; a PET size for each method of a group of several."""
    found: dict[str, Any] = {}
    for name in FACTORS:
        values = rows[name] if name in rows.columns else pl.Series([], dtype=pl.Float64)
        both_counts = name == SIZES[1] and SIZE in rows.columns and name not in base
        if name in free or both_counts or (name in SIZES and free & set(SIZES)) or not values.count():
            continue
        wanted = base_value(base, name, group.get("method", UNNAMED))
        own = {key: value for key, value in base.items() if key.startswith(f"{name}.") and value != ANY}
        if wanted is not None:
            found[name] = wanted
        elif values.min() == values.max():
            found[name] = float(values.min())  # type: ignore[arg-type]
        elif "method" not in group:
            found |= own
    return found
