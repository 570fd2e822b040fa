"""Whether a study can answer a question at all: told before anything of it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from finescale.advice.candidate import SAME_SIZE, SIZE
from finescale.advice.options import Question
from finescale.errors import UsageError, unknown
from finescale.laws.fitted import FAR
from finescale.records.records import DATA_SIZE
from finescale.records.settings import at_base, base_setting
from finescale.wording import count, examples_of, listed, method_name

KNOWN = (DATA_SIZE, SIZE)
"""What a question may say."""


def study_question(asked: Mapping[str, float], where: str) -> Question:
    """The question that some sizes ask.

    Args:
        asked: ``finetune_examples``, and ``model_params`` where it is not the base setting's.
        where: The option, for errors.

    Raises:
        UsageError: Another column, or no data size.

    Example:
        >>> study_question({"finetune_examples": 50_000.0}, "--until-decided").examples
        50000.0
    """
    for name, value in asked.items():
        if name not in KNOWN:
            raise unknown("column", name, KNOWN, where)
        if not 0 < value < float("inf"):
            raise UsageError(f"no size: {name}", wanted="a number above 0", got=f"{value:g}", where=where)
    if DATA_SIZE not in asked:
        raise UsageError(
            "a question without a data size",
            wanted="finetune_examples=50k, and model_params=13B where another model than the base is meant",
            got=", ".join(asked) or "nothing",
            where=where,
        )
    return Question(asked[DATA_SIZE], asked.get(SIZE))


def planned_base(planned: pl.DataFrame) -> dict[str, Any]:
    """The base setting that advice on the finished study would take, from its planned runs.

    Args:
        planned: The study's runs of tuned models, sweeps apart, with the columns of records.
    """
    return dict(base_setting(planned).values)


def check_answerable(planned: pl.DataFrame, question: Question, where: str) -> None:
    """Refuses a question that the study could not answer if all of it were run.

    Args:
        planned: As for `planned_base`, with ``lr_tuned``.
        question: The question.
        where: The option, for errors.

    Raises:
        UsageError: One method, rates that are not tuned, or sizes too far from every run; with the remedy.
    """
    there = at_base(planned, planned_base(planned), free=SIZE)
    methods = there["method"].unique(maintain_order=True).to_list()
    if len(methods) < 2:
        raise UsageError(
            "one method: there is nothing to decide",
            wanted="two methods or more at the base setting",
            got=listed([method_name(name) for name in methods]) or "none",
            remedy="add a method to the study's grids, or run it without --until-decided",
            where=where,
        )
    tuned = there.filter("lr_tuned")["method"].unique(maintain_order=True).to_list()
    if len(tuned) < 2:
        bare = [name for name in methods if name not in tuned]
        raise UsageError(
            f"the learning rate of {listed([method_name(name) for name in bare])} is not tuned: no advice "
            "could rest on this study",
            wanted="two methods or more whose rate a sweep chooses",
            remedy=f"give learning_rates.{bare[0]} several values, and a `sweep` setting",
            where=where,
        )
    _check_model(there, question.model_params, where)
    _check_data(there, question.examples or 0.0, where)


def _check_model(there: pl.DataFrame, wanted: float | None, where: str) -> None:
    if wanted is None:
        return
    sizes = sorted(there[SIZE].drop_nulls().unique()) if SIZE in there.columns else []
    if not sizes:
        raise UsageError(
            "the study's models have no known size",
            wanted="params of each of its models",
            got="none",
            remedy="state it in models.NAME.params, or leave model_params out",
            where=where,
        )
    same = any(abs(size / wanted - 1) < SAME_SIZE for size in sizes)
    if len(sizes) == 1 and not same:
        raise UsageError(
            f"the study runs one model, and says nothing of one of {count(wanted)} parameters",
            wanted=f"model_params={count(sizes[0])}, or a study of several models",
            got=f"model_params={count(wanted)}",
            remedy="leave model_params out, or add that model to the study's grids",
            where=where,
        )
    times = max(wanted / sizes[-1], sizes[0] / wanted)
    if times > FAR:
        raise UsageError(
            f"a model of {count(wanted)} parameters is {times:.3g} times outside those of the study",
            wanted=f"model_params from {count(sizes[0] / FAR)} to {count(sizes[-1] * FAR)}",
            got=f"model_params={count(wanted)}",
            remedy="ask for a nearer size, or add a nearer model to the study's grids",
            where=where,
        )


def _check_data(there: pl.DataFrame, wanted: float, where: str) -> None:
    ends = there.group_by("method", maintain_order=True).agg(
        pl.col(DATA_SIZE).min().alias("low"), pl.col(DATA_SIZE).max().alias("high")
    )
    near = ends.filter((pl.col("high") * FAR >= wanted) & (pl.col("low") / FAR <= wanted))
    if near.height < 2:
        low, high = float(ends["low"].min()), float(ends["high"].max())  # type: ignore[arg-type]
        raise UsageError(
            f"{examples_of(wanted)} are more than {FAR:g} times outside the study's data sizes",
            wanted=f"finetune_examples from {count(low / FAR)} to {count(high * FAR)}",
            got=f"finetune_examples={count(wanted)}",
            remedy="ask for a nearer size, or add nearer data sizes to the study's grids",
            where=where,
        )
