"""What can be chosen: methods with a law each, and how far each law has been wrong.

A question moves two things, the model and the data. Where model size explains the losses, one law over both
(multiplicative or additive, whichever predicts hidden sizes better) answers for every method. Where it does
not - one model only, or models of different families - every model has a curve of its own over the data size,
and each (method, model) is a candidate. Laws are fitted to all runs, held-out ones too; what is hidden is
hidden to test them.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from finescale.advice.comparable import check_comparable
from finescale.advice.crossovers import name_of
from finescale.advice.pet_sizes import PET, candidate_pet_sizes
from finescale.advice.scan import Belief, times_outside
from finescale.errors import DataError, UsageError
from finescale.forecasts.forecast import Forecast, Forecasts, forecast
from finescale.laws.fit import fit
from finescale.laws.fits import Fits
from finescale.laws.fitted import FittedLaw
from finescale.laws.formulas import BASELINE, contenders, get_law
from finescale.laws.law import Law
from finescale.laws.select import Backtest, backtest
from finescale.records.outcome_words import amount, difference, noun
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import DATA_SIZE, FACTORS, Records, untuned
from finescale.records.settings import ANY, at_base, base_setting, check_base, fill_groups
from finescale.wording import capital, count, factor_name, listed, method_name, pet_word

SIZE = "model_params"
FORECAST = "forecast"
"""The name of what is not one law."""
SAME_SIZE = 0.05
"""Models whose parameter counts differ by less are the model that is asked for."""
_MOST_UNEXPLAINED = 0.5
"""A law over model size that leaves more of the models' spread unexplained than this is not used."""
_HIDE = (1, 2)
"""How many of the largest data sizes a backtest hides, step by step."""


@dataclass(frozen=True)
class Misses:
    """How far a law has been off (mean absolute deviations); NaN where it could not be tested.

    Attributes:
        inside: On the settings that it was fitted to.
        data: On hidden, larger data sizes (the backtest).
        size: On the hidden largest model.
    """

    inside: float
    data: float
    size: float

    def expected(self, outside: Mapping[str, float]) -> float:
        """What to expect of a question so many times outside the data, by column; NaN: untested."""
        parts = [self.inside]
        parts += [self.data] if outside.get(DATA_SIZE, 1.0) > 1 + 1e-9 else []
        parts += [self.size] if outside.get(SIZE, 1.0) > 1 + 1e-9 else []
        return math.nan if any(map(math.isnan, parts)) else max(parts)


@dataclass(frozen=True)
class Candidate:
    """One way to finetune.

    Attributes:
        name: The method; with the model (``lora on gpt2``) where every model has a law of its own.
        method: The method.
        law: Its forecast, or its law.
        misses: How far the law has been off.
        tuned: Whether its learning rate was chosen by a sweep; None where the records do not say.
        size: Parameters of the model where the law is that of one model; None where it is not known.
        model: Name of that model; None where it is not known.
        pet_size: The PET size (rank, prompt length) of its runs; None where it has none.
    """

    name: str
    method: str
    law: Belief
    misses: Misses
    tuned: bool | None
    size: float | None = None
    model: str | None = None
    pet_size: float | None = None

    def knows(self, model_params: float | None) -> bool:
        """Whether it says something of a model of this size; run on one model, it does of that one only."""
        if self.law.factors or model_params is None or self.size is None:
            return True
        return abs(self.size / model_params - 1) < SAME_SIZE

    def asked(self, model_params: float | None, examples: Any) -> dict[str, Any]:
        """The law's question."""
        return {SIZE: model_params, DATA_SIZE: examples} if self.law.factors else {DATA_SIZE: examples}

    def outside(self, model_params: float | None, examples: float) -> dict[str, float]:
        """How many times outside the law's data a question lies, by column; 1 inside."""
        return times_outside(self.law, self.asked(model_params, examples))


