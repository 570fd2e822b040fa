"""A base model under a finetuning method: what is trained, and logits at the positions that need them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from finescale.batches.attention import attend_by_example
from finescale.batches.batching import Batch


@dataclass(frozen=True)
class Tuned:
    """A model wrapped by a method.

    Attributes:
        model: The model that is called; its frozen parameters need no gradient.
        trainable: The trained tensors by name.
        save: Writes what was trained to a folder (PEFT's format for adapters, safetensors for full tuning).
        soft_prompt: The soft prompt [length, width], put before every example; None without one.
        packs: Whether a row may hold several examples: not where a method adds virtual tokens to each row,
            nor where the architecture computes its attention in a way of its own.
    """

    model: PreTrainedModel
    trainable: dict[str, torch.nn.Parameter]
    save: Callable[[Path], None]
    soft_prompt: torch.nn.Parameter | None = None
    packs: bool = True

    def __post_init__(self) -> None:
        """Prepares the model for rows of several examples, if it can."""
        object.__setattr__(self, "packs", self.packs and attend_by_example(self.model))

    @property
    def prompt_length(self) -> int:
        """Soft-prompt positions before each example."""
        return 0 if self.soft_prompt is None else self.soft_prompt.shape[0]

    @property
    def trainable_params(self) -> int:
        """Number of trained parameters."""
        return sum(tensor.numel() for tensor in self.trainable.values())

    def target_logits(self, batch: Batch) -> torch.Tensor:
        """Logits [targets, vocabulary] at the batch's predicting positions only.

        The output head sees just those positions: a hook picks them before it, so any architecture works.
        """
        head = self.model.get_output_embeddings()
        assert head is not None

        def pick(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            hidden = inputs[0][:, -batch.input_ids.shape[1] :]  # without a method's virtual tokens
            return (hidden.reshape(-1, hidden.shape[-1])[batch.predicting], *inputs[1:])

        hook = head.register_forward_pre_hook(pick)
        try:
            inputs: dict[str, torch.Tensor | None] = {
                "attention_mask": batch.mask,
                "position_ids": batch.positions,
            }
            if self.soft_prompt is None:
                return self.model(input_ids=batch.input_ids, use_cache=False, **inputs).logits
            return self.model(inputs_embeds=self._embed(batch), use_cache=False, **inputs).logits
        finally:
            hook.remove()

    def loss(self, batch: Batch) -> torch.Tensor:
        """Summed cross-entropy over the batch's target tokens, in nats (scalar)."""
        batch = batch.to(self.model.device)
        return torch.nn.functional.cross_entropy(self.target_logits(batch), batch.targets, reduction="sum")

    def _embed(self, batch: Batch) -> torch.Tensor:
        assert self.soft_prompt is not None
        assert batch.soft_prompt is not None
        embedded = self.model.get_input_embeddings()(batch.input_ids)
        rows, width, channels = embedded.shape
        copies = len(batch.soft_prompt) // self.prompt_length
        flat = embedded.reshape(-1, channels).index_copy(
            0, batch.soft_prompt, self.soft_prompt.repeat(copies, 1)
        )
        return flat.reshape(rows, width, channels)

    def state(self) -> dict[str, torch.Tensor]:
        """A copy of the trained tensors."""
        return {name: tensor.detach().clone() for name, tensor in self.trainable.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Puts back trained tensors that `state` returned."""
        for name, tensor in self.trainable.items():
            tensor.copy_(state[name])
