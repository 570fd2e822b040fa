"""The road from a raw table to the runs that count: names, values, statuses, roles, steps, sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from finescale.records.columns import BY_NAME, DATA_SIZE, FACTORS, Kind
from finescale.records.comparable import make_comparable
from finescale.records.expression import matches, written_out
from finescale.records.loss_units import check_unit
from finescale.records.matching import Matched, match
from finescale.records.measured import measure
from finescale.records.merged_cells import filled_down
from finescale.records.methods import one_name_each
from finescale.records.names import bare, leaf
from finescale.records.options import ReadingOptions
from finescale.records.percentages import in_percent
from finescale.records.reading import RawTable, Reading, RunsRead
from finescale.records.repeated_headers import without_headers
from finescale.records.repeats import with_repeats
from finescale.records.roles import Role, infer_roles, stated_roles
from finescale.records.run_flags import failed_runs
from finescale.records.status import in_our_words
from finescale.records.steps import Which, one_row_a_run
from finescale.records.summary_rows import summary_rows
from finescale.records.told_methods import ADAPTERS, NO_ADAPTER
from finescale.records.truncation import MUCH, truncation_words
from finescale.records.typed import SOURCE_ROW, BadCells, Typed, refuse_bad, typed
from finescale.records.unread import without_unread
from finescale.records.valid import check_duplicates, check_magnitudes, check_values, with_outcome


def read(raw: RawTable, options: ReadingOptions, need: Sequence[str] = ()) -> RunsRead:
    """The road that every source takes.

    Args:
        raw: The table.
        options: How it is to be read.
        need: Columns that must be there.

    Returns:
        The runs that count.

    Raises:
        UsageError: Columns that are missing, values that cannot be right, a question that must be answered.
    """
    options = options.with_file(raw.folder)
    matched, kinds, told, finished = understand(raw, options, need)
    percent = told.percent.get(matched.outcome)
    taken = measure(
        finished.frame,
        finished.every_row,
        matched,
        options,
        has_percent=percent is not None,
        origin=raw.origin,
    )
    outcome, frame = taken.outcome, taken.frame
    asked = stated_roles(options.roles, frame.columns, raw.origin)
    by_our_names: dict[str, Role] = {matched.ours(name): role for name, role in asked.items()}
    stated: dict[str, Role] = {**matched.roles, **finished.roles, **by_our_names}
    roles = infer_roles(frame, outcome.column, stated, (SOURCE_ROW, *matched.copies, *taken.copies))
    step: Which = "best" if options.step == "best" else "last"
    steps = one_row_a_run(frame, roles, outcome=outcome.column, lower=outcome.lower, which=step)
    if steps.progress:  # what varied with the steps alone does not vary any more
        copies = (SOURCE_ROW, *matched.copies, *taken.copies)
        roles = infer_roles(frame.filter(steps.keep), outcome.column, stated, copies)
        roles |= dict.fromkeys((name for name in steps.logged if name in roles), "progress")
    left_out = finished.left_out | _count(~steps.keep, f"another {steps.progress} of their run")
    unread = None if finished.unread is None else finished.unread.filter(steps.keep)
    frame = with_outcome(frame.filter(steps.keep), outcome, left_out, unread, raw.origin)
    check_values(frame, kinds, outcome, need, raw.origin)
    if "run" not in {*stated, *matched.copies}:
        check_duplicates(frame, raw.origin)
    if not matched.own:
        check_magnitudes(frame, matched.names, raw.origin)
    frame, repeats = (frame, ()) if matched.own else with_repeats(frame, roles)
    frame, compared = make_comparable(
        frame, roles, outcome, options, left_out, origin=raw.origin, own=matched.own
    )
    doubts = (*taken.doubts, *_unanswered(raw, frame), *compared.doubts)
    notes = [f"Left out {many} rows with {why}." for why, many in left_out.items() if " of their " not in why]
    notes += [
        *raw.notes,
        *options.notes,
        *matched.notes,
        *told.notes,
        *finished.notes,
        *taken.notes,
        *steps.notes,
        *repeats,
        *(f"{words} The losses are those of what was left." for words in truncation_words(frame, MUCH)),
    ]
    notes += [*compared.notes, *(f"No advice until it is known: {doubt}." for doubt in doubts)]
    reading = Reading(roles, left_out, tuple(dict.fromkeys(notes)), doubts, matched.names)
    return RunsRead(frame.drop(SOURCE_ROW), taken.every_row.drop(SOURCE_ROW), outcome, reading)


def understand(
    raw: RawTable, options: ReadingOptions, need: Sequence[str] = (), *, whole: bool = True
) -> tuple[Matched, Mapping[str, Kind], Typed, Finished]:
    """The first half of the road: names, values, statuses.

    Args:
        raw: The table.
        options: How it is to be read, those of its mapping file among them.
        need: Columns that must be there.
        whole: Whether it is all there is, or a part of what is collected.

    Returns:
        The columns under our names, their kinds, their values, and the rows that finished.

    Raises:
        UsageError: As ``read``.
    """
    frame = raw.frame.with_row_index(SOURCE_ROW, offset=raw.first_row)
    frame = frame.filter(~pl.all_horizontal(pl.exclude(SOURCE_ROW).is_null()))
    frame, headers = without_headers(frame)
    matched = match(frame, options, need, raw.origin, whole=whole)
    if raw.first_row > 1 and not matched.own:  # text or a spreadsheet: what a tracker does not know is blank
        frame, merged = filled_down(matched.frame)
        matched = replace(matched, frame=frame, notes=(*matched.notes, *merged))
    sums: dict[str, int] = {}
    if not matched.own:
        frame, sums = summary_rows(matched.frame)
        matched = replace(matched, frame=frame)
    kinds = _kinds(matched.frame, matched.outcome, need)
    told = typed(matched.frame, kinds, matched, raw.origin)
    needed = {matched.outcome, DATA_SIZE, *FACTORS, "held_out", *need}
    optional = frozenset() if matched.own else frozenset(kinds) - needed
    finished = _on_one_scale(
        _finished(told, matched, options, optional, raw.origin), told, matched, options, raw.origin
    )
    return matched, kinds, told, replace(finished, left_out=headers | sums | finished.left_out)


def _unanswered(raw: RawTable, frame: pl.DataFrame) -> list[str]:
    """What the source does not say and nobody answered, where runs that count are concerned."""
    return [
        question
        for name, question in raw.questions.items()
        if name not in frame.columns or frame[name].null_count()
    ]


@dataclass(frozen=True)
class Finished:
    """Runs that finished.

    Attributes:
        frame: Their rows.
        every_row: All rows.
        left_out: How many rows did not, by reason.
        unread: Which rows have an outcome that is no number; None: none.
        notes: What was noticed.
        roles: Roles of columns that were added.
    """

    frame: pl.DataFrame
    every_row: pl.DataFrame
    left_out: dict[str, int]
    unread: pl.Series | None
    notes: tuple[str, ...]
    roles: Mapping[str, Role]


def _finished(
    table: Typed, matched: Matched, options: ReadingOptions, optional: frozenset[str], origin: str
) -> Finished:
    """Leaves out what ``--where`` and the statuses say; then every bad cell of a setting is an error.

    Bad cells of optional columns, which no answer needs, are empty.
    """
    left_out: dict[str, int] = {}
    frame, renamed, notes = _method_names(table.frame, matched)
    bad = list(table.bad)
    if options.where:
        keep = matches(frame, _with_our_methods(written_out(options.where), renamed))
        left_out |= _count(~keep, f"`{options.where}` not true (--where)")
        frame, bad = _kept(frame, keep, bad)
    if not matched.own:
        failed, reasons = failed_runs(frame)
        left_out |= reasons
        frame, bad = _kept(frame, ~failed, bad)
    words = None
    if "status" in frame.columns:
        measured = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
        measured = frame[matched.outcome].is_not_null() if matched.outcome else measured
        ours, more = in_our_words(frame["status"], measured, origin)
        words = ours.zip_with(ours.is_in(["stopped", "diverged"]).fill_null(False), frame["status"])
        frame, notes = frame.with_columns(ours), [*notes, *more]
    every_row = frame
    keep = pl.repeat(True, frame.height, dtype=pl.Boolean, eager=True)
    for name, shown in (("status", words), ("purpose", None)):
        if name not in frame.columns:
            continue
        values = frame[name].fill_null("(empty)")
        lost = keep & (values != "done" if name == "status" else values == "sweep")
        told = (values if shown is None else shown.fill_null("(empty)")).filter(lost)
        left_out |= {f"{name} {value}": many for value, many in told.value_counts(sort=True).iter_rows()}
        keep = keep & ~lost
    frame, bad = _kept(frame, keep, bad)
    refuse_bad(
        [one for one in bad if one.column not in {matched.outcome, *optional}], frame[SOURCE_ROW], origin
    )
    passed = without_unread([one for one in bad if one.column in optional and one.rows.any()], frame)
    frame, notes = passed.frame, [*notes, *passed.notes]
    unread = next((one.rows for one in bad if one.column == matched.outcome), None)
    return Finished(frame, every_row, left_out, unread, tuple(notes), passed.roles)


def _on_one_scale(
    finished: Finished, told: Typed, matched: Matched, options: ReadingOptions, origin: str
) -> Finished:
    """A score whose cells have percent signs in part; what ``--unit`` says goes over what cells show."""
    signs = told.percent.get(matched.outcome)
    if signs is None or check_unit(options.unit) is not None:
        return finished
    rows = told.frame[SOURCE_ROW].filter(signs)
    frame, every_row, note = in_percent(finished.frame, finished.every_row, matched.outcome, rows, origin)
    notes = (*finished.notes, note) if note else finished.notes
    return replace(finished, frame=frame, every_row=every_row, notes=notes)


def _kinds(frame: pl.DataFrame, outcome: str, need: Sequence[str]) -> Mapping[str, Kind]:
    kinds: dict[str, Kind] = {name: BY_NAME[name].kind if name in BY_NAME else "size" for name in need}
    kinds |= {name: BY_NAME[name].kind for name in frame.columns if name in BY_NAME}
    if outcome:
        kinds[outcome] = "loss"
    return kinds


def _kept(
    frame: pl.DataFrame, keep: pl.Series, bad: Sequence[BadCells]
) -> tuple[pl.DataFrame, list[BadCells]]:
    if keep.all():
        return frame, list(bad)
    kept = [replace(one, rows=one.rows.filter(keep), values=one.values.filter(keep)) for one in bad]
    return frame.filter(keep), kept


def _count(rows: pl.Series, reason: str) -> dict[str, int]:
    many = int(rows.sum())
    return {reason: many} if many else {}


def _method_names(frame: pl.DataFrame, matched: Matched) -> tuple[pl.DataFrame, dict[str, str], list[str]]:
    """One name for each method, and what was renamed; a study of our own has one name for each."""
    if matched.own or "method" not in frame.columns:
        return frame, {}, []
    text = frame["method"].str.strip_chars()
    text = text.set((text == "").fill_null(False), None)
    theirs = matched.names.get("method", "method")
    adapters = bool({bare(theirs), leaf(theirs)} & ADAPTERS)
    if adapters:
        text = text.set(text.str.to_lowercase().is_in(NO_ADAPTER).fill_null(False), None)
    found = dict(text.drop_nulls().value_counts(sort=True).iter_rows())
    renamed, notes = one_name_each(found)
    if found and text.null_count() and adapters:
        notes.append(f"{text.null_count()} rows without a `{theirs}` are full tuning.")
        text = text.fill_null("full")
    if found and text.null_count():
        notes.append(f"{text.null_count()} rows name no method: they count as one of their own, `unnamed`.")
    ours = text.replace(renamed) if renamed else text
    copies = [ours.alias(name) for name in {"method", theirs} if name in frame.columns]  # for --where
    return frame.with_columns(copies), renamed, notes


def _with_our_methods(expression: str, renamed: Mapping[str, str]) -> str:
    """The expression with our names for the methods that it names as the table does."""
    for theirs, ours in renamed.items():
        for quote in ("'", '"'):
            expression = expression.replace(f"{quote}{theirs}{quote}", f"{quote}{ours}{quote}")
    return expression
