"""Column names: how ours and a table's own are matched, and what to say where some are missing."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import polars as pl

from finescale.errors import UsageError
from finescale.records.columns import DATA_SIZE, WHOLE
from finescale.records.unit_names import multiple
from finescale.records.values import read_numbers

PREFIXES = (
    "config", "configs", "params", "param", "hyperparameters", "hyperparams", "hparams", "args", "summary",
    "metrics", "metric", "tags", "user_attrs", "attributes", "train_loop_config",
)  # fmt: skip
"""What trackers write before a parameter's or a metric's own name (``config.lr``, ``params_lr``)."""

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "model_params": (
        "model size", "params", "parameters", "num params", "n params", "num parameters", "n parameters",
        "model parameters", "num model params", "total params", "total parameters", "base model params",
    ),
    "finetune_examples": (
        "samples", "num samples", "n samples", "train samples", "training samples", "num train samples",
        "n train samples", "examples", "num examples", "n examples", "train examples", "training examples",
        "num train examples", "n train", "train size", "training size", "train set size", "dataset size",
        "data size", "num training examples", "finetuning examples", "fine tuning examples",
        "train set", "training set", "trainset", "train rows", "training set size", "train dataset size",
    ),
    "pet_size": ("lora r", "lora rank", "rank", "prompt length", "num virtual tokens", "peft rank"),
    "task": ("task name", "dataset", "dataset name"),
    "method": (
        "finetuning type", "peft type", "peft method", "tuning method", "finetuning method",
        "fine tuning method", "finetune method", "tuning type", "adapter type", "technique", "approach",
        "adaptation", "adaptation method",
    ),
    "model": ("model name", "base model", "model name or path", "base model name or path", "model id"),
    "seed": ("random seed", "rng seed", "data seed"),
    "status": ("state", "run state", "run status", "trial status", "trial state", "job state"),
    "learning_rate": ("lr", "peak lr", "peak learning rate", "max lr", "base lr"),
    "test_loss": ("eval loss", "val loss", "validation loss", "valid loss", "heldout loss"),
    "tokens_processed": ("total tokens", "num input tokens seen"),
    "wall_seconds": ("train runtime", "runtime seconds"),
}  # fmt: skip
"""What other tools call our columns, in folded form; used where exactly one column of a table fits."""


def folded(name: str) -> str:
    """A name without case, blanks and punctuation.

    Example:
        >>> folded("# Samples"), folded("Eval-Loss")
        ('samples', 'evalloss')
    """
    return re.sub(r"[\W_]+", "", name).casefold()


def bare(name: str) -> str:
    """A column's own name in lower case with underscores, without a tracker's prefix.

    Example:
        >>> bare("config.Learning Rate"), bare("train/global_step"), bare("params_lr")
        ('learning_rate', 'global_step', 'lr')
    """
    words = re.sub(r"[\W_]+", "_", name.strip()).strip("_").casefold()
    for prefix in PREFIXES:
        if words.startswith(prefix + "_") and _is_prefixed(name, prefix):
            return bare(words[len(prefix) + 1 :]) if len(words) > len(prefix) + 1 else words
    for prefix in ("train/", "training/", "trainer/"):
        if name.strip().casefold().startswith(prefix):
            return bare(name.strip()[len(prefix) :])
    return words


_LOGGED = re.compile(r"(summary|metrics?)[./:]|train(ing)?/", re.IGNORECASE)


def is_logged(name: str) -> bool:
    """Whether a column holds what was logged while a model trained: a learning rate there is the last one.

    Example:
        >>> is_logged("train/learning_rate"), is_logged("summary.lr"), is_logged("config.train.lr")
        (True, True, False)
    """
    return _LOGGED.match(name.strip()) is not None


def leaf(name: str) -> str:
    """The last part of a name inside groups, as configurations nest settings; empty where it has one part.

    Example:
        >>> leaf("config.trainer.lr"), leaf("data/train_samples"), leaf("eval_loss")
        ('lr', 'train_samples', '')
    """
    parts = re.split(r"[./]", untracked(name.strip()))
    return re.sub(r"[\W_]+", "_", parts[-1]).strip("_").casefold() if len(parts) > 1 else ""


def _is_prefixed(name: str, prefix: str) -> bool:
    """Whether a tracker wrote the prefix: before a dot or slash, or Optuna's and MLflow's ``params_``."""
    rest = name.strip()[len(prefix) :]
    return rest[:1] in (".", "/", ":") or (prefix in ("params", "user_attrs") and rest[:1] == "_")


_TRACKER = re.compile(
    rf"(?:(?:{'|'.join(PREFIXES)}|hparams)[./:]|(?:params|user_attrs)_)(?=.)", re.IGNORECASE
)


def untracked(name: str) -> str:
    """A name without what a tracker wrote before it.

    Example:
        >>> untracked("metrics.eval_loss"), untracked("params_lr"), untracked("train/loss")
        ('eval_loss', 'lr', 'train/loss')
    """
    return _TRACKER.sub("", name, count=1)


def find(name: str, columns: Sequence[str]) -> str | None:
    """The column that a name means: itself, or the only one that differs in case, blanks and punctuation.

    Where there is none, the only one of that name after a tracker's prefix (``metrics.eval_loss``).

    Raises:
        UsageError: Several do.
    """
    if name in columns:
        return name
    wanted = folded(name)
    same = [column for column in columns if folded(column) == wanted] if wanted else []
    same = same or ([column for column in columns if folded(untracked(column)) == wanted] if wanted else [])
    if len(same) > 1:
        raise UsageError(
            f"several columns could be `{name}`", wanted="the exact name", got=", ".join(map(repr, same))
        )
    return same[0] if same else None


def infer(ours: str, columns: Sequence[str], *, exact: bool = False) -> str | None:
    """The table's own name for one of our columns, where exactly one column can be it.

    Args:
        ours: Our name.
        columns: The table's columns that nothing else has taken.
        exact: Take no synonym, only our name written otherwise.

    Returns:
        The column; None where none fits, or several do.
    """
    if ours == "learning_rate":
        columns = [column for column in columns if not is_logged(column)]
    if ours == DATA_SIZE:
        columns = [column for column in columns if not _counts_tokens(column)]
    fits = [column for column in columns if folded(ours) in _folds(column, ours)]
    if not fits and not exact:
        known = {folded(word) for word in SYNONYMS.get(ours, ())}
        fits = [column for column in columns if known.intersection(_folds(column, ours))]
        telling = {folded(word) for word in (ours, *SYNONYMS.get(ours, ())) if _tells(word)}
        fits = fits or [column for column in columns if folded(leaf(column)) in telling]
    return fits[0] if len(fits) == 1 else None


def _counts_tokens(column: str) -> bool:
    return "token" in column.casefold()


def _folds(column: str, ours: str) -> set[str]:
    """A column's name as it is compared: whole, and without a unit that our column may have."""
    found = multiple(column)
    with_unit = found is not None and (found[1] == 1 or ours in WHOLE)
    return {folded(bare(column))} | ({folded(bare(found[0]))} if found and with_unit else set())


