"""A table's columns under our names: as stated, as the mapping file says, or as only one column can be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from finescale.errors import UsageError
from finescale.records import names
from finescale.records.columns import BY_NAME, DATA_SIZE, FACTORS
from finescale.records.constants import with_constants
from finescale.records.methods import canonical, is_known, of_each_method
from finescale.records.options import ReadingOptions
from finescale.records.outcomes import TEST_LOSS, score_name
from finescale.records.roles import Role, role_by_name
from finescale.records.run_numbers import roles_of_runs
from finescale.records.status import is_status, of_word
from finescale.records.told_methods import with_method
from finescale.wording import listed

_TIMES = re.compile(r"(?P<name>.*\S)\s*[*×]\s*(?P<factor>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)")
"""A column times a number: `params*1e9`."""
_OWN = {"run", "study", "purpose", "status"}
"""The columns that only a study of ours has."""
_INFERRED = (
    DATA_SIZE,
    "model_params",
    "method",
    "model",
    "task",
    "pet_size",
    "seed",
    "status",
    "learning_rate",
)
"""Columns that are looked for under other names."""


@dataclass(frozen=True)
class Matched:
    """A table with our names.

    Attributes:
        frame: The table; a column that is mapped stands there under both names.
        outcome: The column that is analysed, as it is called in ``frame``.
        theirs: The outcome's own name in the table.
        names: Our names to the table's, where they differ.
        copies: The table's own names of columns that stand there under ours.
        decimal: How doubtful columns are written, by the names in ``frame``.
        own: Whether a study of ours wrote the table.
        roles: Roles that the cells tell, where names say something else.
        notes: What was inferred, in sentences.
        times: What columns are multiplied by, as stated, by our names.
    """

    frame: pl.DataFrame
    outcome: str
    theirs: str
    names: Mapping[str, str]
    copies: tuple[str, ...]
    decimal: Mapping[str, str]
    own: bool
    roles: Mapping[str, Role]
    notes: tuple[str, ...]
    times: Mapping[str, str] = field(default_factory=dict)

    def ours(self, name: str) -> str:
        """Our name for a column that is called by its own."""
        return _ours(name, self.names)


def match(
    raw: pl.DataFrame, options: ReadingOptions, need: Sequence[str], origin: str, *, whole: bool = True
) -> Matched:
    """Finds our columns in a table.

    Args:
        raw: The table.
        options: What is stated.
        need: Columns that must be there.
        origin: The table, for messages.
        whole: Whether it is all there is; a part of what is collected may lack an outcome (then it is empty),
            and rows that need no constant.

    Raises:
        UsageError: What is stated is not there, or columns are missing: all of them at once.
    """
    have = [name for name in raw.columns if not name.startswith("_source")]
    frame, mapped, times = _stated(raw, options, have, origin)
    have = [name for name in have if name in frame.columns]
    own = set(frame.columns) >= _OWN
    inferred = {} if own else _inferred(frame, have, mapped, options)
    frame = frame.with_columns([pl.col(theirs).alias(ours) for ours, theirs in inferred.items()])
    used = {**mapped, **inferred}
    ours_of = {theirs: ours for ours, theirs in used.items()}
    constants = {ours_of.get(name, name): value for name, value in options.constants.items()}
    filled = with_constants(frame, constants, origin, strict=whole)
    frame, told = (filled.frame, "") if own else with_method(filled.frame, used)
    if whole:
        outcome, theirs = _outcome(frame, options, have, used, need, origin)
    else:
        outcome = find_outcome(frame, options, have) or ""
        theirs = used.get(outcome, outcome)
    frame = _mapped_values(frame, options, used, origin)
    words = ", ".join(f"`{theirs}` as {ours}" for ours, theirs in inferred.items())
    notes = [f"Columns were read by their names: {words} (--column says otherwise)."] if words else []
    notes += [*filled.notes, *([told] if told else [])]
    wide = [name for name in names.of_each_repeat(have) if name != theirs]
    if wide and theirs in names.of_each_repeat(have):
        notes.append(
            f"Only {theirs} is read: {', '.join(wide[:3])} look like the same outcome of other repeats; "
            "write a row for each."
        )
    if theirs and names.is_of_training(theirs):
        notes.append(f"`{theirs}` is by its name of training data: it says little about data that are new.")
    copies = tuple(
        name for name in dict.fromkeys(used.values()) if name not in used and name in frame.columns
    )
    decimal = {
        _ours(_in(name, frame, "--decimal", origin), used): way for name, way in options.decimal.items()
    }
    stated = [found for name in options.roles if (found := names.find(name, frame.columns))]
    known = {*copies, *(_ours(name, used) for name in stated)}
    roles, told_runs = ({}, []) if own else roles_of_runs(frame, known)
    return Matched(frame, outcome, theirs, used, copies, decimal, own, roles, (*notes, *told_runs), times)


def _in(name: str, frame: pl.DataFrame, flag: str, origin: str) -> str:
    found = names.find(name, frame.columns)
    if found is None:
        have = ", ".join(frame.columns[1:21])
        raise UsageError(f"{flag} {name}: no such column", got=f"columns {have}", where=origin)
    return found


def _ours(name: str, used: Mapping[str, str]) -> str:
    """Our name for a column, where it is the table's own."""
    return next((mine for mine, theirs in used.items() if theirs == name), name)


