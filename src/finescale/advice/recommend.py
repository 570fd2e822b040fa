"""Which method (and model) for this much data, this model or this budget: outcomes, chances, costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from finescale.advice.candidate import SIZE, Candidate, Candidates
from finescale.advice.candidates import FORECAST, candidates
from finescale.advice.comparable import split_comparable
from finescale.advice.cost import Costs, costs
from finescale.advice.needs import data_needed
from finescale.advice.options import Advice, Gain, Needed, Option, Question
from finescale.advice.otherwise import disagreement
from finescale.advice.targets import check, check_target, refuse_unreachable
from finescale.advice.verdict import join_advice, of_tokenizer, verdict
from finescale.errors import DataError, UsageError
from finescale.laws.fitted import FAR
from finescale.laws.law import Law
from finescale.records.rate_edges import rate_edges
from finescale.records.rate_moves import rate_checks
from finescale.records.records import DATA_SIZE, Records, read_records
from finescale.wording import count, listed, method_title

if TYPE_CHECKING:
    from finescale.records.tables import TableLike

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Placed:
    """A candidate at its model size and data size."""

    member: Candidate
    model_params: float | None
    examples: float


def recommend(
    records: Records | TableLike,
    *,
    examples: float | None = None,
    model_params: float | None = None,
    budget: float | None = None,
    target_loss: float | None = None,
    target_score: float | None = None,
    score: str | None = None,
    task: str | None = None,
    price_per_hour: float | None = None,
    flops_per_second: float | None = None,
    tokens_per_example: float | None = None,
    method_cost: Mapping[str, str | float] | None = None,
    law: str | Law = FORECAST,
    base: Mapping[str, Any] | None = None,
    via: str = "auto",
    bootstrap: int = 1000,
    seed: int = 0,
) -> Advice:
    """Answers a question about one task, or says why these records cannot.

    Args:
        records: Records, or what ``read_records`` takes.
        examples: Finetuning examples at hand. Default: the largest data size that every method was run with;
            with a budget, what it buys; with a target, what it needs.
        model_params: Parameters of the model. Default: the base setting's; with a budget, the best of those
            in the records.
        budget: FLOPs for one training run.
        target_loss: The loss to reach, in nats per target token.
        target_score: The score to reach, on its own scale.
        score: The score column to advise by, for a table that is not read yet (``read_records`` takes
            ``better`` and ``bounds`` too).
        task: The task; may be left out where there is one.
        price_per_hour: Price of an hour of the machine.
        flops_per_second: The machine's rate; default: as measured in the records.
        tokens_per_example: Tokens processed for one example over all passes, where the records do not know.
        method_cost: For methods that are not known: ``full``, ``pet``, or FLOPs a parameter and token.
        law: ``forecast``: all members; a law of the zoo or one's own: that one only; ``auto``: the one law
            that predicts hidden data sizes best.
        base: Values at which other factors stay; default: the most frequent.
        via: How a score is forecast: ``direct``, or through the ``loss`` beside it; ``auto``: whichever
            predicts hidden runs better.
        bootstrap: Number of joint draws.
        seed: Their seed.

    Returns:
        The advice.

    Raises:
        UsageError: A question that makes no sense; several tasks and none named.
        DataError: Nothing to fit; a budget that buys no run; a target below every floor; a model that these
            records say nothing about.

    Example:
        >>> fs.recommend(records, examples=2000, bootstrap=50).best.name
        'full'
    """
    question = Question(examples, model_params, budget, target_loss, target_score)
    check(question)
    if not isinstance(records, Records):
        records = read_records(records, score=score)
    elif score not in (None, records.loss):
        raise UsageError(
            f"records that were read by `{records.loss}`",
            wanted=f"those of the score, e.g. read_records(source, score={score!r})",
            got=f"score={score!r}",
        )
    options = {"law": law, "base": base, "via": via, "bootstrap": bootstrap, "seed": seed}
    prices = {
        "price_per_hour": price_per_hour,
        "flops_per_second": flops_per_second,
        "tokens_per_example": tokens_per_example,
        "method_cost": method_cost,
    }
    found, why = answer_each(records, task, question, prices, options)
    return found[0].advice if len(found) == 1 else join_advice([one.advice for one in found], why)


@dataclass(frozen=True)
class Answer:
    """The advice on runs that compare, and what it rests on."""

    advice: Advice
    found: Candidates
    prices: Costs


def answer_each(
    records: Records,
    task: str | None,
    question: Question,
    prices: Mapping[str, Any],
    options: Mapping[str, Any],
) -> tuple[list[Answer], str]:
    """Answers a question about one task; where runs do not compare, once for those that do.

    Args:
        records: The runs.
        task: The task; None: the only one.
        question: The question.
        prices: Options of ``costs``.
        options: Options of ``candidates``.

    Returns:
        The answers, and why there is more than one.

    Raises:
        UsageError: As ``recommend``.
        DataError: As ``recommend``.
    """
    parts, why = split_comparable(records, task)
    made: list[Answer] = []
    problems: list[DataError] = []
    for part in parts:
        try:
            found = candidates(part.records, task, **options)
            priced = costs(found.runs, **prices)
            advice = advise(found, question, priced)
        except DataError as error:
            problems.append(error)
            continue
        other = disagreement(part.records, task, advice, priced, options, advise)
        methods = {option.method for option in advice.options}
        edges = [edge.words for edge in rate_edges(part.records, advice.task) if edge.method in methods]
        checks = (check for check in rate_checks(part.records, advice.task) if check.method in methods)
        edges += [check.words for check in checks if check.moved]
        advice = replace(advice, otherwise=other, cautions=tuple(edges))
        if part.tokenizer:
            advice = of_tokenizer(advice, part.tokenizer)
        elif why:
            advice = replace(advice, sentence=f"{why} {advice.sentence}")
        made.append(Answer(advice, found, priced))
    if not made:
        raise problems[0]
    return made, why if len(parts) > 1 else ""


def advise(found: Candidates, question: Question, prices: Costs) -> Advice:
    """Answers a question from candidates that are fitted already.

    Raises:
        DataError: As ``recommend``.
    """
    check_target(found.outcome, question, found.runs)
    target, sign = question.target, found.outcome.sign
    by_target = target is not None and question.examples is None and question.budget is None
    found = _comparable(found, question)
    places = _places(found, question, prices)
    needs: dict[str, tuple[Needed, Array | None]] = {}
    if target is not None:
        needs = {p.member.name: data_needed(p.member, p.model_params, target) for p in places}
        refuse_unreachable(needs, target, found.outcome)
    each = {p.member.name: prices.per_example(p.member.method, p.model_params) for p in places}
    scale = each if all(map(math.isfinite, each.values())) else dict.fromkeys(each, 1.0)
    if by_target:
        cheapest = min(places, key=lambda p: needs[p.member.name][0].examples * scale[p.member.name])
        size = needs[cheapest.member.name][0].examples
        places = [replace(place, examples=size) for place in places]
    scores: list[Array | None] = []
    for place in places:
        if by_target:
            drawn = needs[place.member.name][1]
            scores.append(None if drawn is None else drawn * scale[place.member.name])
        elif place.member.law.drawn:
            scores.append(sign * place.member.law.mean_draws(_asked(place)))
        else:
            scores.append(None)
    chances = _chances(scores)
    options = [
        _option(place, chance, prices, needs.get(place.member.name, (None, None))[0], by_target=by_target)
        for place, chance in zip(places, chances, strict=True)
    ]
    if by_target:
        options.sort(key=lambda o: o.needed.examples * scale[o.name] if o.needed else math.inf)
    else:
        options.sort(key=lambda option: sign * option.loss)
    return verdict(found, question, tuple(options), prices)


def _asked(place: _Placed) -> dict[str, Any]:
    return place.member.asked(place.model_params, place.examples)


def _comparable(found: Candidates, question: Question) -> Candidates:
    """The candidates that say something of the model that is asked for; a note names the others.

    Raises:
        DataError: None does.
    """
    size = question.model_params
    if found.factor and question.budget is None:
        size = size or found.base.get(SIZE)
    members = tuple(m for m in found.members if m.knows(size) and (m.size or m.law.factors or not size))
    if not members:
        raise _unknown_size(found, size)
    left_out = [
        f"{method_title(m.name)} was run on a model of {count(m.size)} parameters only, "
        f"and is left out for one of {count(size)}."
        for m in found.members
        if m not in members and m.size and found.factor
    ]
    return replace(found, members=members, notes=(*found.notes, *left_out))


def _places(found: Candidates, question: Question, prices: Costs) -> list[_Placed]:
    """Every candidate at the sizes that the question means for it."""
    members = found.members
    size = question.model_params or found.base.get(SIZE)
    if question.budget is None:
        examples = question.examples or min(member.law.ranges[DATA_SIZE][1] for member in members)
        return [_Placed(m, size if m.law.factors else m.size or size, examples) for m in members]
    if not any(math.isfinite(prices.per_example(m.method, size or m.size)) for m in members):
        raise DataError("the budget cannot be turned into runs", got=prices.basis)
    places: list[_Placed] = []
    least = math.inf
    for member in members:
        low, high = member.law.ranges[DATA_SIZE]
        sizes: Sequence[float | None] = [member.size]
        if member.law.factors:
            sizes = [question.model_params] if question.model_params else found.sizes
        affordable = []
        for params in sizes:
            each = prices.per_example(member.method, params)
            bought = min(question.budget / each, question.examples or FAR * high)
            least = min(least, each * max(1.0, low / FAR))
            if bought >= max(1.0, low / FAR):
                affordable.append(_Placed(member, params, bought))
        if affordable:
            places.append(min(affordable, key=_to_be_small))
    if not places:
        raise DataError(
            "the budget buys no run that these laws could predict",
            wanted=f"at least {least:.2g} FLOPs",
            got=f"{question.budget:.2g} FLOPs",
            remedy="raise --budget, or ask for a smaller model",
            where=found.task,
        )
    return places


def _to_be_small(place: _Placed) -> float:
    """The outcome in the middle, so that lower is better."""
    law = place.member.law
    return law.outcome.sign * float(law.centre(_asked(place)))


def _unknown_size(found: Candidates, wanted: float | None) -> DataError:
    """No candidate knows a model of this size."""
    have = listed([count(size) for size in found.sizes[:8]]) or "no column model_params"
    return DataError(
        f"these records say nothing about a model of {count(wanted)} parameters",
        wanted="runs of several model sizes whose results follow from the size",
        got=have + (" and more" if len(found.sizes) > 8 else ""),
        remedy="leave out --model-params, or run that model",
        where=found.task,
    )


def _chances(scores: Sequence[Array | None]) -> list[float]:
    """In which share of the draws each candidate is best; equals share a draw; one without any is none's."""
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        return [math.nan] * len(scores)
    table = np.stack(known)
    least = table.min(axis=0)
    best = (table == least) & np.isfinite(least)
    return [float(share) for share in (best / np.maximum(best.sum(axis=0), 1)).mean(axis=1)]


