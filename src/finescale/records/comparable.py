"""One candidate a setting, and what to know before settings are compared."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

import polars as pl

from finescale.records.columns import DATA_SIZE, FACTORS
from finescale.records.differences import follows_data, method_differences
from finescale.records.half_filled import half_filled
from finescale.records.named_metrics import MEASURES, named_metrics, which_rows
from finescale.records.names import bare
from finescale.records.options import ReadingOptions
from finescale.records.outcomes import Outcome
from finescale.records.repeats import SEED
from finescale.records.roles import Role
from finescale.records.siblings import far_siblings
from finescale.records.sweeps import reduce_sweeps
from finescale.records.telling_labels import telling_labels
from finescale.records.typed import SOURCE_ROW
from finescale.wording import listed

_SELECTORS = MEASURES | frozenset({
    "split", "subset", "dataset_split", "eval_split", "phase", "eval_set",
})  # fmt: skip
"""Names of columns that say what the outcome of their row is, or on what it was measured."""
_SPENT = re.compile(r"(^|_)(tokens|seconds|secs|minutes|hours|time|elapsed|runtime|duration|flops|flos)(_|$)")
"""Costs that grow while a run goes on."""
_CHANCE = 1e-2
_SWEEP = "another candidate of their sweep"
_TWICE = "the same seed and numbers as another row (one run, listed twice)"


@dataclass(frozen=True)
class Compared:
    """What was noticed in sentences, and questions without whose answer there is no advice."""

    notes: tuple[str, ...]
    doubts: tuple[str, ...]


def make_comparable(
    frame: pl.DataFrame,
    roles: Mapping[str, Role],
    outcome: Outcome,
    options: ReadingOptions,
    left_out: dict[str, int],
    *,
    origin: str,
    own: bool,
) -> tuple[pl.DataFrame, Compared]:
    """One candidate a setting, and what to know before settings are compared."""
    frame, twice = _once(frame)
    left_out |= {_TWICE: twice} if twice else {}
    swept = reduce_sweeps(
        frame,
        roles,
        outcome=outcome.column,
        lower=outcome.lower,
        choice=options.sweep or "best",
        origin=origin,
    )
    if swept.tuned is not None:
        known = frame["lr_tuned"].fill_null(False) if "lr_tuned" in frame.columns else False
        frame = frame.with_columns((swept.tuned | known).alias("lr_tuned"))
    others = int((~swept.keep).sum())
    left_out |= {_SWEEP: others} if others else {}
    frame, notes = _own_settings(frame if swept.keep.all() else frame.filter(swept.keep), roles)
    settings = [name for name, role in roles.items() if role == "setting" and name in frame.columns]
    unknown, doubts = _unknown(frame, roles)
    doubts += [one for one in named_metrics(frame, outcome, options) if one not in doubts]
    doubts += [] if own else [*_maybe_steps(frame, roles), *_trained_shares(frame, roles)]
    notes = [*swept.notes, *notes, *far_siblings(frame, settings, outcome.column, SOURCE_ROW), *unknown]
    if not own:  # a study of our own chose them by a rule that its report tells
        for found, asked in (
            half_filled(frame, roles),
            telling_labels(frame, roles, outcome, options.roles),
        ):
            notes, doubts = [*notes, *found], [*doubts, *asked]
        notes += [*method_differences(frame, roles), *follows_data(frame, roles, swept.swept)]
    notes += _repeats(frame)
    return frame, Compared(tuple(notes), (*swept.doubts, *doubts))


def _own_settings(frame: pl.DataFrame, roles: Mapping[str, Role]) -> tuple[pl.DataFrame, list[str]]:
    """Columns that the user calls settings become part of the task, so that nothing is averaged over them."""
    known = {"task", "method", "model", *FACTORS, DATA_SIZE}
    extra = [name for name, role in roles.items() if role == "setting" and name not in known]
    if not extra:
        return frame, []
    parts = [pl.format("{} {}", pl.lit(name), pl.col(name).cast(pl.String).fill_null("-")) for name in extra]
    task = [pl.col("task").fill_null("unnamed")] if "task" in frame.columns else []
    frame = frame.with_columns(pl.concat_str([*task, *parts], separator=", ").alias("task"))
    return frame, [f"{listed(extra)} told apart as settings: each value is a task of its own."]


def _unknown(frame: pl.DataFrame, roles: Mapping[str, Role]) -> tuple[list[str], list[str]]:
    """Notes and doubts on columns of unknown role in which rows of one setting differ."""
    names = [name for name, role in roles.items() if role == "unknown"]
    same = [name for name, role in roles.items() if role in ("setting", "repeat") and name in frame.columns]
    notes, doubts = [], []
    for name in names:
        groups = (
            frame.group_by(same).agg(pl.col(name).n_unique())
            if same
            else frame.select(pl.col(name).n_unique())
        )
        if not (groups[name] > 1).any():
            continue
        values = [str(value) for value in frame[name].unique(maintain_order=True).head(4)]
        roles_of = "(or setting, repeat, label, outcome)"
        question = f"what is the column `{name}`? --role '{name}=hyperparameter' {roles_of}"
        if bare(name) in _SELECTORS:
            question = which_rows(name, values)
        notes.append(
            f"Rows of one setting differ in `{name}` ({', '.join(values)}), and nothing says what that is: "
            f"they are averaged over it. Say it: {question.partition('? ')[2]}."
        )
        doubts.append(question)
    return notes, doubts


def _trained_shares(frame: pl.DataFrame, roles: Mapping[str, Role]) -> list[str]:
    """A question where no column names the method, and runs of one setting train more weights or fewer."""
    name = "trainable_params"
    if "method" in frame.columns or name not in frame.columns or frame[name].drop_nulls().n_unique() < 2:
        return []
    same = [key for key, role in roles.items() if role == "setting" and key in frame.columns]
    counts = (
        frame.group_by(same).agg(pl.col(name).n_unique()) if same else frame.select(pl.col(name).n_unique())
    )
    if not (counts[name] > 1).any():
        return []
    return [f"runs of one setting differ in `{name}`: which methods are they? add a column `method`"]


def _maybe_steps(frame: pl.DataFrame, roles: Mapping[str, Role]) -> list[str]:
    """A question where rows look like evaluations of one run at several `steps`, which are a run's cost."""
    names = [name for name in ("steps", "tokens_processed") if roles.get(name) == "outcome"]
    spent = [
        name for name, role in roles.items()
        if role == "outcome" and _SPENT.search(bare(name)) and name not in names
        and frame[name].dtype.is_numeric()
    ]  # fmt: skip
    same = [
        name for name, role in roles.items()
        if role in ("setting", "hyperparameter", "repeat", "unknown") and name in frame.columns
    ]  # fmt: skip
    for name in names:
        if not same or frame[name].null_count() or frame[name].n_unique() > frame.height / 2:
            continue
        groups = frame.group_by(same).agg(pl.len().alias("rows"), pl.col(name).n_unique().alias("values"))
        groups = groups.filter(pl.col("rows") > 1)
        if groups.height and (groups["rows"] == groups["values"]).all():
            return [_evaluations(name)]
    for name in spent:
        if same and not frame[name].null_count() and _rises(frame, name, same):
            return [_evaluations(name)]
    if same and roles.get(SEED) == "repeat" and "run" not in frame.columns and _again(frame, roles, same):
        return [
            "are rows of one setting with the same seed evaluations of one run? --role COLUMN=progress (the "
            "column that grows: the last counts), or --role seed=label (they are runs of their own)"
        ]
    return []


