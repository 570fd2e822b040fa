"""What is compared: a loss or a score, with its direction, its bounds and its unit."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher"]
Scale = Literal["log", "logit", "identity"]


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
    """

    column: str
    name: str
    kind: Literal["loss", "score"]
    better: Better
    low: float = -math.inf
    high: float = math.inf
    unit: str = ""

    @property
    def scale(self) -> Scale:
        """Where differences are comparable: logs of losses, log odds between two bounds, else as it is."""
        if math.isfinite(self.low) and math.isfinite(self.high):
            return "logit"
        return "log" if self.kind == "loss" and self.low == 0 else "identity"

    @property
    def sign(self) -> int:
        """+1 where lower is better, -1 where higher is: ``sign * value`` is always to be made small."""
        return 1 if self.better == "lower" else -1


TEST_LOSS = Outcome("test_loss", "test loss", "loss", "lower", 0.0, math.inf, "nats")
"""The loss of our own records: nats per target token."""

_KNOWN: dict[str, tuple[Better, float, float]] = {
    "accuracy": ("higher", 0, 1),
    "acc": ("higher", 0, 1),
    "exactmatch": ("higher", 0, 1),
    "em": ("higher", 0, 1),
    "f1": ("higher", 0, 1),
    "macrof1": ("higher", 0, 1),
    "microf1": ("higher", 0, 1),
    "precision": ("higher", 0, 1),
    "recall": ("higher", 0, 1),
    "auc": ("higher", 0, 1),
    "auroc": ("higher", 0, 1),
    "mcc": ("higher", -1, 1),
    "matthewscorrelation": ("higher", -1, 1),
    "pearson": ("higher", -1, 1),
    "spearman": ("higher", -1, 1),
    "bleu": ("higher", 0, 100),
    "sacrebleu": ("higher", 0, 100),
    "chrf": ("higher", 0, 100),
    "rouge1": ("higher", 0, 1),
    "rouge2": ("higher", 0, 1),
    "rougel": ("higher", 0, 1),
    "rougelsum": ("higher", 0, 1),
    "meteor": ("higher", 0, 1),
    "bertscore": ("higher", 0, 1),
    "bleurt": ("higher", -math.inf, math.inf),
    "comet": ("higher", -math.inf, math.inf),
    "passrate": ("higher", 0, 1),
    "winrate": ("higher", 0, 1),
    "reward": ("higher", -math.inf, math.inf),
    "errorrate": ("lower", 0, 1),
    "error": ("lower", 0, 1),
    "wer": ("lower", 0, math.inf),
    "cer": ("lower", 0, math.inf),
    "ter": ("lower", 0, math.inf),
}
"""Direction and bounds of scores by their usual names, letters and digits only."""


def folded(name: str) -> str:
    """A name without case, blanks and punctuation, and without what trackers put before it (``eval/``)."""
    last = re.split(r"[/.]", name.strip())[-1]
    plain = re.sub(r"[^a-z0-9]", "", last.casefold())
    return re.sub(r"^(eval|test|val|valid|validation|dev|final|best)(?=.)", "", plain)


def known_score(name: str) -> tuple[Better, float, float] | None:
    """Direction and bounds of a score that is known by name, or None."""
    plain = folded(name)
    if re.fullmatch(r"pass(at)?\d+", plain):
        return "higher", 0, 1
    return _KNOWN.get(plain)
