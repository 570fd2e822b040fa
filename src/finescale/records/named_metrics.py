"""Long tables: a column `metric` says what the outcome of its row is; rows of one kind are compared."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from finescale.records.expression import quoted
from finescale.records.loss_units import UNITS, is_derived, is_loss_name, unclear_unit, unit_by_name
from finescale.records.names import bare
from finescale.records.options import ReadingOptions
from finescale.records.outcomes import Outcome, named_score
from finescale.wording import listed

MEASURES = frozenset({"metric", "metric_name", "measure", "measure_name", "eval_metric", "statistic", "stat"})
"""Names of columns that say what the outcome of their row is."""
_MAY_BE = frozenset({"name", "key", "variable", "tag"})
"""Names of columns that may say it: some of their values are names of losses or scores."""


def which_rows(column: str, values: Sequence[str]) -> str:
    """The question which rows of a table count, where a column tells kinds of them apart."""
    others = f" (or {listed(list(values[1:4]), 'or')})" if len(values) > 1 else ""
    return f"which rows of `{column}` count? --where '{quoted(column)}={values[0]}'{others}"


def named_metrics(frame: pl.DataFrame, outcome: Outcome, options: ReadingOptions) -> list[str]:
    """Questions where a column says that rows are measured by other things than the outcome.

    Within a setting, and between tasks: one direction and one unit hold for the whole table.

    Args:
        frame: Runs that count.
        outcome: What they are read by.
        options: What is stated.
    """
    asked = []
    for name in frame.columns:
        if bare(name) not in MEASURES | _MAY_BE or frame[name].dtype != pl.String or name == outcome.column:
            continue
        values = [str(value).strip() for value in frame[name].drop_nulls().unique(maintain_order=True)]
        kinds = {value: _kind(value) for value in values}
        if bare(name) in _MAY_BE and not any(kinds.values()):
            continue
        if len(set(kinds.values())) > 1:
            asked.append(which_rows(name, values))
        elif values:
            asked += _against(name, values[0], outcome, options)
    return asked


def _kind(metric: str) -> str:
    """What rows of one kind have in common: a loss's unit, or a score's direction; empty: it is not known."""
    if is_loss_name(metric):
        return unclear_unit(metric) or str(UNITS[unit_by_name(metric) or "nats"])
    score = None if is_derived(metric) else named_score(metric)
    return "" if score is None else score.better


def _against(name: str, metric: str, outcome: Outcome, options: ReadingOptions) -> list[str]:
    """A question where the only metric of a table is not what its values are read as."""
    score = named_score(metric)
    if options.better is None and score is not None and score.better != outcome.better:
        flags = f"--score '{outcome.column}' --better"
        return [f"is `{outcome.column}` the {metric} that `{name}` says? {flags} {score.better} (or lower)"]
    unit = unit_by_name(metric) if is_loss_name(metric) else None
    if outcome.kind == "score" and is_loss_name(metric) and outcome.better == "higher":
        return [f"is `{outcome.column}` the {metric} that `{name}` says? --loss '{outcome.column}'"]
    if outcome.kind == "loss" and unit is not None and options.unit is None and outcome.unit == "nats":
        return [f"is `{outcome.column}` the {metric} that `{name}` says? --unit '{unit}', or --unit nats"]
    return []
