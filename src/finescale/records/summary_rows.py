"""Rows that sum up others: means and standard deviations that stand among the runs they are of."""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl

from finescale.records.names import bare, folded
from finescale.records.roles import REPEATS

_SPREADS = frozenset({
    "std", "stdev", "std_dev", "stddev", "standard_deviation", "stderr", "std_err", "std_error",
    "standard_error", "sem", "variance",
})  # fmt: skip
_SPREADS_OF_REPEATS = _SPREADS | {"sd", "se", "var", "ci", "ci95", "95_ci", "+_", "±", "range", "delta"}
_MEANS = frozenset(["mean", "avg", "average", "median", "mean_std", "all", "overall", "total", "aggregate"])
_OTHERS = frozenset(["min", "max", "minimum", "maximum", "best", "worst", "count", "n"])
_OF_METHODS = _MEANS | _OTHERS | {"gap", "δ", "delta", "difference", "diff", "improvement", "gain"}
_ALONE = re.compile(r"(?P<word>[a-z]+)(?:_of)?_?\(?\d*\)?(?:_(?:seeds?|runs?|std|sd|se)|[±(].*)?")
"""A seed's cell that begins with a mean's word: mean±std, avg(2), average of 2, all seeds."""
_RANGE = re.compile(r"\d+_\d+")
_MINUS = re.compile(r"\s+(?:-|−|–|vs\.?|minus)\s+")
_ABOUT = re.compile(r"(?i)\b(?:mean|avg\.?|average|median|best|worst|max|min|std|all)\b|[()\[\]]")
_SHOTS = re.compile(r"(?i)(?:\d+|few|one|k|n)[-\s]?shots?\b.*|in[-\s]context(?:[-\s]learning)?|icl")
_MOST_VALUES = 2_000
"""A column of more different words names runs."""


def summary_rows(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """The rows that are runs, and how many are left out, by reason.

    Args:
        frame: A table with our names, its cells as they stand.

    Example:
        >>> summary_rows(pl.DataFrame({"seed": ["0", "1", "mean", "std"]}))[1]
        {'`seed` mean, std: they sum up other rows': 2}
    """
    lost = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    left_out: dict[str, int] = {}
    for name in frame.columns:
        if frame[name].dtype != pl.String:
            continue
        repeats = bare(name) in REPEATS
        known = _SPREADS_OF_REPEATS if repeats else _SPREADS
        values = frame[name].drop_nulls().unique(maintain_order=True)
        if values.len() > _MOST_VALUES:
            continue
        distinct = {value: _word(value) for value in values}
        if name == "method":
            mine = frame[name].is_in(list(_prompted(distinct))).fill_null(False)
            if mine.any() and not mine.all():
                left_out["examples in the prompt alone, no finetuning"] = int(mine.sum())
                lost = lost | mine
        if name == "method":
            sums = _of_others(distinct)
        elif not repeats and not any(word in known for word in distinct.values()):
            continue
        else:
            sums = {
                value for value, word in distinct.items()
                if word in known | _MEANS | _OTHERS or (repeats and _is_of_repeats(word, distinct))
            }  # fmt: skip
        if sums == set(distinct):  # a table of means and their spreads: the means count
            sums = {value for value, word in distinct.items() if word not in _MEANS}
        mine = frame[name].is_in(list(sums)).fill_null(False) & ~lost
        if mine.any() and not mine.all():
            shown = ", ".join(value.strip() for value in distinct if value in sums)
            left_out[f"`{name}` {shown}: they sum up other rows"] = int(mine.sum())
            lost = lost | mine
    return (frame.filter(~lost), left_out) if left_out else (frame, {})


def _prompted(distinct: Mapping[str, str]) -> set[str]:
    """The methods that are examples in a prompt."""
    return {value for value in distinct if _SHOTS.fullmatch(value.strip())}


def _of_others(distinct: Mapping[str, str]) -> set[str]:
    """The methods that are means of others, or differences between two: `Gap`, `LoRA - full`, `LoRA avg`."""
    names = {folded(value): value for value in distinct}
    found = {value for value, word in distinct.items() if word in _OF_METHODS}
    for value in distinct:
        parts = [folded(part) for part in _MINUS.split(value.strip())]
        rest = folded(_ABOUT.sub(" ", value))
        between = len(parts) == 2 and set(parts) <= set(names)
        if between or (rest and rest != folded(value) and rest in names):
            found.add(value)
    return found


def _is_of_repeats(word: str, distinct: Mapping[str, str]) -> bool:
    """Whether a seed's cell stands for several: mean±std, avg(2), all seeds; 0-1 among whole numbers."""
    alone = _ALONE.fullmatch(word)
    if alone and alone["word"] in _MEANS | _OTHERS | _SPREADS_OF_REPEATS:
        return True
    return bool(_RANGE.fullmatch(word)) and any(other.isdigit() for other in distinct.values())


def _word(value: str) -> str:
    return value.strip().casefold().replace(".", "").replace("-", "_").replace(" ", "_").replace("%", "")
