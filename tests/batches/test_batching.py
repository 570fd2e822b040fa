import numpy as np
import pytest

from finescale.batches.batching import Encoded, collate, epoch_order, subset, take_share, whole_rows


def examples(lengths, start=100):
    return [
        Encoded(np.arange(start + 50 * i, start + 50 * i + length, dtype=np.int32), max(1, length // 2))
        for i, length in enumerate(lengths)
    ]


def test_packed_examples_follow_one_another_without_padding():
    given = examples([12, 30, 7])
    batch = collate(given, pad=0)
    assert batch.input_ids.tolist() == [np.concatenate([e.ids for e in given]).tolist()]
    assert batch.mask.shape == (1, 1, 1, 3)
    assert batch.mask.flatten().tolist() == [12, 30, 7]
    assert batch.positions[0, [0, 11, 12, 41, 42]].tolist() == [0, 11, 0, 29, 0]


def test_padded_examples_have_a_row_each_and_a_mask():
    batch = collate(examples([12, 30, 7]), pad=0, packed=False)
    assert batch.mask.shape == (3, 30)
    assert batch.mask.sum(1).tolist() == [12, 30, 7]
    assert (batch.input_ids[batch.mask == 0] == 0).all()


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


@pytest.mark.parametrize("prompt_length", [0, 5])
@pytest.mark.parametrize("packed", [True, False])
def test_a_share_of_a_batch_is_the_batch_of_every_second_example(prompt_length, packed):
    given = examples([12, 30, 7, 25, 30])
    whole = collate(given, 0, prompt_length, packed)
    for part in (0, 1):
        share, wanted = take_share(whole, part, 2), collate(given[part::2], 0, prompt_length, packed)
        assert share is not None
        for name, value in vars(wanted).items():
            got = getattr(share, name)
            assert (got is None) == (value is None)
            assert value is None or np.array_equal(got, value)


def test_a_share_of_whole_rows_keeps_their_losses_and_nothing_is_left_for_a_third_of_two():
    rows, loss = np.arange(20).reshape(2, 10), np.arange(20).reshape(2, 10) % 3 == 0
    batch = whole_rows(rows, loss)
    share, wanted = take_share(batch, 1, 2), whole_rows(rows[1:], loss[1:])
    assert share is not None
    assert share.mask is None
    for name in ("input_ids", "positions", "predicting", "targets"):
        assert np.array_equal(getattr(share, name), getattr(wanted, name))
    assert take_share(batch, 2, 3) is None


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
