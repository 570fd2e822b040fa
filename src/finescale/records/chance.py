"""The score of a model that has learnt nothing: as the stated bounds say, or as it is known of a task."""

from __future__ import annotations

import math
import re

from finescale.records.outcomes import Outcome

_TASKS = (
    (r"(global_?|c)?mmlu(_(?!pro).*)?|hellaswag|arc(_?(e|c|easy|challenge))?|openbookqa|obqa|race", 0.25),
    (r"piqa|winogrande|copa|xcopa|xstory_?cloze|story_?cloze|xwinograd|blimp(_.*)?|imdb|qnli|sst_?2", 0.5),
    (r"commonsense_?qa|csqa", 0.2),
    (r"social_?i_?qa|siqa|(x|m|indicx|a)nli(_.*)?", 1 / 3),
    (r"ag_?news", 0.25),
)  # fmt: skip
"""Tasks whose classes (or choices) are equally frequent, and the share of each."""
_ACCURACY = re.compile(r"(balanced |top 1 )?(acc|accuracy)( norm)?|error( rate)?|err")


def chance_level(outcome: Outcome, task: str) -> float:
    """The score of a model that has learnt nothing, on the outcome's own scale; NaN where it is not known.

    Args:
        outcome: The score.
        task: The task's name.

    Example:
        >>> from finescale.records.outcomes import named_score
        >>> chance_level(named_score("accuracy", [61.0, 70.2]), "PIQA")
        50.0
    """
    if math.isfinite(outcome.chance):
        return outcome.chance
    if not _ACCURACY.fullmatch(outcome.name) or outcome.width not in (1.0, 100.0):
        return math.nan
    name = re.sub(r"[^a-z0-9]+", "_", task.rsplit("/", 1)[-1].lower()).strip("_")
    for pattern, share in _TASKS:
        if re.fullmatch(pattern, name):
            return outcome.low + outcome.width * ((1 - share) if outcome.lower else share)
    return math.nan
