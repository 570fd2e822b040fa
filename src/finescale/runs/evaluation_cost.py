"""What a run's evaluation will cost at most: generated texts, FLOPs, and a first guess at the time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from finescale.spec.run import RunSpec
from finescale.tasks.catalog import open_task
from finescale.tasks.published import known_sets, on_hub

FLOPS_PER_SECOND = 5e10
SECONDS_PER_PASS = 0.006
"""Measured with the nano ladder on one core."""
BATCH_PROMPTS = 32
"""Prompts that are decoded at a time (`evaluation.decoding`, which loads torch)."""
ROW_TOKENS = 1_024


@dataclass(frozen=True)
class EvaluationCost:
    """What one run's evaluation costs beside its loss on the test sets.

    Attributes:
        texts: Generated texts.
        flops: FLOPs, if every text is as long as it may be.
        passes: Forward passes that give one token of a batch of texts each.
    """

    texts: int = 0
    flops: float = 0.0
    passes: int = 0

    @property
    def seconds(self) -> float:
        """A first guess at the seconds on one core."""
        return self.flops / FLOPS_PER_SECOND + self.passes * SECONDS_PER_PASS


def evaluation_cost(run: RunSpec, sizes: tuple[int, int], tokens: int, target_tokens: int) -> EvaluationCost:
    """The cost of everything that a run's `evaluation` asks for.

    A token costs 2 FLOPs for each non-embedding parameter, and where one is predicted 2 for each of the
    output head's.

    Args:
        run: The run.
        sizes: Non-embedding and output head parameters.
        tokens: Tokens of an example.
        target_tokens: Those of its target.
    """
    settings = run.evaluation
    if not settings.science():
        return EvaluationCost()
    body, head = sizes
    tests, zero_shot = _sets(run)
    soft = run.method.pet_size or 0 if run.method.name == "prompt" and run.finetune_examples else 0
    jobs = [(count, shots) for count in tests for shots in settings.shots]
    flops = 0.0
    if settings.zero_shot:
        jobs += [(count, 0) for count in zero_shot]
        flops += 2.0 * sum(zero_shot) * (body * (soft + tokens) + head * target_tokens)
    texts = passes = 0
    for count, shots in jobs if settings.metrics else ():
        texts += count
        passes += math.ceil(count / BATCH_PROMPTS) * settings.max_new_tokens
        read = soft + shots * tokens + tokens - target_tokens
        flops += 2.0 * count * (body * (read + settings.max_new_tokens) + head * settings.max_new_tokens)
    if settings.forgetting is not None:  # before and after
        flops += 2 * 2.0 * settings.forgetting.rows * ROW_TOKENS * (body + head)
    return EvaluationCost(texts, flops, passes)


def _sets(run: RunSpec) -> tuple[list[int], list[int]]:
    """How many examples of each test set, and of each zero-shot set, are generated."""
    task, most = run.data or run.task, run.evaluation.examples
    if on_hub(task):
        tests, zero_shot = known_sets(task)
        return [most] * tests, [most] * zero_shot
    opened = open_task(task, run.version)  # pyright: ignore[reportArgumentType] - frozen, so it has a hash
    return (
        [min(most, len(examples)) for examples in opened.test.values()],
        [min(most, len(examples)) for examples in opened.zero_shot.values()],
    )
