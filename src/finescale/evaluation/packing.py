"""Whether examples may share a row: the model must compute of each what it computes of it alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from finescale.batches.batching import Encoded, collate
from finescale.tuning.tuned import Tuned

ROUNDING, ROUNDING_QUANTIZED = 1e-4, 1e-2
"""Nats a token by which a batch may differ packed and padded."""
LEAK = 1e-6
"""Share of the largest logit by which an example's logits may change with its neighbours: rounding only."""
LENGTHS = (9, 24, 13, 17)
"""Tokens of the examples that are made up for the comparison."""


@torch.no_grad()
def packing_agrees(tuned: Tuned, examples: Sequence[Encoded], pad: int) -> bool:
    """Whether a model gives the same packed and padded, and no example of a row sees another.

    A batch of the run may hold one example, of which a row tells nothing: several are made up besides. Models
    whose attention knows nothing of a row's examples differ by 0.05 nats and more. Float32 rounds to 1e-6;
    quantised weights are multiplied in bfloat16, which rounds to 1e-3 and hides what is smaller.

    Args:
        tuned: The model under its method.
        examples: Examples of the run, as many as fit into one forward pass.
        pad: Token id of padding.
    """
    if not tuned.packs:
        return False
    tuned.model.eval()
    quantized = bool(getattr(tuned.model, "is_quantized", False))
    tolerance = ROUNDING_QUANTIZED if quantized else ROUNDING
    try:
        alike = _loss_differs(tuned, _made_up(tuned, 0), pad) <= tolerance
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # an architecture that reads the mask itself: lengths have another shape
        return False
    return (
        alike
        and _loss_differs(tuned, examples, pad) <= tolerance
        and (quantized or _seen_by_neighbours(tuned, pad) <= LEAK)
    )


def _loss_differs(tuned: Tuned, examples: Sequence[Encoded], pad: int) -> float:
    """Nats a token between the examples in one row and each in its own."""
    packed = collate(examples, pad, tuned.prompt_length, packed=True)
    padded = collate(examples, pad, tuned.prompt_length, packed=False)
    return abs(float(tuned.loss(packed)) - float(tuned.loss(padded))) / len(packed.targets)


def _seen_by_neighbours(tuned: Tuned, pad: int) -> float:
    """By how much the logits of every second example change with the others, of the largest logit."""
    first, other = _made_up(tuned, 0), _made_up(tuned, 1)
    changed = [example if place % 2 else other[place] for place, example in enumerate(first)]
    kept = np.repeat(np.arange(len(first)) % 2 == 1, [example.target_tokens for example in first])
    rows = (collate(row, pad, tuned.prompt_length, packed=True) for row in (first, changed))
    before, after = (tuned.target_logits(row.to(tuned.model.device)).cpu()[kept] for row in rows)
    return float((after - before).abs().max() / before.abs().max())


def _made_up(tuned: Tuned, seed: int) -> list[Encoded]:
    """Examples of random tokens, of the same lengths for every seed."""
    config = tuned.model.config.get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    room = context - tuned.prompt_length if isinstance(context, int) and context > 0 else max(LENGTHS)
    draw = np.random.default_rng([seed, 11])
    return [
        Encoded(draw.integers(0, config.vocab_size, max(2, min(length, room)), dtype=np.int32), 1)
        for length in LENGTHS
    ]
