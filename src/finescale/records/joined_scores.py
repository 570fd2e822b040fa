"""A study's own scores as a column of its records: ``--score METRIC[@DATASET[/SHOTS]]``, joined by run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from finescale.errors import UsageError, nearest
from finescale.records import names
from finescale.records.options import ReadingOptions
from finescale.records.reading import RawTable
from finescale.records.tables import read_table
from finescale.wording import listed

SCORES = "scores.parquet"
"""The table of scores in a study's folder."""
_NEEDED = ("run", "dataset", "split", "shots", "metric", "value")
_FORM = re.compile(r"(?P<metric>[^@]+)(@(?P<dataset>.+?)(/(?P<shots>\d+))?)?")


@dataclass(frozen=True)
class WantedScore:
    """Which of a run's scores is meant.

    Attributes:
        metric: The metric.
        dataset: The data set; None: the mean over the task's own test sets.
        shots: Demonstrations in the prompt.
    """

    metric: str
    dataset: str | None
    shots: int


def with_scores(raw: RawTable, options: ReadingOptions) -> tuple[RawTable, ReadingOptions]:
    """The table with the score that is asked for, where that is one of the study's scores table.

    Args:
        raw: The records, as they are.
        options: How they are read; ``scores`` names a table of scores, ``score`` the score.

    Returns:
        The table and the options, whose ``score`` is then the column's name.

    Raises:
        UsageError: A metric or data set that nobody measured, records without ``run``.
    """
    score = options.score
    if score is None or names.find(score, raw.frame.columns) is not None:
        return raw, options
    table = options.scores or (raw.folder / SCORES if raw.folder is not None else None)
    if table is None or (options.scores is None and not table.exists()):
        return raw, options
    wanted = wanted_score(score)
    scores = _table(table)
    rows, said = _chosen(scores, wanted, table)
    if "run" not in raw.frame.columns:
        raise UsageError(
            "scores need to know their runs",
            wanted="a column `run` in the records",
            got="none",
            where=raw.origin,
        )
    means = _means(rows)
    frame = raw.frame.with_columns(pl.col("run").cast(pl.String))
    frame = frame.join(means, on="run", how="left", maintain_order="left").rename({"_score": wanted.metric})
    note = f"`{wanted.metric}` is joined by run from {table.name}: {said}."
    made = replace(raw, frame=frame, notes=(*raw.notes, note))
    return made, replace(options, score=wanted.metric)


def wanted_score(text: str) -> WantedScore:
    """Reads ``METRIC[@DATASET[/SHOTS]]``.

    Example:
        >>> wanted_score("chrf@newstest14/1")
        WantedScore(metric='chrf', dataset='newstest14', shots=1)
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        wanted = "METRIC[@DATASET[/SHOTS]], e.g. chrf@newstest14/1"
        raise UsageError(f"--score {text}", wanted=wanted, got=text)
    return WantedScore(found["metric"].strip(), found["dataset"], int(found["shots"] or 0))


def _table(path: Path) -> pl.DataFrame:
    table, origin, _ = read_table(path)
    lost = [name for name in _NEEDED if name not in table.columns]
    if lost:
        raise UsageError(
            f"no column `{lost[0]}` in the scores",
            wanted=f"the columns {', '.join(_NEEDED)}",
            got=f"columns {', '.join(table.columns)}",
            where=origin,
        )
    return table.with_columns(
        pl.col("run", "dataset", "split", "metric").cast(pl.String).str.strip_chars(),
        pl.col("shots", "value").cast(pl.Float64, strict=False),
    )


def _chosen(scores: pl.DataFrame, wanted: WantedScore, table: Path) -> tuple[pl.DataFrame, str]:
    """The rows that are meant, and which ones that are, in words."""
    rows = scores.filter(_same("metric", wanted.metric))
    if not rows.height:
        raise _nobody("metric", wanted.metric, scores["metric"], table)
    shots = rows.filter(pl.col("shots") == wanted.shots)
    if wanted.dataset is None:
        found = shots.filter(pl.col("split") == "test")
        sets = found["dataset"].unique(maintain_order=True).to_list()
        said = f"the mean over the test sets {listed(sets)}" if len(sets) > 1 else f"test set {listed(sets)}"
    else:
        found = shots.filter(_same("dataset", wanted.dataset))
        if not rows.filter(_same("dataset", wanted.dataset)).height:
            raise _nobody("data set", wanted.dataset, rows["dataset"], table)
        said = f"data set {wanted.dataset}"
    if not found.height:
        have = sorted({f"{row[0]}/{row[1]:g}" for row in rows.select("dataset", "shots").iter_rows()})
        raise UsageError(
            f"no run was scored by {wanted.metric} so",
            wanted="one of " + ", ".join(f"{wanted.metric}@{one}" for one in have[:12]),
            got=f"{wanted.dataset or 'the test sets'}, {wanted.shots} shots",
            where=str(table),
        )
    return found, f"{said}, {wanted.shots} shots"


def _same(column: str, text: str) -> pl.Expr:
    return pl.col(column).str.to_lowercase().str.replace_all(r"[^a-z0-9/]", "") == re.sub(
        r"[^a-z0-9/]", "", text.lower()
    )


def _nobody(what: str, got: str, have: pl.Series, table: Path) -> UsageError:
    known = sorted(have.drop_nulls().unique().to_list())
    return UsageError(
        f"no run was scored by the {what} `{got}`",
        wanted="one of " + ", ".join(known[:20]),
        got=got,
        remedy=nearest(got, known),
        where=str(table),
    )


def _means(rows: pl.DataFrame) -> pl.DataFrame:
    """One score a run: the mean over the data sets; a run that lacks one of them has none."""
    sets = rows["dataset"].n_unique()
    means = (
        rows.filter(pl.col("value").is_not_null())
        .group_by("run")
        .agg(pl.col("value").mean().alias("_score"), pl.col("dataset").n_unique().alias("_sets"))
    )
    return means.filter(pl.col("_sets") == sets).drop("_sets")


__all__: Sequence[str] = ["SCORES", "WantedScore", "wanted_score", "with_scores"]
