"""Records: the one tidy table of runs that every analysis reads.

A record is one run. A table made elsewhere needs an outcome (a loss or a score) and a factor; columns that
are called otherwise are found or mapped: ``read_records("runs.csv", columns={"finetune_examples": "n"})``.
What was understood, left out and suspected is in ``Records.reading``; what cannot be right is an error that
names file, row and column; nothing missing gets a default.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from finescale.errors import UsageError
from finescale.records.columns import BY_NAME, COLUMNS, DATA_SIZE, FACTORS, NUMERIC, Column, Kind
from finescale.records.joined_scores import with_scores
from finescale.records.loss_units import is_derived, is_loss_name
from finescale.records.options import ReadingOptions
from finescale.records.outcomes import TEST_LOSS, Outcome, known_outcome
from finescale.records.read import read
from finescale.records.reading import Reading
from finescale.records.sources import RECORDS, open_source, table_in

if TYPE_CHECKING:
    from finescale.records.tables import TableLike

__all__ = [
    "BY_NAME", "COLUMNS", "DATA_SIZE", "FACTORS", "NUMERIC", "RECORDS", "Column", "Kind", "Reading",
    "ReadingOptions", "Records", "as_records", "read_records", "table_in", "untuned",
]  # fmt: skip


@dataclass(frozen=True)
class Records:
    """Validated runs.

    Attributes:
        frame: The finished study runs, held-out and untuned ones included: what a fit reads. Numbers are
            Float64.
        left_out: How many rows are not in ``frame``, by reason, e.g. ``{"status diverged": 2}``.
        notes: What a reader should know, in whole sentences (left-out rows, a suspected perplexity).
        every_row: All rows, failed and sweep runs too, for tables of what failed.
        source: Where the rows came from, for messages.
        loss: The column that is analysed; fits use it by default.
        outcome: What that column means: a loss or a score, its direction, bounds and unit.
        reading: What reading made of the source: roles, rows left out, notes, doubts.

    Example:
        >>> records.frame.height, records.loss, records.source
        (227, 'test_loss', 'nano_full.parquet')
        >>> records.left_out
        {'purpose sweep': 18}
    """

    frame: pl.DataFrame
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    every_row: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False)
    source: str = "records"
    loss: str = TEST_LOSS.column
    outcome: Outcome = TEST_LOSS
    reading: Reading = field(default_factory=Reading, repr=False)

    def __len__(self) -> int:
        """Number of runs in ``frame``."""
        return self.frame.height

    def __repr__(self) -> str:
        """One line: how many runs of what, and where from."""
        left = f", {sum(self.left_out.values())} rows left out" if self.left_out else ""
        return f"Records({len(self)} runs from {self.source}: {self.loss}{left})"

    @property
    def rows_in_words(self) -> str:
        """How many rows there are, and why some are left out, for messages."""
        left = ", ".join(f"{many} with {reason}" for reason, many in self.left_out.items())
        return f"{self.every_row.height} rows" + (f" ({left})" if left else "")


def read_records(
    source: TableLike,
    *,
    columns: Mapping[str, str] | None = None,
    loss: str | None = None,
    score: str | None = None,
    better: str | None = None,
    bounds: tuple[float, float] | None = None,
    unit: str | None = None,
    where: str | None = None,
    roles: Mapping[str, str] | None = None,
    values: Mapping[str, Mapping[str, str]] | None = None,
    constants: Mapping[str, str] | None = None,
    sweep: str | None = None,
    step: str | None = None,
    decimal: Mapping[str, str] | None = None,
    mapping: str | Path | None = None,
    kind: str | None = None,
    scores: str | Path | None = None,
    options: ReadingOptions | None = None,
    need: Sequence[str] = (),
) -> Records:
    """Reads and validates a table of runs.

    Args:
        source: A table in a file (CSV, TSV, JSON, JSON lines, Parquet, Excel; also compressed), a study's
            folder, what a trainer or tracker left (see ``collect``), or any frame that narwhals knows
            (polars, pandas, pyarrow ...).
        columns: Names to map, ours to theirs: ``{"finetune_examples": "samples"}``.
        loss: The loss column; default: ``test_loss``. Perplexities and bits become nats.
        score: The score column, instead of a loss; of a study's scores ``METRIC[@DATASET[/SHOTS]]``.
        better: ``higher`` or ``lower``, for a score whose name is not known.
        bounds: The score's lowest and highest value.
        unit: The outcome's unit, where its name does not say it: ``nats``, ``bits``, ``perplexity``, ``bpb``.
        where: An expression; rows for which it is not true are left out.
        roles: The table's columns to their roles (``setting``, ``hyperparameter``, ``progress``, ``repeat``,
            ``outcome``, ``label``), where they are not as inferred.
        values: Values to be read as others, by column: ``{"method": {"Full FT": "full"}}``.
        constants: Columns with one value in every row: ``{"method": "lora"}``.
        sweep: Of runs of one setting that differ in hyperparameters, the ``best`` candidate counts (default),
            ``all`` are averaged, or the table is refused (``refuse``).
        step: Of a run with several evaluations, the ``last`` counts (default), or the ``best``.
        decimal: How a column's doubtful numbers (``1.000``) are written: ``point`` or ``comma``.
        mapping: A mapping file; default: ``finescale.toml`` beside the source, where there is one.
        kind: What kind of source it is (``trainer``, ``wandb``, ...), where its content does not tell it.
        scores: A table of scores to join by run; default: ``scores.parquet`` beside a study's records.
        options: All of these in one object; single ones are put over it.
        need: Further columns that must be there (validated as sizes where finescale does not know them).

    Returns:
        The finished runs, and what reading made of the source.

    Raises:
        UsageError: A file that cannot be read, columns that are missing, values that cannot be right.

    Example:
        >>> import polars as pl
        >>> runs = pl.DataFrame({"# Samples": ["1k", "2k"], "Eval Loss": ["1.5", "1.4"]})
        >>> fs.read_records(runs).frame["finetune_examples"].to_list()
        [1000.0, 2000.0]
    """
    asked = ReadingOptions(
        columns or {}, loss, score, better, bounds, unit, where, roles or {}, values or {}, constants or {},
        sweep, step, decimal or {}, Path(mapping) if mapping is not None else None, kind,
        Path(scores) if scores is not None else None,
    )  # fmt: skip
    asked = asked.over(options) if options is not None else asked
    raw, asked = with_scores(open_source(source, asked.source), asked)
    made = read(raw, asked, need)
    reading = made.reading
    return Records(
        made.frame, reading.left_out, reading.notes, made.every_row, raw.origin, made.outcome.column,
        made.outcome, reading,
    )  # fmt: skip


def as_records(source: Records | TableLike, loss: str | None = None) -> Records:
    """Records as they are, by the column that is named; anything else is read.

    Args:
        source: Records, or what ``read_records`` takes.
        loss: The column to analyse; None: the records' own, or ``test_loss``.

    Raises:
        UsageError: A column of records that would have to be converted, or that is no loss.
    """
    if not isinstance(source, Records):
        return read_records(source, loss=loss)
    if loss is None or loss == source.loss:
        return source
    values = source.frame[loss] if loss in source.frame.columns else pl.Series([], dtype=pl.Float64)
    known = known_outcome(loss, values.drop_nulls().to_list() if values.dtype.is_numeric() else ())
    if known is None and (is_loss_name(loss) or is_derived(loss)):
        raise UsageError(
            f"`{loss}` of these records is in another unit than nats, or says a change of a loss",
            wanted="a loss in nats, or a score", got=loss,
            remedy=f"read the table by it: read_records(..., loss={loss!r})", where=source.source,
        )  # fmt: skip
    outcome = known or Outcome(loss, loss.replace("_", " "), "loss", "lower", 0.0, unit="nats")
    return replace(source, loss=loss, outcome=outcome)


def untuned(columns: Collection[str] = ("method", DATA_SIZE)) -> pl.Expr:
    """The rows of untuned models: method ``none`` or 0 examples.

    Args:
        columns: The columns that there are; default: both.
    """
    marks = [pl.lit(False)]
    marks += [(pl.col("method") == "none").fill_null(False)] if "method" in columns else []
    marks += [(pl.col(DATA_SIZE) == 0).fill_null(False)] if DATA_SIZE in columns else []
    return pl.any_horizontal(marks)
