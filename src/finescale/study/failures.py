"""Why runs did not end well: kinds of failure, what to do about each, and all of a study's together.

A failure is known by what was raised and where: the error's words, and the innermost library in its
traceback.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finescale.runs.memory import SAVE_MEMORY

SHOWN = 20
WORDS = {"failed": "failed", "diverged": "diverged", "broken": "broke and will be tried again"}
CAUSE_LINES = 6
"""So many lines of a library's message are shown; the log has all of them."""


@dataclass(frozen=True)
class FailureKind:
    """A kind of failure.

    Attributes:
        name: In a few words.
        remedy: What to do; `{method}` and `{model}` are the run's.
        words: It is this kind where the error has one of these.
        library: Or where the innermost library of the traceback is called so (a regular expression).
    """

    name: str
    remedy: str
    words: tuple[str, ...] = ()
    library: str = ""


KINDS = (
    FailureKind(
        "disk full", "free some disk space", ("No space left", "Disk quota exceeded", "disk is full")
    ),
    FailureKind(
        "out of memory",
        SAVE_MEMORY,
        ("out of memory", "SIGKILL", "MemoryError", "OutOfMemory", "Cannot allocate", "DefaultCPUAllocator"),
    ),
    FailureKind(
        "a disk that is gone",
        "mount it again, or check the disk",
        ("endpoint is not connected", "Stale file handle", "Input/output error", "No such device or address"),
    ),
    FailureKind(
        "no permission",
        "make the study's folder writable, and the files that it names readable",
        ("Read-only file system", "Permission denied", "Operation not permitted"),
    ),
    FailureKind(
        "no network",
        "check the network, or fetch the files on a machine that has one and name their folder",
        (
            "ConnectionError",
            "ConnectTimeout",
            "ReadTimeout",
            "Name or service not known",
            "name resolution",
            "Network is unreachable",
            "Connection refused",
            "Connection reset",
            "Max retries exceeded",
            "LocalEntryNotFound",
            "OfflineMode",
            "outgoing traffic has been disabled",
            "couldn't connect",
        ),
    ),
    FailureKind(
        "a tokenizer that cannot be read",
        "put the tokenizer's files of {model} in order: save or download them again",
        ("untagged enum Model", "TokenizersBackend", "okenizer for"),
        r"tokenizers|transformers/tokenization\w*|transformers/models/auto/tokenization\w*",
    ),
    FailureKind(
        "a base model that cannot be read",
        "put the files of {model} in order: save or download them again",
        ("SafetensorError", "loading state_dict", "size mismatch for", "Unrecognized model"),
        r"safetensors|transformers/(modeling_utils|configuration\w*|core_model_loading|safetensors\w*)",
    ),
    FailureKind(
        "a file that is gone",
        "put it back, or mend its path in the study; where a disk holds it, mount that",
        ("No such file or directory",),
    ),
    FailureKind(
        "a method that trains nothing",
        "check its settings under methods.{method}",
        ("no gradient", "frozen", "did not move"),
    ),
    FailureKind(
        "an error inside PEFT",
        "change or remove methods.{method}; the log says where in PEFT it happened",
        ("Target modules", "target_modules"),
        "peft",
    ),
    FailureKind(
        "a worker that ended", "run it again; the log has its last words", ("worker process", "SLURM job")
    ),
)
_OTHER = FailureKind("an error", "the log says where it happened")
_DIVERGED = FailureKind(
    "most likely a learning rate that is too high",
    "lower learning_rates.{method} (a smaller rate is a new run), or set retries.diverged",
)
_NOT_A_NUMBER = FailureKind(
    "a base model whose own loss is not a number",
    "look for NaN and infinite numbers in the weights of {model}: save or download them again; with bf16 its "
    "numbers may also overflow (precision)",
)
"""Before the first update no learning rate has had a say."""
_AT_FIRST = re.compile(r"was not finite at step 1(?!\d)")
_JUDGED_BY_GUESS = FailureKind(
    "an earlier version compared it with a uniform guess alone, not with its own start",
    "`finescale run --retry-diverged` makes it again",
    ("above a uniform guess",),
)
_FRAME = re.compile(r'File "[^"]*?(?:site-packages|dist-packages)/([^"]+?)(?:/__init__)?\.py"')
_BELOW = ("torch/", "numpy/", "accelerate/")
"""Libraries that others call: what happened inside them was their caller's doing."""


@dataclass(frozen=True)
class Failure:
    """Runs that did not end well for one reason.

    Attributes:
        outcome: `failed`, `diverged`, or `broken` (it will be tried again).
        kind: Its kind, in a few words.
        runs: Fingerprints, first things first.
        fields: What is known of the first run.
        cause: The error of the first run.
        remedy: What to do.
    """

    outcome: str
    kind: str
    runs: tuple[str, ...]
    fields: Mapping[str, Any]
    cause: str
    remedy: str


