"""One kernel for a row of several examples gives what a call for each example gives.

The kernels themselves need a GPU (`tests/gpu`). Nested tensors compute on a CPU too; the flash kernel's place
is taken by its documentation in plain torch, so that what it is asked for is checked: lengths, window, groups
of heads, scale.
"""

import pytest
import torch
from attention_rows import LENGTHS_OF, apart, parts

from finescale.batches.fused import attend_at_once, flash_by_lengths, nested, varlen


@pytest.mark.parametrize("lengths", LENGTHS_OF)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_nested_tensors_give_the_same_values_and_gradients(lengths, scale):
    given = parts(lengths)
    wanted = apart(given, lengths, scale)
    got = nested(*given, lengths, scale)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)
    weights = torch.randn_like(wanted)
    gradients = [torch.autograd.grad((made * weights).sum(), given) for made in (got, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


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
