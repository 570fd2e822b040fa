"""Tests of what a GPU does. Without one they are skipped, and say so.

`FINESCALE_GPU_TESTS=cpu` runs them on the CPU: a check of the tests themselves, written without a GPU.
"""

import os

import pytest
import torch

DEVICE = os.environ.get("FINESCALE_GPU_TESTS", "cuda")


def pytest_collection_modifyitems(items):
    if DEVICE == "cuda" and not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="torch sees no GPU here")
        for item in items:
            if "gpu" in item.path.parent.parts[-1:]:
                item.add_marker(skip)


@pytest.fixture
def device():
    return torch.device(DEVICE)


@pytest.fixture
def on_gpu():
    """Skips where the CPU stands in for the GPU."""
    if DEVICE == "cpu":
        pytest.skip("needs the GPU's own kernels or memory")
