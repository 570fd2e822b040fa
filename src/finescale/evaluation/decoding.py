"""Greedy decoding in batches, for every method that trains weights or a soft prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from peft import PeftModel
from transformers import DynamicCache

from finescale.errors import UsageError
from finescale.tuning.tuned import Tuned

BATCH_PROMPTS = 32


@torch.no_grad()
def decode(
    tuned: Tuned,
    prompts: Sequence[Sequence[int] | np.ndarray],
    *,
    pad: int,
    eos: int,
    limit: int,
    batch_prompts: int = BATCH_PROMPTS,
) -> list[list[int]]:
    """Continues prompts with the most likely token, one at a time; the same tokens as `generate` gives.

    A sequence that is finished leaves its batch at once, so that a long one does not hold up the others.

    Args:
        tuned: The tuned model; a soft prompt goes before every prompt.
        prompts: Token ids of each prompt.
        pad: Token id of padding.
        eos: Token id that ends a continuation; it is not part of it.
        limit: Most new tokens of a continuation; fewer where the model's context is full before.
        batch_prompts: Prompts at a time, of similar lengths.

    Returns:
        The new token ids of each prompt, in the order given.

    Raises:
        UsageError: A method that adds virtual tokens by itself (prefix tuning), or an empty prompt.
    """
    if isinstance(tuned.model, PeftModel) and tuned.model.active_peft_config.is_prompt_learning:
        kind = type(tuned.model.active_peft_config).__name__
        raise UsageError("this method cannot decode", wanted="weights or the built-in soft prompt", got=kind)
    if any(len(prompt) == 0 for prompt in prompts):
        raise UsageError("a prompt without tokens cannot be continued", wanted="at least one token")
    tuned.model.eval()
    found: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    for start in range(0, len(order), batch_prompts):
        rows = order[start : start + batch_prompts]
        for row, tokens in zip(
            rows, _continue(tuned, [prompts[i] for i in rows], pad, eos, limit), strict=True
        ):
            found[row] = tokens
    return found


def _continue(
    tuned: Tuned, prompts: Sequence[Sequence[int] | np.ndarray], pad: int, eos: int, limit: int
) -> list[list[int]]:
    """One batch, padded on the left: new tokens end all rows at the same place."""
    model, soft = tuned.model, tuned.prompt_length
    width = soft + max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), width), pad)
    real = torch.zeros(len(prompts), width, dtype=torch.int64)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.as_tensor(np.asarray(prompt, dtype=np.int64))
        real[row, width - len(prompt) - soft :] = 1
    ids, real = ids.to(model.device), real.to(model.device)
    inputs = {"input_ids": ids}
    if tuned.soft_prompt is not None:
        embedded = model.get_input_embeddings()(ids)
        for row, prompt in enumerate(prompts):
            embedded[row, width - len(prompt) - soft : width - len(prompt)] = tuned.soft_prompt
        inputs = {"inputs_embeds": embedded}
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None:
        limit = min(limit, context - width)
    positions = (real.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    tokens: list[list[int]] = [[] for _ in prompts]
    alive = list(range(len(prompts)))
    for step in range(limit):
        logits = model(
            **inputs,
            attention_mask=real,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        chosen = logits[:, -1].argmax(dim=-1)
        going = []
        for place, token in enumerate(chosen.tolist()):
            if token != eos:
                tokens[alive[place]].append(token)
                going.append(place)
        if not going or step == limit - 1:
            break
        positions = positions[:, -1:] + 1
        if len(going) < len(alive):
            keep = torch.tensor(going, device=real.device)
            cache.batch_select_indices(keep)
            chosen, real, positions = chosen[keep], real[keep], positions[keep]
            alive = [alive[place] for place in going]
        real = torch.cat([real, real.new_ones(len(alive), 1)], dim=1)
        inputs = {"input_ids": chosen[:, None]}
    return tokens
