"""How a table is to be read: the same options on every command, in one panel of the help."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from finescale.errors import UsageError
from finescale.records.options import ReadingOptions, split_bounds, split_map
from finescale.spec.places import STUDY_FILES, study_folder

if TYPE_CHECKING:
    from finescale.records.records import Records

PANEL = "Reading the table"
BUDGET = "BUDGET"
NUMBER = "NUMBER"
"""What the help calls a number that may be written as in tables."""

_Texts = list[str] | None
_OPTIONS: dict[str, tuple[Any, str]] = {
    "column": (_Texts, "NAME=THEIRS: the table's own column name; repeat."),
    "loss": (str | None, "Loss column; perplexity and bits become nats. (default: test_loss)"),
    "score": (str | None, "Score, instead of a loss: a column; of a study METRIC@DATASET/SHOTS, or METRIC."),
    "scores": (Path | None, "Table of scores to join by run. (default: scores.parquet of a study)"),
    "better": (str | None, "higher or lower, for a score whose name is not known."),
    "bounds": (str | None, "LOW,HIGH of the score."),
    "unit": (str | None, "nats, bits, bpb, perplexity or percent. (default: by the column's name)"),
    "where": (_Texts, "Expression; rows for which it is not true are left out. Repeat: all must be true."),
    "role": (_Texts, "COLUMN=setting|hyperparameter|progress|repeat|outcome|label; repeat."),
    "map": (_Texts, "COLUMN:THEIRS=OURS: a value to be read as another; repeat."),
    "set": (_Texts, "NAME=VALUE: a column with one value in every row; repeat."),
    "sweep": (str | None, "best, all or refuse: which candidates of a setting count. (default: best)"),
    "step": (str | None, "last or best: which evaluation of a run counts. (default: last)"),
    "decimal": (_Texts, "COLUMN=point|comma: how 1.000 is meant, where it is a question; repeat."),
    "mapping": (Path | None, "Mapping file. (default: finescale.toml beside the source)"),
    "kind": (str | None, "KIND of the source, e.g. trainer or wandb. (default: as its content says)"),
}
_FLAGS = {"kind": "source"}
"""Flags that are called otherwise than their parameter."""


@dataclass(frozen=True)
class Table:
    """Which table is read, and how.

    Attributes:
        path: A table's file, or a study's folder.
        options: How it is to be read.
    """

    path: str
    options: ReadingOptions = field(default_factory=ReadingOptions)

    def read(self, need: Sequence[str] = ()) -> Records:
        """Reads the records.

        Args:
            need: Columns that the command cannot do without.
        """
        from finescale.records.records import read_records  # noqa: PLC0415 - polars only where a table is read

        return read_records(results_of(self.path), options=self.options, need=need)


def results_of(source: str) -> str:
    """The folder of a study that is named by its file; any other source as it is.

    Raises:
        UsageError: The study has not run yet.
    """
    if Path(source).suffix.lower() not in STUDY_FILES:
        return source
    from finescale.spec.file import load_study  # noqa: PLC0415

    folder = study_folder(load_study(source).name, Path(source))
    if not folder.is_dir():
        raise UsageError(
            "this study has not run yet",
            wanted=f"its folder {folder}",
            got="no such folder",
            remedy=f"finescale run {source}; or name the folder",
            where=source,
        )
    return str(folder)


def reads_tables(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the reading options; it takes them as one argument, ``reading``.

    Args:
        command: A command with a parameter ``reading: ReadingOptions``.
    """
    own = inspect.signature(command, eval_str=True)
    parameters = [one for name, one in own.parameters.items() if name != "reading"]
    shared = {name: option for name, option in _OPTIONS.items() if name not in own.parameters}
    for name, (kind, words) in shared.items():
        option = typer.Option(f"--{_FLAGS.get(name, name)}", help=words, rich_help_panel=PANEL)
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]
            )
        )

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        stated = {name: values.pop(name) for name in shared}
        source = values.get("records", values.get("source", values.get("sources", "")))
        named = source if isinstance(source, list) else [str(source)]
        line = shlex.join(["finescale", command.__name__, *named])
        command(**values, reading=replace(reading_options(**stated), command=line))

    wrapped.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapped


def reading_options(**flags: Any) -> ReadingOptions:
    """The reading options of a command line.

    Raises:
        UsageError: An option of another form, or a word that is not known.
    """
    return ReadingOptions(
        columns=pairs(flags.get("column") or (), "--column", "NAME=THEIRS"),
        loss=flags.get("loss"),
        score=flags.get("score"),
        better=flags.get("better"),
        bounds=split_bounds(flags.get("bounds")),
        unit=flags.get("unit"),
        where=_all_of(flags.get("where") or ()),
        roles=pairs(flags.get("role") or (), "--role", "COLUMN=ROLE", last=True),
        values=split_map(flags.get("map") or ()),
        constants=pairs(flags.get("set") or (), "--set", "NAME=VALUE"),
        sweep=flags.get("sweep"),
        step=flags.get("step"),
        decimal=pairs(flags.get("decimal") or (), "--decimal", "COLUMN=point|comma", last=True),
        mapping=flags.get("mapping"),
        source=flags.get("kind"),
        scores=flags.get("scores"),
    )


def _all_of(expressions: Sequence[str]) -> str | None:
    """One expression that is true where all are; None for none."""
    if len(expressions) < 2:
        return next(iter(expressions), None)
    from finescale.records.expression import written_out  # noqa: PLC0415 - only where there are several

    return " and ".join(f"({written_out(one)})" for one in expressions)


def amount(text: str | None, flag: str, *, whole: bool = False) -> float | None:
    """A number of the command line, read as in tables: ``50k``, ``7B``, ``1e5``, ``1,000``.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    from finescale.records.values import number  # noqa: PLC0415 - polars only where a number is given

    return number(text, flag, whole=whole)


def budget_flops(text: str | None, prices: Mapping[str, Any]) -> float | None:
    """The FLOPs of a budget of the command line: FLOPs, or what time or money buys of them.

    Args:
        text: The budget.
        prices: ``flops_per_second`` and ``price_per_hour``.

    Raises:
        UsageError: It is none, or what it buys is not known.
    """
    if text is None:
        return None
    from finescale.records.budgets import read_budget  # noqa: PLC0415

    return read_budget(text).flops(prices.get("flops_per_second"), prices.get("price_per_hour"))


def pairs(options: Sequence[str], flag: str, form: str, *, last: bool = False) -> dict[str, str]:
    """Splits ``NAME=VALUE`` options.

    Args:
        options: The options.
        flag: The flag, for messages.
        form: Its form, for messages.
        last: Split at the last equals sign: the name is the table's own and may have one.

    Raises:
        UsageError: An option without an equals sign; two values for one name.
    """
    result: dict[str, str] = {}
    for option in options:
        name, equals, value = option.rpartition("=") if last else option.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{flag} {option}", wanted=f"{flag} {form}", got=option)
        if result.setdefault(name.strip(), value.strip()) != value.strip():
            got = f"{result[name.strip()]} and {value.strip()}"
            raise UsageError(f"{flag} {name.strip()} is given twice", wanted="one value", got=got)
    return result