@dataclass(frozen=True)
class Candidates:
    """Everything that can be chosen for one task.

    Attributes:
        task: The task.
        law: The law's name.
        factor: ``model_params`` where one law holds over model sizes, else None.
        members: The candidates.
        sizes: Model sizes with runs, ascending.
        base: The base setting, at which the other factors stay.
        runs: The finished tuned runs at the base setting (any model size).
        notes: What to know, in sentences.
        doubts: What must be known of the table before there is advice, in clauses.
        outcome: What is compared.
    """

    task: str
    law: str
    factor: str | None
    members: tuple[Candidate, ...]
    sizes: tuple[float, ...]
    base: Mapping[str, Any]
    runs: pl.DataFrame
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    outcome: Outcome = TEST_LOSS

    @property
    def forecast(self) -> bool:
        """Whether the candidates are forecast, rather than predicted by fitted laws."""
        return all(isinstance(member.law, Forecast) for member in self.members)

    @property
    def laws(self) -> list[Belief]:
        """The candidates' laws."""
        return [member.law for member in self.members]


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
    open_ = candidate_pet_sizes(frame, setting, base or {}, records.loss, SIZE) if forecasting else []
    setting = {**setting, **{f"{PET}.{method}": ANY for method in open_}}
    parts = {method: at_base(frame, setting, method, free=SIZE) for method in methods}
    notes = [*records.notes, *doubtful, *_lost_methods(parts, frame, base or {}, chosen)]
    notes += [words for name, words in base_found.ties.items() if setting.get(name) != ANY]
    runs = pl.concat(list(parts.values()))
    mine = replace(records, frame=runs, notes=())
    sizes = sorted(runs[SIZE].drop_nulls().unique().to_list()) if SIZE in runs.columns else []
    free = {name: value for name, value in setting.items() if value == ANY}
    options: dict[str, Any] = {"bootstrap": bootstrap, "seed": seed, "hold_out": False, "base": free}
    if forecasting:
        members = None if asked is None else (asked,)
        at_one = replace(mine, frame=at_base(runs, base_found.values, free=SIZE))
        factor = SIZE if len(sizes) > 1 and _follows_size(at_one, notes) else None
        frame = pl.concat([runs, _untuned_of(records.frame, chosen)], how="diagonal_relaxed")
        groups = ["task", "method"]
        groups += [] if factor or not _several_models(runs) else [_model_column(runs)]
        found = forecast(
            replace(mine, frame=frame),
            [*groups, PET] if open_ else groups,
            members,
            hold_out=False,
            draws=bootstrap,
            seed=seed,
        )
        name = FORECAST if asked is None else asked.name
        notes += [
            _rests_on(found),
            *found.notes,
            *_at_setting(setting, factor or (SIZE if _several_models(runs) else None)),
        ]
        notes += [_apart_words(method, parts[method]) for method in open_]
        doubts = records.reading.doubts
        believed = _believed(found, runs, open_)
        return Candidates(
            chosen, name, factor, believed, tuple(sizes), setting, runs, tuple(notes), doubts, records.outcome
        )
    outcome = records.outcome
    factor = SIZE if len(sizes) > 1 and (asked is None or not asked.per_curve) else None
    if factor and asked is None and not _follows_size(mine, notes):
        factor = None
    kind = "surface" if factor else "curve"
    among = [asked] if asked else [get_law(one) for one in contenders(kind, outcome)]
    tried = _tested(mine, among, factor, free)
    best = _best(tried, chosen, among)
    name = best.name
    fits = fit(mine, best, factor if best.takes_factor else None, **options)
    notes += [*fits.notes, *map(str, fits.left_out), *_beaten(tried, chosen, name, records.outcome)]
    by_size = _size_misses(mine, best, max(sizes), free) if factor else {}
    members = _members(fits, tried, by_size, runs)
    doubts = records.reading.doubts
    return Candidates(
        chosen, name, factor, members, tuple(sizes), setting, runs, tuple(notes), doubts, records.outcome
    )


def _follows_size(runs: Records, notes: list[str]) -> bool:
    """Whether the models' losses follow from their sizes; adds a note where they do not."""
    try:
        runs = replace(runs, outcome=_with_a_best(runs))
        share = _unexplained(fit(runs, contenders("surface")[0], SIZE, hold_out=False, bootstrap=0))
    except DataError:
        return True
    what = "losses" if runs.outcome.kind == "loss" else f"values of {runs.outcome.name}"
    if share > _MOST_UNEXPLAINED:
        notes.append(
            f"A law over {factor_name(SIZE)} leaves {share:.0%} of the spread between these models "
            f"unexplained: their {what} do not follow from their sizes. So every model has a curve of its "
            "own, and nothing can be said about other models."
        )
    return share <= _MOST_UNEXPLAINED


def _with_a_best(runs: Records) -> Outcome:
    """The outcome; of a score without a best value, as if that lay the whole range beyond the best seen."""
    outcome = runs.outcome
    if math.isfinite(outcome.best):
        return outcome
    values = runs.frame[runs.loss].drop_nulls().to_numpy()
    low, high = float(values.min()), float(values.max())
    reach = max(high - low, 1e-9)
    return replace(outcome, low=low - reach) if outcome.lower else replace(outcome, high=high + reach)


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
        f"{capital(method_name(method))}: {pet_word(method)}s {values} differ by more than noise, so each is "
        f"a candidate (--base {PET}.{method}=VALUE for one of them)."
    )


def _believed(found: Forecasts, runs: pl.DataFrame, apart: Sequence[str]) -> tuple[Candidate, ...]:
    """A candidate a group of the forecasts; PET sizes are named where they are candidates of their own."""
    members = []
    for group in found:
        own = runs.filter(
            pl.all_horizontal([pl.col(name).eq_missing(pl.lit(value)) for name, value in group.by.items()])
        )
        method = str(group.by["method"])
        by = {name: value for name, value in group.by.items() if name != PET or method in apart}
        if SIZE in group.by:
            by["model"] = f"{group.by[SIZE]:g} parameters"
        told = replace(group, by=by)
        size = None
        if SIZE in own.columns and not group.factors and own[SIZE].n_unique() == 1:
            size = own[SIZE][0]
        off = math.fsum(m.weight * m.error for m in group.members)
        misses = Misses(off, off, off)
        pet, model = _only_value(own, PET), None if group.factors else _only_value(own, "model")
        tuned = _rates_tuned(own)
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


