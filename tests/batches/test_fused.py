"""One kernel for a row of several examples gives what a call for each example gives.

The kernels themselves need a GPU (`tests/gpu`). Their place is taken by what their documentation says in
plain torch, so that what they are asked for is checked: lengths, window, groups of heads, scale.
"""

from itertools import pairwise

import pytest
import torch
from attention_rows import LENGTHS_OF, apart, parts

from finescale.batches.fused import agrees, attend_at_once, fits, flash_by_lengths, nested, textbook, varlen

CPU = torch.device("cpu")


def weighted(made):
    """A number that depends on every value in its own way."""
    return (made * torch.linspace(-1, 1, made.numel()).view_as(made)).sum()


def check(both, given):
    """The same values and gradients."""
    torch.testing.assert_close(*both, rtol=1e-5, atol=1e-6)
    gradients = [torch.autograd.grad(weighted(made), given) for made in both]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", LENGTHS_OF)
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("window", [None, 1, 4])
def test_the_formula_is_that_of_each_example_alone(lengths, scale, window):
    given = parts(lengths)
    check([textbook(*given, lengths, scale, window), apart(given, lengths, scale, window)], given)


@pytest.fixture
def causal_nested_tensors(monkeypatch):
    """torch's attention takes causal nested tensors on a GPU only: here it takes each one's rows in turn."""
    library = torch.nn.functional.scaled_dot_product_attention

    def compute(query, key, value, **options):
        rows = [part.transpose(1, 2) for part in (query, key, value)]
        ends = rows[0].offsets().tolist()
        made = [
            library(*(part.values()[a:b].transpose(0, 1)[None] for part in rows), **options)[0].transpose(
                0, 1
            )
            for a, b in pairwise(ends)
        ]
        return torch.nested.nested_tensor_from_jagged(torch.cat(made), rows[0].offsets()).transpose(1, 2)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", compute)


@pytest.mark.parametrize("lengths", LENGTHS_OF)
@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.usefixtures("causal_nested_tensors")
def test_nested_tensors_are_the_examples(lengths, scale):
    given = parts(lengths)
    check([nested(*given, lengths, scale), apart(given, lengths, scale)], given)


@pytest.fixture
def nothing_known():
    """No kernel has been tried yet, nor is one afterwards."""
    agrees.cache_clear()
    yield
    agrees.cache_clear()


@pytest.mark.usefixtures("causal_nested_tensors", "nothing_known")
def test_a_kernel_that_agrees_with_the_formula_is_used():
    assert agrees(nested, CPU, torch.float32, (6, 2, 16), False)


@pytest.mark.usefixtures("nothing_known")
def test_a_kernel_that_a_device_does_not_run_is_not_used():
    assert not agrees(nested, CPU, torch.float32, (6, 2, 16), False)


@pytest.mark.usefixtures("nothing_known")
def test_a_kernel_that_gives_other_numbers_is_not_used():
    def forgetful(query, key, value, lengths, scale, window):
        del lengths
        return textbook(query, key, value, (query.shape[2],), scale, window)

    assert agrees(textbook, CPU, torch.float32, (6, 2, 16), True)
    assert not agrees(forgetful, CPU, torch.float32, (6, 2, 16), True)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [None, 4])
def test_flash_attention_is_for_half_precision_and_nested_tensors_for_no_window(kind, window):
    half = kind == torch.bfloat16
    assert fits(varlen, kind, 64, window) is (half and flash_by_lengths())
    assert not fits(varlen, kind, 20, window)
    assert fits(nested, kind, 20, window) is (window is None)


@pytest.fixture
def documented_kernel():
    """torch's kernel on a CPU, from its documentation: rows, ends, window (left, right), groups of heads."""
    if not flash_by_lengths():
        pytest.skip("this torch has no attention over rows of variable length")
    import torch.nn.attention.varlen

    def compute(
        query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, scale=None, window_size=None,
        enable_gqa=False, seqused_k=None, block_table=None, num_splits=None,
    ):  # fmt: skip
        del max_k, is_causal, seqused_k, block_table, num_splits
        assert torch.equal(cu_seq_q, cu_seq_k)
        assert cu_seq_q.dtype == torch.int32
        assert max_q == int(cu_seq_q.diff().max())
        left, right = window_size
        made = torch.empty_like(query)
        for start, end in zip(cu_seq_q[:-1].tolist(), cu_seq_q[1:].tolist(), strict=True):
            q, k, v = (one[start:end].transpose(0, 1) for one in (query, key, value))
            at = torch.arange(end - start)
            back = at[:, None] - at[None]
            seen = (back >= -right) & ((back <= left) if left >= 0 else (back == back))
            made[start:end] = torch.nn.functional.scaled_dot_product_attention(
                q, k, v, attn_mask=seen, scale=scale, enable_gqa=enable_gqa
            ).transpose(0, 1)
        return made, query.new_zeros(query.shape[1], len(query)), torch.zeros(2, dtype=torch.uint64)

    torch.library.register_kernel("torch_attn::_varlen_attn", "cpu", compute)


@pytest.mark.parametrize("lengths", LENGTHS_OF)
@pytest.mark.parametrize("window", [None, 1, 4])
@pytest.mark.usefixtures("documented_kernel")
def test_the_flash_kernel_is_asked_for_the_same(lengths, window):
    given = [part.detach() for part in parts(lengths)]
    wanted = apart(given, lengths, 0.3, window)
    torch.testing.assert_close(varlen(*given, lengths, 0.3, window), wanted, rtol=1e-5, atol=1e-6)


def test_a_cpu_takes_example_by_example():
    assert attend_at_once(*parts((4, 3)), (4, 3), {}) is None
