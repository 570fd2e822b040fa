"""What is compared: a loss or a score, with its direction, its bounds and its unit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from finescale.errors import UsageError
from finescale.records.loss_units import UNITS, is_derived, is_loss_name, unclear_unit, unit_by_name
from finescale.records.names import bare

Better = Literal["lower", "higher"]
Scale = Literal["log", "logit", "identity"]
INF = math.inf


@dataclass(frozen=True)
class Outcome:
    """A column that says how well a run did.

    Attributes:
        column: The column of the table.
        name: As a reader wants it: ``"test loss"``, ``"accuracy"``.
        kind: A loss (lower is better, no upper bound) or a score.
        better: Which direction is better.
        low: Lower bound of its values; ``-inf`` where there is none.
        high: Upper bound of its values; ``inf`` where there is none.
        unit: ``"nats"``, ``"nats per byte"``, ``"%"``, or ``""``.
        chance: The score of a model that has learnt nothing, where it was stated; else NaN.

    Example:
        >>> named_score("eval_accuracy", [0.81]).scale
        'logit'
    """

    column: str
    name: str
    kind: Literal["loss", "score"]
    better: Better
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""
    chance: float = field(default=math.nan, compare=False, repr=False)

    @property
    def scale(self) -> Scale:
        """Where differences are comparable: logs of losses, log odds between two bounds, else as it is."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return "logit"
        return "log" if self.kind == "loss" and self.low == 0 else "identity"

    @property
    def best(self) -> float:
        """The best value that there is; infinite for a score without such a bound."""
        return self.low if self.lower else self.high

    @property
    def width(self) -> float:
        """The distance of the bounds; infinite without two."""
        return self.high - self.low

    def lost(self, value: Any) -> Any:
        """What laws are fitted to: a loss as it is, a score's distance from the best value.

        Args:
            value: Values: numbers, arrays or polars expressions.
        """
        if self.kind == "loss":
            return value
        return value - self.best if self.lower else self.best - value

    def from_lost(self, lost: Any) -> Any:
        """The values of distances from the best value; the inverse of ``lost``."""
        if self.kind == "loss":
            return lost
        return self.best + lost if self.lower else self.best - lost

    @property
    def per_token(self) -> bool:
        """Whether it is a loss in nats per token, as the paper's; one of no stated unit is taken for that."""
        return self.kind == "loss" and self.unit in ("nats", "")

    @property
    def lower(self) -> bool:
        """Whether lower is better."""
        return self.better == "lower"

    @property
    def sign(self) -> int:
        """+1 where lower is better, -1 where higher is: ``sign * value`` is always to be made small."""
        return 1 if self.better == "lower" else -1


TEST_LOSS = Outcome("test_loss", "test loss", "loss", "lower", 0.0, math.inf, "nats")
"""The loss of our own records: nats per target token."""


@dataclass(frozen=True)
class _Known:
    """A score by its name: direction, and bounds on a scale of 0 to 1 (or as stated)."""

    names: str
    better: Better
    low: float
    high: float
    percent: bool = True


_SCORES = (
    _Known(
        r"(balanced_|top_?\d+_|token_|mean_token_)?(acc|accuracy)(_norm|_\d+)?|exact_match|em|"
        r"(macro|micro|weighted|token)?_?f1(_score|_macro|_micro|_weighted)?|precision|recall|"
        r"auc|auroc|roc_auc|ap|map|mrr|ndcg(_?at_?\d+|_?\d+)?|iou|pass_?(at_?)?\d+|pass_?k|pass_rate|solve_rate|"
        r"success_rate|win_?rate|meteor|bertscore(_f1)?|rouge_?(l|lsum|\d)?(_f\w*)?",
        "higher", 0.0, 1.0,
    ),
    _Known(
        r"mcc|matthews\w*|pearson\w*|spearman\w*|kendall\w*|kappa|cohen_kappa|corr|correlation",
        "higher", -1.0, 1.0,
    ),
    _Known(r"(sacre)?_?bleu(_?\d)?|chrf(_?(pp|plus|\d))?|ter_inverse|gleu", "higher", 0.0, 1.0),
    _Known(
        r"bleurt\w*|comet\w*|reward(?!\w*(reject|penalt))\w*|(\w+_)?rewards?|elo|r2|r2_score|log_?likelihood|logprobs?",
        "higher", -INF, INF, False,
    ),
    _Known(
        r"error(_rate)?|err|top_?\d+_error|misclassification(_rate)?|hallucination_rate|toxicity",
        "lower", 0.0, 1.0,
    ),
    _Known(r"wer|cer|ter|mae|mse|rmse|mape|edit_distance|fid", "lower", 0.0, INF, False),
)  # fmt: skip
_SPLITS = re.compile(r"^(eval|test|val|valid|validation|dev|heldout|final|best|mean|avg|average|max|min)_")
_PASS_AT = re.compile(r"^pass_?(at_?)?(\d+|k)$")
_PERCENT_WORD = r"(percent|percentage|pct|perc)"


