"""``plan``: from a table of runs, a study file or a study's folder to the runs that are worth making next."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from finescale.advice.cost import costs
from finescale.errors import UsageError
from finescale.planning.believed import SHOWN_DRAWS
from finescale.planning.choices import Choices, of_runs, of_study
from finescale.planning.design import plan_runs
from finescale.planning.expected import expected_losses
from finescale.planning.measured import most_seen, priced_runs
from finescale.planning.outlook import Plan
from finescale.planning.question import BEND, CHECK_SHARE, Offer, Question, Terms
from finescale.planning.scale import LOSSES, PlanScale
from finescale.records.options import AS_INFERRED, ReadingOptions
from finescale.records.records import DATA_SIZE, RECORDS, Records, read_records
from finescale.spec.file import load_study
from finescale.spec.places import COPY, STUDY_FILES, study_folder
from finescale.spec.study import Study

if TYPE_CHECKING:
    from finescale.records.tables import TableLike


@dataclass(frozen=True)
class PlanSource:
    """What a plan starts from: a study that has not run has no records, a table of runs has no study."""

    study: Study | None
    records: Records | None


def plan(
    source: PlanSource | Study | Records | TableLike,
    target: Mapping[str, float],
    budget: float,
    *,
    task: str | None = None,
    methods: Sequence[str] = (),
    values: Sequence[float] = (),
    examples: Sequence[float] = (),
    tokens_per_example: float | None = None,
    method_cost: Mapping[str, str | float] | None = None,
    noise: float | None = None,
    bend: float = BEND,
    check_share: float = CHECK_SHARE,
    seeds: int = 3,
    via: str = "auto",
    seed: int = 0,
) -> Plan:
    """Finds the next runs that tell most about a prediction, or about which method is best, for their cost.

    Args:
        source: A table of runs (what ``read_records`` takes), a study, its file or its folder.
        target: Where the loss is to be predicted: ``finetune_examples`` and a factor, e.g.
            ``{"model_params": 1.6e10, "finetune_examples": 1e6}``.
        budget: FLOPs.
        task: The task; may be left out where there is one.
        methods: The methods; default: all. One: its prediction is made precise. Several: the decision.
        values: Values of the factor that can be run; default: those of the records or the study.
        examples: Data sizes that can be run; default: over the range of the records or the study.
        tokens_per_example: Tokens processed for one example over all passes, where the records do not know.
        method_cost: For methods that are not known: ``full``, ``pet``, or FLOPs a parameter and token.
        noise: Standard deviation of a run, in nats or the score's unit; None: as the records show.
        bend: How far the law may be off, in nats (of a score: as a share of its range) for every e-fold
            between a setting and the target.
        check_share: The part of the budget that goes to the settings nearest to the target.
        seeds: Most runs of one setting, earlier ones counted.
        via: How a score is forecast at the target: ``direct``, or through the ``loss`` beside it; ``auto``:
            whichever predicts hidden runs better.
        seed: Seed of the draws.

    Returns:
        The plan.

    Raises:
        UsageError: A source, target, budget or option that makes no sense.
        DataError: No run can be paid for, its cost is not known, or the target is known already.

    Example:
        >>> target = {"model_params": 5e6, "finetune_examples": 20_000}
        >>> next_runs = fs.plan(records, target, budget=1e14, methods=["lora"])
        >>> next_runs.cost <= next_runs.budget
        True
    """
    question, terms = Question(target, budget), Terms(noise, bend, check_share, seeds, seed)
    source = source if isinstance(source, PlanSource) else open_plan_source(source)
    limits = {"methods": methods, "values": values, "examples": examples}
    if source.records is not None:
        scale = PlanScale.of(source.records)
        name, runs, base = most_seen(source.records, task)
        priced = priced_runs(runs, base, question.factor)
        choices = of_runs(runs, question.factor, base, **limits)
        told = expected_losses(source.records, runs, target, base, via=via, draws=SHOWN_DRAWS, seed=seed)
    else:
        assert source.study is not None
        scale = LOSSES
        choices = of_study(source.study, question.factor, **limits)
        name, priced, told = source.study.task_name, _rows(choices, question.factor), {}
    prices = costs(priced, tokens_per_example=tokens_per_example, method_cost=method_cost)
    made = plan_runs(
        None if source.records is None else scale.records(source.records),
        name,
        question,
        Offer(choices, prices, reachable=source.study is None and not values),
        replace(terms, noise=None if noise is None else noise / scale.width),
        forecasts={method: scale.lost(one) for method, one in told.items() if method in choices.methods},
        scale=scale,
    )
    read = source.records.notes if source.records is not None else ()
    return replace(made, notes=(*read, *made.notes))


def open_plan_source(source: Any, options: ReadingOptions = AS_INFERRED) -> PlanSource:
    """Reads a study, its file or folder, or a table of runs.

    Args:
        source: As for ``plan``.
        options: How a table is to be read.

    Raises:
        UsageError: It is none of these.
    """
    if isinstance(source, Records):
        return PlanSource(None, source)
    if isinstance(source, Study):
        return PlanSource(source, None)

    def read(table: Any) -> Records:
        return read_records(table, options=options)

    if not isinstance(source, str | os.PathLike):
        return PlanSource(None, read(source))
    path = Path(source)
    if path.suffix.lower() in STUDY_FILES:
        study = _finetuning(path)
        records = study_folder(study.name, path) / RECORDS
    elif path.is_dir():
        study = _finetuning(path / COPY) if (path / COPY).exists() else None
        records = path / RECORDS
        if study is None and not records.exists():  # a trainer's or a tracker's, or an error that says so
            return PlanSource(None, read(path))
    else:
        return PlanSource(None, read(source))
    return PlanSource(study, read(records) if records.exists() else None)


def _finetuning(path: Path) -> Study:
    study = load_study(path)
    if not isinstance(study, Study):
        raise UsageError(
            "a pretraining study has no finetuning runs to plan", wanted="kind: finetune", where=str(path)
        )
    return study


def _rows(choices: Choices, factor: str) -> pl.DataFrame:
    """The settings of a study that has not run, as rows whose costs can be told."""
    rows: list[Mapping[str, Any]] = []
    for method, (values, examples) in choices.sizes.items():
        for value in values:
            size = choices.params(factor, value)
            rows.append({"method": method, "model_params": size, DATA_SIZE: float(np.max(examples))})
    return pl.DataFrame(rows, schema={"method": pl.String, "model_params": pl.Float64, DATA_SIZE: pl.Float64})