def _tested(
    records: Records, laws: Sequence[Law], factor: str | None, base: Mapping[str, Any]
) -> Backtest | None:
    """The backtest on hidden data sizes; None where there are too few to hide any."""
    try:
        return backtest(records, laws, factor, hide=_HIDE, hold_out=False, base=base)
    except DataError:
        return None


def _best(tried: Backtest | None, task: str, among: Sequence[Law]) -> Law:
    """The law with the smallest error on hidden sizes, else the first; the line fits the last sizes only."""
    by_name = {law.name: law for law in among}
    if tried is None:
        return among[0]
    rows = tried.scores.filter((pl.col("task") == task) & pl.col("law").is_in(list(by_name)))
    return by_name[rows["law"][0]] if rows.height else among[0]


def _beaten(tried: Backtest | None, task: str, law: str, outcome: Outcome) -> list[str]:
    """A sentence where a straight line predicts hidden sizes better than the law, or nothing was tested."""
    if tried is None:
        return ["Too few data sizes to hide any: the laws are untested beyond their data."]
    errors = dict(tried.scores.filter(pl.col("task") == task).select("law", "error").iter_rows())
    if law != BASELINE and law in errors and errors.get(BASELINE, math.inf) < errors[law]:
        return [
            f"A straight line through the last three data sizes predicts hidden sizes better than the {law} "
            f"law ({amount(outcome, errors[BASELINE])} against {difference(outcome, errors[law])} off on "
            "average)."
        ]
    return []


def _size_misses(records: Records, law: Law, largest: float, base: Mapping[str, Any]) -> dict[str, float]:
    """How far each method's law is off on the largest model when that is hidden, by method."""
    try:
        factor = SIZE if law.takes_factor else None
        rule = f"{SIZE} >= {largest * (1 - 1e-9)!r}"
        fits = fit(records, law, factor, hold_out=rule, bootstrap=0, base=base)
    except DataError:
        return {}
    return {str(made.by.get("method")): made.delta_h for made in fits}


def _unexplained(fits: Fits) -> float:
    """Mean absolute deviation of the law over that of the median outcome at each data size."""
    missed = spread = 0.0
    for made in fits:
        assert made.points is not None
        error = (pl.col("loss") - pl.col("predicted")).abs().sum()
        null = (pl.col("loss") - pl.col("loss").median().over(DATA_SIZE)).abs().sum()
        a, b = made.points.select(error.alias("error"), null.alias("null")).row(0)
        missed, spread = missed + a, spread + b
    return missed / spread if spread > 0 else 0.0


def _members(
    fits: Fits, tried: Backtest | None, size_misses: Mapping[str, float], runs: pl.DataFrame
) -> tuple[Candidate, ...]:
    curves = not fits[0].factors
    several = curves and len({law.by.get("model") or law.by.get(SIZE) for law in fits}) > 1
    members = []
    for made in fits:
        method = str(made.by["method"])
        own = runs.filter(pl.col("method") == method)
        model = made.by.get("model") or made.by.get(SIZE)
        if several and made.by.get("model") is None and model is not None:
            made = replace(made, by={**made.by, "model": f"{model:g} parameters"})  # noqa: PLW2901
        elif not several:
            made = replace(made, by={k: v for k, v in made.by.items() if k in ("task", "method")})  # noqa: PLW2901
        misses = Misses(made.delta_e, _hidden_miss(tried, made), size_misses.get(method, math.nan))
        size = made.by.get(SIZE)
        if curves and size is None and SIZE in own.columns and own[SIZE].n_unique() == 1:
            size = own[SIZE][0]
        members.append(Candidate(name_of(made), method, made, misses, _rates_tuned(own), size))
    return tuple(members)


def _hidden_miss(tried: Backtest | None, law: FittedLaw) -> float:
    if tried is None:
        return math.nan
    rows = tried.cells.filter(pl.col("law") == law.law)
    for name, value in law.by.items():
        if name in rows.columns and name in ("method", "model") and value is not None:
            rows = rows.filter(pl.col(name) == value)
    error = (rows["predicted"] - rows["loss"]).abs().mean()
    return math.nan if error is None else float(error)  # type: ignore[arg-type]


def _rates_tuned(runs: pl.DataFrame) -> bool | None:
    values = runs["lr_tuned"].drop_nulls() if "lr_tuned" in runs.columns else pl.Series([], dtype=pl.Boolean)
    return bool(values.all()) if values.len() else None


def untuned_methods(found: Candidates) -> str:
    """The methods whose learning rate no sweep chose, in words; empty where there is none."""
    return listed([member.method for member in found.members if member.tuned is False])
