"""Many sources of many kinds as one table of runs, with what was understood and what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from finescale.errors import UsageError
from finescale.records.loss_units import UNITS, check_unit
from finescale.records.missing import Missing, what_is_missing
from finescale.records.options import MAPPING_FILE, ReadingOptions, read_mapping
from finescale.records.parts import Part, part_of, united
from finescale.records.read import read
from finescale.records.reading import RawTable, Reading, RunsRead
from finescale.records.sources import Opened, open_any

if TYPE_CHECKING:
    from finescale.records.tables import TableLike

_WRITERS = {".parquet": "write_parquet", ".csv": "write_csv", ".jsonl": "write_ndjson"}
_SAME = 1e-9
_SHOWN = 12


@dataclass(frozen=True)
class Collected:
    """What several sources hold.

    Attributes:
        frame: One row a run (or an evaluation of one), under our names where they are known; rows of runs
            that did not finish, and of sweeps, included.
        scores: Scores of runs, as ``report --scores`` takes them; empty where no source holds any.
        sources: Each source: its name, its kind in words, how many rows it gave.
        reading: What reading the whole made of it; None where something is missing.
        missing: What ``fit`` and ``advise`` lack, and how to give it.
        options: How the written table is to be read.
        runs: How many runs count.

    Example:
        >>> import polars as pl
        >>> found = fs.collect(pl.DataFrame({"# Samples": ["1k", "2k"], "Eval Loss": [1.5, 1.4]}))
        >>> found.runs, [one.words for one in found.missing][0]
        (2, 'no column method: --set method=lora or --column method=THEIRS')
    """

    frame: pl.DataFrame
    scores: pl.DataFrame
    sources: tuple[tuple[str, str, int], ...]
    reading: Reading | None = None
    missing: tuple[Missing, ...] = ()
    options: ReadingOptions = field(default_factory=ReadingOptions)
    runs: int = 0

    def write(self, path: str | Path) -> tuple[Path, ...]:
        """Writes the runs, and the scores beside them (``NAME-scores.parquet``).

        Args:
            path: A .parquet, .csv or .jsonl file.

        Returns:
            The files that were written.

        Raises:
            UsageError: Another ending; a folder that is not there; a mapping file there whose unit or
                multiples would be taken a second time.
        """
        path = Path(path)
        _refuse_twice(path)
        writer = _WRITERS.get(path.suffix.lower())
        if writer is None:
            raise UsageError(
                f"--out {path}", wanted="a file " + ", ".join(_WRITERS), got=path.suffix or "none"
            )
        beside = path if not self.frame.height else path.with_name(f"{path.stem}-scores{path.suffix}")
        todo = [(self.frame, path)] if self.frame.height else []
        todo += [(self.scores, beside)] if self.scores.height else []
        try:
            for frame, file in todo:
                getattr(frame, writer)(file)
        except OSError as error:
            raise UsageError(f"--out {path}", wanted="a file that can be written", got=str(error)) from None
        return tuple(file for _, file in todo)

    def __repr__(self) -> str:
        """One line: how many rows from how many sources."""
        noun = "source" if len(self.sources) == 1 else "sources"
        return f"Collected({self.frame.height} rows from {len(self.sources)} {noun})"

    def __str__(self) -> str:
        """What a terminal shows."""
        from finescale.cells import as_text  # noqa: PLC0415 - rich only where it is shown

        return as_text(self)

    def __rich__(self) -> Any:
        """Sources, columns and roles, rows left out, notes, what is missing."""
        from rich.console import Group  # noqa: PLC0415 - only where it is shown
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        shown = Table("source", "kind", "rows", title="Sources", title_justify="left")
        for name, kind, rows in self.sources:
            shown.add_row(name, kind, str(rows))
        parts: list[Any] = [shown, *([] if self.reading is None else self._brief(self.reading))]
        if self.reading is None and self.frame.width:
            names = ", ".join(self.frame.columns[:_SHOWN]) + (", ..." if self.frame.width > _SHOWN else "")
            parts.append(Text(f"columns: {names}"))
        if self.frame.height:
            parts.append(Text(f"{self.runs} runs count, of {self.frame.height} rows."))
        if self.scores.height:
            parts.append(Text(f"{self.scores.height} scores."))
        parts += [Text(f"missing for {one.command}: {one.words}") for one in self.missing]
        return Group(*parts)

    def _brief(self, reading: Reading) -> list[Any]:
        """The reading without the columns that say nothing: trackers keep a hundred settings a run."""
        from rich.text import Text  # noqa: PLC0415

        def tells(name: str, role: str) -> bool:
            one = name in self.frame.columns and _has_one_value(self.frame[name])
            return not (role == "label" or (role == "hyperparameter" and one))

        kept = {name: role for name, role in reading.roles.items() if tells(name, role)}
        more = len(reading.roles) - len(kept)
        if len(reading.roles) <= _SHOWN or not more:
            return [reading]
        words = f"{more} more columns are labels, or hyperparameters with one value in all runs."
        return [replace(reading, roles=kept), Text(words)]

    def _repr_html_(self) -> str:
        """The same for Jupyter."""
        from html import escape  # noqa: PLC0415

        rows = "".join(
            f"<li>{escape(name)}: {escape(kind)}, {many} rows</li>" for name, kind, many in self.sources
        )
        lost = "".join(f"<li>missing for {one.command}: {escape(one.words)}</li>" for one in self.missing)
        read_as = "" if self.reading is None else self.reading._repr_html_()
        return f"<ul>{rows}</ul>{read_as}<p>{self.runs} runs count.</p><ul>{lost}</ul>"


def collect(
    *sources: TableLike,
    kind: str | None = None,
    columns: Mapping[str, str] | None = None,
    loss: str | None = None,
    score: str | None = None,
    where: str | None = None,
    values: Mapping[str, Mapping[str, str]] | None = None,
    constants: Mapping[str, str] | None = None,
    options: ReadingOptions | None = None,
) -> Collected:
    """Reads many sources into one table of runs.

    A source is a table (in a file, or a frame), a study's folder, output folders of the Hugging Face Trainer
    (TRL, LLaMA-Factory, axolotl), local runs or a project of W&B, a store or server of MLflow, event files of
    TensorBoard, projects of trackio, a storage of Optuna, results of lm-eval (they become scores), or results
    of PEFT's method comparison. What each is, is told by its content. A ``finescale.toml`` beside a source
    says how that source is read.

    Args:
        *sources: The sources.
        kind: What kind they all are, where their content does not tell it: ``trainer``, ``wandb``,
            ``mlflow``, ``tensorboard``, ``trackio``, ``optuna``, ``lm-eval``, ``peft-comparison``, ``table``,
            ``study``.
        columns: Names to map, ours to theirs: ``{"finetune_examples": "samples"}``.
        loss: The loss column; default: ``test_loss``, or what only one column can be.
        score: The score column, instead of a loss.
        where: An expression; rows for which it is not true are left out.
        values: Values to be read as others, by column: ``{"method": {"Full FT": "full"}}``.
        constants: Columns with one value in every row that has none: ``{"method": "lora"}``.
        options: All of these, and what else ``read_records`` takes, in one object; single ones go over it.

    Returns:
        The table, what was understood, and what is missing; ``write`` writes it.

    Raises:
        UsageError: A source that is none or two of these, or that cannot be read; none at all.

    Example:
        >>> import polars as pl
        >>> lora = pl.DataFrame({"# Samples": ["1k", "2k"], "Eval Loss": [1.5, 1.4], "Method": "LoRA"})
        >>> full = pl.DataFrame({"n_train": [1000, 2000], "val_loss": [1.6, 1.3], "method": "full"})
        >>> found = fs.collect(lora, full)
        >>> found.frame.select("method", "finetune_examples", "test_loss").rows()
        [('lora', 1000.0, 1.5), ('lora', 2000.0, 1.4), ('full', 1000.0, 1.6), ('full', 2000.0, 1.3)]
    """
    asked = ReadingOptions(
        columns=columns or {}, loss=loss, score=score, where=where, values=values or {},
        constants=constants or {}, source=kind,
    )  # fmt: skip
    asked = asked.over(options) if options is not None else asked
    if not sources:
        raise UsageError(
            "nothing to collect", wanted="one source or more", remedy="finescale collect SOURCE..."
        )
    opened = [open_any(source, asked.source) for source in sources]
    scores = [one.raw.frame for one in opened if one.holds == "scores"]
    kept = [one for one in opened if one.holds == "runs"]
    parts = [part_of(one.raw, asked) for one in kept]
    frame, final = united(parts, asked)
    told = tuple(_told(one) for one in opened)
    named = pl.concat(scores, how="diagonal_relaxed") if scores else pl.DataFrame()
    if not parts:
        return Collected(pl.DataFrame(), named, told, options=final)
    named = _runs_of(named, frame)
    made, problem = _read(frame, parts, final)
    missing = what_is_missing(frame if made is None else made.frame, problem, final)
    reading = None if made is None else _with_doubles(made)
    if reading is not None:
        reading = replace(reading, names=_own_names(parts, frame.columns))
    count = 0 if made is None else made.frame.height
    return Collected(frame, named, told, reading, missing, final, count)


def _refuse_twice(path: Path) -> None:
    """Refuses a place where a mapping file lies that converts numbers: those that were collected are.

    Raises:
        UsageError: It does.
    """
    file = path.parent / MAPPING_FILE
    if not file.is_file():
        return
    stated = read_mapping(file)
    times = [theirs for theirs in stated.columns.values() if re.search(r"[*×]\s*[\d.]", theirs)]
    if times or check_unit(stated.unit) in UNITS:
        raise UsageError(
            f"--out {path}: {MAPPING_FILE} there would be taken a second time when that is read",
            wanted=f"a folder without {MAPPING_FILE}",
            got=f"unit = {stated.unit!r}" if not times else times[0],
        )


def _own_names(parts: Sequence[Part], columns: Sequence[str]) -> dict[str, str]:
    """The sources' own names of columns, where they differ."""
    found: dict[str, dict[str, None]] = {}
    for part in parts:
        for theirs, ours in part.names.items():
            if ours in columns and ours != theirs:
                found.setdefault(ours, {})[theirs] = None
    return {ours: ", ".join(theirs) for ours, theirs in found.items()}


