"""Greedy decoding in batches, for every method."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import numpy as np
import torch
from peft import PeftModel, PeftType
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from finescale.errors import UsageError
from finescale.tuning.tuned import Tuned

BATCH_PROMPTS = 32
"""Continuations under way at a time."""
BEGUN_TOGETHER = 8
"""Prompts whose first tokens are computed together: of similar lengths, so little of it is padding."""


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

    A sequence that is finished leaves its batch at once and the next prompts take its place (where the model
    has a cache that windows do not cut), so that a long one does not hold up the others.

    Args:
        tuned: The tuned model; a soft prompt goes before every prompt.
        prompts: Token ids of each prompt.
        pad: Token id of padding.
        eos: Token id that ends a continuation; it is not part of it.
        limit: Most new tokens of a continuation; fewer where the model's context is full before.
        last: Token ids that end a continuation and are part of it.
        batch_prompts: Continuations under way at a time.

    Returns:
        The new token ids of each prompt, in the order given.

    Raises:
        UsageError: An empty prompt.
    """
    if any(len(prompt) == 0 for prompt in prompts):
        raise UsageError("a prompt without tokens cannot be continued", wanted="at least one token")
    tuned.model.eval()
    model, soft, cache = _before(tuned, 1)
    context = getattr(model.config, "max_position_embeddings", None) or float("inf")
    context -= cache.get_seq_length() + (0 if soft is None else len(soft))
    limits = [min(limit, context - len(prompt)) for prompt in prompts]
    joinable = cache.get_seq_length() == 0 and all(type(layer) is DynamicLayer for layer in cache.layers)
    together = min(BEGUN_TOGETHER, batch_prompts) if joinable else batch_prompts
    waiting = [row for row in range(len(prompts)) if limits[row] > 0]
    waiting.sort(key=lambda row: -len(prompts[row]))  # the longest first: short ones fill the end
    found: list[list[int]] = [[] for _ in prompts]
    going: _DecodingBatch | None = None
    while waiting or going is not None:
        if going is None or (waiting and joinable and len(going.rows) + together <= batch_prompts):
            rows, waiting = waiting[:together], waiting[together:]
            moved, others = _DecodingBatch(tuned, rows, [prompts[row] for row in rows], pad), going
        else:
            going.step()
            moved, others = going, None
        places = []
        for place, (row, token) in enumerate(zip(moved.rows, moved.tokens.tolist(), strict=True)):
            if token != eos:
                found[row].append(token)
                if token not in last and len(found[row]) < limits[row]:
                    places.append(place)
        moved.keep(places)
        if others is not None:
            others.join(moved)
            moved = others
        going = moved if moved.rows else None
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


class _DecodingBatch:
    """Continuations under way, padded on the left: new tokens end all rows at the same place.

    Attributes:
        rows: Which prompt each row continues.
        tokens: The newest token of each row [rows].
    """

    def __init__(
        self, tuned: Tuned, rows: Sequence[int], prompts: Sequence[Sequence[int] | np.ndarray], pad: int
    ) -> None:
        """Computes the first token after each prompt."""
        self.rows = list(rows)
        self._model, prompt, self._cache = _before(tuned, len(prompts))
        soft, prefix = 0 if prompt is None else len(prompt), self._cache.get_seq_length()
        width = soft + max(len(tokens) for tokens in prompts)
        ids = torch.full((len(prompts), width), pad)
        real = torch.zeros(len(prompts), prefix + width, dtype=torch.int64)
        real[:, :prefix] = 1
        for row, tokens in enumerate(prompts):
            ids[row, width - len(tokens) :] = torch.as_tensor(np.asarray(tokens, dtype=np.int64))
            real[row, prefix + width - len(tokens) - soft :] = 1
        ids, self._real = ids.to(self._model.device), real.to(self._model.device)
        positions = (self._real.cumsum(1) - 1).clamp(min=0)[:, prefix:]
        inputs = {"input_ids": ids}
        if prompt is not None:
            embedded = self._model.get_input_embeddings()(ids)
            for row, tokens in enumerate(prompts):
                embedded[row, width - len(tokens) - soft : width - len(tokens)] = prompt
            inputs = {"inputs_embeds": embedded}
        self._advance(inputs, positions)

    def step(self) -> None:
        """Computes the next token of each row."""
        self._real = torch.cat([self._real, self._real.new_ones(len(self.rows), 1)], dim=1)
        self._advance({"input_ids": self.tokens[:, None]}, self._position)

    def _advance(self, inputs: dict[str, torch.Tensor], positions: torch.Tensor) -> None:
        logits = self._model(
            **inputs,
            attention_mask=self._real,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        self.tokens, self._position = logits[:, -1].argmax(dim=-1), positions[:, -1:] + 1

    def keep(self, places: Sequence[int]) -> None:
        """Lets all rows go but those at these places."""
        if len(places) < len(self.rows):
            kept = torch.tensor(places, dtype=torch.int64, device=self._real.device)
            self._cache.batch_select_indices(kept)
            self.tokens, self._real, self._position = (
                self.tokens[kept],
                self._real[kept],
                self._position[kept],
            )
            self.rows = [self.rows[place] for place in places]

    def join(self, new: _DecodingBatch) -> None:
        """Takes the rows of another batch in; columns that are padding everywhere are dropped."""
        if not new.rows:
            return
        width = max(int(batch._real.sum(dim=1).max()) for batch in (self, new))
        layers = [cast(list[DynamicLayer], batch._cache.layers) for batch in (self, new)]
        for ours, theirs in zip(*layers, strict=True):
            ours.keys = torch.cat([_fitted(ours.keys, width), _fitted(theirs.keys, width)])
            ours.values = torch.cat([_fitted(ours.values, width), _fitted(theirs.values, width)])
        self._real = torch.cat([_fitted(batch._real[..., None], width)[..., 0] for batch in (self, new)])
        self.tokens = torch.cat([self.tokens, new.tokens])
        self._position = torch.cat([self._position, new._position])
        self.rows += new.rows


def _fitted(states: torch.Tensor | None, width: int) -> torch.Tensor:
    """States [..., length, size] with that length: cut or padded with zeros on the left."""
    assert states is not None  # a cache that was used
    states = states[..., -width:, :]
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[-2], 0))
