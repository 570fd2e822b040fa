"""Records: the one tidy table of runs that every analysis reads; its columns, their units, its validation.

A record is one run. A table made elsewhere needs one loss column and one factor column; names that differ are
mapped (``read_records("runs.csv", columns={"finetune_examples": "samples"})``). A wrong value is an error
that names file, row and column; nothing missing gets a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import polars as pl

from finescale.errors import UsageError
from finescale.records.tables import read_table
from finescale.spec.paths import exists

RECORDS = "records.parquet"
"""The table in a study's folder."""
Kind = Literal["text", "label", "size", "count", "number", "loss", "flag"]


@dataclass(frozen=True)
class Column:
    """One documented column.

    Attributes:
        name: The column's name, the same everywhere in finescale.
        kind: ``text``; ``label`` (text or integer, e.g. a seed); ``size`` (> 0); ``count`` (>= 0);
            ``number`` (finite); ``loss`` (finite, > 0); ``flag`` (true or false).
        unit: The unit, as an axis label would give it; empty where there is none.
        meaning: One line for documentation.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("run", "text", "", "the run's fingerprint: equal runs have equal fingerprints"),
    Column("study", "text", "", "name of the study"),
    Column("purpose", "text", "", "`study`, or `sweep` (a learning-rate trial: never enters a fit)"),
    Column(
        "status",
        "text",
        "",
        "`done`, `stopped` (early, in a race), `diverged` or `failed`: only `done` enters a fit",
    ),
    Column("error", "text", "", "why a run is not `done`"),
    Column("held_out", "flag", "", "kept out of the fit, to test its prediction"),
    Column("task", "text", "", "what is learned, e.g. `wmt14-en-de`"),
    Column("method", "text", "", "`full`, `lora`, `prompt`, another PEFT method, or `none` (untuned)"),
    Column("model", "text", "", "name of the base model"),
    Column("revision", "text", "", "revision or checkpoint of the base model"),
    Column("model_params", "size", "parameters", "parameters of the base model, embeddings included"),
    Column(
        "model_params_nonembedding", "size", "parameters", "parameters of the base model without embeddings"
    ),
    Column(
        "active_params",
        "size",
        "parameters",
        "parameters that a token goes through: fewer than `model_params` in a mixture of experts",
    ),
    Column(
        "tokenizer", "text", "", "fingerprint of the tokenizer: losses per token compare within one alone"
    ),
    Column("pretrain_tokens", "size", "tokens", "tokens that the base model was pretrained on"),
    Column("pet_size", "size", "rank or prompt length", "LoRA rank or prompt length"),
    Column("lora_alpha", "size", "", "LoRA's alpha (the update is scaled by alpha / rank)"),
    Column("trainable_params", "count", "parameters", "parameters that were trained"),
    Column(
        "finetune_examples", "count", "examples", "distinct finetuning examples (D_f); 0: the untuned model"
    ),
    Column("finetune_tokens", "count", "tokens", "target tokens of the distinct finetuning examples"),
    *(
        Column(
            f"{split}_{side}s_truncated",
            "number",
            "share",
            f"share of the {split} examples whose {side} was cut to the tokens allowed",
        )
        for split in ("train", "dev", "test")
        for side in ("source", "target")
    ),
    Column("seed", "label", "", "seed of data subset and initialisation"),
    Column("dev_loss", "loss", "nats per target token", "cross-entropy on the dev set, token-weighted"),
    Column("test_loss", "loss", "nats per target token", "cross-entropy on the test sets, token-weighted"),
    Column(
        "test_loss_per_byte",
        "loss",
        "nats per byte",
        "`test_loss` for a UTF-8 byte of the targets: the same in every tokenizer",
    ),
    Column("target_bytes", "count", "bytes", "UTF-8 bytes of the targets of the test sets"),
    Column("pretrain_loss_before", "loss", "nats per token", "loss on pretraining text before finetuning"),
    Column(
        "pretrain_loss_after",
        "loss",
        "nats per token",
        "loss on pretraining text after finetuning (forgetting)",
    ),
    Column("optimizer", "text", "", "optimizer's name"),
    Column("learning_rate", "size", "", "peak learning rate"),
    Column("lr_tuned", "flag", "", "the learning rate was chosen by a sweep"),
    Column(
        "lr_tuned_at",
        "text",
        "",
        "the corners (model and data size) whose sweeps the learning rate comes from",
    ),
    Column("batch_size", "size", "examples", "examples in a step"),
    Column("steps", "count", "steps", "optimizer steps made"),
    Column("best_step", "count", "steps", "step of the evaluated checkpoint (best dev loss)"),
    Column(
        "tokens_processed", "count", "tokens", "source, target and prompt tokens seen in training, every pass"
    ),
    Column("train_flops", "count", "FLOP", "training compute"),
    Column("wall_seconds", "count", "seconds", "wall-clock time of the run"),
    Column("test_seconds", "count", "seconds", "of it, the loss on the test sets"),
    Column("generation_seconds", "count", "seconds", "of it, generating and scoring texts of the test sets"),
    Column("few_shot_seconds", "count", "seconds", "of it, the same after demonstrations"),
    Column("zero_shot_seconds", "count", "seconds", "of it, the zero-shot sets"),
    Column("forgetting_seconds", "count", "seconds", "of it, the loss on pretraining text"),
    Column("peak_memory_bytes", "count", "bytes", "largest memory in use"),
    Column("tokens_per_second", "count", "tokens per second", "training speed"),
)
"""Every documented column of a records table, in the order in which the study writes them."""

BY_NAME: Mapping[str, Column] = {column.name: column for column in COLUMNS}
FACTORS: tuple[str, ...] = ("model_params", "model_params_nonembedding", "pretrain_tokens", "pet_size")
"""The factors that a law can scale with, beside the finetuning data size."""
DATA_SIZE = "finetune_examples"

NUMERIC: frozenset[str] = frozenset({"size", "count", "number", "loss"})
_EMPTY = ("", "na", "n/a", "null", "none")
_TRUE, _FALSE = ("true", "1", "yes", "1.0"), ("false", "0", "no", "0.0")
_STOPPED = ("stopped", "pruned")
_SOURCE_ROW = "_source_row"


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
        loss: The loss column that was validated and that fits use by default.
    """

    frame: pl.DataFrame
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    every_row: pl.DataFrame = field(default_factory=pl.DataFrame, repr=False)
    source: str = "records"
    loss: str = "test_loss"

    def __len__(self) -> int:
        """Number of runs in ``frame``."""
        return self.frame.height

    @property
    def rows_in_words(self) -> str:
        """How many rows there are, and why some are left out, for messages."""
        left = ", ".join(f"{many} with {reason}" for reason, many in self.left_out.items())
        return f"{self.every_row.height} rows" + (f" ({left})" if left else "")


