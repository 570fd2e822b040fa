"""Numbers that no run can have, runs that are there twice, outcomes that are missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import polars as pl

from finescale.errors import UsageError
from finescale.records.columns import DATA_SIZE, NUMERIC, Kind
from finescale.records.names import bare
from finescale.records.outcomes import Outcome
from finescale.records.typed import SOURCE_ROW, BadCells, refuse_bad

LEAST_LOSS, MOST_LOSS = 1e-30, 1e30
"""Beyond them a loss is a broken number, whose squares are none at all."""
_LEAST: Mapping[str, float] = {DATA_SIZE: 100, "model_params": 1000, "pretrain_tokens": 1000}
"""A column of smaller numbers counts something else; of examples only where some are no whole numbers."""


_LOGS = re.compile(r"(^|_)(log|log2|log10|ln)(_|\d|$)")
_MOST_LOG = 45.0
"""No logarithm of a number of examples or parameters is larger."""


def with_outcome(
    frame: pl.DataFrame, outcome: Outcome, left_out: dict[str, int], unread: pl.Series | None, origin: str
) -> pl.DataFrame:
    """The rows with an outcome; the others are counted by reason.

    Raises:
        UsageError: No row has one.
    """
    values = frame[outcome.column]
    nothing = values.is_null()
    lost = (values.is_nan() | values.is_infinite()).fill_null(False)
    strange = nothing & unread if unread is not None else nothing & ~nothing
    good = ~(nothing | lost)
    if frame.height and not good.any():
        got = "text" if strange[0] else "an empty cell" if values[0] is None else f"{values[0]:g}"
        raise UsageError(
            f"no run has a {outcome.name} that can be read",
            wanted="a number in one row at least",
            got=f"{got} there, and no number in the other rows" if frame.height > 1 else got,
            remedy="name another column (--loss, --score); a run without one has a `status` other than done",
            where=f"{origin}, row {frame[SOURCE_ROW][0]}, column {outcome.column}",
        )
    left_out |= _many(strange, f"a {outcome.column} that is no number")
    left_out |= _many(nothing & ~strange, f"an empty {outcome.column}")
    for value, many in values.filter(lost).cast(pl.String).value_counts(sort=True).iter_rows():
        left_out[f"{outcome.column} {value.lower()}"] = many
    return frame if good.all() else frame.filter(good)


def check_values(
    frame: pl.DataFrame, kinds: Mapping[str, Kind], outcome: Outcome, need: Sequence[str], origin: str
) -> None:
    """Refuses numbers that no run can have: all of them at once."""
    bad: list[BadCells] = []
    remedy = "fix the value, or leave the row out (--where, or a `status` other than done)"
    for name, kind in kinds.items():
        if kind not in NUMERIC or name not in frame.columns or not frame.height:
            continue
        if name == outcome.column and outcome.kind == "score":
            continue
        values = frame[name]
        required = name in (outcome.column, DATA_SIZE, *need)
        rules = {
            "size": (values > 0, "a number above 0"),
            "count": (values >= 0, "0 or more"),
            "loss": (
                (values > LEAST_LOSS) & (values < MOST_LOSS),
                f"a loss above 0, in {outcome.unit or 'nats per target token'}"
                + (f", between {LEAST_LOSS:g} and {MOST_LOSS:g}" if (values > 0).all() else ""),
            ),
            "number": (values.is_finite(), "a finite number"),
        }
        good, wanted = rules[kind]
        wrong = ~(good & values.is_finite()).fill_null(not required)
        if name == "learning_rate" and not required:  # 0 where a schedule ends
            wrong = wrong & (values != 0).fill_null(False)
        if wrong.any():
            bad.append(BadCells(name, wrong, wanted, remedy, values))
    refuse_bad(bad, frame[SOURCE_ROW], origin)


def check_magnitudes(frame: pl.DataFrame, names: Mapping[str, str], origin: str) -> None:
    """Refuses columns whose numbers are logarithms, shares or multiples of what they should count.

    Args:
        frame: Runs.
        names: Our names to the table's, where they differ.
        origin: The table.

    Raises:
        UsageError: One has such numbers in every row.
    """
    for name, least in _LEAST.items():
        if name not in frame.columns or frame[name].dtype == pl.String:
            continue
        values = frame[name].drop_nulls()
        values = values.filter(values > 0)
        theirs = names.get(name, name)
        logs = _LOGS.search(bare(theirs)) is not None and values.len() and float(values.max()) < _MOST_LOG  # type: ignore[arg-type]
        if not values.len() or (float(values.max()) >= least and not logs):  # type: ignore[arg-type]
            _refuse_small(frame, name, least, theirs, origin)
            continue
        if name == DATA_SIZE and (values == values.round()).all() and not logs:
            continue
        shown = f"{values.min():.6g} to {values.max():.6g}" if values.n_unique() > 1 else f"{values[0]:.6g}"
        what = {DATA_SIZE: "examples", "model_params": "parameters"}.get(name, "tokens")
        times = "1000" if name == DATA_SIZE else "1e9"
        also = "; if shares, of how many" if name == DATA_SIZE else " (1e6, ...)"
        remedy = f'if they are multiples, say of what: --column "{name}={theirs}*{times}"{also}'
        raise UsageError(
            f"column {theirs}: too small for numbers of {what}",
            wanted=f"numbers of {what}",
            got=shown,
            remedy=f"{remedy}; if logarithms, write the numbers themselves",
            where=origin,
        )


def _refuse_small(frame: pl.DataFrame, name: str, least: float, theirs: str, origin: str) -> None:
    """Refuses cells that count otherwise than the rest of their column: 7 beside 350M."""
    if name == DATA_SIZE:
        return
    values = frame[name]
    small = ((values > 0) & (values < least)).fill_null(False)
    if small.any():
        remedy = "write the multiple into the cell (7B), or the number itself"
        wrong = BadCells(name, small, "numbers of one kind", remedy, values, theirs if theirs != name else "")
        refuse_bad([wrong], frame[SOURCE_ROW], origin)


def check_duplicates(frame: pl.DataFrame, origin: str) -> None:
    """Refuses a run that is there twice.

    Raises:
        UsageError: One is.
    """
    if "run" not in frame.columns:
        return
    again = frame["run"].is_not_null() & ~frame["run"].is_first_distinct()
    if again.any():
        row = int(again.arg_max() or 0)
        first = frame.filter(pl.col("run") == frame["run"][row])[SOURCE_ROW][0]
        raise UsageError(
            f"run {frame['run'][row]} is there twice (first in row {first})",
            wanted="one row for each run",
            got="two rows",
            remedy="remove one of them, or say which column grows within a run: --role COLUMN=progress; if "
            "`run` names no runs: --role run=repeat (it numbers repeats), --role run=label",
            where=f"{origin}, row {frame[SOURCE_ROW][row]}, column run",
        )


def _many(rows: pl.Series, reason: str) -> dict[str, int]:
    many = int(rows.sum())
    return {reason: many} if many else {}
