"""From options to a sentence: the advice, or why there is none and which runs would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from finescale.advice.candidate import SIZE, Candidates
from finescale.advice.cost import Costs
from finescale.advice.options import Advice, Option, ProposedRun, Question
from finescale.advice.scan import SURE
from finescale.laws.fitted import FAR
from finescale.records.outcome_words import amount, difference, lead, named, one
from finescale.records.outcomes import Outcome
from finescale.records.records import DATA_SIZE
from finescale.wording import (
    capital,
    chance,
    count,
    examples_of,
    listed,
    method_name,
    method_title,
    ratio,
)

_SEEDS, _RATES = 3, 5


def verdict(found: Candidates, question: Question, options: tuple[Option, ...], prices: Costs) -> Advice:
    """Puts the advice into words.

    Args:
        found: The candidates.
        question: What was asked.
        options: The options, best first.
        prices: The costs.

    Returns:
        The advice.
    """
    best, rivals = options[0], options[1:]
    untuned = [m.method for m in found.members if m.tuned is False]
    laws, outcome = not found.forecast, found.outcome
    reasons = (*found.doubts, *_reasons(best, rivals, untuned, outcome, laws=laws))
    sentence = _leading_words(best, rivals, question, outcome, with_chance=not reasons)
    if reasons:
        alone = "forecast" if found.forecast else "laws"
        sentence = f"No advice: {'; '.join(reasons)}. By the {alone} alone: {sentence}"
    if not rivals:
        sentence = f"Only one candidate, so there is nothing to compare. {sentence}"
    notes = [*found.notes]
    if all(member.tuned is None for member in found.members) and rivals:
        notes.append(
            "The records do not say whether the learning rates were tuned (column lr_tuned): "
            "if they were not, this is no evidence about the methods."
        )
    notes += _status_notes(options)
    settle = settling_runs(found, options, untuned, prices) if reasons else ()
    return Advice(
        found.task, question, options, sentence, reasons, settle, tuple(notes), found.law, found.base, outcome
    )


def models_of(tokenizer: str) -> str:
    """The models of a tokenizer, in words."""
    return "models of unknown tokenizers" if tokenizer == "unknown" else f"models with {tokenizer} tokenizer"


def of_tokenizer(advice: Advice, tokenizer: str) -> Advice:
    """The same advice, which says of which tokenizer's models it is."""
    options = tuple(replace(option, tokenizer=tokenizer) for option in advice.options)
    whose = capital(models_of(tokenizer))
    return replace(advice, options=options, sentence=f"{whose}: {advice.sentence}")


def join_advice(parts: Sequence[Advice], why: str) -> Advice:
    """Several pieces of advice that do not compare, as one that abstains between them.

    Args:
        parts: The advice on each tokenizer's models.
        why: Why they do not compare.
    """
    first = parts[0]
    return replace(
        first,
        options=tuple(option for part in parts for option in part.options),
        sentence=" ".join([f"No comparison across models: {why}", *(part.sentence for part in parts)]),
        reasons=(why,),
        settle=(),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        cautions=tuple(dict.fromkeys(words for part in parts for words in part.cautions)),
    )


def settling_runs(
    found: Candidates, options: Sequence[Option], untuned: Sequence[str], prices: Costs
) -> tuple[ProposedRun, ...]:
    """The runs that would settle an open question; a simple rule, in one place.

    The two leading candidates, three seeds each, at the question itself if it lies within four times their
    data, else half way to it on a log scale; a sweep first where a learning rate is not tuned.
    """
    proposed: list[ProposedRun] = []
    by_name = {member.name: member for member in found.members}
    for option in options[:2]:
        law = by_name[option.name].law
        examples = _towards(option.examples, *law.ranges[DATA_SIZE])
        alike = {member.pet_size for member in found.members if member.method == option.method}
        pet = option.pet_size if len(alike) > 1 else None
        params = option.model_params
        if params is not None and SIZE in law.ranges:
            params = _towards(params, *law.ranges[SIZE])
        each = prices.of(option.method, params, examples).flops
        if option.method in untuned:
            small = law.ranges[DATA_SIZE][0]
            cost = prices.of(option.method, params, small).flops
            proposed.append(ProposedRun("sweep", option.method, params, small, _RATES, _RATES * cost, pet))
        proposed.append(ProposedRun("study", option.method, params, examples, _SEEDS, _SEEDS * each, pet))
    return tuple(proposed)


def _towards(asked: float, low: float, high: float) -> float:
    """The question's value, or half way to it from the data where it is far."""
    near = min(max(asked, low), high)
    return asked if 0.25 <= asked / near <= 4 else math.sqrt(asked * near)