def says_percent(column: str) -> bool:
    """Whether a column's name says that it is in percent.

    Example:
        >>> says_percent("Error (%)"), says_percent("error_pct"), says_percent("percentile")
        (True, True, False)
    """
    return "%" in column or re.search(rf"(^|_){_PERCENT_WORD}(_|$)", bare(column)) is not None


def score_name(column: str) -> str:
    """A score's name without its split and tracker's prefix: ``eval/accuracy (%)`` is ``accuracy``."""
    name = bare(column)
    name = re.sub(rf"_{_PERCENT_WORD}$|^{_PERCENT_WORD}_", "", name)
    while (shorter := _SPLITS.sub("", name)) != name and shorter:
        name = shorter
    return name


def named_score(column: str, values: Sequence[float] = (), *, percent: bool = False) -> Outcome | None:
    """What a column's name says of a score.

    Args:
        column: The column's name.
        values: Its values: whether they run to 1 or to 100 is seen from them.
        percent: Whether the cells had percent signs; a name may say percent, too.

    Returns:
        The outcome; None for a name that is not known, for a loss (of a reward model), and for a change.

    Example:
        >>> named_score("Accuracy (%)", [36.8, 52.1]).high
        100.0
    """
    if is_loss_name(column) or is_derived(column):
        return None
    name, percent = score_name(column), percent or says_percent(column)
    for known in _SCORES:
        if re.fullmatch(known.names, name):
            hundred = known.percent and (percent or any(abs(value) > 1.5 for value in values))
            scale = 100.0 if hundred else 1.0
            low = known.low * scale if math.isfinite(known.low) else known.low
            high = known.high * scale if math.isfinite(known.high) else known.high
            unit = "%" if percent else ""
            words = _PASS_AT.sub(r"pass@\2", name).replace("_", " ")
            return Outcome(column, words, "score", known.better, low, high, unit)
    return None


def known_outcome(column: str, values: Sequence[float]) -> Outcome | None:
    """What a column's name says that it measures: a known score, or a loss in nats; None where neither.

    Args:
        column: The column's name.
        values: Its values.
    """
    if is_loss_name(column):
        factor, unit = UNITS[unit_by_name(column) or "nats"]
        words = bare(column).replace("_", " ")
        in_nats = factor == 1.0 and not unclear_unit(column)
        return Outcome(column, words, "loss", "lower", 0.0, math.inf, unit) if in_nats else None
    return named_score(column, values)


def known_score(name: str) -> tuple[Better, float, float] | None:
    """Direction and bounds of a score that is known by name, on a scale of 0 to 1; None where it is not."""
    found = named_score(name)
    return None if found is None else (found.better, found.low, found.high)


def need_best(outcome: Outcome, what: str) -> None:
    """Refuses a score without a best value where its distance from that is needed.

    Args:
        outcome: What the records are measured by.
        what: Who asks, e.g. ``a law``.

    Raises:
        UsageError: No best value is known.
    """
    if not math.isfinite(outcome.best):
        raise UsageError(
            f"{what} takes a score's distance from its best value; that of `{outcome.column}` is not known",
            wanted="--bounds LOW,HIGH",
            got=f"--score {outcome.column}, {outcome.better} is better, without bounds",
            remedy="state the bounds; a forecast (finescale predict without --law) needs none",
        )
