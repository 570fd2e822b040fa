"""One source among several: its rows under our names, and how several become one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from finescale.records.kept_units import telling_its_unit
from finescale.records.loss_units import PERCENT, check_unit
from finescale.records.names import find, untracked
from finescale.records.options import ReadingOptions
from finescale.records.outcomes import TEST_LOSS
from finescale.records.read import understand
from finescale.records.reading import RawTable
from finescale.records.typed import SOURCE_ROW

SOURCE = "source_name"
"""The column that says which source a row is from, where there are several."""
_IDS = ("run", "run_id")
_RUN_NAMES = (*_IDS, "name", "Name", "run_name")


@dataclass(frozen=True)
class Part:
    """What one source gives.

    Attributes:
        frame: All of its rows, values read, columns under our names or without a tracker's prefix.
        origin: The source.
        options: How it was read, its mapping file counted.
        names: The source's own names to those in ``frame``, where they differ.
        outcome: The column that is analysed; empty where it has none.
        notes: What was noticed.
        questions: What the source does not say, by our column.
    """

    frame: pl.DataFrame
    origin: str
    options: ReadingOptions
    names: Mapping[str, str] = field(default_factory=dict)
    outcome: str = ""
    notes: tuple[str, ...] = ()
    questions: Mapping[str, str] = field(default_factory=dict)


def part_of(raw: RawTable, options: ReadingOptions) -> Part:
    """Reads one source as far as its values.

    Args:
        raw: What it holds.
        options: What is stated for all sources; a mapping file beside the source goes under it.

    Raises:
        UsageError: As ``read``; a part may lack an outcome.
    """
    options = options.with_file(raw.folder)
    matched, _, told, finished = understand(raw, options, whole=False)
    frame = finished.every_row.drop(SOURCE_ROW).drop(
        [name for name in matched.copies if name != matched.outcome], strict=False
    )
    renamed = _without_prefixes(frame.columns)
    asked = options.score or options.loss
    if matched.outcome and asked and matched.outcome not in matched.names:
        renamed[matched.outcome] = asked  # what is asked for has one name in every source
    frame = frame.drop([new for old, new in renamed.items() if new in frame.columns and new != old])
    frame = frame.rename({old: new for old, new in renamed.items() if old in frame.columns})
    outcome = renamed.get(matched.outcome, matched.outcome)
    signs = matched.outcome in told.percent
    kept = telling_its_unit(frame, outcome, matched, options, finished.frame, signs=signs, origin=raw.origin)
    names = {theirs: ours for ours, theirs in matched.names.items()} | renamed
    if kept.outcome != outcome:
        names |= {matched.theirs: kept.outcome, outcome: kept.outcome}
    notes = (*raw.notes, *options.notes, *matched.notes, *told.notes, *finished.notes, *kept.notes)
    left = (
        f"Left out {many} rows with {why}." for why, many in finished.left_out.items() if "--where" in why
    )
    return Part(
        kept.frame, raw.origin, options, names, kept.outcome, (*notes, *left), raw.questions,
    )  # fmt: skip


def _without_prefixes(columns: Sequence[str]) -> dict[str, str]:
    """Names without what a tracker wrote before them, where that is no other column's name."""
    short = {name: untracked(name) for name in columns if untracked(name) != name}
    counts = Counter(short.values())
    return {name: plain for name, plain in short.items() if counts[plain] == 1 and plain not in columns}


def united(parts: Sequence[Part], options: ReadingOptions) -> tuple[pl.DataFrame, ReadingOptions]:
    """One table of all parts, and how it is to be read.

    Args:
        parts: The sources.
        options: What is stated for all of them.

    Returns:
        The rows (a column says their source, where there are several), and options for what is decided on
        the whole: outcome, roles, sweeps, steps.
    """
    for part in parts:  # what mapping files say of the outcome and of roles holds for the whole
        options = options.over(replace(part.options, notes=()))
    roles = {}
    columns = {name for part in parts for name in part.frame.columns}
    for name, role in options.roles.items():
        own = next((part.names[name] for part in parts if name in part.names), name)
        roles |= {own: role} if find(own, sorted(columns)) else {}
    loss, score = _asked(parts, options)
    percent = check_unit(options.unit) in PERCENT  # a loss's unit is in its name, or spent
    final = ReadingOptions(
        loss=loss, score=score, better=options.better, bounds=options.bounds,
        unit=options.unit if percent else None, roles=roles, sweep=options.sweep, step=options.step,
        command=options.command,
    )  # fmt: skip
    frames = [part.frame for part in parts]
    if len(parts) > 1:
        frames = _names_apart(parts)
    return _stacked(frames), final


def _asked(parts: Sequence[Part], options: ReadingOptions) -> tuple[str | None, str | None]:
    """The loss and the score that are asked for, as they are called in the parts' frames."""
    found = {part.outcome for part in parts if part.outcome}
    name = found.pop() if len(found) == 1 else None
    if options.score is not None:
        return None, name or options.score
    usual = options.loss is None and name == TEST_LOSS.column
    return (options.loss if usual or name is None else name), None


def _names_apart(parts: Sequence[Part]) -> list[pl.DataFrame]:
    """The frames with their source; a run's name that two sources have gets its source before it."""
    origins = _origins(parts)
    frames = [
        part.frame.with_columns(pl.lit(origin).alias(SOURCE))
        for part, origin in zip(parts, origins, strict=True)
    ]
    ids = [
        next((name for name in _IDS if name in frame.columns and not frame[name].null_count()), "")
        for frame in frames
    ]
    if all(ids):  # one name for what tells runs apart, where every source has it
        frames = [frame.rename({name: "run"}) for frame, name in zip(frames, ids, strict=True)]
    for name in _RUN_NAMES:
        seen = Counter(
            value
            for frame in frames
            if name in frame.columns
            for value in frame[name].cast(pl.String).unique()
        )
        again = [value for value, many in seen.items() if many > 1 and value is not None]
        if again:
            frames = [
                frame.with_columns(_before(name, again, origin)) if name in frame.columns else frame
                for frame, origin in zip(frames, origins, strict=True)
            ]
    return frames


def _before(name: str, again: Sequence[str], origin: str) -> pl.Expr:
    text = pl.col(name).cast(pl.String)
    return pl.when(text.is_in(again)).then(pl.lit(f"{origin}/") + text).otherwise(text).alias(name)


def _origins(parts: Sequence[Part]) -> list[str]:
    """Each source's name; numbered where two have the same."""
    counts = Counter(part.origin for part in parts)
    seen: Counter[str] = Counter()
    names = []
    for part in parts:
        seen[part.origin] += 1
        again = counts[part.origin] > 1
        names.append(f"{part.origin} {seen[part.origin]}" if again else part.origin)
    return names


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Rows of all frames; a column that is text in one of them is text in all."""
    if not frames:
        return pl.DataFrame()
    kinds: dict[str, set[bool]] = {}
    for frame in frames:
        for name, kind in frame.schema.items():
            if kind != pl.Null:
                kinds.setdefault(name, set()).add(kind.is_numeric())
    mixed = {name for name, found in kinds.items() if len(found) > 1}
    texts = [
        frame.with_columns(pl.col(name).cast(pl.String) for name in frame.columns if name in mixed)
        for frame in frames
    ]
    return pl.concat(texts, how="diagonal_relaxed") if len(texts) > 1 else texts[0]
