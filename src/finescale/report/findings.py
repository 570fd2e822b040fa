"""The answer in words: which method is best at which data size, and whether these records can tell at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from finescale.laws.fitted import FittedLaw
from finescale.records.noise import Noise
from finescale.records.outcome_words import after_difference, amount
from finescale.records.outcome_words import difference as tell_gap
from finescale.records.outcomes import Outcome
from finescale.records.records import DATA_SIZE
from finescale.records.settings import ANY, PAPER_FACTORS, UNNAMED, at_base, base_value
from finescale.records.tokenizers import across_tokenizers
from finescale.report.evidence import TaskEvidence
from finescale.report.noise import LEVEL, Difference, difference
from finescale.report.paired import paired
from finescale.wording import count, listed, method_name, method_title, pet_word

Observed = tuple[float, int]
"""A setting's mean loss and its number of runs."""


@dataclass(frozen=True)
class Verdict:
    """What the observed means say at one data size.

    Attributes:
        examples: The data size.
        observed: Mean loss and number of runs, by method.
        best: The method with the lowest mean.
        tied: The best and the methods whose difference to it is within the noise; one if it is told.
        lead: The runner-up's loss minus the best one's.
        second: The runner-up.
    """

    examples: float
    observed: Mapping[str, Observed]
    best: str
    tied: tuple[str, ...]
    lead: Difference
    second: str

    @property
    def is_clear(self) -> bool:
        """Whether the best method is better than all others beyond the noise."""
        return len(self.tied) == 1


@dataclass(frozen=True)
class TaskAnswer:
    """The answer for one task's base setting.

    Attributes:
        task: The task.
        headline: One or two plain sentences.
        support: The sentences behind them: differences, noise, laws, cautions.
        verdicts: The evidence, one entry a data size with two methods or more.
        setting: The base setting in words.
    """

    task: str
    headline: str
    support: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    setting: str


def answer(task: TaskEvidence, untuned_rates: Sequence[str] = ()) -> TaskAnswer:
    """Says which method is best at which data size, or why that cannot be said.

    Args:
        task: The evidence.
        untuned_rates: Methods whose learning rate no sweep chose.

    Returns:
        The answer in sentences.
    """
    rows = {method: task.at_base(method) for method in task.methods}
    found = tuple(_verdicts(rows, task.noise, task.outcome))
    setting = base_words(task)
    if not found:
        return TaskAnswer(task.task, _alone(task, rows), (), (), setting)
    last = found[-1]
    noise = "; ".join(
        f"{method_name(m)} {amount(task.outcome, task.noise[m].sd, 1)}"
        for m in task.methods
        if task.noise[m].known
    )
    pooled, pooled_words = _over_open_sizes(task, found)
    support = [_lead(last, task.outcome), *pooled_words]
    if noise:
        after = after_difference(task.outcome).strip()
        unit = f", {after}" if after else ""
        support.append(f"Noise between seeds (standard deviation of one run{unit}): {noise}.")
    support += _law_words(task, last)
    support += _worse_than_untuned(task, rows)
    if untuned_rates:
        who = listed([method_name(method) for method in untuned_rates])
        support.append(
            f"The learning rate of {who} was not tuned: the comparison is not evidence about the method."
        )
    return TaskAnswer(task.task, f"{_ranges(found, task.outcome)}.{pooled}", tuple(support), found, setting)


def base_words(task: TaskEvidence) -> str:
    """The base setting in words."""
    parts = []
    base = {name: value for name, value in task.base.items() if value != ANY}
    if "model_params" in base:
        size = base["model_params"]
        names: list[str] = []
        if "model" in task.settings.columns:
            same = task.settings.filter(pl.col("model_params") == size)["model"]
            names = same.drop_nulls().unique().to_list()
        parts.append(
            f"{names[0]} ({count(size)} parameters)" if len(names) == 1 else f"{count(size)} parameters"
        )
    if "pretrain_tokens" in base:
        parts.append(f"{count(base['pretrain_tokens'])} pretraining tokens")
    for method in task.methods:
        if f"pet_size.{method}" in base:
            parts.append(f"{method_name(method)} with {pet_word(method)} {count(base[f'pet_size.{method}'])}")
    return ", ".join(parts)


