"""What a column is: part of a setting, a hyperparameter, progress, a repeat, an outcome, a label."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, get_args

import polars as pl

from finescale.errors import UsageError
from finescale.records.columns import BY_NAME, DATA_SIZE, FACTORS
from finescale.records.names import bare, find, is_logged, leaf

Role = Literal["setting", "hyperparameter", "progress", "repeat", "outcome", "label", "unknown"]
ROLES: tuple[str, ...] = get_args(Role)
STATED = tuple(role for role in ROLES if role != "unknown")


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


SETTING = ("task", "method", "model", *FACTORS, DATA_SIZE)
"""The columns whose values together are one setting."""

HYPERPARAMETERS = _names(
    """
    learning_rate lr peak_lr peak_learning_rate base_lr init_lr max_lr min_lr lr_max learningrate lora_lr
    loraplus_lr_ratio lr_scheduler lr_scheduler_type lr_schedule scheduler scheduler_type schedule lr_decay
    batch_size bs batch batchsize train_batch_size per_device_train_batch_size per_gpu_train_batch_size
    global_batch_size effective_batch_size total_batch_size total_train_batch_size micro_batch_size
    mini_batch_size minibatch_size gradient_accumulation_steps gradient_accumulation grad_accum
    grad_accum_steps grad_accumulation_steps accumulate_grad_batches
    epochs num_train_epochs num_epochs n_epochs max_epochs train_epochs total_epochs nb_epochs max_steps
    num_training_steps total_steps train_steps max_train_steps num_steps
    warmup warm_up warmup_ratio warmup_steps warmup_proportion warmup_fraction warmup_epochs num_warmup_steps
    weight_decay wd l2 dropout lora_dropout dropout_rate hidden_dropout attention_dropout attn_dropout
    lora_alpha alpha scaling lora_scaling lora_bias use_rslora use_dora rslora dora init_lora_weights
    target_modules lora_target_modules lora_target modules_to_save bias init initialization initializer
    optimizer optim optimiser adam_beta1 adam_beta2 beta1 beta2 betas adam_epsilon epsilon eps momentum
    max_grad_norm grad_clip gradient_clip gradient_clipping gradient_clip_val clip clip_norm clipping
    label_smoothing label_smoothing_factor neftune_noise_alpha packing max_length max_seq_length max_seq_len
    seq_len sequence_length context_length cutoff_len block_size model_max_length
    precision bf16 fp16 dtype torch_dtype mixed_precision quantization quantization_bit load_in_4bit
    load_in_8bit patience early_stopping early_stopping_patience ema ema_decay temperature beta
    dpo_beta kl_coef
    lora_layers num_layers_unfrozen freeze_layers prompt_init template prompt_template
    """
)
"""Names that trainers and trackers use, as ``names.bare`` writes them."""
CONFIGURATIONS = _names("experiment experiment_name exp exp_name config config_name variant recipe")
"""Names of one candidate's configuration; where every row has its own they are labels."""
PROGRESS = _names(
    """
    step global_step iteration iter training_iteration timesteps_total iterations_since_restore epoch
    current_epoch trainer_global_step tokens_seen samples_seen examples_seen num_input_tokens_seen update
    updates     checkpoint_step eval_step current_steps
    """
)
REPEATS = _names(
    """
    seed random_seed data_seed rng_seed init_seed split_seed torch_seed replicate replica repeat rep
    repetition     fold cv_fold kfold seed_index seed_idx seed_id random_state trial_seed run_index run_idx
    """
)
RUN_IDS = _names("run run_id run_uuid trial_id")
RUN_NAMES = RUN_IDS | _names("run_name name trial_name experiment_tag job_name")
"""Columns that name one run, and so tell which rows are evaluations of the same run."""
LABELS = _names(
    """
    done is_best should_checkpoint converged study purpose error id uuid job_id jobid
    held_out state status user username host hostname node nodelist gpu gpu_type
    gpu_name gpus num_gpus n_gpus device devices accelerator cpu machine partition commit git_commit git_sha
    version created created_at updated updated_at started start_time end_time started_at finished_at date
    datetime timestamp datetime_start datetime_complete time tags tag notes note comment comments description
    group job_type sweep sweep_id project entity url path output_dir logdir log_dir checkpoint checkpoint_path
    artifact_uri source number trial index unnamed_0 author source_name link command host_name pid node_ip
    user owner creator agent github entity heartbeat ended gpu_count cpu_count os python python_version
    cuda_version family license lr_tuned lr_tuned_at tokenizer trainable_params active_params
    """
)
_OUTCOME = re.compile(
    r"(^|_)(loss|losses|nll|ppl|perplexity|bpb|bpc|bits_per_\w+|acc|accuracy|f1|mcc|matthews\w*|auc|auroc|bleu|"
    r"chrf|rouge\w*|bleurt|comet|meteor|bertscore|exact_match|em|pass_at_?\d*|pass\d*|win_?rate|reward|score|"
    r"metric|error|error_rate|wer|cer|mae|mse|rmse|precision|recall|pearson\w*|spearman\w*|r2|forgetting|"
    r"runtime|seconds|secs|minutes|hours|duration|elapsed|wall\w*|memory\w*|mem|vram|bytes|flops|flos|mfu|"
    r"per_second|throughput|latency|grad_norm|energy\w*|cost|price|usd|file_size)(_|$)|"
    r"(loss|accuracy|seconds|memory|_flos|tokens)$|^(train|eval|test|val|dev)_(loss|acc|f1)"
)
_SAID_BEFORE = re.compile(r"(configs?|params|hparams|hyperparameters|args)[./:]", re.IGNORECASE)
"""What trackers write before settings."""
_COSTS = _names(
    """
    steps best_step tokens_processed train_flops wall_seconds test_seconds generation_seconds few_shot_seconds
    zero_shot_seconds forgetting_seconds peak_memory_bytes tokens_per_second finetune_tokens dev_loss
    test_loss     pretrain_loss_before pretrain_loss_after best_epoch trained_steps
    """
)
_FEW = 12
"""Numbers with more different values than this, and with more than half as many as rows, were measured."""


