"""A linear layer with a low-rank update, x W' + b + s (x A') B', as one step of the graph.

PEFT adds the products one by one, which makes two more tensors of the output's size in the forward pass and
one of the input's in the backward pass. Here they are added in place: the same numbers up to rounding, in
less memory and time.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora import Linear


class LowRankLinear(torch.autograd.Function):
    """The product and its gradients; the layer's own weight W and bias b are frozen."""

    @staticmethod
    def forward(  # noqa: PLR0917 - what autograd calls
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        """The output [..., out].

        Args:
            ctx: Autograd's.
            x: Input [..., in].
            weight: W [out, in].
            bias: b [out], or None.
            a: A [rank, in].
            b: B [out, rank].
            scale: s.
        """
        inner = torch.nn.functional.linear(x, a)
        out = torch.nn.functional.linear(x, weight, bias)
        out.view(-1, out.shape[-1]).addmm_(inner.view(-1, inner.shape[-1]), b.t(), alpha=scale)
        ctx.save_for_backward(x, weight, a, b, inner)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        """Gradients of x, A and B."""
        x, weight, a, b, inner = ctx.saved_tensors
        (gradient,) = gradients
        flat = gradient.reshape(-1, gradient.shape[-1])
        inner_gradient = (flat @ b).mul_(ctx.scale)
        for_x = None
        if ctx.needs_input_grad[0]:
            for_x = flat @ weight
            for_x = for_x.addmm_(inner_gradient, a).view(x.shape)
        for_a = inner_gradient.t() @ x.reshape(-1, x.shape[-1])
        for_b = (flat.t() @ inner.reshape(-1, inner.shape[-1])).mul_(ctx.scale)
        return for_x, None, None, for_a, for_b, None


def fuse(model: torch.nn.Module) -> None:
    """Lets LoRA layers of the plain kind compute in one step (in place).

    Args:
        model: A model with PEFT's LoRA layers, without dropout or variants. Layers over anything but float32
            `torch.nn.Linear` (quantised weights, GPT-2's own layers) stay as they are.
    """
    for module in model.modules():
        if isinstance(module, Linear):
            base = module.get_base_layer()
            if type(base) is torch.nn.Linear and base.weight.dtype == torch.float32:
                module.forward = MethodType(_forward, module)


def _forward(self: Linear, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """In one step, or PEFT's own where it does more: autocast, adapters switched off or merged."""
    if args or kwargs or self.disable_adapters or self.merged or torch.is_autocast_enabled(x.device.type):
        return Linear.forward(self, x, *args, **kwargs)
    (name,) = self.lora_A
    base, a, b = self.get_base_layer(), self.lora_A[name].weight, self.lora_B[name].weight
    return LowRankLinear.apply(x, base.weight, base.bias, a, b, self.scaling[name])  # pyright: ignore[reportReturnType]
