"""Greedy decoding in batches, for every method."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import numpy as np
import torch
from peft import PeftModel, PeftType
from transformers import Cache, DynamicCache, PreTrainedModel

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
    last: Collection[int] = (),
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
        last: Token ids that end a continuation and are part of it.
        batch_prompts: Prompts at a time, of similar lengths.

    Returns:
        The new token ids of each prompt, in the order given.

    Raises:
        UsageError: An empty prompt.
    """
    if any(len(prompt) == 0 for prompt in prompts):
        raise UsageError("a prompt without tokens cannot be continued", wanted="at least one token")
    tuned.model.eval()
    found: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    for start in range(0, len(order), batch_prompts):
        rows = order[start : start + batch_prompts]
        made = _continue(tuned, [prompts[i] for i in rows], pad, eos, limit, last)
        for row, tokens in zip(rows, made, strict=True):
            found[row] = tokens
    return found


def _before(tuned: Tuned, rows: int) -> tuple[PreTrainedModel, torch.Tensor | None, Cache]:
    """The model to call, the soft prompt before every row, and the cache to begin with.

    PEFT's own prompt methods are taken apart, because its forward pass knows no positions: a virtual prompt
    becomes a soft prompt, a prefix becomes the cache's first entries.
    """
    model = tuned.model
    if not (isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning):
        return model, tuned.soft_prompt, DynamicCache(config=model.config)
    base = cast(PreTrainedModel, model.get_base_model())
    if model.active_peft_config.peft_type == PeftType.PREFIX_TUNING:
        return base, None, cast(Cache, model.get_prompt(rows))
    return base, model.get_prompt(1)[0], DynamicCache(config=base.config)


def _continue(  # noqa: PLR0917 - one call
    tuned: Tuned,
    prompts: Sequence[Sequence[int] | np.ndarray],
    pad: int,
    eos: int,
    limit: int,
    last: Collection[int],
) -> list[list[int]]:
    """One batch, padded on the left: new tokens end all rows at the same place."""
    model, prompt, cache = _before(tuned, len(prompts))
    soft = 0 if prompt is None else len(prompt)
    prefix = cache.get_seq_length()
    width = soft + max(len(tokens) for tokens in prompts)
    ids = torch.full((len(prompts), width), pad)
    real = torch.zeros(len(prompts), width, dtype=torch.int64)
    for row, tokens in enumerate(prompts):
        ids[row, width - len(tokens) :] = torch.as_tensor(np.asarray(tokens, dtype=np.int64))
        real[row, width - len(tokens) - soft :] = 1
    real = torch.cat([real.new_ones(len(prompts), prefix), real], dim=1)
    ids, real = ids.to(model.device), real.to(model.device)
    inputs = {"input_ids": ids}
    if prompt is not None:
        embedded = model.get_input_embeddings()(ids)
        for row, tokens in enumerate(prompts):
            embedded[row, width - len(tokens) - soft : width - len(tokens)] = prompt
        inputs = {"inputs_embeds": embedded}
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None:
        limit = min(limit, context - width - prefix)
    positions = (real.cumsum(1) - 1).clamp(min=0)[:, prefix:]
    found: list[list[int]] = [[] for _ in prompts]
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
                found[alive[place]].append(token)
                if token not in last:
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
    return found