def _tells(word: str) -> bool:
    """Whether a name says enough wherever it stands: `train_samples` does, the `params` of a group do not."""
    return word in ("seed", "lr") or " " in word or "_" in word


_REPEATED = re.compile(r"(.*?)[\W_]*(?:seed|run|rep|repeat|fold|trial)[\W_]*\d+", re.IGNORECASE)


def of_each_repeat(columns: Sequence[str]) -> list[str]:
    """Columns that are one outcome in a column for each seed; none where there are no two.

    Example:
        >>> of_each_repeat(["method", "loss_seed0", "loss_seed1", "run 1"])
        ['loss_seed0', 'loss_seed1']
    """
    stems: dict[str, list[str]] = {}
    for column in columns:
        found = _REPEATED.fullmatch(column.strip())
        if found and found.group(1):
            stems.setdefault(folded(found.group(1)), []).append(column)
    return next((same for same in stems.values() if len(same) > 1), [])


def of_each_size(columns: Sequence[str]) -> list[str]:
    """Columns that are one outcome in a column for each size; none where there are no three.

    Example:
        >>> of_each_size(["method", "1k", "4k", "16,000"])
        ['1k', '4k', '16,000']
    """
    read = read_numbers(pl.Series(columns, dtype=pl.String), whole=True).values
    sizes = [column for column, size in zip(columns, read, strict=True) if size is not None]
    return sizes if len(sizes) > 2 else []


_GUESSES: Mapping[str, set[str]] = {"finetune_examples": {"n", "rows", "size"}}
"""What may be meant, but is not taken without being said."""


def candidates(ours: str, columns: Sequence[str]) -> list[str]:
    """Columns that could be meant by one of our names, the likeliest first; for messages."""
    known = {folded(word) for word in (ours, *SYNONYMS.get(ours, ()))}
    known |= _GUESSES.get(ours, set())
    if ours == "pretrain_tokens":  # tokens of finetuning are something else
        columns = [column for column in columns if "pre" in column.casefold()]
    if ours == DATA_SIZE:
        columns = [column for column in columns if not _counts_tokens(column)]
    fits = [column for column in columns if known.intersection(_folds(column, ours))]
    fits += get_close_matches(ours, columns, n=1, cutoff=0.6)
    parts = [part for part in ours.split("_") if part not in ("test", "tokens")]
    fits += [column for column in columns if any(part in column.casefold() for part in parts)]
    found = list(dict.fromkeys(fits))  # a loss on training data is the last that could be meant
    return sorted(found, key=is_of_training) if ours == "test_loss" else found


