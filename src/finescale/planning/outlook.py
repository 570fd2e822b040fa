"""What planning returns: the runs to make next, and what they are expected to tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from finescale.records.outcomes import TEST_LOSS, Outcome


@dataclass(frozen=True)
class Planned:
    """A setting to run.

    Attributes:
        method: The method.
        sizes: The factor and ``finetune_examples``.
        model: The model's name; None where it is not known.
        seeds: Seeds that this setting has not had yet, one a run.
        cost: FLOPs of one run.
        check: Whether it lies among the settings nearest to the target.

    Example:
        >>> next_runs.runs[0].method, set(next_runs.runs[0].sizes)
        ('lora', {...})
    """

    method: str
    sizes: Mapping[str, float]
    model: str | None
    seeds: tuple[int, ...]
    cost: float
    check: bool


@dataclass(frozen=True)
class Outlook:
    """What is known of a method's mean loss (or score) at the target.

    Attributes:
        method: The method.
        loss: Predicted now.
        low: Lower end of its 90% interval now.
        high: Upper end of its 90% interval now.
        after: Half the width of the interval that is expected after the planned runs.
        best: Probability that the method is the best of them at the target.
        settings: Settings that were measured so far.

    Example:
        >>> known = next_runs.outlooks[0]
        >>> known.low < known.loss < known.high
        True
    """

    method: str
    loss: float
    low: float
    high: float
    after: float
    best: float
    settings: int


@dataclass(frozen=True)
class Plan:
    """The runs to make next.

    Attributes:
        task: The task.
        target: What is to be predicted, by column.
        budget: FLOPs that may be spent.
        runs: The settings: those at the target, then the cheapest first; plan again when these are there.
        outlooks: What is known of each method, and what is expected after the runs.
        notes: What to know, in sentences.
        basis: How costs are known, in words.
        outcome: What is predicted.

    Example:
        >>> next_runs.target["finetune_examples"], len(next_runs.runs) > 0
        (20000, True)
    """

    task: str
    target: Mapping[str, float]
    budget: float
    runs: tuple[Planned, ...]
    outlooks: tuple[Outlook, ...]
    notes: tuple[str, ...]
    basis: str
    outcome: Outcome = TEST_LOSS

    @property
    def cost(self) -> float:
        """FLOPs of all planned runs."""
        return sum(run.cost * len(run.seeds) for run in self.runs)

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain numbers and text."""
        return {
            "schema": 1,
            "task": self.task,
            "target": dict(self.target),
            "budget": self.budget,
            "cost": self.cost,
            "runs": [
                {"method": run.method, **run.sizes, "model": run.model, "seeds": list(run.seeds)}
                | {"flops_each": run.cost, "near_target": run.check}
                for run in self.runs
            ],
            "outlook": [vars(outlook) for outlook in self.outlooks],
            "notes": list(self.notes),
            **({"score": self.outcome.name} if self.outcome.kind == "score" else {}),
        }

    def __repr__(self) -> str:
        """One line: how many runs for how much."""
        from finescale.planning.views import headline  # noqa: PLC0415 - rich only where it is shown

        return f"Plan({headline(self)})"

    def __str__(self) -> str:
        """The runs, what is expected of them, and the notes."""
        from finescale.planning.views import plan_text  # noqa: PLC0415 - rich only where it is shown

        return plan_text(self)

    def _repr_html_(self) -> str:
        from finescale.planning.views import plan_html  # noqa: PLC0415 - only in notebooks

        return plan_html(self)
