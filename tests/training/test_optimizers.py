import math

import numpy as np
import pytest
import torch

from finescale.spec.run import OptimizerSpec
from finescale.training.optimizers import Adafactor, build_optimizer, cosine, factored_axes


def t5x_adafactor(parameter, gradients, rates, scaling, weight_decay):
    """T5X's published update rule, written out in float64 for one tensor."""
    p = parameter.astype(np.float64)
    rows = columns = second = 0.0
    rms = lambda x: np.sqrt(np.mean(np.square(x)))  # noqa: E731
    factored = p.ndim == 2 and min(p.shape) >= 128
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        g = gradient.astype(np.float64)
        decay = 1.0 - t**-0.8
        squared = g * g + 1e-30
        if factored:
            small, large = (0, 1) if p.shape[0] <= p.shape[1] else (1, 0)
            rows = decay * rows + (1 - decay) * squared.mean(large)
            columns = decay * columns + (1 - decay) * squared.mean(small)
            row_factor = (rows / rows.mean()) ** -0.5
            column_factor = columns**-0.5
            update = g * np.expand_dims(row_factor, large) * np.expand_dims(column_factor, small)
        else:
            second = decay * second + (1 - decay) * squared
            update = g * second**-0.5
        update = update / max(1.0, rms(update) / 1.0)
        scale = rate * (max(rms(p), 1e-3) if scaling else 1.0)
        p = p - scale * update - rate * weight_decay * p
    return p


@pytest.mark.parametrize("shape", [(100, 2048), (128, 160), (200, 130), (128, 128), (64,), (3, 5)])
@pytest.mark.parametrize("scaling", [True, False])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adafactor_follows_t5x_step_by_step(shape, scaling, weight_decay):
    rng = np.random.default_rng(0)
    start = rng.normal(size=shape).astype(np.float32)
    gradients = [(rng.normal(size=shape) * 10.0**-i).astype(np.float32) for i in range(5)]
    rates = [0.1, 0.05, 0.02, 0.01, 0.01]
    tensor = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = Adafactor([tensor], 0.1, parameter_scaling=scaling, weight_decay=weight_decay)
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        tensor.grad = torch.from_numpy(gradient)
        optimizer.step()
    expected = t5x_adafactor(start, gradients, rates, scaling, weight_decay)
    np.testing.assert_allclose(tensor.detach().numpy(), expected, rtol=2e-5, atol=2e-6)


def test_t5x_factors_only_where_both_dimensions_have_128_entries():
    assert factored_axes(torch.Size((100, 2048))) is None
    assert factored_axes(torch.Size((2048,))) is None
    assert factored_axes(torch.Size((128, 512))) == (0, 1)
    assert factored_axes(torch.Size((2048, 128))) == (1, 0)


def test_cosine_goes_from_the_peak_to_the_floor():
    rates = [cosine(step, 101, 0.01, 0.1) for step in range(101)]
    assert rates[0] == 0.01
    assert rates[50] == pytest.approx(0.0055)
    assert rates[-1] == pytest.approx(0.001)
    assert rates == sorted(rates, reverse=True)
    assert math.isfinite(cosine(0, 1, 0.01, 0.1))


def test_the_specification_names_the_optimizer():
    tensor = torch.nn.Parameter(torch.ones(2))
    scaled = build_optimizer(OptimizerSpec(name="adafactor", parameter_scaling=True), [tensor], 0.1)
    assert isinstance(scaled, Adafactor)
    assert scaled.param_groups[0]["parameter_scaling"] is True
    assert isinstance(build_optimizer(OptimizerSpec(name="adamw"), [tensor], 0.1), torch.optim.AdamW)
