import pytest
import torch
from attention_rows import LENGTHS_OF, apart, parts

from finescale.batches.fused import attend_at_once, flash_by_lengths, nested, varlen

HALF_ROUNDING = 3e-2
"""bfloat16 has 8 bits: values of order 1 differ by 4e-3 an operation, gradients are sums of several."""


def on(device, given, kind=torch.float32):
    return [part.detach().to(device, kind).requires_grad_() for part in given]


def close(made, wanted, given, tolerance):
    torch.testing.assert_close(made, wanted, rtol=tolerance, atol=tolerance)
    weights = torch.randn_like(wanted)
    gradients = [
        torch.autograd.grad((one * weights).sum(), given, retain_graph=True) for one in (made, wanted)
    ]
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("lengths", LENGTHS_OF)
@pytest.mark.usefixtures("on_gpu")
def test_nested_tensors_agree_in_float32(device, lengths):
    given = on(device, parts(lengths))
    close(nested(*given, lengths, 0.3), apart(given, lengths, 0.3), given, 1e-4)


@pytest.mark.parametrize("lengths", LENGTHS_OF)
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.usefixtures("on_gpu")
def test_the_flash_kernel_agrees_in_bfloat16(device, lengths, window):
    if not flash_by_lengths():
        pytest.skip("this torch has no attention over rows of variable length")
    given = on(device, parts(lengths), torch.bfloat16)
    made = varlen(*given, lengths, 0.3, window)
    close(made, apart(given, lengths, 0.3, window), given, HALF_ROUNDING)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.usefixtures("on_gpu")
def test_a_gpu_takes_the_row_at_once(device, kind):
    assert attend_at_once(*on(device, parts((4, 3)), kind), (4, 3), {}) is not None


@pytest.mark.usefixtures("on_gpu")
def test_autocast_decides_the_precision(device):
    with torch.autocast("cuda", torch.bfloat16):
        made = attend_at_once(*on(device, parts((4, 3))), (4, 3), {})
    assert made is not None
    assert made.dtype == torch.bfloat16