def kind_of(outcome: str, error: str, traceback: str = "", method: str = "") -> FailureKind:
    """The kind of a failure.

    Args:
        outcome: `failed`, `diverged`, or `broken`.
        error: Its message.
        traceback: Its traceback, where there is one.
        method: The run's method; ``none`` trains nothing.
    """
    if outcome == "diverged":
        if method == "none" or _AT_FIRST.search(error):
            return _NOT_A_NUMBER
        return _JUDGED_BY_GUESS if _JUDGED_BY_GUESS.words[0] in error else _DIVERGED
    own = re.search(r"^  remedy: (.*)$", error, re.MULTILINE)
    if own is not None:  # finescale's own words
        return FailureKind(error.splitlines()[0], own[1])
    known = next((kind for kind in KINDS if any(word in error for word in kind.words)), None)
    if known is not None:
        return known
    frames = [frame for frame in _FRAME.findall(traceback) if not frame.startswith(_BELOW)]
    inner = frames[-1] if frames else ""
    return next((kind for kind in KINDS if kind.library and re.match(kind.library, inner)), _OTHER)


def remedy(outcome: str, error: str, fields: Mapping[str, Any], traceback: str = "") -> str:
    """What to do about a run that did not end well.

    Args:
        outcome: `failed`, `diverged`, or `broken`.
        error: Its message.
        fields: What is known of the run; its method and model are named.
        traceback: Its traceback, where there is one.
    """
    names = {name: fields.get(name) or name.upper() for name in ("method", "model")}
    kind = kind_of(outcome, error, traceback, str(fields.get("method")))
    text = re.sub(r"\{(method|model)\}", lambda name: str(names[name[1]]), kind.remedy)
    if outcome == "diverged":
        return text
    again = "`finescale run` tries it again" if outcome == "broken" else "then `finescale run --retry-failed`"
    return f"{text}; {again}"


def failures(troubles: Iterable[Mapping[str, Any]]) -> list[Failure]:
    """A study's failures, each reason once, the most frequent first.

    Args:
        troubles: `run`, `outcome`, `error`, `traceback` and `fields` of each run (`Ledger.troubles`).
    """
    alike: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for trouble in troubles:
        error = str(trouble["error"])
        method, model = (str(trouble["fields"].get(name)) for name in ("method", "model"))
        kind = kind_of(trouble["outcome"], error, trouble["traceback"] or "", method)
        if kind is _DIVERGED:
            reason = method
        elif kind is _NOT_A_NUMBER:
            reason = model
        else:
            reason = re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?", "#", error)
        alike.setdefault((trouble["outcome"], kind.name, reason), []).append(trouble)
    found = []
    for (outcome, kind_name, _), rows in alike.items():
        first = rows[0]
        error, traceback = str(first["error"]), first["traceback"] or ""
        what = remedy(outcome, error, first["fields"], traceback)
        runs = tuple(row["run"] for row in rows)
        found.append(Failure(outcome, kind_name, runs, first["fields"], error, what))
    return sorted(found, key=lambda failure: -len(failure.runs))


def failure_lines(found: Sequence[Failure], folder: Path) -> Iterator[str]:
    """Failures for a terminal: how many, of which kind, the first one's cause, what to do, where its log is.

    Args:
        found: What `failures` found.
        folder: The study's folder.
    """
    for failure in found[:SHOWN]:
        many = f"{len(failure.runs):,} {'run' if len(failure.runs) == 1 else 'runs'}"
        first = run_in_words(failure.runs[0], failure.fields)
        yield f"{many} {WORDS[failure.outcome]}: {failure.kind}. First: {first}"
        cause = cause_lines(failure.cause)
        yield from (f"  {'cause:' if line == cause[0] else '      '} {line.strip()}" for line in cause)
        yield f"  remedy: {failure.remedy}"
        yield f"  log: finescale status {folder} --logs {failure.runs[0]}"
    if len(found) > SHOWN:
        rest = found[SHOWN:]
        runs = sum(len(failure.runs) for failure in rest)
        yield f"... and {runs:,} runs for {len(rest)} more reasons: finescale status {folder} --json"


def run_in_words(run: str, fields: Mapping[str, Any]) -> str:
    """A run's fingerprint and what it is."""
    size = f" {fields['pet_size']}" if fields.get("pet_size") else ""
    return (
        f"{run} ({fields.get('method')}{size}, {fields.get('model')},"
        f" {fields.get('finetune_examples')} examples, seed {fields.get('seed')})"
    )


def cause_lines(error: str) -> list[str]:
    """A message short enough for a terminal: its first line and its last ones."""
    lines = [line for line in error.splitlines() if line.strip() and not line.startswith("  remedy: ")]
    if len(lines) <= CAUSE_LINES:
        return lines
    return [lines[0], "...", *lines[2 - CAUSE_LINES :]]
