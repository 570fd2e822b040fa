import numpy as np
import pytest
import torch

from finescale.runs.memory import forget_peak, out_of_memory, peak_memory


def test_memory_that_ran_out_is_told_from_other_errors():
    for allocate in (
        lambda: torch.empty(1 << 55, dtype=torch.int8),
        lambda: np.empty(1 << 55, dtype=np.int8),
    ):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert out_of_memory(caught.value)
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not out_of_memory(RuntimeError("shapes do not match"))


def test_the_peak_is_at_least_what_was_allocated():
    forget_peak()
    before = peak_memory()
    block = np.ones(30_000_000)
    after = peak_memory()
    assert before is not None
    assert after is not None
    assert after > 0.9 * block.nbytes
    assert after >= before
