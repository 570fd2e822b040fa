from __future__ import annotations

import pytest
import torch
from architectures import ARCHITECTURES, tiny
from peft.tuners.lora import Linear

from finescale.tuning.lora import wrap_lora
from finescale.tuning.low_rank import LowRankLinear

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("with_bias", [True, False])
def test_gradients_are_those_of_finite_differences(with_bias: bool) -> None:
    torch.manual_seed(0)
    x, a, b = (torch.randn(*shape, dtype=torch.float64) for shape in ((2, 5, 4), (3, 4), (6, 3)))
    weight = torch.randn(6, 4, dtype=torch.float64)
    bias = torch.randn(6, dtype=torch.float64) if with_bias else None
    for tensor in (x, a, b):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, a, b: LowRankLinear.apply(x, weight, bias, a, b, 0.7), (x, a, b)
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_losses_and_gradients_are_peft_s(architecture: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.arange(3, 43).reshape(2, 20)

    def step(fused: bool):
        if not fused:
            monkeypatch.setattr("finescale.tuning.lora.fuse", lambda model: None)
        tuned = wrap_lora(tiny(architecture), 3, seed=0, alpha=5.0)
        with torch.no_grad():
            for index, tensor in enumerate(tuned.trainable.values()):  # B starts at zero: move it
                tensor.add_(
                    torch.linspace(-0.1, 0.1, tensor.numel()).reshape(tensor.shape) * (index + 1) / 20
                )
        loss = tuned.model(input_ids=ids, labels=ids).loss
        loss.backward()
        return float(loss), [tensor.grad for tensor in tuned.trainable.values()]

    (loss, gradients), (theirs, wanted) = step(True), step(False)
    assert loss == pytest.approx(theirs, abs=1e-6)
    for mine, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-4)


def test_layers_that_do_more_stay_peft_s() -> None:
    tuned = wrap_lora(tiny("llama"), 2, seed=0)
    layer = next(module for module in tuned.model.modules() if isinstance(module, Linear))
    with torch.no_grad():
        layer.lora_B["default"].weight.fill_(0.1)
    x = torch.randn(3, layer.in_features)
    plain, tuned_output = layer.get_base_layer()(x), layer(x)
    assert not torch.allclose(plain, tuned_output)
    layer.enable_adapters(False)
    assert torch.equal(layer(x), plain)
    layer.enable_adapters(True)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    layer.merge()
    torch.testing.assert_close(layer(x), tuned_output)


def test_less_is_kept_for_the_backward_pass_than_in_full_tuning() -> None:
    from finescale.tuning.full import wrap_full

    ids = torch.arange(3, 203).reshape(1, 200)

    def kept(tuned) -> int:
        sizes: dict[int, int] = {}
        weights = {tensor.data_ptr() for tensor in tuned.model.parameters()}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.data_ptr() not in weights:
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                held.append(tensor)
            return tensor

        held: list[torch.Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            tuned.model(input_ids=ids, labels=ids, use_cache=False)
        return sum(sizes.values())

    assert kept(wrap_lora(tiny("llama"), 2, seed=0)) < kept(wrap_full(tiny("llama")))
