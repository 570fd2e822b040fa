"""Scores beside the records: generation quality, zero-shot and few-shot, run by run.

A row of the scores table is one number of one run: ``run``, ``dataset``, ``split`` (``test`` or
``zero_shot``), ``shots`` (demonstrations in the prompt), ``metric``, ``value``, and where it is known ``low``
and ``high`` (90% bootstrap interval over examples), ``examples`` and ``signature``. A zero-shot set
``NAME/LANGUAGE`` is one language of the set ``NAME``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from finescale.errors import UsageError
from finescale.records.beside import other_outcomes
from finescale.records.records import Records
from finescale.records.settings import SETTING
from finescale.records.tables import read_table

KEYS = ("run", "dataset", "split", "shots", "metric")
SPLITS = ("test", "zero_shot")
_NUMBERS = ("value", "shots", "low", "high", "examples")
METRICS: Mapping[str, str] = {
    "bleurt": "BLEURT",
    "comet": "COMET",
    "chrf": "chrF",
    "rougeL": "ROUGE-L",
    "bleu": "BLEU",
    "rouge2": "ROUGE-2",
    "rouge1": "ROUGE-1",
    "exact_match": "exact match",
}
"""Names of the metrics; figures show the first one that most runs have.

The paper has BLEURT for translation and ROUGE-L for summarization; chrF stands in for BLEURT.
"""
LOSS = "loss"
"""The metric of a data set's own loss, in nats per token: figures show it where nothing else was measured."""
_OF_THE_RUN = (*SETTING, "seed", "held_out", "trainable_params")


@dataclass(frozen=True)
class Scores:
    """Validated scores of the finished study runs.

    Attributes:
        frame: A row a score: the table's columns, and those of the run's record; ``run_loss`` is its loss,
            where it is known.
        notes: What was left out, in sentences.
    """

    frame: pl.DataFrame
    notes: tuple[str, ...] = ()

    def main_metric(self, task: str, split: str, shots: int) -> str | None:
        """What figures show: the first of ``METRICS`` that most runs have; zero-shot at least the loss."""
        here = self._of(task, split, shots)
        runs = dict(here.group_by("metric").agg(pl.col("run").n_unique()).iter_rows())
        loss = runs.pop(LOSS, 0)
        order = [*METRICS, *sorted(set(runs) - set(METRICS))]
        most = max(runs.values(), default=0)
        found = next((name for name in order if 2 * runs.get(name, 0) >= most > 0), None)
        return LOSS if found is None and loss and split == "zero_shot" else found

    def kinds(self, task: str) -> list[tuple[str, int, str]]:
        """Every split, number of shots and metric that the task's runs were scored by, losses left out."""
        found = self.frame.filter(pl.col("task") == task, pl.col("metric") != LOSS)
        return sorted(set(found.select("split", "shots", "metric").iter_rows()))

    def has(self, task: str, split: str, shots: int, metric: str) -> bool:
        """Whether any run has that score."""
        return self._of(task, split, shots).filter(metric=metric).height > 0

    def half_interval(self, task: str, split: str, shots: int, metric: str) -> tuple[float, float] | None:
        """Half the width of one score's own interval over examples, and how many: medians over runs."""
        rows = self._of(task, split, shots).filter(metric=metric)
        if not {"low", "high", "examples"} <= set(rows.columns):
            return None
        half, many = rows.select(
            ((pl.col("high") - pl.col("low")) / 2).median().alias("half"),
            pl.col("examples").median(),
        ).row(0)
        return (half, many) if half is not None and many is not None else None

    def of_runs(self, task: str, split: str, shots: int, metric: str) -> pl.DataFrame:
        """One score a run: the mean over the data sets of a split.

        Averages over languages (``NAME``) stand for their parts (``NAME/LANGUAGE``); a run that lacks one of
        the data sets that others have is left out, as its mean would be of other texts.

        Args:
            task: The task.
            split: ``test`` or ``zero_shot``.
            shots: Demonstrations in the prompt.
            metric: The metric.

        Returns:
            ``run``, ``score`` and the columns of the run's record.
        """
        rows = self._of(task, split, shots).filter(pl.col("metric") == metric, pl.col("value").is_not_null())
        whole = rows.filter(~pl.col("dataset").str.contains("/", literal=True))
        rows = whole if whole.height and split == "zero_shot" else rows
        sets = rows["dataset"].n_unique()
        about = [name for name in (*_OF_THE_RUN, "run_loss") if name in rows.columns]
        means = rows.group_by("run", maintain_order=True).agg(
            pl.col("value").mean().alias("score"),
            pl.col("dataset").n_unique().alias("sets"),
            *[pl.col(name).first() for name in about],
        )
        return means.filter(pl.col("sets") == sets).drop("sets")

    def _of(self, task: str, split: str, shots: int) -> pl.DataFrame:
        return self.frame.filter(pl.col("task") == task, pl.col("split") == split, pl.col("shots") == shots)