def law_at_base(task: TaskEvidence, method: str) -> tuple[FittedLaw, dict[str, float]] | None:
    """The multiplicative law that reaches the base setting, and the base setting as its question."""
    for factor in PAPER_FACTORS:
        law = task.law("multiplicative", method, factor)
        if law is not None and not across_tokenizers(law.status):
            value = base_value(task.base, factor, method)
            if value is not None:
                return law, {factor: value}
    for law in task.curves.get("power", ()):
        same = law.by.get("model_params", task.base.get("model_params")) == task.base.get("model_params")
        if law.by.get("method", method) == method and same:
            return law, {}
    return None


def _verdicts(
    rows: Mapping[str, pl.DataFrame], noise: Mapping[str, Noise], outcome: Outcome
) -> list[Verdict]:
    sign = outcome.sign
    sizes: dict[float, dict[str, Observed]] = {}
    for method, part in rows.items():
        for size, loss, runs in part.select(DATA_SIZE, "loss", "runs").iter_rows():
            sizes.setdefault(size, {})[method] = (loss, runs)
    several = {size: observed for size, observed in sorted(sizes.items()) if len(observed) > 1}
    judged = sum(len(observed) - 1 for observed in several.values())
    found = []
    for size, observed in several.items():
        order = sorted(observed, key=lambda method: sign * observed[method][0])
        best = order[0]
        lost = {m: (sign * value, runs, noise[m]) for m, (value, runs) in observed.items()}
        apart = {m: difference(lost[m], lost[best], judged) for m in order[1:]}
        tied = (best, *[method for method, gap in apart.items() if not gap.is_clear])
        found.append(Verdict(size, observed, best, tied, apart[order[1]], order[1]))
    return found


def _ranges(found: Sequence[Verdict], outcome: Outcome) -> str:
    """Neighbouring data sizes with one verdict, as one clause each."""
    groups: list[list[Verdict]] = []
    for verdict in found:
        if groups and set(groups[-1][0].tied) == set(verdict.tied):
            groups[-1].append(verdict)
        else:
            groups.append([verdict])
    told, open_, silent = [], [], []
    for group in groups:
        where = _sizes([verdict.examples for verdict in group])
        if group[0].is_clear:
            told.append(f"{method_name(group[0].best)} {where}")
        else:
            apart = f"{listed([method_name(method) for method in sorted(group[0].tied)])} apart {where}"
            (open_ if np.isfinite(group[0].lead.low) else silent).append(apart)
    most = "Lowest" if outcome.lower else "Highest"
    sentence = f"{most} {outcome.name}: {'; '.join(told)}" if told else ""
    unknown = [f"These records cannot tell {'; nor '.join(open_)}"] if open_ else []
    if silent:  # the forecast, which has a prior of the noise, may tell more
        unknown.append(f"Without runs that were repeated the means alone do not tell {'; nor '.join(silent)}")
    return ". ".join([*([sentence] if told else []), *unknown])


def _sizes(sizes: Sequence[float]) -> str:
    if len(sizes) == 1:
        return f"at {count(sizes[0])} examples"
    return f"from {count(sizes[0])} to {count(sizes[-1])} examples"


def _lead(last: Verdict, outcome: Outcome) -> str:
    where = f"At {count(last.examples)} examples, the largest size with two methods or more,"
    gap, best, second = last.lead, method_name(last.best), method_name(last.second)
    by, side = tell_gap(outcome, gap.value), "lower" if outcome.lower else "higher"
    if not np.isfinite(gap.low):
        return (
            f"{where} {best} has the {side} mean by {by}, but no two seeds of a setting differ: the noise is "
            "unknown, and the difference may be nothing else."
        )
    ends = f"{amount(outcome, gap.low)} to {amount(outcome, gap.high)}"
    interval = f"{LEVEL:.0%} interval {ends}, from the noise between seeds"
    if last.is_clear:
        return f"{where} {best} is ahead of {second} by {by} ({interval})."
    return f"{where} {best} and {second} differ by {by} ({interval}): within the noise."


