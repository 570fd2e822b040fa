"""Sizes by name, as people write them on a command line: ``model_params=13B,finetune_examples=50,000``."""

from __future__ import annotations

import re

from finescale.errors import UsageError
from finescale.records.columns import WHOLE
from finescale.records.values import number

_NEXT = re.compile(r"[,;]\s*(?=[A-Za-z_]\w*\s*=)")


def named_sizes(text: str, where: str, form: str) -> dict[str, float]:
    """Reads ``NAME=NUMBER,NAME=NUMBER``; a comma before a name parts, one inside a number does not.

    Args:
        text: What was written.
        where: The option, for errors.
        form: What would be right, for errors.

    Raises:
        UsageError: Not of this form, a name twice, or no number.

    Example:
        >>> named_sizes("model_params=13B, finetune_examples=50,000", "--target", "...")
        {'model_params': 13000000000.0, 'finetune_examples': 50000.0}
    """
    found: dict[str, float] = {}
    for part in _NEXT.split(text.strip().rstrip(",;")):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals and value):
            raise UsageError(f"{where} {text}", wanted=f"{where} {form}", got=part.strip() or "nothing")
        if name in found:
            raise UsageError(f"{where}: {name} twice", wanted=f"{where} {form}", got=text)
        if name == "model":
            remedy = "name its size: model_params=7e9"
            raise UsageError(f"{where}: a model is asked for by its size", got=part, remedy=remedy)
        found[name] = number(value, f"{where} {name}", whole=name in WHOLE)
    return found