def read_records(
    source: str | Path | Any,
    *,
    columns: Mapping[str, str] | None = None,
    loss: str = "test_loss",
    need: Sequence[str] = (),
) -> Records:
    """Reads and validates a table of runs.

    Args:
        source: A CSV, TSV, Parquet or JSON-lines file, a study's folder, or any frame that narwhals knows
            (polars, pandas, pyarrow ...).
        columns: Names to map, ours to theirs: ``{"finetune_examples": "samples"}``.
        loss: The loss column, in nats per target token.
        need: Further columns that must be there (validated as sizes where finescale does not know them).

    Returns:
        The finished runs, and what was left out.

    Raises:
        UsageError: A file that cannot be read, a column that is missing, a value that cannot be right.
    """
    if isinstance(source, str | Path) and exists(source) and Path(source).is_dir():
        source = table_in(Path(source))
    raw, origin, first_line = read_table(source)
    raw = _renamed(raw, columns or {}, origin)
    for name in (loss, *need):
        if name not in raw.columns:
            raise _missing_column(name, raw.columns, origin)
    if not any(name in raw.columns for name in (*FACTORS, DATA_SIZE, *need)):
        raise _missing_column(DATA_SIZE, raw.columns, origin, one_of=(DATA_SIZE, *FACTORS))
    raw = raw.with_row_index(_SOURCE_ROW, offset=first_line)
    raw = raw.filter(~pl.all_horizontal(pl.exclude(_SOURCE_ROW).is_null()))
    kinds: dict[str, Kind] = {name: BY_NAME[name].kind if name in BY_NAME else "size" for name in need}
    kinds |= {name: BY_NAME[name].kind for name in raw.columns if name in BY_NAME}
    kinds[loss] = "loss"
    typed = raw.with_columns(
        [
            _typed(raw, name, kinds.get(name), origin).alias(name)
            for name in raw.columns
            if name != _SOURCE_ROW
        ]
    )
    if "status" in typed.columns:  # Optuna says PRUNED
        early = pl.col("status").str.strip_chars().str.to_lowercase().is_in(_STOPPED)
        typed = typed.with_columns(pl.when(early).then(pl.lit("stopped")).otherwise("status").alias("status"))
    keep, left_out = _finished(typed)
    frame = typed.filter(keep)
    for name, kind in kinds.items():
        _check_values(frame, name, kind, origin, required=name in (loss, DATA_SIZE, *need))
    _check_duplicates(frame, origin)
    notes = _notes(frame, left_out, loss)
    return Records(frame.drop(_SOURCE_ROW), left_out, notes, typed.drop(_SOURCE_ROW), origin, loss)


