"""What the report is made of: per task the settings, the noise between seeds and the fitted laws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from finescale.errors import DataError, FinescaleError
from finescale.laws.fit import fit
from finescale.laws.fits import Fits
from finescale.laws.fitted import FittedLaw
from finescale.laws.formulas import BASELINE, contenders, get_law
from finescale.laws.joint import two_steps
from finescale.laws.law import RESERVED, Law
from finescale.laws.options import FitKeywords
from finescale.records.held_out import LARGEST, mark_held_out
from finescale.records.noise import Noise, seed_noise
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.records.records import DATA_SIZE, Records, untuned
from finescale.records.scores import Scores, read_scores
from finescale.records.settings import at_base, base_setting, check_base, fill_groups, setting_columns
from finescale.wording import listed

METHOD_ORDER = ("full", "lora", "prompt")


@dataclass(frozen=True)
class TaskEvidence:
    """What the records hold on one task.

    Attributes:
        task: The task's name.
        settings: A row a tuned setting: its columns, ``loss`` (mean over seeds), ``low``, ``high``,
            ``variance``, ``runs``, ``held_out``, and means of what else the records know of its runs.
        runs: A row a run of these settings.
        bare: A row an untuned model, as ``settings``.
        base: The base setting (``records.settings``); PET sizes as ``pet_size.METHOD``.
        methods: The methods, those of the paper first.
        noise: The noise between seeds, by method.
        laws: By name, fits of the joint laws (the paper's two steps): ``multiplicative`` and its rivals.
        tested: The same with runs held out, to test them: the laws above where some are; else those of the
            rule ``largest``.
        curves: By name, fits of single-variable laws, a curve for each setting of the other factors.
        problems: What could not be fitted, in sentences.
        outcome: What the runs are measured by; ``loss`` stands for it.
    """

    task: str
    settings: pl.DataFrame
    runs: pl.DataFrame
    bare: pl.DataFrame
    base: Mapping[str, float]
    methods: tuple[str, ...]
    noise: Mapping[str, Noise]
    laws: Mapping[str, Fits] = field(default_factory=dict)
    tested: Mapping[str, Fits] = field(default_factory=dict)
    curves: Mapping[str, Fits] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    outcome: Outcome = TEST_LOSS

    def law(self, name: str, method: str, factor: str) -> FittedLaw | None:
        """The joint law of a method and factor, if it could be fitted."""
        return _found(self.laws, name, method, factor)

    def tested_law(self, name: str, method: str, factor: str) -> FittedLaw | None:
        """The same law, fitted with runs held out."""
        return _found(self.tested, name, method, factor)

    def at_base(self, method: str, *, free: str = "") -> pl.DataFrame:
        """A method's settings with every factor but ``free`` at the base setting."""
        return at_base(self.settings, self.base, method, free=free).sort(DATA_SIZE)

    def runs_at_base(self, method: str) -> pl.DataFrame:
        """A method's runs with every factor at the base setting."""
        return at_base(self.runs, self.base, method)


def _found(laws: Mapping[str, Fits], name: str, method: str, factor: str) -> FittedLaw | None:
    found = laws[name].select(factor=factor, method=method).laws if name in laws else ()
    return found[0] if found else None


@dataclass(frozen=True)
class Evidence:
    """All tasks of a table of records.

    Attributes:
        records: The records (columns ``task``, ``method``, ``held_out`` are always there).
        tasks: One entry a task with finished tuned runs.
        bootstrap: Number of resamples behind the intervals.
        seed: Seed of the bootstrap.
        scores: Scores of the runs, where there are any.
        law: The law that the advice is made with; ``auto``: for each task the one that predicts best.
        given: The values of the base setting that were asked for; the others are the most frequent.
        via: How a score is forecast: ``auto``, ``direct``, or through the ``loss``.
    """

    records: Records
    tasks: tuple[TaskEvidence, ...]
    bootstrap: int
    seed: int
    scores: Scores | None = None
    law: str | Law = "auto"
    given: Mapping[str, Any] = field(default_factory=dict)
    via: str = "auto"

    @property
    def joint_laws(self) -> tuple[Law, ...]:
        """The laws over a factor and the data size, side by side: the contenders, and the advice's own."""
        return _shown("surface", self.law, self.records.outcome)

    @property
    def curve_laws(self) -> tuple[Law, ...]:
        """The laws of the data size alone, side by side, the baseline last."""
        return (
            *(law for law in _shown("curve", self.law, self.records.outcome) if law.name != BASELINE),
            get_law(BASELINE),
        )


def _shown(kind: Literal["curve", "surface"], own: str | Law, outcome: Outcome) -> tuple[Law, ...]:
    """The contenders of a kind, and the law that was asked for, where it is of that kind."""
    laws = {name: get_law(name) for name in contenders(kind, outcome)}
    if own not in RESERVED and set(get_law(own).variables) == ({"D"} if kind == "curve" else {"X", "D"}):
        laws[get_law(own).name] = get_law(own)
    return tuple(laws.values())


def gather(
    records: Records,
    *,
    hold_out: str | bool | None = None,
    base: Mapping[str, Any] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    scores: str | Path | Any | None = None,
    law: str | Law = "auto",
    via: str = "auto",
) -> Evidence:
    """Fits what the report shows. What cannot be fitted becomes a sentence, never an end.

    Args:
        records: The runs.
        hold_out: An expression, or ``largest``; default: the column ``held_out``.
        base: Values of the base setting, as for ``fit``; default: the most frequent.
        bootstrap: Number of resamples.
        seed: Seed of the bootstrap.
        scores: The table of scores, as ``read_scores`` takes it.
        law: The law of the advice, by name or itself; it is shown beside the contenders too.
        via: How a score is forecast: ``auto``, ``direct``, or through the ``loss``.

    Returns:
        The evidence, task by task.

    Raises:
        DataError: The table has no run at all.
        UsageError: The expression names what is not there; scores that cannot be right.
    """
    seen = describe(records, hold_out=hold_out, base=base)
    scored = None if scores is None else read_scores(scores, seen.records)
    asked = {"bootstrap": bootstrap, "seed": seed, "law": law, "given": base or {}, "via": via}
    evidence = replace(seen, scores=scored, **asked)
    tasks = [_with_laws(task, _of_task(seen.records, task.task), evidence) for task in seen.tasks]
    return replace(evidence, tasks=tuple(tasks))


def describe(
    records: Records, *, hold_out: str | bool | None = None, base: Mapping[str, Any] | None = None
) -> Evidence:
    """What ``gather`` knows before it fits: settings, base settings, noise.

    Args:
        records: The runs.
        hold_out: As for ``gather``.
        base: As for ``gather``.

    Raises:
        DataError: As ``gather``.
        UsageError: As ``gather``.
    """
    if not records.every_row.height:
        raise DataError("the table has no run", wanted="at least one run", where=records.source)
    check_base(base or {})
    frame = mark_held_out(fill_groups(records.frame), hold_out)
    records = replace(records, frame=frame, every_row=fill_groups(records.every_row))
    tuned = records.frame.filter(~untuned())
    tasks = [
        _describe(task, _of_task(records, task), base or {})
        for task in tuned["task"].unique(maintain_order=True)
    ]
    return Evidence(records, tuple(tasks), 0, 0)


def _of_task(records: Records, task: str) -> Records:
    return replace(records, frame=records.frame.filter(pl.col("task") == task), notes=())


def _describe(task: str, records: Records, base: Mapping[str, Any]) -> TaskEvidence:
    """The settings, the base setting and the noise of one task."""
    known = records.frame.filter(pl.col(records.loss).is_not_null())
    tuned = known.filter(~untuned() & (pl.col(DATA_SIZE) > 0))
    settings = settings_of(tuned, records.loss)
    bare = settings_of(known.filter(untuned()), records.loss)
    found = settings["method"].unique(maintain_order=True).to_list()
    methods = tuple(
        [name for name in METHOD_ORDER if name in found]
        + [name for name in found if name not in METHOD_ORDER]
    )
    noise = {method: seed_noise(settings.filter(pl.col("method") == method)) for method in methods}
    values = base_setting(tuned, base).values
    return TaskEvidence(task, settings, tuned, bare, values, methods, noise, outcome=records.outcome)


def settings_of(rows: pl.DataFrame, value: str) -> pl.DataFrame:
    """A row a setting: its columns, and mean (``loss``), extremes and variance of a column over its runs."""
    keys = setting_columns(rows, without=("task",))
    also = [name for name in ("trainable_params", "finetune_tokens") if name in rows.columns]
    return rows.group_by(keys, maintain_order=True).agg(
        pl.col(value).mean().alias("loss"),
        pl.col(value).min().alias("low"),
        pl.col(value).max().alias("high"),
        pl.col(value).var().alias("variance"),
        pl.len().cast(pl.Int64).alias("runs"),
        pl.col("held_out").any(),
        *[pl.col(name).mean() for name in also],
    )


def _with_laws(task: TaskEvidence, records: Records, plan: Evidence) -> TaskEvidence:
    """The task with its laws; of the rivals only the deviations are shown, so they have no draws."""
    problems: list[str] = []
    quick: FitKeywords = {"base": plan.given, "seed": plan.seed, "bootstrap": 0}
    laws: dict[str, Fits] = {}
    for law in plan.joint_laws:
        draws = plan.bootstrap if law.name == "multiplicative" else 0
        made = _try_fit(two_steps, records, law, {**quick, "bootstrap": draws}, problems)
        laws |= {law.name: made} if made else {}
        problems += (*made.notes, *map(str, made.left_out)) if made else ()
    tested = laws
    if not task.settings["held_out"].any():
        rule: FitKeywords = {**quick, "hold_out": LARGEST}
        tries = {law.name: _try_fit(two_steps, records, law, rule, []) for law in plan.joint_laws}
        tested = {name: made for name, made in tries.items() if made}
    single = _single_curves(task, records)
    curves: dict[str, Fits] = {}
    for law in plan.curve_laws:
        draws = plan.bootstrap if law.name == "power" else 0
        made = _try_fit(fit, single, law, {**quick, "bootstrap": draws}, problems)
        curves |= {law.name: made} if made else {}
        problems += (*made.notes, *map(str, made.left_out)) if made and law.name == "power" else ()
    return replace(task, laws=laws, tested=tested, curves=curves, problems=tuple(dict.fromkeys(problems)))


def _try_fit(
    call: Callable[..., Fits], records: Records, law: Law, options: FitKeywords, problems: list[str]
) -> Fits | None:
    """The fits of a law, or None and a sentence among the problems."""
    try:
        return call(records, law, **options)
    except FinescaleError as error:
        problems.append(f"The {law.name} law was not fitted: {_sentence(error)}")
        return None


def _single_curves(task: TaskEvidence, records: Records) -> Records:
    """The runs of Figure 1: model sizes at the base setting."""
    rows = pl.concat([task.at_base(method, free="model_params") for method in task.methods])
    keys = setting_columns(records.frame, without=("task",))
    frame = records.frame.join(rows.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    return replace(records, frame=frame)


def _sentence(error: FinescaleError) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines())


def untuned_rates(evidence: Evidence, task: str | None = None) -> list[str]:
    """Methods with study runs whose learning rate no sweep chose (none where the records do not know)."""
    frame = evidence.records.frame
    if "lr_tuned" not in frame.columns:
        return []
    bad = frame.filter(~pl.col("lr_tuned") & (pl.col("method") != "none"))
    if task is not None:
        bad = bad.filter(pl.col("task") == task)
    return bad["method"].unique(maintain_order=True).to_list()


def runs_in_words(evidence: Evidence) -> str:
    """How many runs, and how they ended, in one sentence."""
    frame = evidence.records.every_row
    if "status" not in frame.columns:
        return f"{frame.height} runs."
    counts = frame["status"].fill_null("no status").value_counts(sort=True)
    return f"{frame.height} runs: {listed([f'{many} {name}' for name, many in counts.iter_rows()])}."
