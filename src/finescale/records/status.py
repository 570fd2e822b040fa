"""Whether a run finished: the words of W&B, MLflow, Optuna, Ray Tune and SLURM, and a cell that is empty."""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from finescale.errors import UsageError

_WORDS: Mapping[str, tuple[str, ...]] = {
    "done": (
        "done", "finished", "finish", "complete", "completed", "success", "successful", "succeeded", "ok",
        "terminated", "passed", "ended", "exited 0",
    ),
    "diverged": ("diverged", "divergence", "nan", "exploded"),
    "failed": (
        "failed", "fail", "failure", "crashed", "crash", "error", "errored", "killed", "cancelled",
        "canceled", "timeout", "timed out", "out of memory", "out of me", "oom", "node fail", "boot fail",
        "deadline", "preempted", "aborted", "abort", "interrupted", "revoked", "broken",
    ),
    "stopped": ("stopped", "pruned", "early stopped", "stopped early"),
    "running": (
        "running", "pending", "queued", "scheduled", "waiting", "paused", "suspended", "starting", "started",
        "configuring", "completing", "requeued", "resizing", "preempting", "unfinished", "in progress",
        "submitted", "created", "launched", "initializing",
    ),
}  # fmt: skip
"""Our words, and those of W&B (State), MLflow (status), Optuna (state), Ray Tune (status), SLURM (State)."""

_OURS = {word: ours for ours, words in _WORDS.items() for word in words}


def of_word(word: str) -> str | None:
    """Our word for a tracker's; None where it is none of theirs.

    Example:
        >>> of_word("FINISHED"), of_word("TrialState.PRUNED"), of_word("CANCELLED by 1001")
        ('done', 'stopped', 'failed')
    """
    plain = re.sub(r"[\W_]+", " ", word.rpartition(".")[2].casefold()).strip()
    if plain.startswith(("cancelled by", "canceled by")):  # SLURM names the user
        return "failed"
    return _OURS.get(plain)


def is_status(values: pl.Series) -> bool:
    """Whether a column holds words for how runs stand: all that are not empty are known."""
    words = values.drop_nulls().unique().to_list()
    return bool(words) and all(not str(word).strip() or of_word(str(word)) for word in words)


def in_our_words(values: pl.Series, has_value: pl.Series, origin: str) -> tuple[pl.Series, list[str]]:
    """The statuses in our words; an empty cell is ``done`` where the outcome is there.

    Args:
        values: The column, as text.
        has_value: Whether the row has an outcome.
        origin: The table, for messages.

    Returns:
        The statuses (unknown words as they are, empty ones without an outcome null), and notes.

    Raises:
        UsageError: No word is known.
    """
    text = values.str.strip_chars()
    text = text.set(text.str.to_lowercase().is_in(["", "-", "na", "n/a", "null", "none"]), None)
    words = text.drop_nulls().unique(maintain_order=True).to_list()
    ours = {word: of_word(word) or word for word in words}
    unknown = [word for word in words if of_word(word) is None]
    if words and len(unknown) == len(words):
        raise UsageError(
            "a status that says nothing about how a run ended",
            wanted="done, diverged or failed (or a tracker's words: finished, COMPLETE, crashed, killed ...)",
            got=", ".join(repr(word) for word in unknown[:5]),
            remedy=f"say what it means: --map 'status:{unknown[0]}=done'",
            where=f"{origin}, column status",
        )
    notes: list[str] = []
    if unknown:
        shown = ", ".join(repr(word) for word in unknown[:5])
        notes = [
            f"Status {shown} is no known word: taken as not finished. Is it? --map 'status:{unknown[0]}=done'"
        ]
    same = text.replace_strict(ours, default=None, return_dtype=pl.String) if words else text
    blank = text.is_null()
    filled = same.zip_with(~(blank & has_value), pl.repeat("done", text.len(), dtype=pl.String, eager=True))
    return filled.alias("status"), notes
