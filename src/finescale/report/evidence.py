"""What the report is made of: per task the settings, the noise between seeds and the fitted laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Unpack

import polars as pl

from finescale.errors import DataError, FinescaleError
from finescale.laws.fit import fit, joint_fit
from finescale.laws.fitted import Fits, FittedLaw
from finescale.laws.formulas import BASELINE, contenders, named
from finescale.laws.joint import SHARED
from finescale.laws.law import RESERVED, Law
from finescale.laws.options import FitKeywords
from finescale.records.expression import matches
from finescale.records.outcomes import refuse_score
from finescale.records.records import DATA_SIZE, FACTORS, Records, untuned
from finescale.records.scores import Scores, read_scores
from finescale.records.settings import at_base, base_setting, named_groups
from finescale.report.noise import Noise, seed_noise

METHOD_ORDER = ("full", "lora", "prompt")
_SETTING = ("method", "model", *FACTORS, DATA_SIZE)


@dataclass(frozen=True)
class TaskEvidence:
    """What the records hold on one task.

    Attributes:
        task: The task's name.
        settings: A row a tuned setting: its columns, ``loss`` (mean over seeds), ``low``, ``high``,
            ``variance``, ``runs``, ``held_out``, and means of what else the records know of its runs.
        bare: A row an untuned model, likewise.
        base: The base setting: the most frequent value of each factor; PET sizes as ``pet_size.METHOD``.
        methods: The methods, those of the paper first.
        noise: The noise between seeds, by method.
        laws: By name, fits of the joint laws (the paper's two steps): ``multiplicative`` and its rivals.
        curves: By name, fits of single-variable laws, a curve for each setting of the other factors.
        problems: What could not be fitted, in sentences.
    """

    task: str
    settings: pl.DataFrame
    bare: pl.DataFrame
    base: Mapping[str, float]
    methods: tuple[str, ...]
    noise: Mapping[str, Noise]
    laws: Mapping[str, Fits] = field(default_factory=dict)
    curves: Mapping[str, Fits] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    def law(self, name: str, method: str, factor: str) -> FittedLaw | None:
        """The joint law of a method and factor, if it could be fitted."""
        fits = self.laws.get(name)
        found = fits.select(factor=factor, method=method).laws if fits is not None else ()
        return found[0] if found else None

    def at_base(self, method: str, *, free: str = "") -> pl.DataFrame:
        """A method's settings with every factor but ``free`` at the base setting."""
        return at_base(self.settings, self.base, method, free=free).sort(DATA_SIZE)


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
    """

    records: Records
    tasks: tuple[TaskEvidence, ...]
    bootstrap: int
    seed: int
    scores: Scores | None = None
    law: str | Law = "auto"

    @property
    def joint_laws(self) -> tuple[Law, ...]:
        """The laws over a factor and the data size, side by side: the contenders, and the advice's own."""
        return _shown("surface", self.law)

    @property
    def curve_laws(self) -> tuple[Law, ...]:
        """The laws of the data size alone, side by side, the baseline last."""
        return (*(law for law in _shown("curve", self.law) if law.name != BASELINE), named(BASELINE))


def _shown(kind: Literal["curve", "surface"], own: str | Law) -> tuple[Law, ...]:
    """The contenders of a kind, and the law that was asked for, where it is of that kind."""
    laws = {name: named(name) for name in contenders(kind)}
    if own not in RESERVED and set(named(own).variables) == ({"D"} if kind == "curve" else {"X", "D"}):
        laws[named(own).name] = named(own)
    return tuple(laws.values())


def gather(
    records: Records,
    *,
    hold_out: str | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    scores: str | Path | Any | None = None,
    law: str | Law = "auto",
) -> Evidence:
    """Fits what the report shows. What cannot be fitted becomes a sentence, never an end.

    Args:
        records: The runs.
        hold_out: An expression, or ``largest``; default: the column ``held_out``.
        bootstrap: Number of resamples.
        seed: Seed of the bootstrap.
        scores: The table of scores, as ``read_scores`` takes it.
        law: The law of the advice, by name or itself; it is shown beside the contenders too.

    Returns:
        The evidence, task by task.

    Raises:
        DataError: The table has no run at all.
        UsageError: The expression names what is not there; scores that cannot be right.
    """
    if not records.every_row.height:
        raise DataError("the table has no run", wanted="at least one run", where=records.source)
    refuse_score(records.outcome, "the report")
    records = _complete(records, hold_out)
    scored = None if scores is None else read_scores(scores, records)
    tuned = records.frame.filter(~untuned())
    evidence = Evidence(records, (), bootstrap, seed, scored, law)
    tasks = []
    for task in tuned["task"].unique(maintain_order=True):
        mine = replace(records, frame=records.frame.filter(pl.col("task") == task), notes=())
        tasks.append(_fitted(_described(task, mine), mine, evidence))
    return replace(evidence, tasks=tuple(tasks))


def _complete(records: Records, hold_out: str | None) -> Records:
    """The records with every column that the report groups by, and with the held-out runs marked."""
    frame, every_row = (_marked(table, hold_out) for table in (records.frame, records.every_row))
    return replace(records, frame=frame, every_row=every_row)


def _marked(table: pl.DataFrame, hold_out: str | None) -> pl.DataFrame:
    table = named_groups(table)
    have = table.columns
    if hold_out == "largest":
        sizes = [name for name in ("model_params", DATA_SIZE) if name in have]
        most = [pl.col(name) == pl.col(name).max().over("task", "method") for name in sizes]
        held = table.select(pl.any_horizontal(most).fill_null(value=False) & ~untuned()).to_series()
    elif hold_out:
        held = matches(table, hold_out)
    elif "held_out" in have:
        held = table["held_out"].fill_null(value=False)
    else:
        held = pl.repeat(False, table.height, dtype=pl.Boolean, eager=True)
    return table.with_columns(held.alias("held_out"))


def _described(task: str, records: Records) -> TaskEvidence:
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
    return TaskEvidence(task, settings, bare, base_setting(tuned), methods, noise)


def settings_of(rows: pl.DataFrame, value: str) -> pl.DataFrame:
    """A row a setting: its columns, and mean (``loss``), extremes and variance of a column over its runs."""
    keys = [name for name in _SETTING if name in rows.columns]
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


def _fitted(task: TaskEvidence, records: Records, plan: Evidence) -> TaskEvidence:
    """The task with its laws; of the rivals only the deviations are shown, so they have no draws."""
    laws: dict[str, Fits] = {}
    curves: dict[str, Fits] = {}
    problems: list[str] = []
    for law in plan.joint_laws:
        try:
            draws = plan.bootstrap if law.name == "multiplicative" else 0
            laws[law.name] = _joint(records, law, bootstrap=draws, seed=plan.seed)
            problems += laws[law.name].notes
        except FinescaleError as error:
            problems.append(f"The {law.name} law was not fitted: {_sentence(error)}")
    single = _single_curves(task, records)
    for law in plan.curve_laws:
        draws = plan.bootstrap if law.name == "power" else 0
        try:
            curves[law.name] = fit(single, law, bootstrap=draws, seed=plan.seed)
            problems += curves[law.name].notes if law.name == "power" else ()
        except FinescaleError as error:
            problems.append(f"The law {law.name} was not fitted: {_sentence(error)}")
    return replace(task, laws=laws, curves=curves, problems=tuple(dict.fromkeys(problems)))


def _single_curves(task: TaskEvidence, records: Records) -> Records:
    """The runs of Figure 1: model sizes at the base setting.

    A model that is held out whole, to test the joint laws, keeps out its largest data size only: a curve of
    its own says nothing of other models.
    """
    rows = pl.concat([task.at_base(method, free="model_params") for method in task.methods])
    keys = [name for name in _SETTING if name in records.frame.columns]
    frame = records.frame.join(rows.select(keys).unique(), on=keys, how="semi", nulls_equal=True)
    curve = [name for name in keys if name != DATA_SIZE]
    whole = pl.col("held_out").all().over(curve)
    largest = pl.col(DATA_SIZE) == pl.col(DATA_SIZE).max().over(curve)
    return replace(
        records,
        frame=frame.with_columns(pl.when(whole).then(largest).otherwise("held_out").alias("held_out")),
    )


def _joint(records: Records, law: Law, **options: Unpack[FitKeywords]) -> Fits:
    """The paper's two steps; where no factor of the joint step varies, each factor alone.

    A law without the parameters that the steps share is fitted to each factor alone too.
    """
    try:
        if not set(SHARED) <= set(law.parameters):
            return fit(records, law, **options)
        return joint_fit(records, law, **options)
    except DataError:
        if "pet_size" not in records.frame.columns or records.frame["pet_size"].drop_nulls().n_unique() < 2:
            raise
        return fit(records, law, "pet_size", **options)


def _sentence(error: FinescaleError) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines())