def untuned() -> pl.Expr:
    """The rows of untuned models: method ``none`` or 0 examples (both columns must be there)."""
    return (pl.col("method") == "none").fill_null(False) | (pl.col(DATA_SIZE) == 0).fill_null(False)


def _renamed(raw: pl.DataFrame, columns: Mapping[str, str], origin: str) -> pl.DataFrame:
    for ours, theirs in columns.items():
        if theirs not in raw.columns:
            raise _missing_column(theirs, raw.columns, origin)
        if ours != theirs:
            raw = raw.drop(ours, strict=False).with_columns(pl.col(theirs).alias(ours))
    return raw


def table_in(folder: Path) -> Path:
    """The table of a study's folder.

    Raises:
        UsageError: There is none.
    """
    table = folder / RECORDS
    if not table.exists():
        ledger = (folder / "ledger.sqlite").exists()
        raise UsageError(
            "no records in this folder",
            wanted=RECORDS,
            got=f"a ledger, but no {RECORDS}" if ledger else f"neither {RECORDS} nor a ledger",
            remedy=f"finescale status {folder} --export {table}" if ledger else "finescale run STUDY",
            where=str(folder),
        )
    return table


def _missing_column(name: str, have: Sequence[str], origin: str, one_of: Sequence[str] = ()) -> UsageError:
    near = get_close_matches(name, have, n=1, cutoff=0.6) or [
        column for column in have if any(part in column.lower() for part in name.split("_"))
    ]
    remedy = f"map the table's own name to it: --column {name}={near[0] if near else 'THEIRS'}"
    if name.endswith("loss"):
        remedy += f", or name the loss column: --loss {near[0] if near else 'THEIRS'}"
    wanted = "one of " + ", ".join(one_of) if one_of else f"a column `{name}`"
    what = "no factor column" if one_of else f"no column `{name}`"
    shown = ", ".join(have[:20]) + (", ..." if len(have) > 20 else "")
    return UsageError(what, wanted=wanted, got=f"columns {shown or '(none)'}", remedy=remedy, where=origin)


def _typed(raw: pl.DataFrame, name: str, kind: Kind | None, origin: str) -> pl.Series:
    """The column with its own type; text that is no number where one is wanted is an error."""
    series = raw[name]
    if kind in ("text", None, "label"):
        if series.dtype == pl.String and kind != "text":
            numbers = series.cast(pl.Float64, strict=False)
            if series.len() and numbers.null_count() == series.null_count() < series.len():
                whole = bool(((numbers % 1 == 0) | numbers.is_null()).all()) and bool(
                    (numbers.abs() < 2**53).all()
                )
                return numbers.cast(pl.Int64) if kind == "label" and whole else numbers
        if kind == "text":
            return _as_text(series)
        if kind is None or series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean):
            return series
    if series.dtype in (pl.List, pl.Struct, pl.Array, pl.Object):
        raise UsageError(
            "nested values",
            wanted="one text or number in each row" if kind == "label" else "one number in each row",
            got=str(series.dtype),
            where=f"{origin}, column {name}",
        )
    if kind == "label":
        return _as_text(series)
    if kind != "flag" and series.dtype.is_numeric():
        return series.cast(pl.Float64)
    text = _as_text(series).str.strip_chars().str.to_lowercase()
    text = text.set(text.is_in(_EMPTY), None)
    if kind == "flag":
        flag = text.is_in(_TRUE)
        flag = flag.set(text.is_null(), None)
        bad = text.is_not_null() & ~text.is_in(_TRUE + _FALSE)
        wanted, value = "true or false", flag
    else:
        value = text.cast(pl.Float64, strict=False)
        bad = text.is_not_null() & value.is_null()
        wanted = "a number" + (f" ({BY_NAME[name].unit})" if name in BY_NAME and BY_NAME[name].unit else "")
    if bad.any():
        row = int(bad.arg_max() or 0)
        remedy = "" if kind == "flag" else "write 7B as 7e9, without separators"
        raise _bad_value(raw, row, name, origin, wanted=wanted, got=_shown(series, row), remedy=remedy)
    return value