def _reasons(
    best: Option, rivals: Sequence[Option], untuned: Sequence[str], outcome: Outcome, *, laws: bool
) -> list[str]:
    """Why there is no advice; a forecast's errors are in its probabilities, those of laws are told apart."""
    contenders = [best, *rivals[:1]]
    reasons = []
    for column in (SIZE, DATA_SIZE):
        far = [option for option in contenders if option.outside.get(column, 1.0) > FAR]
        if far:
            asked = f"{count(far[0].model_params)} parameters"
            if column == DATA_SIZE:
                asked = examples_of(far[0].examples)
            who = listed([method_name(option.name) for option in far])
            times = ratio(max(option.outside[column] for option in far))
            reasons.append(f"{asked}: {times}x outside the runs of {who}")
    if rivals:
        close = {option.method for option in contenders}
        bad = [method_name(name) for name in dict.fromkeys(untuned) if name in close]
        if bad:
            reasons.append(f"the learning rate of {listed(bad)} was not tuned")
        reasons += _missed(best, rivals[0], outcome) if laws else []
        if best.loss == rivals[0].loss and not best.probability > SURE:
            reasons.append(f"{method_name(best.name)} and {method_name(rivals[0].name)} tie")
        elif math.isnan(best.probability):
            reasons.append("without resamples (--bootstrap) there is no probability")
        elif best.probability < SURE:
            rest = [o for o in rivals if o.probability > 0.1]
            also = listed([f"{method_name(o.name)} {chance(o.probability)}" for o in rest[:3]])
            with_whom = f" ({also})" if also else ""
            words = f"{method_name(best.name)} is best with a probability of {chance(best.probability)} only"
            reasons.append(words + with_whom)
    return reasons


def _missed(best: Option, second: Option, outcome: Outcome) -> list[str]:
    """Whether the laws were off by more, where they were tested, than what lies between the two leaders."""
    gap = abs(second.loss - best.loss)
    pair = f"{method_name(best.name)} and {method_name(second.name)}"
    missed = [option.missed for option in (best, second)]
    if any(map(math.isnan, missed)):
        return [f"the laws of {pair} are asked beyond their data and could not be tested there"]
    if max(missed) > gap:
        off = difference(outcome, max(missed))
        words = f"the laws were off by {off} on average where they were tested"
        return [f"{words}, more than the {difference(outcome, gap)} between {pair}"]
    return []


def _leading_words(
    best: Option, rivals: Sequence[Option], question: Question, outcome: Outcome, *, with_chance: bool
) -> str:
    """What is predicted of the leading option, and by how much it leads."""
    name = method_title(best.name)
    known = best.model_params if best.name == best.method else None
    size = f" on a model of {count(known)} parameters" if known else ""
    data = examples_of(best.examples)
    interval = best.interval(outcome)
    told = f"predicted {named(outcome, best.loss)}" + (f" ({interval})" if interval else "")
    need = best.needed if question.examples is None and question.budget is None else None
    if need is not None:
        reach = "" if math.isnan(need.low) else f" (90% interval {count(need.low)} to {_most(need.high)})"
        words = f"{name}{size} needs about {examples_of(need.examples)}{reach} for "
        words += f"{one(outcome)} of {amount(outcome, question.target)}"
    elif question.budget is not None and math.isfinite(best.cost.flops):
        words = f"{name} with {data}{size} for {best.cost.flops:.2g} FLOPs: {told}"
    else:
        words = f"{name} for {data}{size}: {told}"
    if rivals:
        words += f", {_versus(best, rivals[0], outcome, by_need=need is not None)}"
    if rivals and with_chance:
        words += f"; best with a probability of {chance(best.probability)}"
    return f"{words}."


def _versus(best: Option, second: Option, outcome: Outcome, *, by_need: bool) -> str:
    who = method_name(second.name)
    if not by_need or second.needed is None:
        return f"{lead(outcome, outcome.sign * (second.loss - best.loss))} {who}"
    if math.isfinite(second.needed.examples):
        return f"{who} needs {count(second.needed.examples)}"
    end = "floor" if outcome.lower else "ceiling"
    return f"{who} does not get there (its {end} is {amount(outcome, second.needed.floor)})"


def _most(value: float) -> str:
    return count(value) if math.isfinite(value) else "no end"


def _status_notes(options: Sequence[Option]) -> list[str]:
    """Soft trouble of the leading laws, each once."""
    found: dict[str, list[str]] = {}
    for option in options[:2]:
        for status in option.status:
            found.setdefault(status, []).append(method_name(option.name))
    return [f"{capital(status)} - {listed(who)}." for status, who in found.items()]
