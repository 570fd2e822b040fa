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
        largest = {split: frame[name].max() for split, name in names.items() if name in frame.columns}
        shares = {split: float(share) for split, share in largest.items() if share is not None}  # type: ignore[arg-type]
        if any(share > above for share in shares.values()):
            told = ", ".join(f"{share:.1%} of {split}" for split, share in shares.items())
            found.append(f"{side.capitalize()}s were cut to the tokens allowed: {told}.")
    return tuple(found)