def role_by_name(column: str) -> Role | None:
    """The role that a column's name says; None where it says none.

    Example:
        >>> role_by_name("config.lr"), role_by_name("train/global_step"), role_by_name("eval/f1")
        ('hyperparameter', 'progress', 'outcome')
    """
    name = bare(column)
    if column in SETTING:
        return "setting"
    for names, role in (
        (_COSTS, "outcome"), (REPEATS, "repeat"), (HYPERPARAMETERS, "hyperparameter"), (PROGRESS, "progress"),
        (RUN_NAMES | LABELS, "label"),
    ):  # fmt: skip
        if name in names:
            logged = role == "hyperparameter" and is_logged(column)
            return "outcome" if logged else role  # type: ignore[return-value]
    if column == "revision":
        return None  # a checkpoint of pretraining is a setting of its own, unless pretrain_tokens says it
    if column in BY_NAME:
        return "outcome" if BY_NAME[column].kind in ("loss", "count", "number") else "label"
    inside = "" if is_logged(column) else leaf(column)
    if inside in HYPERPARAMETERS | REPEATS:  # trainer.lr, config.optim.weight_decay
        return "hyperparameter" if inside in HYPERPARAMETERS else "repeat"
    # in settings a reward model or a memory limit is nothing that the run came to
    said = _SAID_BEFORE.match(column.strip())
    return "outcome" if not said and _OUTCOME.search(name) else None


def stated_roles(options: Mapping[str, str], columns: Sequence[str], origin: str) -> dict[str, Role]:
    """The roles of ``--role COLUMN=ROLE``.

    Raises:
        UsageError: No such column, or no such role.
    """
    stated: dict[str, Role] = {}
    for name, role in options.items():
        column = find(name, columns)
        if column is None:
            raise UsageError(
                f"--role {name}={role}: no such column",
                got="columns " + ", ".join(columns[:20]),
                where=origin,
            )
        if role not in STATED:
            raise UsageError(f"--role {name}={role}", wanted="one of " + ", ".join(STATED), got=role)
        stated[column] = role  # type: ignore[assignment]
    return stated


def infer_roles(
    frame: pl.DataFrame, outcome: str, stated: Mapping[str, Role], ignore: Iterable[str] = ()
) -> dict[str, Role]:
    """The role of every column, from its name and from how its values vary.

    Args:
        frame: Finished runs.
        outcome: The column that is analysed.
        stated: Roles that the user states.
        ignore: Columns that stand there under our names already.

    Returns:
        Roles by column, in the table's order; ``unknown`` only where it matters: where rows of one setting
        differ in the column.
    """
    roles: dict[str, Role] = {}
    skipped = set(ignore)
    doubtful: list[str] = []
    for name in frame.columns:
        if name in skipped:
            continue
        role = stated.get(name) or ("outcome" if name == outcome else role_by_name(name))
        if role == "outcome" and name not in stated and name != outcome and _is_text(frame[name]):
            role = None  # `metric` may name the outcome of its row
        if bare(name) in CONFIGURATIONS and name not in stated:
            role = "label" if frame[name].drop_nulls().is_duplicated().sum() == 0 else "hyperparameter"
        if name == "revision" and "pretrain_tokens" in frame.columns:
            role = stated.get(name, "label")
        if role is None:
            doubtful.append(name)
            role = "unknown"
        roles[name] = role
    if doubtful:
        roles |= _by_values(frame, doubtful, roles)
    return roles


def _by_values(frame: pl.DataFrame, names: Sequence[str], roles: Mapping[str, Role]) -> dict[str, Role]:
    """The roles of columns whose names say none: a label unless it varies inside settings."""
    found: dict[str, Role] = {}
    settings = [name for name, role in roles.items() if role == "setting"]
    for name in names:
        values = frame[name]
        if values.dtype.is_nested() or values.dtype == pl.Object or values.dtype.is_temporal():
            found[name] = "label"
            continue
        distinct = values.drop_nulls().n_unique()
        if distinct <= 1 and not 0 < values.null_count() < values.len():
            found[name] = "label"
        elif values.dtype.is_float() and distinct > _FEW and distinct > values.len() / 2:
            found[name] = "outcome"
        elif (
            distinct == values.len()
            or not _varies_inside(frame, name, settings)
            or any(_varies_with(frame, name, other) for other, role in roles.items() if role == "repeat")
        ):
            found[name] = "label"
        else:
            found[name] = "unknown"
    return found


def _is_text(values: pl.Series) -> bool:
    """Whether a column holds words: no cell begins as a number does."""
    if values.dtype != pl.String or values.null_count() == values.len():
        return False
    return not values.str.contains(r"^\s*[-+~<>≈±(*]*\s*[.,]?\d").any()


def _varies_inside(frame: pl.DataFrame, name: str, by: Sequence[str]) -> bool:
    if not by:
        return True
    return bool((frame.group_by(list(by)).agg(pl.col(name).n_unique())[name] > 1).any())


def _varies_with(frame: pl.DataFrame, name: str, other: str) -> bool:
    """Whether a repeat's number decides the column's value, one value for each."""
    pairs = frame.select(name, other).unique().height
    return pairs == frame[name].n_unique() == frame[other].n_unique()
