"""The documented columns of a table of runs, their units, and which of them are factors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "label", "size", "count", "number", "loss", "flag"]
SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Column:
    """One documented column.

    Attributes:
        name: The column's name, the same everywhere in finescale.
        kind: ``text``; ``label`` (text or integer, e.g. a seed); ``size`` (> 0); ``count`` (>= 0);
            ``number`` (finite); ``loss`` (finite, > 0); ``flag`` (true or false).
        unit: The unit, as an axis label would give it; empty where there is none.
        meaning: One line for documentation.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str


COLUMNS: tuple[Column, ...] = (
    Column("run", "text", "", "the run's fingerprint: equal runs have equal fingerprints"),
    Column("study", "text", "", "name of the study"),
    Column("purpose", "text", "", "`study`, or `sweep` (a learning-rate trial: never enters a fit)"),
    Column(
        "status",
        "text",
        "",
        "`done`, `stopped` (early, in a race), `diverged` or `failed`: only `done` enters a fit",
    ),
    Column("error", "text", "", "why a run is not `done`"),
    Column("held_out", "flag", "", "kept out of the fit, to test its prediction"),
    Column("task", "text", "", "what is learned, e.g. `wmt14-en-de`"),
    Column("method", "text", "", "`full`, `lora`, `prompt`, another PEFT method, or `none` (untuned)"),
    Column("model", "text", "", "name of the base model"),
    Column("revision", "text", "", "revision or checkpoint of the base model"),
    Column("model_params", "size", "parameters", "parameters of the base model, embeddings included"),
    Column(
        "model_params_nonembedding", "size", "parameters", "parameters of the base model without embeddings"
    ),
    Column(
        "active_params",
        "size",
        "parameters",
        "parameters that a token goes through: fewer than `model_params` in a mixture of experts",
    ),
    Column(
        "tokenizer", "text", "", "fingerprint of the tokenizer: losses per token compare within one alone"
    ),
    Column("pretrain_tokens", "size", "tokens", "tokens that the base model was pretrained on"),
    Column("pet_size", "size", "rank or prompt length", "LoRA rank or prompt length"),
    Column("lora_alpha", "size", "", "LoRA's alpha (the update is scaled by alpha / rank)"),
    Column("trainable_params", "count", "parameters", "parameters that were trained"),
    Column(
        "finetune_examples", "count", "examples", "distinct finetuning examples (D_f); 0: the untuned model"
    ),
    Column("finetune_tokens", "count", "tokens", "target tokens of the distinct finetuning examples"),
    *(
        Column(
            f"{split}_{side}s_truncated",
            "number",
            "share",
            f"share of the {split} examples whose {side} was cut to the tokens allowed",
        )
        for split in SPLITS
        for side in ("source", "target")
    ),
    Column("seed", "label", "", "seed of data subset and initialisation"),
    Column("dev_loss", "loss", "nats per target token", "cross-entropy on the dev set, token-weighted"),
    Column("test_loss", "loss", "nats per target token", "cross-entropy on the test sets, token-weighted"),
    Column(
        "test_loss_per_byte",
        "loss",
        "nats per byte",
        "`test_loss` for a UTF-8 byte of the targets: the same in every tokenizer",
    ),
    Column("target_bytes", "count", "bytes", "UTF-8 bytes of the targets of the test sets"),
    Column("pretrain_loss_before", "loss", "nats per token", "loss on pretraining text before finetuning"),
    Column(
        "pretrain_loss_after",
        "loss",
        "nats per token",
        "loss on pretraining text after finetuning (forgetting)",
    ),
    Column("optimizer", "text", "", "optimizer's name"),
    Column("learning_rate", "size", "", "peak learning rate"),
    Column("lr_tuned", "flag", "", "the learning rate was chosen by a sweep"),
    Column(
        "lr_tuned_at",
        "text",
        "",
        "the corners (model and data size) whose sweeps the learning rate comes from",
    ),
    Column("batch_size", "size", "examples", "examples in a step"),
    Column("steps", "count", "steps", "optimizer steps made"),
    Column("best_step", "count", "steps", "step of the evaluated checkpoint (best dev loss)"),
    Column(
        "tokens_processed", "count", "tokens", "source, target and prompt tokens seen in training, every pass"
    ),
    Column("train_flops", "count", "FLOP", "training compute"),
    Column("wall_seconds", "count", "seconds", "wall-clock time of the run"),
    Column("test_seconds", "count", "seconds", "of it, the loss on the test sets"),
    Column("generation_seconds", "count", "seconds", "of it, generating and scoring texts of the test sets"),
    Column("few_shot_seconds", "count", "seconds", "of it, the same after demonstrations"),
    Column("zero_shot_seconds", "count", "seconds", "of it, the zero-shot sets"),
    Column("forgetting_seconds", "count", "seconds", "of it, the loss on pretraining text"),
    Column("peak_memory_bytes", "count", "bytes", "largest memory in use"),
    Column("tokens_per_second", "count", "tokens per second", "training speed"),
)
"""Every documented column of a records table, in the order in which the study writes them."""

BY_NAME: Mapping[str, Column] = {column.name: column for column in COLUMNS}
FACTORS: tuple[str, ...] = ("model_params", "model_params_nonembedding", "pretrain_tokens", "pet_size")
"""The factors that a law can scale with, beside the finetuning data size."""
DATA_SIZE = "finetune_examples"

NUMERIC: frozenset[str] = frozenset({"size", "count", "number", "loss"})
"""The kinds that hold numbers."""
WHOLE: frozenset[str] = frozenset(
    {
        "model_params", "model_params_nonembedding", "pretrain_tokens", "pet_size", "trainable_params",
        "finetune_examples", "finetune_tokens", "batch_size", "steps", "best_step", "tokens_processed",
        "peak_memory_bytes",
    }
)  # fmt: skip
"""Columns that count something: ``1.000`` may be a thousand there."""