def _stated(
    raw: pl.DataFrame, options: ReadingOptions, have: Sequence[str], origin: str
) -> tuple[pl.DataFrame, dict[str, str], dict[str, str]]:
    """The columns that are stated, their own names, and what they are multiplied by."""
    frame, mapped, multiplied = raw, {}, {}
    lost: list[tuple[str, str]] = []
    for ours, theirs in options.columns.items():
        found = names.find(theirs, have)
        times = _TIMES.fullmatch(theirs) if found is None else None
        if times is not None and (found := names.find(times["name"], have)) is not None:
            frame = frame.drop(ours, found, strict=False).with_columns(raw[found].alias(ours))
            mapped |= {ours: found} if ours != found else {}
            multiplied[ours] = times["factor"]
        elif found is None:
            lost.append((ours, theirs))
        elif ours != found:
            frame = frame.drop(ours, strict=False).with_columns(raw[found].alias(ours))
            mapped[ours] = found
    if lost:
        raise names.missing([[theirs] for _, theirs in lost], have, origin, command=options.command)
    return frame, mapped, multiplied


def _inferred(
    frame: pl.DataFrame, have: Sequence[str], mapped: Mapping[str, str], options: ReadingOptions
) -> dict[str, str]:
    """Our names that are missing, each with the only column that can be it."""
    free = [name for name in have if name not in mapped.values() and name not in BY_NAME]
    wanted = list(_INFERRED)
    wanted += [TEST_LOSS.column] if options.loss is None and options.score is None else []
    wanted += [name for name in BY_NAME if name not in wanted]
    found: dict[str, str] = {}
    for ours in wanted:
        if ours in frame.columns:
            continue
        left = [name for name in free if name not in found.values()]
        exact = ours not in _INFERRED and ours != TEST_LOSS.column
        theirs = names.infer(ours, left, exact=exact) or _by_values(ours, frame, left)
        if theirs is None or (ours == "status" and not _is_state(frame[theirs])):
            continue
        if ours == "pet_size" and names.bare(theirs) == "rank" and _is_order(frame[theirs]):
            continue  # the rank of a leaderboard
        found[ours] = theirs
    return found


def _by_values(ours: str, frame: pl.DataFrame, free: Sequence[str]) -> str | None:
    """The only column that can be the method, or the status, by what stands in it."""
    if ours == "status":
        named = [name for name in free if names.bare(name).endswith(("status", "state", "result"))]
        fits = [name for name in named if _is_state(frame[name])]
    elif ours == "method":
        fits = [name for name in free if role_by_name(name) is None and _names_methods(frame[name])]
    else:
        return None
    return fits[0] if len(fits) == 1 else None