def _has_one_value(values: pl.Series) -> bool:
    return not values.dtype.is_nested() and values.drop_nulls().n_unique() <= 1


def _told(one: Opened) -> tuple[str, str, int]:
    return one.raw.origin, one.title, one.raw.frame.height


def _read(frame: pl.DataFrame, parts: Sequence[Part], options: ReadingOptions) -> tuple[RunsRead | None, str]:
    """The whole as any table is read; or why it cannot be."""
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    questions = {name: words for part in parts for name, words in part.questions.items()}
    try:
        return read(RawTable(frame, "the collected table", 1, None, notes, questions), options), ""
    except UsageError as error:
        return None, str(error)


def _with_doubles(made: RunsRead) -> Reading:
    """The reading, with a doubt where runs of two sources have the same setting and the same outcome."""
    frame, outcome = made.frame, made.outcome.column
    if "source_name" not in frame.columns or frame["source_name"].n_unique() < 2:
        return made.reading
    same = [name for name, role in made.reading.roles.items() if role == "setting" and name in frame.columns]
    rows = frame.filter(pl.col(outcome).is_finite())
    rows = rows.with_columns((pl.col(outcome) / _SAME).round().alias("_value"))
    twice = rows.group_by([*same, "_value"]).agg(pl.col("source_name").n_unique().alias("sources"))
    many = twice.filter(pl.col("sources") > 1).height
    if not many:
        return made.reading
    question = (
        f"are {many} runs in two sources the same run? They have one setting and one {made.outcome.name}, "
        "and count as repeats; collect each run from one source"
    )
    reading = made.reading
    return replace(
        reading, notes=(*reading.notes, f"No advice until it is known: {question}."),
        doubts=(*reading.doubts, question),
    )  # fmt: skip


def _runs_of(scores: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Scores under the names that the runs have: an evaluated path ends as its run's name does."""
    names = next((name for name in ("run", "Name", "name", "run_name") if name in runs.columns), None)
    if not scores.height or names is None:
        return scores
    known = [str(name) for name in runs[names].drop_nulls().unique()]
    found = {}
    for path in scores["run"].unique():
        fits = [name for name in known if path == name or f"/{path}".endswith(f"/{name}")]
        fits = fits or [name for name in known if Path(name).name == Path(path).name]
        found |= {path: fits[0]} if len(fits) == 1 else {}
    return scores.with_columns(pl.col("run").replace(found))
