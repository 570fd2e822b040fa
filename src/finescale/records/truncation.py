"""How much of the examples was cut to the tokens allowed, in words for pages, answers and a study's end."""

from __future__ import annotations

import polars as pl

from finescale.records.columns import SPLITS

MUCH = 0.05
"""A share of examples that were cut, above which an answer warns of it."""


def truncation_words(frame: pl.DataFrame, above: float = 0.0) -> tuple[str, ...]:
    """How much of the examples was cut, in a sentence a side; the largest share of any run counts.

    Args:
        frame: Records; without the columns of shares nothing is said.
        above: Only a side of which more than this share was cut in any split.
    """
    found = []
    for side in ("source", "target"):
        names = {split: f"{split}_{side}s_truncated" for split in SPLITS}
        shares = {split: frame[name].drop_nulls() for split, name in names.items() if name in frame.columns}
        shares = {split: runs for split, runs in shares.items() if runs.len()}
        if any((runs > above).any() for runs in shares.values()):
            told = ", ".join(f"{_largest(runs)} of {split}" for split, runs in shares.items())
            found.append(f"{side.capitalize()}s were cut to the tokens allowed: {told}.")
    return tuple(found)


def _largest(shares: pl.Series) -> str:
    """The largest share of all runs; ``up to`` it where other runs have less."""
    least, most = f"{shares.min():.1%}", f"{shares.max():.1%}"
    return most if least == most else f"up to {most}"