def _names_methods(values: pl.Series) -> bool:
    """Whether all texts of a column are names of methods, full tuning, LoRA or prompt tuning among them."""
    if values.dtype != pl.String:
        return False
    texts = [text for text in values.str.strip_chars().unique().drop_nulls() if text]
    usual = {"full", "lora", "qlora", "prompt"}
    return bool(texts) and all(map(is_known, texts)) and any(canonical(text) in usual for text in texts)


def _is_order(values: pl.Series) -> bool:
    """Whether a column numbers the rows, 1 to n in any order."""
    numbers = values.cast(pl.String).str.strip_chars("# ").cast(pl.Float64, strict=False)
    return values.len() > 2 and numbers.sort().to_list() == [float(at + 1) for at in range(values.len())]


def _is_state(values: pl.Series) -> bool:
    """Whether most cells that are not empty are words for how a run stands."""
    if values.dtype != pl.String:
        return False
    if is_status(values):
        return True
    counts = dict(values.drop_nulls().value_counts().iter_rows())
    known = sum(many for word, many in counts.items() if of_word(str(word)))
    return known >= 0.8 * sum(counts.values()) > 0


def find_outcome(frame: pl.DataFrame, options: ReadingOptions, have: Sequence[str]) -> str | None:
    """The column that is analysed, where it is there."""
    asked = options.score or options.loss or TEST_LOSS.column
    found = names.find(asked, frame.columns)
    if found is None and options.score:
        found = next((name for name in have if score_name(name) == names.bare(asked)), None)
    return found


def _outcome(  # noqa: PLR0917
    frame: pl.DataFrame,
    options: ReadingOptions,
    have: Sequence[str],
    used: Mapping[str, str],
    need: Sequence[str],
    origin: str,
) -> tuple[str, str]:
    """The outcome's column, and its own name in the table; missing columns are reported here."""
    asked = options.score or options.loss or TEST_LOSS.column
    found = find_outcome(frame, options, have)
    free = [name for name in have if name not in used.values()]
    wide = [] if "method" in frame.columns else of_each_method(have)
    if found and used.get(found, found) in wide:
        raise UsageError(
            f"{listed(wide[:3])} are one outcome in a column for each method",
            wanted="a row for each run, with a column `method`",
            got=f"the column {used.get(found, found)} of one method",
            remedy="write a row for each run",
            where=origin,
        )
    lost: list[Sequence[str]] = [] if found else [[asked]]
    lost += [[name] for name in need if name not in frame.columns]
    if not any(name in frame.columns for name in (*FACTORS, DATA_SIZE, *need)) and not need:
        lost.append([DATA_SIZE, *FACTORS])
    if lost:
        raise names.missing(
            lost,
            have,
            origin,
            command=options.command,
            free=free,
            score=options.score,
            methods=wide or [name for name in free if is_known(name)],
        )
    assert found is not None
    return found, used.get(found, found)


def _mapped_values(
    frame: pl.DataFrame, options: ReadingOptions, used: Mapping[str, str], origin: str
) -> pl.DataFrame:
    """Values read as others: ``--map method:Full FT=full``; case and blanks around do not count."""
    for name, values in options.values.items():
        column = _in(name, frame, "--map", origin)
        ours = _ours(column, used)
        texts = frame[ours].cast(pl.String).str.strip_chars()
        folded = texts.str.to_lowercase()
        known = {theirs.strip().casefold(): mine for theirs, mine in values.items()}
        lost = [theirs for theirs in values if not (folded == theirs.strip().casefold()).any()]
        if lost:
            have = ", ".join(repr(value) for value in texts.drop_nulls().unique(maintain_order=True).head(8))
            raise UsageError(f"--map {name}:{lost[0]}: no such value", wanted=f"one of {have}", where=origin)
        made = folded.replace_strict(known, default=None, return_dtype=pl.String)
        frame = frame.with_columns(made.zip_with(made.is_not_null(), texts).alias(ours))
    return frame
