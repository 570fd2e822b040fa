"""How a table is read: one object for every command, from flags, ``finescale.toml`` and what is inferred."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from finescale.errors import UsageError

MAPPING_FILE = "finescale.toml"
"""The mapping file that is read where it lies beside a source."""
SWEEPS, STEPS, DECIMALS, BETTER = (
    ("best", "all", "refuse"),
    ("last", "best"),
    ("point", "comma"),
    ("higher", "lower"),
)
_LARGEST = 1_000_000


@dataclass(frozen=True)
class ReadingOptions:
    """Everything that can be said about how a table is to be read; the same on every command.

    Attributes:
        columns: Our names to the table's: ``{"finetune_examples": "samples"}``.
        loss: The loss column; None: ``test_loss``.
        score: The score column; None: a loss is analysed.
        better: ``higher`` or ``lower``, for a score that is not known.
        bounds: The score's lowest and highest value.
        unit: The outcome's unit (``nats``, ``bits``, ``perplexity``, ``bpb``, ``percent``).
        where: An expression; rows for which it is not true are left out.
        roles: The table's columns to their roles, where they are not as inferred.
        values: Values to be read as others, by column: ``{"method": {"Full FT": "full"}}``.
        constants: Columns with one value in every row: ``{"method": "lora"}``.
        sweep: ``best``, ``all`` or ``refuse``: which candidates of a sweep count.
        step: ``last`` or ``best``: which evaluation of a run counts.
        decimal: How a column's doubtful numbers are written, by column: ``point`` or ``comma``.
        source: What kind of source it is; None: as its content says.
        scores: A table of scores to join by run; None: ``scores.parquet`` beside a study's records.
        mapping: A mapping file; None: ``finescale.toml`` beside the source, where there is one.
        command: The command line so far, for messages that can be pasted.
        notes: Where options came from, in sentences.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    loss: str | None = None
    score: str | None = None
    better: str | None = None
    bounds: tuple[float, float] | None = None
    unit: str | None = None
    where: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    sweep: str | None = None
    step: str | None = None
    decimal: Mapping[str, str] = field(default_factory=dict)
    mapping: Path | None = None
    source: str | None = None
    scores: Path | None = None
    command: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuses words that no option knows.

        Raises:
            UsageError: One of them; a loss and a score; bounds without room between them.
        """
        for name, known in (("sweep", SWEEPS), ("step", STEPS), ("better", BETTER)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise UsageError(f"--{name} {value}", wanted=" or ".join(known), got=str(value))
        for column, value in self.decimal.items():
            if value not in DECIMALS:
                raise UsageError(f"--decimal {column}={value}", wanted=" or ".join(DECIMALS), got=value)
        if self.loss is not None and self.score is not None:
            raise UsageError(
                "both --loss and --score",
                wanted="one of them",
                got=f"--loss {self.loss} --score {self.score}",
            )
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            low, high = self.bounds
            raise UsageError(f"--bounds {low:g},{high:g}", wanted="LOW,HIGH with LOW below HIGH")

    def with_file(self, beside: Path | None) -> ReadingOptions:
        """These options over those of the mapping file: the one that is named, or the one beside the source.

        Args:
            beside: The folder of the source; None where it has none.

        Raises:
            UsageError: The file that is named is not there; a file that cannot be read.
        """
        file = self.mapping
        if file is None:
            if beside is None or not (beside / MAPPING_FILE).is_file():
                return self
            file = beside / MAPPING_FILE
        stated = read_mapping(file)
        note = f"Read with {file}."
        return replace(self.over(stated), notes=(*self.notes, note))

    def flags(self) -> list[str]:
        """The options as words of a command line."""
        words: list[str] = []
        for flag, mapping in (
            ("--column", self.columns), ("--role", self.roles), ("--set", self.constants),
            ("--decimal", self.decimal),
        ):  # fmt: skip
            words += [word for name, value in mapping.items() for word in (flag, f"{name}={value}")]
        for column, values in self.values.items():
            words += [
                word for theirs, ours in values.items() for word in ("--map", f"{column}:{theirs}={ours}")
            ]
        single = ("loss", "score", "better", "unit", "where", "sweep", "step", "mapping", "source", "scores")
        for name in single:
            value = getattr(self, name)
            words += [f"--{name}", str(value)] if value is not None else []
        return words + (["--bounds", f"{self.bounds[0]:g},{self.bounds[1]:g}"] if self.bounds else [])

    def over(self, other: ReadingOptions) -> ReadingOptions:
        """These options where they are stated, else the other's; mappings are joined."""
        made: dict[str, Any] = {}
        for one in fields(self):
            mine, theirs = getattr(self, one.name), getattr(other, one.name)
            if isinstance(mine, Mapping):
                made[one.name] = {**theirs, **mine}
            else:
                made[one.name] = theirs if mine in (None, "", ()) else mine
        made["notes"] = (*self.notes, *other.notes)
        names = dict.fromkeys((*other.values, *self.values))
        made["values"] = {name: {**other.values.get(name, {}), **self.values.get(name, {})} for name in names}
        if (
            self.loss is not None or self.score is not None
        ):  # what a file says of its outcome is not of another
            made |= {name: getattr(self, name) for name in ("loss", "score", "better", "bounds", "unit")}
        return ReadingOptions(**made)