def _option(place: _Placed, chance: float, prices: Costs, need: Needed | None, *, by_target: bool) -> Option:
    member, params, examples = place.member, place.model_params, place.examples
    predicted = member.law.predict(_asked(place))
    outside = member.outside(params, examples)
    paid = need.examples if need is not None and by_target else examples
    cost = prices.of(member.method, params, paid)
    doubled = prices.of(member.method, params, examples).flops
    more_data = replace(place, examples=2 * examples)
    larger = None
    if member.law.factors and params is not None:
        added = prices.of(member.method, 2 * params, examples).flops - doubled
        larger = _gain(place, replace(place, model_params=2 * params), added)
    return Option(
        name=member.name,
        method=member.method,
        model_params=params,
        examples=examples,
        loss=float(predicted.value),
        low=float(predicted.low),
        high=float(predicted.high),
        run_low=float(predicted.run_low),
        run_high=float(predicted.run_high),
        probability=chance,
        missed=member.misses.expected(outside),
        outside=outside,
        cost=cost,
        double_examples=_gain(place, more_data, doubled),
        double_model=larger,
        needed=need,
        status=member.law.status,
        model=member.model,
        pet_size=member.pet_size,
    )


def _gain(here: _Placed, there: _Placed, flops: float) -> Gain:
    value = _to_be_small(here) - _to_be_small(there)
    law = here.member.law
    if not law.drawn:
        return Gain(value, math.nan, math.nan, flops)
    draws = law.outcome.sign * (law.mean_draws(_asked(here)) - law.mean_draws(_asked(there)))
    tail = 50 * (1 - law.level)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Gain(value, float(low), float(high), flops)
