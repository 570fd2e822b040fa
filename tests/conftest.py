"""Small models and a tokenizer made on the spot; nothing is downloaded."""

import pytest

from finescale.ladder import Shape


@pytest.fixture(scope="session")
def tiny_shape():
    return Shape(layers=2, heads=2, head_dim=8, vocabulary=600)


@pytest.fixture
def tiny_model(tiny_shape):
    from finescale.models.decoder import build, config

    return build(config(tiny_shape, context=128, eos=1, pad=0), seed=0)
