"""The method where no column names it: a switch (`use_lora`), or a rank or size that only some rows have."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from finescale.records.names import bare, leaf
from finescale.records.values import FALSE, TRUE

_SWITCHES = frozenset({
    "use_lora", "is_lora", "with_lora", "enable_lora", "lora_enabled", "lora",
    "use_peft", "is_peft", "with_peft", "enable_peft", "peft_enabled", "peft",
})  # fmt: skip
ADAPTERS = frozenset(["peft_type", "peft_method", "peft", "adapter", "adapter_type", "adapter_name"])
"""Names of columns of methods in which an empty cell is full tuning."""
NO_ADAPTER = (*FALSE, "", "-", "none", "null", "nil", "nan", "n/a", "na", "no adapter", "without", "full")
"""Cells of such a column that say that there is none, in lower case."""
_RANKS = frozenset(["lora_r", "lora_rank", "r", "rank", "lora_dim", "lora_config_r", "peft_config_r"])
_LENGTHS = frozenset(["prompt_length", "num_virtual_tokens"])


def with_method(frame: pl.DataFrame, names: Mapping[str, str]) -> tuple[pl.DataFrame, str]:
    """The table with a column ``method`` where something else tells it, and the note that says so.

    Args:
        frame: A table with our names, its cells as they stand.
        names: Our names to the table's, where they differ.

    Example:
        >>> with_method(pl.DataFrame({"use_lora": ["True", "False"]}), {})[0]["method"].to_list()
        ['lora', 'full']
    """
    if "method" in frame.columns:
        return frame, ""
    for name in frame.columns:
        if bare(name) not in _SWITCHES and leaf(name) not in _SWITCHES:
            continue
        cells = _words(frame[name])
        if cells.is_in([*TRUE, *FALSE]).all() and cells.n_unique() == 2:
            on = "lora" if "lora" in bare(name) else "peft"
            note = f"`{name}` tells the method: {on} where it is on, else full."
            return _told(frame, cells.is_in(TRUE), on), note
    if "pet_size" in frame.columns:
        there = ~_words(frame["pet_size"]).is_in(NO_ADAPTER)
        if there.any() and not there.all():
            size = names.get("pet_size", "pet_size")
            called = {bare(size), leaf(size)}
            on = "lora" if called & _RANKS else "prompt" if called & _LENGTHS else "peft"
            note = f"No column names the method: it is {on} where there is a `{size}`, else full."
            return _told(frame, there, on), note
    return frame, ""


def _words(values: pl.Series) -> pl.Series:
    return values.cast(pl.String).fill_null("").str.strip_chars().str.to_lowercase()


def _told(frame: pl.DataFrame, on: pl.Series, method: str) -> pl.DataFrame:
    names = pl.Series("method", ["full", method]).gather(on.cast(pl.UInt32))
    return frame.with_columns(names.alias("method"))