def metric_name(metric: str) -> str:
    """A metric as prose calls it."""
    return "loss" if metric == LOSS else METRICS.get(metric, metric)


def read_scores(source: str | Path | Any, records: Records) -> Scores:
    """Reads and validates the scores that belong to records.

    Args:
        source: A table as ``read_table`` takes it, e.g. a study's scores.parquet.
        records: The runs (with the columns ``task`` and ``method``).

    Returns:
        The scores of finished study runs.

    Raises:
        UsageError: A column that is missing, a value that cannot be right, records without ``run``.
    """
    table, origin, first = read_table(source)
    for name in (*KEYS, "value"):
        if name not in table.columns:
            have = ", ".join(table.columns)
            raise UsageError(
                f"no column `{name}` in the scores",
                wanted=f"the columns {', '.join((*KEYS, 'value'))}",
                got=f"columns {have or '(none)'}",
                where=origin,
            )
    if "run" not in records.frame.columns:
        raise UsageError(
            "scores need to know their runs",
            wanted="a column `run` in the records",
            got="none",
            remedy="add it, or map it: --column run=THEIRS",
            where=records.source,
        )
    written = table.with_row_index("row", offset=first)
    typed = written.with_columns(
        pl.col("run").cast(pl.String),
        *[pl.col(name).cast(pl.String).str.strip_chars() for name in ("dataset", "split", "metric")],
        *[pl.col(name).cast(pl.Float64, strict=False) for name in _NUMBERS if name in table.columns],
    )
    empty = table["value"].is_null() | (table["value"].cast(pl.String) == "")
    _refuse(written, typed["value"].is_finite().fill_null(value=False) | empty, "value", "a number", origin)
    shots = typed["shots"]
    _refuse(written, ((shots >= 0) & (shots % 1 == 0)).fill_null(value=False), "shots", "0, 1, 5 ...", origin)
    _refuse(
        written, typed["split"].is_in(SPLITS).fill_null(value=False), "split", " or ".join(SPLITS), origin
    )
    twice = typed.select(pl.struct(KEYS).is_duplicated()).to_series()
    _refuse(written, ~twice, "metric", "one row for each run, dataset, split, shots and metric", origin)
    about = [name for name in _OF_THE_RUN if name in records.frame.columns]
    loss = _loss_of(records)
    runs = records.frame.select(
        pl.col("run").cast(pl.String), *about, *([pl.col(loss).alias("run_loss")] if loss else [])
    )
    known = typed.drop("row", *[name for name in about if name in typed.columns])
    known = known.with_columns(pl.col("shots").cast(pl.Int64)).join(runs, on="run", how="inner")
    lost = typed["run"].n_unique() - known["run"].n_unique()
    notes = (
        (f"Left out: scores of {lost} runs that are not analysed (those of a sweep, failed ones).",)
        if lost
        else ()
    )
    return Scores(known, notes)


def _loss_of(records: Records) -> str | None:
    """The runs' loss: what they are read by, or what stands beside the score that they are read by."""
    if records.outcome.kind == "loss":
        return records.loss
    return next((one.column for one in other_outcomes(records.frame, records.outcome)), None)


def _refuse(table: pl.DataFrame, good: pl.Series, name: str, wanted: str, origin: str) -> None:
    """Raises at the first row that is not good."""
    if good.all():
        return
    row = int((~good).arg_max() or 0)
    raise UsageError(
        "a score that cannot be right",
        wanted=wanted,
        got=str(table[name][row]),
        where=f"{origin}, row {table['row'][row]}, column {name}",
    )
