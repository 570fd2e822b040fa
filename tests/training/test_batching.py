import numpy as np
import pytest

from finescale.training.batching import Encoded, collate, epoch_order, pack, subset, whole_rows


def examples(lengths, start=100):
    return [
        Encoded(np.arange(start + 50 * i, start + 50 * i + length, dtype=np.int32), max(1, length // 2))
        for i, length in enumerate(lengths)
    ]


def test_packing_keeps_every_example_and_the_row_length():
    lengths = [30, 70, 50, 20, 90, 10]
    rows = pack(lengths, 100)
    assert sorted(i for row in rows for i in row) == list(range(6))
    assert all(sum(lengths[i] for i in row) <= 100 for row in rows)
    assert len(rows) == 3


def test_a_longer_example_makes_longer_rows():
    assert pack([300, 10], 100) == [[0], [1]]
    assert collate(examples([300, 10]), pad=0).input_ids.shape[1] >= 300


@pytest.mark.parametrize("prompt_length", [0, 5])
def test_targets_are_predicted_from_the_position_before_them(prompt_length):
    given = examples([12, 30, 7, 25])
    batch = collate(given, pad=0, prompt_length=prompt_length)
    flat = batch.input_ids.ravel().numpy()
    assert sorted(batch.targets.tolist()) == sorted(
        t for e in given for t in e.ids[e.target_start :].tolist()
    )
    assert (flat[batch.predicting.numpy() + 1] == batch.targets.numpy()).all()
    assert batch.tokens == sum(len(e.ids) + prompt_length for e in given)


def test_a_token_sees_only_its_own_example_and_not_the_future():
    batch = collate(examples([12, 30, 7, 25]), pad=0)
    visible = batch.mask[:, 0].numpy() == 0
    ids, positions = batch.input_ids.numpy(), batch.positions.numpy()
    for row in range(len(ids)):
        for query in np.flatnonzero(ids[row]):
            seen = ids[row][visible[row, query]]
            assert len(seen) == positions[row, query] + 1
            assert (seen // 50 == ids[row, query] // 50).all()


def test_soft_prompt_positions_come_before_every_example():
    batch = collate(examples([12, 30, 7]), pad=0, prompt_length=4)
    assert len(batch.soft_prompt) == 3 * 4
    positions = batch.positions.ravel().numpy()[batch.soft_prompt.numpy()]
    assert sorted(positions.tolist()) == sorted([0, 1, 2, 3] * 3)


def test_whole_rows_predict_the_next_token_where_the_loss_is():
    rows = np.arange(20).reshape(2, 10)
    loss = np.zeros((2, 10), dtype=bool)
    loss[0, 3:] = True
    loss[1, 0] = loss[1, 9] = True
    batch = whole_rows(rows, loss)
    assert batch.targets.tolist() == [3, 4, 5, 6, 7, 8, 9, 19]
    assert batch.predicting.tolist() == [2, 3, 4, 5, 6, 7, 8, 18]


def test_subsets_of_one_seed_are_nested_and_of_two_seeds_differ():
    large, small = subset(5000, 2048, seed=3), subset(5000, 128, seed=3)
    assert (large[:128] == small).all()
    assert len(set(large.tolist())) == 2048
    assert set(subset(5000, 128, seed=4).tolist()) != set(small.tolist())


def test_every_epoch_sees_every_example_in_another_order():
    first, second = epoch_order(100, 0, 0), epoch_order(100, 1, 0)
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first != second).any()
    assert (first == epoch_order(100, 0, 0)).all()
