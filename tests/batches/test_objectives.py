import numpy as np
import pytest

from finescale.batches.objectives import (
    ReservedIds,
    corrupt,
    corrupted_length,
    mixture_rows,
    raw_tokens,
    span_lengths,
)
from finescale.spec.run import Objective

RESERVED = ReservedIds(
    modes={"causal": 2, "prefix": 3, "spans": 4, "extreme": 5}, sentinels=tuple(range(6, 70))
)


@pytest.mark.parametrize("setting", [(0.15, 3.0), (0.5, 32.0)])
def test_span_corruption_can_be_undone(setting):
    rng = np.random.default_rng(0)
    text = rng.integers(100, 2000, 700)
    row, first = corrupt(text, setting, 4, RESERVED.sentinels, rng)
    assert row[0] == 4
    visible, predicted = row[1:first], row[first:]
    spans = {}
    for token in predicted:
        if token < 70:
            current = spans.setdefault(int(token), [])
        else:
            current.append(int(token))
    rebuilt = [t for token in visible for t in (spans[int(token)] if token < 70 else [int(token)])]
    assert rebuilt == text.tolist()
    hidden = sum(len(span) for span in spans.values())
    assert hidden == pytest.approx(len(text) * setting[0], abs=1)
    assert hidden / len(spans) == pytest.approx(setting[1], rel=0.15)


def test_corrupted_texts_fill_a_row_and_need_no_more_than_64_sentinels():
    for setting in ((0.15, 3.0), (0.5, 32.0)):
        raw = raw_tokens(1024, *setting)
        _, spans = corrupted_length(raw, *setting)
        assert spans <= 64
        assert 1020 <= 1 + raw + 2 * spans <= 1024


def test_span_lengths_are_positive_and_sum_to_the_total():
    lengths = span_lengths(50, 12, np.random.default_rng(1))
    assert lengths.sum() == 50
    assert len(lengths) == 12
    assert lengths.min() >= 1


def test_the_mixture_has_the_stated_shares():
    stream = np.random.default_rng(3).integers(100, 2000, 2_000_000).astype(np.int32)
    rows = list(mixture_rows(stream, 256, Objective(), RESERVED, seed=0))
    modes = np.array([row[0] for row, _ in rows])
    shares = {name: float(np.mean(modes == token)) for name, token in RESERVED.modes.items()}
    assert shares == pytest.approx({"causal": 0.6, "prefix": 0.2, "spans": 0.1, "extreme": 0.1}, abs=0.02)
    for row, loss in rows[:200]:
        assert not loss[0]
        if row[0] == 2:
            assert loss[1:].all()
        if row[0] == 3:
            first = int(np.argmax(loss))
            assert loss[first:].all()


def test_every_row_continues_where_the_one_before_ended():
    stream = np.arange(100, 100_100, dtype=np.int32)
    rows = list(mixture_rows(stream, 128, Objective(causal=1, prefix=0, spans=0), RESERVED, seed=0))
    assert np.concatenate([row[1:] for row, _ in rows]).tolist() == stream[: 127 * len(rows)].tolist()
    assert len(rows) == 100_000 // 127


def test_the_same_seed_gives_the_same_rows():
    stream = np.random.default_rng(3).integers(100, 2000, 20_000).astype(np.int32)
    once, again = (list(mixture_rows(stream, 128, Objective(), RESERVED, seed=5)) for _ in range(2))
    assert all((a == b).all() and (m == n).all() for (a, m), (b, n) in zip(once, again, strict=True))