def _again(frame: pl.DataFrame, roles: Mapping[str, Role], same: Sequence[str]) -> bool:
    """Whether most settings have rows of one seed that no other column tells apart."""
    labels = [
        name for name, role in roles.items() if role == "label" and not frame[name].dtype.is_nested()
    ]  # fmt: skip
    rows = frame.select(*same, *labels).hash_rows()
    settings = rows.n_unique()
    return settings < rows.len() and 2 * rows.filter(rows.is_duplicated()).n_unique() >= settings


def _evaluations(name: str) -> str:
    """The question whether rows are evaluations of one run, at several values of a column."""
    return (
        f"are rows that differ in `{name}` evaluations of one run? --role {quote(name + '=progress')} "
        f"(the last counts), or --role {quote(name + '=label')} (they are runs of their own)"
    )


def _rises(frame: pl.DataFrame, name: str, same: Sequence[str]) -> bool:
    """Whether a cost rises from row to row wherever rows share everything else, beyond chance."""
    rises = (pl.col(name).diff().drop_nulls() > 0).all()
    groups = frame.group_by(same, maintain_order=True).agg(pl.len().alias("rows"), rises.alias("rises"))
    groups = groups.filter(pl.col("rows") > 1)
    by_chance = -sum(math.lgamma(rows + 1) for rows in groups["rows"])
    return groups.height > 0 and bool(groups["rises"].all()) and by_chance < math.log(_CHANCE)


def _once(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The rows less those that repeat another one, its seed too (one run, listed twice); and how many."""
    if "run" in frame.columns or SEED not in frame.columns or not frame.height:
        return frame, 0
    again = ~frame.drop(SOURCE_ROW).hash_rows().is_first_distinct() & frame[SEED].is_not_null()
    return (frame.filter(~again), int(again.sum())) if again.any() else (frame, 0)


def _repeats(frame: pl.DataFrame) -> list[str]:
    if "run" in frame.columns or not frame.height:
        return []
    repeated = frame.height - frame.drop(SOURCE_ROW).hash_rows().n_unique()
    return (
        [f"{repeated} rows repeat another row exactly; each counts as a run of its own."] if repeated else []
    )
