"""What the benchmark of forecasts asks: public tables, cut where their largest sizes begin.

Read from ``../shared/runs`` (see its README), never copied. A block is one table and outcome, cut once: what
is seen, the runs that are hidden, and what a curve is. LoRA ranks are candidates like methods, so each
becomes a method of its own. Rows of ``repeat`` are further runs of the same setting, and stay runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

SIZE = "finetune_examples"
FAMILIES = ("GPT2", "OPT", "Cerebras", "T5")
"""Families with four sizes or more."""
CUTS = ((12_800, 16), (25_600, 8), (51_200, 4))
"""The 30-model table: the cut, and up to how many times beyond it is asked."""
METHODS = (("methods_glue", (500, 1000)), ("lora_ranks_glue", (500, 1000)), ("methods_indic", (1000, 5000)))


@dataclass(frozen=True)
class Block:
    """One table and outcome, cut once.

    Attributes:
        name: Its name.
        source: The table.
        kind: ``data`` (larger data sizes), ``largest`` (the largest model), ``methods``, ``fields``.
        seen: The runs that may be seen.
        hidden: The runs that are asked for.
        loss: The outcome's column.
        by: What makes a curve.
        cut: The largest size seen; 0 where data sizes are not cut.
    """

    name: str
    source: str
    kind: str
    seen: pl.DataFrame
    hidden: pl.DataFrame
    loss: str
    by: tuple[str, ...]
    cut: float = 0.0


def blocks(folder: Path) -> list[Block]:
    """All blocks of the tables that are there."""
    made: list[Block] = []
    path = folder / "full_tuning_30_models.csv"
    if path.exists():
        made += _models(_read(path))
    for name, cuts in METHODS:
        path = folder / f"{name}.csv"
        if path.exists():
            made += _methods(name, _read(path), cuts)
    path = folder / "curves_other_fields.csv"
    if path.exists():
        table = _read(path)
        parts = (table.filter(pl.col("split") == split) for split in ("train", "test"))
        made.append(Block("fields", "curves_other_fields", "fields", *parts, "test_loss", ("task", "model")))  # pyright: ignore
    return made


def _read(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, infer_schema_length=100_000)


def _models(table: pl.DataFrame) -> list[Block]:
    size, source = pl.col(SIZE), "full_tuning_30_models"
    made = []
    for cut, most in CUTS:
        seen = table.filter(size <= cut)
        hidden = table.filter((size > cut) & (size <= cut * most))
        made.append(Block(f"models-{cut}", source, "data", seen, hidden, "test_loss", ("task", "model"), cut))
    for family in FAMILIES:
        own = table.filter(pl.col("family") == family)
        largest = pl.col("model_params") == own["model_params"].max()
        parts = own.filter(~largest), own.filter(largest & (size > 0))
        made.append(Block(f"largest-{family}", source, "largest", *parts, "test_loss", ("task", "method")))
    return made


def _methods(name: str, table: pl.DataFrame, cuts: tuple[int, ...]) -> list[Block]:
    table = table.with_columns(error=1 - pl.col("accuracy"))
    if name == "lora_ranks_glue":
        ranks = pl.lit("lora r") + pl.col("pet_size").cast(pl.String)
        table = table.with_columns(ranks.alias("method")).drop("pet_size")
    losses = ("test_loss", "error") if "test_loss" in table.columns else ("error",)
    size, by = pl.col(SIZE), ("task", "model", "method")
    return [
        Block(
            f"{name}-{loss}-{cut}",
            name,
            "methods",
            table.filter(size <= cut),
            table.filter(size > cut),
            loss,
            by,
            cut,
        )
        for loss in losses
        for cut in cuts
    ]
