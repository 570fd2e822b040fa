"""Small models and a tokenizer made on the spot; nothing is downloaded."""

import collections
from collections.abc import Iterator

import hypothesis
import pytest

from finescale.ladder import Shape

# The same examples every time, so that what fails can be repeated; others: --hypothesis-profile=exploring.
# No deadline: speed is measured in benchmarks/ alone.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("exploring", deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: at the end no worker waits for the other's long file."""
    slow = collections.Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # stable: the order inside a file stays


@pytest.fixture(autouse=True)
def laws_as_they_were() -> Iterator[None]:
    """Laws that a test makes known are gone after it: each would be a member of all later forecasts."""
    from finescale.laws.formulas import LAWS  # with the zoo in it

    before = dict(LAWS)
    yield
    LAWS.clear()
    LAWS.update(before)


@pytest.fixture(scope="session")
def tiny_shape():
    return Shape(layers=2, heads=2, head_dim=8, vocabulary=600)


@pytest.fixture
def tiny_model(tiny_shape):
    from finescale.models.decoder import build, config

    return build(config(tiny_shape, context=128, eos=1, pad=0), seed=0)


@pytest.fixture
def one_thread():
    """Tiny models are fastest on one thread, above all where several tests share the cores."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
