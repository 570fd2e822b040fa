"""What is known of a run before it runs: its record's first columns, and what it will cost."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from finescale.errors import UsageError
from finescale.ladder import LADDER, train_flops
from finescale.runs.evaluation_cost import FLOPS_PER_SECOND, EvaluationCost, evaluation_cost
from finescale.spec.expand import PlannedRun
from finescale.spec.run import ModelSpec, RunSpec, TaskSpec, Version
from finescale.tasks.catalog import open_task
from finescale.tasks.published import known_sizes

TOKENS_PER_EXAMPLE = 82, 38
"""Tokens of an example, and those of its target, where nothing better is known: those of mini-en-de."""
TOKENS_OF_BUNDLED = {"mini-en-zh": (64, 26), "mini-summarization": (419, 47)}
"""Means over the first 1,000 examples, with the tokenizer of each task's ladder."""
BYTES_PER_TOKEN = 4
"""UTF-8 bytes of a token of English text with a common vocabulary; LOOKED examples are measured."""
LOOKED = 1000
SECONDS_PER_RUN = 1.0
SECONDS_PER_STEP = 0.03
"""Measured with the nano ladder on one core; for the order of runs and a first guess at the time."""


def describe(item: PlannedRun) -> dict[str, Any]:
    """The columns of a run's record that are known before it runs."""
    return {**_setting(item.run), "finetune_examples": item.run.finetune_examples, "seed": item.run.seed}


class RunEstimates:
    """`describe` and `estimated_seconds` for many runs; what runs share is worked out once."""

    def __init__(self) -> None:
        self._settings: dict[tuple[int, ...], tuple[RunSpec, dict[str, Any]]] = {}
        self._seconds: dict[tuple[int, ...], float] = {}

    def of(self, item: PlannedRun) -> tuple[dict[str, Any], float]:
        """A run's known columns, and its estimated seconds."""
        run = item.run
        # by identity: hashing a specification takes longer than all the rest
        key = id(run.model), id(run.method), id(run.train), int(run.finetune_examples > 0)
        if key not in self._settings:
            self._settings[key] = run, _setting(run)  # the run keeps its parts, and so their ids, alive
        sized = *key, id(run.evaluation), run.finetune_examples, run.test_examples
        if sized not in self._seconds:
            self._seconds[sized] = estimated_seconds(run)
        shared = self._settings[key][1]
        fields = {**shared, "finetune_examples": run.finetune_examples, "seed": run.seed}
        return fields, self._seconds[sized]


def _setting(run: RunSpec) -> dict[str, Any]:
    """The columns that all data sizes and seeds of a setting share."""
    sizes = _sizes(run.model)
    tuned = run.finetune_examples > 0
    return {
        "task": run.task,
        "method": run.method.name if tuned else "none",
        "model": run.model.name,
        "revision": run.model.revision,
        "model_params": sum(sizes) if sizes else None,
        "model_params_nonembedding": sizes[0] if sizes else None,
        "active_params": (run.model.active_params or sum(sizes)) if sizes else None,
        "pretrain_tokens": run.model.pretrain_tokens,
        "pet_size": run.method.pet_size if tuned else None,
        "lora_alpha": run.method.lora_alpha if tuned else None,
        "trainable_params": _trainable(run) if tuned else 0,
        "optimizer": run.train.optimizer.name if tuned else None,
        "learning_rate": run.train.learning_rate if tuned else None,
        "batch_size": run.train.batch_size if tuned else None,
    }


def estimated_flops(run: RunSpec) -> float:
    """Training FLOPs of a run, from an estimated number of tokens an example."""
    sizes = _active_sizes(run.model)
    if sizes is None or run.finetune_examples == 0:
        return 0.0
    seen = planned_steps(run) * run.train.batch_size
    tokens, target_tokens = _tokens(run)
    tokens += run.method.pet_size or 0 if run.method.name == "prompt" else 0
    return train_flops(run.method.kind, *sizes, seen * tokens, seen * target_tokens)


