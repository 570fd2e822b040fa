"""What can be chosen: methods with a forecast (or a law) each, and how far that has been wrong.

A question moves two things, the model and the data. Where model size explains the losses, one forecast over
both answers for every method (with ``auto`` one law: the contender that predicts hidden sizes best). Where it
does not - one model only, or models of different families - every model has a curve of its own over the data
size, and each (method, model) is a candidate. Forecasts and laws see all runs, held-out ones too; what is
hidden is hidden to test them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from finescale.advice.by_law import candidates_by_law, follows_size
from finescale.advice.candidate import SIZE, Candidate, Candidates, Misses, rates_tuned
from finescale.advice.comparable import check_comparable
from finescale.advice.crossovers import name_of
from finescale.advice.pet_sizes import PET, candidate_pet_sizes
from finescale.errors import DataError, UsageError
from finescale.forecasts.forecast import Forecasts, forecast
from finescale.laws.formulas import contenders, get_law
from finescale.laws.law import Law
from finescale.records.outcome_words import noun
from finescale.records.records import DATA_SIZE, FACTORS, Records, untuned
from finescale.records.settings import ANY, at_base, base_setting, check_base, fill_groups
from finescale.wording import (
    capital,
    count,
    count_each,
    factor_name,
    listed,
    method_name,
    method_title,
    pet_word,
)

FORECAST = "forecast"
"""The name of what is not one law."""


def tasks_of(records: Records) -> list[str]:
    """The tasks with finished runs of tuned models."""
    return fill_groups(_tuned(records.frame))["task"].unique(maintain_order=True).to_list()


def candidates(
    records: Records,
    task: str | None = None,
    *,
    law: str | Law = FORECAST,
    fitted: bool = False,
    base: Mapping[str, Any] | None = None,
    via: str = "auto",
    bootstrap: int = 1000,
    seed: int = 0,
) -> Candidates:
    """Fits and tests what can be chosen for one task.

    Args:
        records: The runs.
        task: The task; may be left out where there is one.
        law: ``forecast``: every candidate is forecast from all members; a law over the data size: from that
            member only; ``auto``: no forecast but the one law that predicts hidden data sizes best; a law
            over model size and data, of the zoo or one's own: that law.
        fitted: A law over the data size is fitted to each curve instead of being a forecast's member.
        base: Values at which other factors stay; default: the most frequent.
        via: How a score is forecast: ``direct``, through the ``loss`` beside it, or ``auto``, whichever
            predicts hidden runs better.
        bootstrap: Number of joint draws, or of resamples.
        seed: Seed of the draws.

    Returns:
        The candidates.

    Raises:
        UsageError: A task that is not there, or several and none named.
        DataError: No run to fit, or too few.
    """
    check_base(base or {})
    frame = _of_task(records, task)
    chosen = str(frame["task"][0])
    doubtful = check_comparable(frame, records.outcome, chosen)
    base_found = base_setting(frame, base)
    setting = base_found.values
    methods = frame["method"].unique(maintain_order=True).to_list()
    asked = None if law in ("auto", FORECAST) else _advisable(get_law(law))
    forecasting = law == FORECAST or (asked is not None and asked.per_curve and not fitted)
    if via != "auto" and not forecasting:
        raise UsageError(f"--via {via} belongs to a forecast", got=f"--law {law}", remedy="leave out --law")
    open_ = candidate_pet_sizes(frame, setting, base or {}, records.loss, SIZE) if forecasting else []
    setting = {**setting, **{f"{PET}.{method}": ANY for method in open_}}
    parts = {method: at_base(frame, setting, method, free=SIZE) for method in methods}
    notes = [*records.notes, *doubtful, *_lost_methods(parts, frame, base or {}, chosen)]
    notes += [words for name, words in base_found.ties.items() if setting.get(name) != ANY]
    runs = pl.concat(list(parts.values()))
    mine = replace(records, frame=runs, notes=())
    sizes = sorted(runs[SIZE].drop_nulls().unique().to_list()) if SIZE in runs.columns else []
    several = len(sizes) > 1
    if forecasting:
        at_one = replace(mine, frame=at_base(runs, base_found.values, free=SIZE))
        factor = SIZE if several and follows_size(at_one, notes) else None
        frame = pl.concat([runs, _untuned_of(records.frame, chosen)], how="diagonal_relaxed")
        groups = ["task", "method"]
        groups += [] if factor or not _several_models(runs) else [_model_column(runs)]
        found = forecast(
            replace(mine, frame=frame),
            [*groups, PET] if open_ else groups,
            None if asked is None else (asked,),
            hold_out=False,
            via=via,
            draws=bootstrap,
            seed=seed,
        )
        name = FORECAST if asked is None else asked.name
        held = factor or (SIZE if _several_models(runs) else None)
        notes += [_rests_on(found), *found.notes, *_at_setting(setting, held)]
        notes += [_apart_words(method, parts[method]) for method in open_]
        members = _believed(found, runs, open_)
    else:
        factor = SIZE if several and (asked is None or not asked.per_curve) else None
        if factor and asked is None and not follows_size(mine, notes):
            factor = None
        kind = "surface" if factor else "curve"
        among = [asked] if asked else [get_law(one) for one in contenders(kind, records.outcome)]
        free = {name: value for name, value in setting.items() if value == ANY}
        name, members, said = candidates_by_law(
            mine, among, factor, task=chosen, base=free, bootstrap=bootstrap, seed=seed
        )
        notes += said
    return Candidates(
        chosen,
        name,
        factor,
        members,
        tuple(sizes),
        setting,
        runs,
        tuple(notes),
        records.reading.doubts,
        records.outcome,
    )


def _untuned_of(frame: pl.DataFrame, task: str) -> pl.DataFrame:
    """The untuned models' rows of a task: they bound what a forecast may say."""
    if "method" not in frame.columns:
        return frame.clear()
    rows = fill_groups(frame).filter(pl.col("task") == task)
    return rows.filter(untuned().fill_null(value=False))