AS_INFERRED = ReadingOptions()
"""Nothing is stated: a table is read as its names and values show."""

_KEYS = {"columns": "columns", "roles": "roles", "map": "values", "set": "constants", "decimal": "decimal"}
_WORDS = ("loss", "score", "better", "unit", "where", "sweep", "step")


def read_mapping(path: Path) -> ReadingOptions:
    """Reads a mapping file.

    Args:
        path: A TOML file: ``loss = "eval/loss"``, ``where = "..."``, and tables ``[columns]``,
            ``[map.method]``, ``[roles]``, ``[set]``, ``[decimal]``.

    Raises:
        UsageError: It is not there, is no TOML, or has a key that is not known.
    """
    where = str(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise UsageError(
                "too large for a mapping file", wanted=f"at most {_LARGEST:,} bytes", where=where
            )
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(
            "no mapping file", got=str(error.strerror), wanted="a TOML file", where=where
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError("not a mapping file", wanted="TOML", got=str(error), where=where) from None
    made: dict[str, Any] = {}
    for key, value in data.items():
        if key in _KEYS:
            made[_KEYS[key]] = _table(value, key, where, nested=key == "map")
        elif key in _WORDS and isinstance(value, str):
            made[key] = value
        elif key == "bounds" and isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
            made[key] = (float(value[0]), float(value[1]))
        else:
            known = ", ".join((*_WORDS, "bounds", *(f"[{name}]" for name in _KEYS)))
            raise UsageError(f"`{key}` says nothing here", wanted=known, got=repr(value)[:80], where=where)
    try:
        return ReadingOptions(**made)
    except UsageError as error:
        raise UsageError(error.problem, wanted=error.wanted, got=error.got, where=where) from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _table(value: Any, key: str, where: str, *, nested: bool) -> dict[str, Any]:
    """A table of texts; numbers and truth values are taken as they would stand in a cell."""
    if not isinstance(value, dict):
        raise UsageError(
            f"`{key}` is no table", wanted=f"[{key}] with NAME = VALUE", got=repr(value)[:80], where=where
        )
    if nested:
        return {name: _table(inner, f"{key}.{name}", where, nested=False) for name, inner in value.items()}
    for name, inner in value.items():
        if not isinstance(inner, str | int | float | bool):
            raise UsageError(f"`{key}.{name}`", wanted="a text or number", got=repr(inner)[:80], where=where)
    return {
        name: str(inner).lower() if isinstance(inner, bool) else str(inner) for name, inner in value.items()
    }


def split_map(options: Sequence[str]) -> dict[str, dict[str, str]]:
    """The values of ``--map COLUMN:THEIRS=OURS``.

    Raises:
        UsageError: An option of another form.
    """
    found: dict[str, dict[str, str]] = {}
    for option in options:
        column, colon, rest = option.partition(":")
        theirs, equals, ours = rest.rpartition("=")
        if not (colon and equals and column.strip() and ours.strip()):
            raise UsageError(
                f"--map {option}",
                wanted="--map COLUMN:THEIRS=OURS, e.g. --map 'method:Full FT=full'",
                got=option,
            )
        found.setdefault(column.strip(), {})[theirs.strip()] = ours.strip()
    return found


def split_bounds(option: str | None) -> tuple[float, float] | None:
    """The numbers of ``--bounds LOW,HIGH``.

    Raises:
        UsageError: Anything else.
    """
    if option is None:
        return None
    parts = option.split(",")
    try:
        low, high = (float(part) for part in parts)
    except ValueError:
        raise UsageError(f"--bounds {option}", wanted="LOW,HIGH, e.g. 0,100", got=option) from None
    return low, high