def _as_text(series: pl.Series) -> pl.Series:
    if series.dtype == pl.String:
        return series
    apart = series.dtype.is_temporal() or series.dtype.is_nested() or series.dtype in (pl.Object, pl.Binary)
    if not apart:
        return series.cast(pl.String)
    texts = [None if missing else _shown(series, row) for row, missing in enumerate(series.is_null())]
    return pl.Series(series.name, texts, dtype=pl.String)


def _is_far(series: pl.Series, row: int) -> bool:
    """Whether a date is none of Python's: polars panics at those that are none of its own either."""
    days = series.to_physical()[row] if series.dtype in (pl.Date, pl.Datetime) else 0
    if isinstance(series.dtype, pl.Datetime):
        days //= {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}[series.dtype.time_unit]
    return not date.min.toordinal() <= days + date(1970, 1, 1).toordinal() <= date.max.toordinal()


def _shown(series: pl.Series, row: int) -> str:
    """A value for a message."""
    if _is_far(series, row):
        return f"a {series.dtype} out of range"
    try:
        return str(series[row]) if series.dtype != pl.String else repr(series[row])
    except (ValueError, OverflowError):
        return f"a {series.dtype} out of range"


def _bad_value(
    raw: pl.DataFrame, row: int, name: str, origin: str, *, wanted: str, got: str, remedy: str = ""
) -> UsageError:
    where = f"{origin}, row {raw[_SOURCE_ROW][row]}, column {name}"
    return UsageError("a value that cannot be right", wanted=wanted, got=got, remedy=remedy, where=where)


def _finished(typed: pl.DataFrame) -> tuple[pl.Series, dict[str, int]]:
    """Which rows are finished study runs, and how many are not, by reason."""
    keep = pl.repeat(True, typed.height, dtype=pl.Boolean, eager=True)
    left_out: dict[str, int] = {}
    for name, wanted in (("status", "done"), ("purpose", None)):
        if name not in typed.columns:
            continue
        values = typed[name].fill_null("(empty)")
        good = values == wanted if wanted else values != "sweep"
        for value, count in values.filter(keep & ~good).value_counts(sort=True).iter_rows():
            left_out[f"{name} {value}"] = count
        keep = keep & good
    return keep, left_out


def _check_values(frame: pl.DataFrame, name: str, kind: Kind, origin: str, *, required: bool) -> None:
    if kind not in NUMERIC or not frame.height:
        return
    values = frame[name]
    rules = {
        "size": (values > 0, "a number above 0"),
        "count": (values >= 0, "0 or more"),
        "loss": (values > 0, "a loss above 0, in nats per target token"),
        "number": (values.is_finite(), "a finite number"),
    }
    good, wanted = rules[kind]
    bad = ~(good & values.is_finite()).fill_null(not required)
    if kind == "size" and not required and name == "pet_size":
        bad = bad & (values != 0).fill_null(False)  # foreign tables write 0 where a method has no PET size
    if bad.any():
        row = int(bad.arg_max() or 0)
        got = "an empty cell" if values[row] is None else f"{values[row]:g}"
        remedy = "fix the value, or give the row a `status` other than done (failed, diverged)"
        raise _bad_value(frame, row, name, origin, wanted=wanted, got=got, remedy=remedy)


def _check_duplicates(frame: pl.DataFrame, origin: str) -> None:
    if "run" not in frame.columns:
        return
    again = frame["run"].is_not_null() & ~frame["run"].is_first_distinct()
    if again.any():
        row = int(again.arg_max() or 0)
        first = frame.filter(pl.col("run") == frame["run"][row])[_SOURCE_ROW][0]
        raise UsageError(
            f"run {frame['run'][row]} is there twice (first in row {first})",
            wanted="one row for each run",
            got="two rows",
            remedy="remove one of the two rows",
            where=f"{origin}, row {frame[_SOURCE_ROW][row]}, column run",
        )


def _notes(frame: pl.DataFrame, left_out: Mapping[str, int], loss: str) -> tuple[str, ...]:
    notes = [f"Left out {count} rows with {reason}." for reason, count in left_out.items()]
    if frame.height and float(frame[loss].min() or 0) > 20:  # type: ignore[arg-type]
        notes.append(
            f"Every {loss} is above 20: is it a perplexity? "
            "The laws want the loss in nats per token, which is ln(perplexity)."
        )
    if "run" not in frame.columns and frame.height:
        repeated = frame.height - frame.drop(_SOURCE_ROW).hash_rows().n_unique()
        if repeated:
            notes.append(f"{repeated} rows repeat another row exactly; each counts as a run of its own.")
    return tuple(notes)
