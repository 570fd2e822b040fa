"""What a recommendation is made of: the question, one option a candidate, the runs that would settle it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from finescale.advice.cost import Cost
from finescale.laws.fitted import FAR
from finescale.records.outcome_words import amount
from finescale.records.outcomes import TEST_LOSS, Outcome
from finescale.wording import count, method_name

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

SCHEMA = 1


@dataclass(frozen=True)
class Question:
    """What was asked.

    Attributes:
        examples: Finetuning examples at hand; None: not said.
        model_params: Parameters of the model; None: not said.
        budget: FLOPs that may be spent on one run; None: no limit.
        target_loss: The loss to reach, in nats per target token; None: none.
        target_score: The score to reach; None: none.

    Example:
        >>> advice.question
        Question(examples=2000, model_params=None, budget=None, target_loss=None, target_score=None)
    """

    examples: float | None = None
    model_params: float | None = None
    budget: float | None = None
    target_loss: float | None = None
    target_score: float | None = None

    @property
    def target(self) -> float | None:
        """The loss or score to reach."""
        return self.target_loss if self.target_score is None else self.target_score


@dataclass(frozen=True)
class Gain:
    """What a doubling buys, with its interval, and the FLOPs that it adds (NaN: unknown).

    ``nats``, ``low`` and ``high`` are improvements in the outcome's unit: of a score, how much higher it gets
    (lower, where lower is better).

    Example:
        >>> gain = advice.best.double_examples
        >>> 0 < gain.low < gain.nats < gain.high
        True
    """

    nats: float
    low: float
    high: float
    flops: float

    @property
    def per_flop(self) -> float:
        """The improvement for each added FLOP."""
        return self.nats / self.flops


@dataclass(frozen=True)
class Needed:
    """The examples that a target needs.

    Attributes:
        examples: By the fitted law; infinite where its floor does not reach the target.
        low: Lower end of the interval; NaN without draws.
        high: Upper end; infinite where some draws never reach the target.
        floor: The loss or score that no amount of data gets beyond, by the fitted law.

    Example:
        >>> asked = fs.recommend(records, target_loss=3.3, bootstrap=50)
        >>> asked.best.name, 1_000 < asked.best.needed.examples < 2_000
        ('full', True)
    """

    examples: float
    low: float
    high: float
    floor: float


@dataclass(frozen=True)
class Option:
    """One candidate at the question.

    Attributes:
        name: The candidate: a method, or ``method on model``.
        method: The method.
        model_params: Parameters of the model that is asked for; None where no law knows it.
        examples: Examples that are asked for (or that the budget buys, or that the target needs).
        loss: Predicted mean of the outcome (a loss, or a score), with ``low`` and ``high``.
        low: Lower end of the mean's interval; NaN without draws.
        high: Upper end.
        run_low: Lower end of the interval for one new run.
        run_high: Upper end.
        probability: Share of the draws in which it is the best; NaN without draws.
        missed: How far its law was off where it was tested like this; NaN: untested.
        outside: How many times outside its data the question lies, by column; 1 inside.
        cost: The run's cost; with a target and nothing else, of the examples that the target needs.
        double_examples: What twice the data buys.
        double_model: What twice the model buys; None for laws of one model.
        needed: What the target needs; None without a target.
        status: Soft trouble of its law.
        model: The model's name where the candidate is of one model.
        pet_size: The method's PET size (rank, prompt length); None where it has none or several.
        tokenizer: The tokenizer within which it was compared, where that matters; probabilities are among
            the candidates of one tokenizer.

    Example:
        >>> [option.name for option in advice.options]
        ['full', 'lora', 'prompt']
        >>> advice.options[0].probability
        1.0
    """

    name: str
    method: str
    model_params: float | None
    examples: float
    loss: float
    low: float
    high: float
    run_low: float
    run_high: float
    probability: float
    missed: float
    outside: Mapping[str, float]
    cost: Cost
    double_examples: Gain
    double_model: Gain | None
    needed: Needed | None
    status: tuple[str, ...] = ()
    model: str | None = None
    pet_size: float | None = None
    tokenizer: str | None = None

    @property
    def far(self) -> float:
        """The largest factor by which the question lies outside the data."""
        return max(self.outside.values(), default=1.0)

    def interval(self, outcome: Outcome) -> str:
        """The mean's interval in words."""
        ends = f"{amount(outcome, self.low)} to {amount(outcome, self.high)}"
        return "" if math.isnan(self.low) else f"90% interval {ends}"


