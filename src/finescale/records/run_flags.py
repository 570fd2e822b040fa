"""Columns that say of a run that it failed, or that it does not count: `finished`, `diverged`, `exclude`."""

from __future__ import annotations

import polars as pl

from finescale.records.columns import BY_NAME
from finescale.records.names import bare
from finescale.records.roles import PROGRESS
from finescale.records.values import EMPTY, FALSE, TRUE

_GOOD = frozenset({
    "finished", "is_finished", "completed", "is_completed", "complete", "is_complete", "success", "succeeded",
    "successful", "converged", "is_converged", "valid", "is_valid", "include", "included", "usable", "done",
})  # fmt: skip
"""Where it is false the run does not count."""
_BAD = frozenset({
    "failed", "is_failed", "failure", "diverged", "is_diverged", "crashed", "is_crashed", "oom", "is_nan",
    "invalid", "exclude", "excluded", "ignore", "ignored", "skip", "skipped", "discard", "discarded",
    "outlier", "is_outlier", "broken",
})  # fmt: skip
"""Where it is true the run does not count; a mark of any kind is true."""
_MESSAGES = frozenset(["error", "error_message", "error_msg", "exception", "failure_reason", "traceback"])


def failed_runs(frame: pl.DataFrame) -> tuple[pl.Series, dict[str, int]]:
    """Which rows a column calls failed or not to be counted, and how many, by reason.

    Args:
        frame: A table with our names.

    Example:
        >>> failed_runs(pl.DataFrame({"finished": [True, False], "test_loss": [2.0, 9.0]}))[1]
        {'`finished` false': 1}
    """
    lost = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    left_out: dict[str, int] = {}
    logged = any(bare(name) in PROGRESS for name in frame.columns)
    for name in frame.columns:
        word = bare(name)
        if (name in BY_NAME and name not in _MESSAGES) or (
            word == "done" and logged
        ):  # Ray Tune's says which row is a run's last
            continue
        found = _says_failed(frame[name], word)
        if found is None:
            continue
        mine = found[0] & ~lost
        if mine.any() and not found[0].all():
            left_out[f"`{name}` {found[1]}"] = int(mine.sum())
            lost = lost | mine
    return lost, left_out


def _says_failed(values: pl.Series, word: str) -> tuple[pl.Series, str] | None:
    """The rows that did not go well by a column, and what stands there; None where it is no such column."""
    if word not in _GOOD | _BAD | _MESSAGES or values.dtype.is_nested() or values.dtype == pl.Object:
        return None
    cells = values.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()
    nothing = cells.is_in([*EMPTY, "nan"])
    if word in _MESSAGES:
        said = ~nothing & ~cells.is_in([*FALSE, "ok", "no error"])
        numbers = cells.str.contains(r"^[-+.\d]")
        return None if (said & numbers).any() else (said, "is there")
    if word in _BAD:
        return ~nothing & ~cells.is_in(FALSE), "true"
    known = (nothing | cells.is_in([*TRUE, *FALSE])).all()
    return (cells.is_in(FALSE), "false") if known else None