def _over_open_sizes(task: TaskEvidence, found: Sequence[Verdict]) -> tuple[str, list[str]]:
    """What sizes that alone do not tell say together: for the headline, and the sentence behind it."""
    open_ = [verdict for verdict in found if not verdict.is_clear]
    if not open_:
        return "", []
    pair = (open_[-1].best, open_[-1].second)
    sizes = [verdict.examples for verdict in open_ if set(pair) <= set(verdict.tied)]
    runs = [task.runs_at_base(method).filter(pl.col(DATA_SIZE).is_in(sizes)) for method in pair]
    both = paired(runs[0], runs[1], task.outcome)
    if both is None:
        return "", []
    leader, other = pair if both.ahead else pair[::-1]
    who = f"{method_name(leader)} is ahead of {method_name(other)}"
    ends = f"{amount(task.outcome, both.gap.low)} to {amount(task.outcome, both.gap.high)}"
    words = (
        f"Over {len(both.sizes)} of the sizes that alone do not tell, {count(both.sizes[0])} to "
        f"{count(both.sizes[-1])} examples, {who} in {both.better} of {both.pairs} pairs of runs of one seed "
        f"({both.seeds} seeds), by {tell_gap(task.outcome, both.gap.value)} on average ({LEVEL:.0%} interval "
        f"{ends})."
    )
    alone = all(set(verdict.tied) == set(pair) for verdict in open_ if verdict.examples in both.sizes)
    told = both.gap.is_clear and alone  # a third method that is tied with both might be ahead of them
    where = f"from {count(both.sizes[0])} to {count(both.sizes[-1])} examples"
    return (f" Together the sizes {where} tell that {who}." if told else ""), [words]


def _law_words(task: TaskEvidence, last: Verdict) -> list[str]:
    """What the laws' means say at the largest size that both leaders' fits have seen."""
    laws = {method: law_at_base(task, method) for method in (last.best, last.second)}
    known = {method: found for method, found in laws.items() if found is not None}
    if len(known) < 2:
        return ["No law could be fitted to both of them, so the observed means stand alone."]
    size = min(law.ranges[DATA_SIZE][1] for law, _ in known.values())
    means = {m: float(law.predict({**at, DATA_SIZE: size}).value) for m, (law, at) in known.items()}
    outcome = task.outcome
    best, second = sorted(means, key=lambda method: outcome.sign * means[method])
    gap = tell_gap(outcome, abs(means[second] - means[best]))
    where = f"By the laws' means at {count(size)} examples, the largest size that was fitted,"
    if not all(law.draws for law, _ in known.values()):
        return [f"{where} {method_name(best)} is ahead by {gap} (no interval: no bootstrap)."]
    draws = {m: law.mean_draws({**at, DATA_SIZE: size}) for m, (law, at) in known.items()}
    low, high = np.percentile(
        outcome.sign * (draws[second] - draws[best]), [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
    )
    interval = f"{LEVEL:.0%} interval {amount(outcome, float(low))} to {amount(outcome, float(high))}"
    if low <= 0:
        return [
            f"{where} {method_name(best)} and {method_name(second)} cannot be told apart "
            f"({interval}{after_difference(outcome)})."
        ]
    words = f"{where} {method_name(best)} is ahead of {method_name(second)} by {gap} ({interval})."
    same = next((v for v in task_verdicts(task) if v.examples == size), None)
    if same is not None and same.is_clear and same.best != best:
        words += f" The observed means say {method_name(same.best)}: trust these where the two disagree."
    return [words]


def task_verdicts(task: TaskEvidence) -> list[Verdict]:
    """The verdicts at the base setting, by data size."""
    rows = {method: task.at_base(method) for method in task.methods}
    return _verdicts(rows, task.noise, task.outcome)


def _worse_than_untuned(task: TaskEvidence, rows: Mapping[str, pl.DataFrame]) -> list[str]:
    bare = at_base(task.bare, task.base, free=("pet_size", DATA_SIZE))
    if not bare.height:
        return []
    start = float(bare["loss"][0])
    words = []
    for method, part in rows.items():
        sign = task.outcome.sign
        worse = part.filter(sign * pl.col("loss") >= sign * start)[DATA_SIZE].to_list()
        if worse:
            sizes = listed([count(size) for size in worse[:4]])
            words.append(
                f"{method_title(method)} is no better than the untuned model "
                f"({amount(task.outcome, start)}) "
                f"at {sizes} "
                "examples."
            )
    return words


def _alone(task: TaskEvidence, rows: Mapping[str, pl.DataFrame]) -> str:
    """What can be said without a comparison."""
    filled = {method: part for method, part in rows.items() if part.height}
    if len(task.methods) > 1:
        return (
            "No data size was run with two methods at the base setting, so these records cannot say "
            "which method is "
            "best."
        )
    method = next(iter(filled), UNNAMED)
    if not filled:
        return "No finished run at the base setting."
    part = filled[method]
    first, last = part.row(0, named=True), part.row(-1, named=True)
    return (
        f"Only one method ({method_name(method)}) is in these records: nothing to compare it with. Its "
        f"{task.outcome.name} goes from {amount(task.outcome, first['loss'])} at "
        f"{count(first[DATA_SIZE])} examples to {amount(task.outcome, last['loss'])} at "
        f"{count(last[DATA_SIZE])}."
    )
