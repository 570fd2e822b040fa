import numpy as np
import pytest
import torch

from finescale.batches.attention import attend_by_example
from finescale.batches.batching import Encoded, collate
from finescale.models.decoder import build, config
from finescale.tuning.full import wrap_full


def examples(lengths):
    rng = np.random.default_rng(0)
    return [Encoded(rng.integers(70, 600, length).astype(np.int32), 2) for length in lengths]


def test_a_token_sees_only_its_own_example_and_not_the_future(tiny_model):
    tuned, given = wrap_full(tiny_model), examples([9, 14, 5])
    before = tuned.target_logits(collate(given, pad=0)).detach()
    changed = [given[0], Encoded(np.append(given[1].ids[:-1], 99).astype(np.int32), 2), given[2]]
    after = tuned.target_logits(collate(changed, pad=0)).detach()
    assert torch.equal(before, after)  # the last token of an example predicts nothing
    changed[1] = Encoded(np.append(99, given[1].ids[1:]).astype(np.int32), 2)
    after = tuned.target_logits(collate(changed, pad=0)).detach()
    same = (before == after).all(dim=1)
    assert same.tolist() == [True] * 7 + [False] * 12 + [True] * 3


def test_gradients_of_a_row_are_those_of_its_examples(tiny_model):
    tuned, given = wrap_full(tiny_model), examples([9, 14, 5])
    tuned.loss(collate(given, pad=0)).backward()
    packed = {name: p.grad.clone() for name, p in tuned.trainable.items()}
    tiny_model.zero_grad()
    for example in given:
        tuned.loss(collate([example], pad=0, packed=False)).backward()
    for name, parameter in tuned.trainable.items():
        torch.testing.assert_close(packed[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_without_lengths_the_library_s_attention_is_used(tiny_shape):
    ids = torch.arange(70, 90).reshape(2, 10)
    mask = torch.tensor([[1] * 10, [1] * 6 + [0] * 4])
    plain, prepared = (build(config(tiny_shape, 128, 1, 0), seed=0).eval() for _ in range(2))
    assert attend_by_example(prepared)
    for given in (None, mask):
        theirs = plain(input_ids=ids, attention_mask=given).logits
        assert torch.equal(theirs, prepared(input_ids=ids, attention_mask=given).logits)


def test_the_saved_configuration_knows_nothing_of_it(tiny_model, tmp_path):
    assert attend_by_example(tiny_model)
    tiny_model.save_pretrained(tmp_path)
    assert "finescale" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("implementation", ["eager"])
def test_a_model_with_attention_of_its_own_is_left_alone(tiny_model, implementation):
    tiny_model.set_attn_implementation(implementation)
    assert not attend_by_example(tiny_model)
    assert not wrap_full(tiny_model).packs