@dataclass(frozen=True)
class ProposedRun:
    """A run that would help to decide.

    Attributes:
        purpose: ``study``, or ``sweep`` (of learning rates).
        method: The method.
        model_params: About how large the model should be; None: the one at hand.
        examples: Finetuning examples.
        runs: How many: seeds, or learning rates.
        flops: What all of them cost; NaN: unknown.
        pet_size: The PET size, where several are candidates.

    Example:
        >>> run = fs.ProposedRun("study", "lora", 4e8, 2000, 3, 1.2e15)
        >>> run.words
        'LoRA on 2,000 examples, about 400M parameters, 3 seeds (1.2e+15 FLOPs in all)'
    """

    purpose: str
    method: str
    model_params: float | None
    examples: float
    runs: int
    flops: float
    pet_size: float | None = None

    @property
    def words(self) -> str:
        """The runs in words."""
        what = f"{self.runs} learning rates" if self.purpose == "sweep" else f"{self.runs} seeds"
        size = f", about {count(self.model_params)} parameters" if self.model_params else ""
        price = "" if math.isnan(self.flops) else f" ({self.flops:.2g} FLOPs in all)"
        mark = "r" if self.method == "lora" else ""
        name = self.method if self.pet_size is None else f"{self.method} {mark}{self.pet_size:g}"
        return f"{method_name(name)} on {count(self.examples)} examples{size}, {what}{price}"


@dataclass(frozen=True)
class Advice:
    """The answer to one question about one task.

    Attributes:
        task: The task.
        question: What was asked.
        options: The candidates, best first.
        sentence: The advice, or why there is none.
        reasons: Why it abstains; empty where it does not.
        settle: The runs that would settle it.
        notes: What else to know, in sentences.
        law: The law's name.
        base: The base setting, at which the other factors stay.
        outcome: What is compared: the loss, or the score.
        otherwise: What the table's score says (its loss, where a score is compared) if another method leads
            by it; else empty.
        cautions: What to know before anything else: learning rates at the edge of what was tried.

    Example:
        >>> advice.best.name, advice.law, advice.reasons
        ('full', 'forecast', ())
    """

    task: str
    question: Question
    options: tuple[Option, ...]
    sentence: str
    reasons: tuple[str, ...]
    settle: tuple[ProposedRun, ...]
    notes: tuple[str, ...]
    law: str
    base: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome = TEST_LOSS
    otherwise: str = ""
    cautions: tuple[str, ...] = ()

    @property
    def best(self) -> Option | None:
        """The option that is advised; None where the advice abstains."""
        return None if self.reasons or not self.options else self.options[0]

    def table(self, width: int | None = None) -> Table | Text:
        """The options as a rich table; turned, or as text, where only that fits into `width` characters."""
        from finescale.advice.views import advice_table  # noqa: PLC0415 - rich only where it is shown

        return advice_table(self, width)

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and text; null for what is not known or not finite."""
        plain = _plain(asdict(self))
        return {"schema": SCHEMA, "best": self.best.name if self.best else None, **plain}

    def __repr__(self) -> str:
        """The sentence."""
        return f"Advice({self.task}: {self.sentence})"

    def __str__(self) -> str:
        """The sentence, what else to know, and the options."""
        from finescale.advice.views import advice_text  # noqa: PLC0415 - rich only where it is shown

        return advice_text(self)

    def _repr_html_(self) -> str:
        from finescale.advice.views import advice_html  # noqa: PLC0415 - only in notebooks

        return advice_html(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


__all__ = ["FAR", "Advice", "Gain", "Needed", "Option", "ProposedRun", "Question"]
