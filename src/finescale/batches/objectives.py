"""The training objective of a ladder: the UL2-style pretraining mixture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from finescale.spec.run import Objective


@dataclass(frozen=True)
class ReservedIds:
    """Ids of the reserved tokens that denoising needs.

    Attributes:
        modes: Mode name (`causal`, `prefix`, `spans`, `extreme`) to id.
        sentinels: Ids of the sentinels, in order.
    """

    modes: Mapping[str, int]
    sentinels: tuple[int, ...]


def span_lengths(total: int, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Splits `total` into `parts` positive lengths [parts], every split equally likely (as T5)."""
    cuts = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(np.concatenate(([0], cuts, [total])))


def corrupted_length(raw: int, rate: float, mean_span: float) -> tuple[int, int]:
    """Noise tokens and spans of a text of `raw` tokens, at least one of each."""
    noise = min(max(round(raw * rate), 1), raw - 1)
    spans = min(max(round(noise / mean_span), 1), raw - noise)
    return noise, spans


def raw_tokens(row: int, rate: float, mean_span: float) -> int:
    """The longest text whose corrupted form (mode token, text, sentinels) fits `row` tokens."""
    raw = row - 3
    while True:
        _, spans = corrupted_length(raw, rate, mean_span)
        if 1 + raw + 2 * spans <= row:
            return raw
        raw -= 1


def corrupt(
    text: np.ndarray,
    setting: tuple[float, float],
    mode: int,
    sentinels: tuple[int, ...],
    rng: np.random.Generator,
) -> tuple[np.ndarray, int]:
    """Span corruption: spans of the text are replaced by sentinels and predicted after it.

    Args:
        text: Token ids [raw].
        setting: Share of the tokens that is hidden, and the mean length of a hidden span in tokens.
        mode: Id of the mode token that starts the sequence.
        sentinels: Ids of the sentinels; they bound the number of spans.
        rng: Draws the spans.

    Returns:
        Token ids [1 + raw + 2 x spans] and the index of the first predicted token (a sentinel).
    """
    noise, spans = corrupted_length(len(text), *setting)
    spans = min(spans, len(sentinels))
    hidden = span_lengths(noise, spans, rng)
    kept = span_lengths(len(text) - noise, spans, rng)
    visible: list[np.ndarray] = [np.array([mode])]
    predicted: list[np.ndarray] = []
    start = 0
    for index in range(spans):
        mark = np.array([sentinels[index]])
        visible += [text[start : start + kept[index]], mark]
        start += kept[index]
        predicted += [mark, text[start : start + hidden[index]]]
        start += hidden[index]
    body = np.concatenate(visible)
    return np.concatenate([body, *predicted]), len(body)


def mixture_rows(
    stream: np.ndarray, context: int, objective: Objective, reserved: ReservedIds, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts one epoch of text into rows of the pretraining mixture; every size of a ladder sees the same rows.

    Args:
        stream: Token ids of the whole text [tokens], documents ended by end-of-sequence tokens.
        context: Tokens of a row.
        objective: Shares of causal LM, prefix LM and the span-corruption settings.
        reserved: Ids of mode tokens and sentinels.
        seed: Draws objectives, prefixes and spans.

    Yields:
        Token ids [context] and where the loss is [context], bool. The rest that fills no row is left out.
    """
    rng = np.random.default_rng([seed, 11])
    kinds = ["causal", "prefix", *(f"spans{i}" for i in range(len(objective.span_settings)))]
    each = objective.spans / max(len(objective.span_settings), 1)
    shares = np.array([objective.causal, objective.prefix, *([each] * len(objective.span_settings))])
    start = 0
    while True:
        kind = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
        if kind in ("causal", "prefix"):
            raw = context - 1
            text = stream[start : start + raw]
            if len(text) < raw:
                return
            first = 1 if kind == "causal" else 1 + int(rng.integers(1, raw))
            row = np.concatenate([[reserved.modes[kind]], text])
        else:
            rate, mean_span = objective.span_settings[int(kind[5:])]
            raw = raw_tokens(context, rate, mean_span)
            text = stream[start : start + raw]
            if len(text) < raw:
                return
            mode = reserved.modes["extreme" if rate >= 0.4 or mean_span >= 12 else "spans"]
            row, first = corrupt(text, (rate, mean_span), mode, reserved.sentinels, rng)
        start += raw
        loss = np.zeros(context, dtype=bool)
        loss[first : len(row)] = True
        padded = np.zeros(context, dtype=np.int32)
        padded[: len(row)] = row
        yield padded, loss