def missing(
    wanted: Sequence[Sequence[str]],
    columns: Sequence[str],
    origin: str,
    *,
    command: str = "",
    free: Sequence[str] | None = None,
    score: str | None = None,
    methods: Sequence[str] = (),
) -> UsageError:
    """The error that names everything that is missing at once, with a command that can be pasted.

    Args:
        wanted: Each what is missing: one name, or several of which one is needed.
        columns: The table's columns.
        origin: The table.
        command: The command line so far.
        free: The columns that nothing else has taken; default: all.
        score: The score that was asked for.
        methods: The columns that are called like methods.
    """
    each: list[str] = []
    flags: list[str] = []
    left = list(columns if free is None else free)
    also = ""
    for names in wanted:
        theirs, ours = _guess(names, left)
        left = [column for column in left if column != theirs]
        each.append("one of " + ", ".join(names) if len(names) > 1 else f"a column `{names[0]}`")
        other = _other_outcome(columns) if theirs == "THEIRS" and ours.endswith("loss") else []
        if names[0] == score:
            meant = theirs if theirs != "THEIRS" else next(iter(_scores(columns)), "COLUMN")
            other = ["--score", meant]
        flags.append(shlex.join(other or ["--column", f"{ours}={theirs}"]))
        if other:
            continue
        if theirs == "THEIRS" and not ours.endswith("loss"):
            also = f", or one value for all rows: --set {ours}=VALUE"
        if names[0].endswith("loss"):
            also = f", or name the loss column: {shlex.join(['--loss', theirs])}"
            also += "".join(
                f", or a score: {shlex.join(['--score', score])}" for score in _scores(columns)[:1]
            )
    line = " ".join(flags)
    remedy = f"map the table's own name to it: {line}{also}"
    if len(wanted) > 1 or command:
        remedy = f"map the table's own names: {command + ' ' if command else ''}{line}{also}"
    problem = f"{len(wanted)} columns are missing"
    if len(wanted) == 1:
        problem = "no factor column" if len(wanted[0]) > 1 else f"no column `{wanted[0][0]}`"
    if any(names[0].endswith("loss") for names in wanted):
        remedy = _wide(columns, methods) or remedy
    shown = ", ".join(columns[:30]) + (", ..." if len(columns) > 30 else "")
    got = f"columns {shown or '(none)'}"
    return UsageError(problem, wanted="; ".join(each), got=got, remedy=remedy, where=origin)


def is_of_training(column: str) -> bool:
    """Whether an outcome was measured on training data, by its name.

    Example:
        >>> is_of_training("Loss (train)"), is_of_training("train_loss"), is_of_training("eval_loss")
        (True, True, False)
    """
    words = set(re.split(r"[\W_]+", column.casefold()))
    return bool(words & {"train", "training"}) and not words & {
        "eval",
        "test",
        "val",
        "valid",
        "validation",
        "dev",
    }


def _wide(columns: Sequence[str], methods: Sequence[str]) -> str:
    """What to do with a table that has a column for each run of a row; empty where it has none."""
    each = {"repeat": of_each_repeat(columns), "data size": of_each_size(columns), "method": methods}
    for of_what, found in each.items():
        if len(found) > 1:
            shown = ", ".join(found[:3])
            return f"{shown} are one outcome in a column for each {of_what}: write a row for each run"
    return ""


def _other_outcome(columns: Sequence[str]) -> list[str]:
    """The flag for a loss in another unit, or for a score, where a table has no loss."""
    units = [column for column in columns if re.search(r"perplexity|ppl|bpb|bits_per|nll", bare(column))]
    if units:
        return ["--loss", units[0]]
    return ["--score", _scores(columns)[0]] if _scores(columns) else []


def _scores(columns: Sequence[str]) -> list[str]:
    words = (
        "accuracy",
        "acc",
        "f1",
        "exactmatch",
        "bleu",
        "rougel",
        "chrf",
        "mcc",
        "score",
        "passrate",
        "winrate",
    )
    return [
        column
        for column in columns
        if folded(bare(column)).removeprefix("eval").removeprefix("test") in words
    ]


def _guess(names: Iterable[str], columns: Sequence[str]) -> tuple[str, str]:
    """The likeliest of the table's columns, and which of our names it would be."""
    names = list(names)
    for ours in names:
        near = candidates(ours, columns)
        if near:
            return near[0], ours
    return "THEIRS", names[0]