def _model_column(runs: pl.DataFrame) -> str:
    return "model" if "model" in runs.columns else SIZE


def _several_models(runs: pl.DataFrame) -> bool:
    name = _model_column(runs)
    return name in runs.columns and runs[name].drop_nulls().n_unique() > 1


def _rests_on(found: Forecasts) -> str:
    """What the forecast rests on, in a sentence."""
    group = found[0]
    top = max(group.members, key=lambda member: member.weight)
    members = f"{len(group.members)} members" if len(group.members) > 1 else f"one member ({top.name})"
    if math.isnan(top.error):
        return (
            f"The forecast rests on {members}; there are too few data sizes to hide any, so they count alike."
        )
    curves = f"{group.curves} curve" + ("s" if group.curves > 1 else "")
    most = f"; `{top.name}` has most weight ({top.weight:.0%})" if len(group.members) > 1 else ""
    return f"The forecast rests on {members}, backtested on {curves}{most}."


def _at_setting(setting: Mapping[str, Any], factor: str | None) -> list[str]:
    """The base setting in a sentence."""
    words = base_words(setting, without=(factor,) if factor else ())
    return [f"Base setting: {words}."] if words else []


def base_words(setting: Mapping[str, Any], without: Collection[str] = ()) -> str:
    """A base setting in words; empty where no factor is held."""
    said = []
    for name, value in setting.items():
        column, _, method = name.partition(".")
        if column in without or value == ANY:
            continue
        what = f"{method_name(method)}: {pet_word(method)}" if method else factor_name(column)
        said.append(f"{what} {value if isinstance(value, str) else count(value)}")
    return ", ".join(said)


def _apart_words(method: str, runs: pl.DataFrame) -> str:
    values = ", ".join(f"{value:g}" for value in runs[PET].drop_nulls().unique().sort())
    return (
        f"{method_title(method)}: {pet_word(method)}s {values} differ by more than noise, so each is "
        f"a candidate (--base {PET}.{method}=VALUE for one of them)."
    )