def estimated_seconds(run: RunSpec) -> float:
    """A first guess at a run's seconds on one core, evaluations included."""
    evaluated = run.test_examples
    steps = 0
    if run.finetune_examples:
        evaluated += run.train.evaluations * run.train.dev_examples
        steps = planned_steps(run)
    evaluation = 2.0 * sum(_active_sizes(run.model) or (10**9,)) * _tokens(run)[0] * evaluated
    compute = (estimated_flops(run) + evaluation) / FLOPS_PER_SECOND
    return SECONDS_PER_RUN + SECONDS_PER_STEP * steps + compute + estimated_evaluation(run).seconds


def estimated_evaluation(run: RunSpec) -> EvaluationCost:
    """What the run's `evaluation` will cost; nothing where the model's size is not known."""
    sizes = _active_sizes(run.model)
    return EvaluationCost() if sizes is None else evaluation_cost(run, sizes, *_tokens(run))


def _tokens(run: RunSpec) -> tuple[int, int]:
    """Estimated tokens of an example, and those of its target; of an unopened data set at most so many."""
    known = known_sizes(run.data or run.task)
    if known is None and run.data is not None and run.data.dataset is not None:
        target = run.data.max_target_tokens
        return run.data.max_source_tokens + target, target
    if known is None and run.data is not None and run.data.train is not None:
        return _own_tokens(run.data, run.version)  # pyright: ignore[reportArgumentType] - frozen, so hashable
    if known is None:
        bundled = run.task if run.data is None else ""
        return TOKENS_OF_BUNDLED.get(bundled, TOKENS_PER_EXAMPLE)
    return known.tokens, known.target_tokens


@lru_cache(maxsize=100)
def _own_tokens(data: TaskSpec, version: Version) -> tuple[int, int]:
    """Estimated tokens of an example of one's own files, and of its target: from their bytes."""
    try:
        some = open_task(data, version).train[:LOOKED]  # pyright: ignore[reportArgumentType]
    except UsageError:  # who opens it to run says why
        return TOKENS_PER_EXAMPLE
    read, learned = (
        sum(min(len(text.encode()) / BYTES_PER_TOKEN + 1, limit) for text in texts) / len(texts)
        for texts, limit in (
            ([example.source for example in some], data.max_source_tokens),
            ([example.target for example in some], data.max_target_tokens),
        )
    )
    return round(read + learned), max(1, round(learned))


def _sizes(model: ModelSpec) -> tuple[int, int] | None:
    """Non-embedding and embedding parameters of a model."""
    if model.params is not None and model.nonembedding_params is not None:
        return model.nonembedding_params, model.params - model.nonembedding_params
    return _ladder_sizes(model.name)


def _active_sizes(model: ModelSpec) -> tuple[int, int] | None:
    """The same without the parameters that a token does not go through: what FLOPs are counted in."""
    sizes = _sizes(model)
    if sizes is None or model.active_params is None:
        return sizes
    return sizes[0] - (sum(sizes) - model.active_params), sizes[1]


@lru_cache(maxsize=1000)
def _ladder_sizes(name: str) -> tuple[int, int] | None:
    shape = LADDER.get(name)
    return (shape.nonembedding_params, shape.embedding_params) if shape else None


def planned_steps(run: RunSpec) -> int:
    """The steps of a run that is not stopped early."""
    per_epoch = math.ceil(run.finetune_examples / run.train.batch_size)
    return min(run.train.max_steps, per_epoch * run.train.epochs)


def _trainable(run: RunSpec) -> int | None:
    """Trained parameters, where they are known before the model is opened."""
    sizes = _sizes(run.model)
    if run.method.name == "full":
        return sum(sizes) if sizes else None
    shape, size = LADDER.get(run.model.name), run.method.pet_size or 0
    if shape is None or run.model.folder is not None:
        return None
    counts = {"lora": shape.lora_params, "prompt": shape.prompt_params}
    return counts[run.method.name](size) if run.method.name in counts else None