def _believed(found: Forecasts, runs: pl.DataFrame, apart: Sequence[str]) -> tuple[Candidate, ...]:
    """A candidate a group of the forecasts; PET sizes are named where they are candidates of their own."""
    members = []
    sizes = count_each(group.by[SIZE] for group in found if SIZE in group.by)
    for group in found:
        own = runs.filter(
            pl.all_horizontal([pl.col(name).eq_missing(pl.lit(value)) for name, value in group.by.items()])
        )
        method = str(group.by["method"])
        by = {name: value for name, value in group.by.items() if name != PET or method in apart}
        if SIZE in group.by:
            by["model"] = f"{sizes[group.by[SIZE]]} parameters"
        told = replace(group, by=by)
        size = None
        if SIZE in own.columns and not group.factors and own[SIZE].n_unique() == 1:
            size = own[SIZE][0]
        off = math.fsum(m.weight * m.error for m in group.members)
        misses = Misses(off, off, off)
        pet, model = _only_value(own, PET), None if group.factors else _only_value(own, "model")
        tuned = rates_tuned(own)
        members.append(Candidate(name_of(told), method, told, misses, tuned, size, model, pet))
    return tuple(members)


def _only_value(runs: pl.DataFrame, name: str) -> Any:
    """A column's value where it has one only."""
    values = runs[name].drop_nulls().unique() if name in runs.columns else ()
    return values[0] if len(values) == 1 else None


def _lost_methods(
    parts: Mapping[str, pl.DataFrame], frame: pl.DataFrame, asked: Mapping[str, Any], task: str
) -> list[str]:
    """A note on methods without a run at the base setting.

    Raises:
        UsageError: The setting was asked for.
        DataError: No method has a run there.
    """
    lost = [method for method, part in parts.items() if not part.height]
    if not lost:
        return []
    who = listed([method_name(method) for method in lost])
    if asked:
        rows = frame.filter(pl.col("method") == lost[0])
        have = {name: sorted(rows[name].drop_nulls().unique()) for name in FACTORS if name in rows.columns}
        have = {name: values for name, values in have.items() if any(at.startswith(name) for at in asked)}
        raise UsageError(
            f"no run of {who} at this base setting",
            wanted="; ".join(f"{name} {', '.join(f'{v:g}' for v in vs)}" for name, vs in have.items()),
            got=", ".join(f"--base {name}={value}" for name, value in asked.items() if value != ANY),
            where=task,
        )
    if len(lost) == len(parts):
        raise DataError("no run at the base setting", remedy="choose it: --base FACTOR=VALUE", where=task)
    return [f"{capital(who)}: no run at the base setting, so left out (--base to choose it)."]


def _tuned(frame: pl.DataFrame) -> pl.DataFrame:
    if DATA_SIZE not in frame.columns:
        raise DataError(f"advice needs the column {DATA_SIZE}", remedy=f"--column {DATA_SIZE}=THEIRS")
    frame = fill_groups(frame)
    return frame.filter(~untuned() & (pl.col(DATA_SIZE) > 0))


def _of_task(records: Records, task: str | None) -> pl.DataFrame:
    frame = _tuned(records.frame)
    frame = frame.filter(pl.col(records.loss).is_not_null())
    if not frame.height:
        raise DataError(
            "no finished run of a tuned model: nothing can be advised",
            wanted=f"runs with a {noun(records.outcome)}, and status done",
            got=records.rows_in_words,
            remedy="see why they failed: finescale report",
            where=records.source,
        )
    have = frame["task"].unique(maintain_order=True).to_list()
    if task is None and len(have) > 1:
        raise UsageError("several tasks", wanted="one of them", got=", ".join(have), remedy="--task NAME")
    if task is not None and task not in have:
        raise UsageError(f"no finished run of the task `{task}`", wanted="one of " + ", ".join(have))
    return frame.filter(pl.col("task") == (task or have[0]))


def _advisable(law: Law) -> Law:
    """Refuses a law of something that no question says."""
    strange = [name for name in law.variables if name not in ("X", "D", SIZE, DATA_SIZE)]
    if law.name == "joint" or strange:
        raise UsageError(
            f"advice cannot use the law `{law.name}`",
            wanted="a law of the model size and the data size, or of the data size alone",
            got="variables " + ", ".join(law.variables),
            remedy="write it with X (the model size) and D (the data size)",
        )
    return law
