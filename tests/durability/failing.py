"""Studies whose runs fail in ten ways, and what their driver says of it: exit code, last lines, logs.

The failures are the libraries' and the system's own, made for real where a process may make them: a damaged
file of weights is opened by safetensors, a damaged tokenizer by tokenizers, the hub's client asks a port that
nobody listens on, memory runs out under a limit, a layer of PEFT raises. What needs a mount or another user
(a lost disk, no permission) is injected at the system call.
"""

from __future__ import annotations

import errno
import os
import random
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "support"))

from functions import instant  # noqa: E402 - the runner's own stand-in for a run

STUDY = """\
name: failing
task: some-task
seeds: [{seed}]
test_examples: 100
base: {{model: nano-0.1m}}
grids:
  - vary: model
    values: [nano-0.1m]
    finetune_examples: {{full: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], lora: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}
learning_rates: {{full: 1e-3, lora: 1e-2}}
retries: 0
"""
PLACES = tuple(f"{method}-{size}" for method in ("full", "lora") for size in range(1, 11))
"""The runs that can be made to fail; the untuned model is one more."""


def model(folder: Path) -> None:
    from safetensors.torch import load_file

    file = folder / "model.safetensors"
    file.write_bytes(b"\xff" * 64)
    load_file(file)


def disk(folder: Path) -> None:
    del folder
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"weights")


def memory(folder: Path) -> None:
    del folder
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000, before[1]))
    try:
        bytearray(500_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def killed(folder: Path) -> None:
    del folder
    os.kill(os.getpid(), random.choice((signal.SIGTERM, signal.SIGSEGV, signal.SIGABRT)))
    signal.pause()


def permission(folder: Path) -> None:
    _at_open(errno.EACCES, folder / "curve.json")


def mount(folder: Path) -> None:
    _at_open(random.choice((errno.ENOTCONN, errno.ESTALE, errno.EIO)), folder / "adapter")


def tokenizer(folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    file = folder / "tokenizer.json"
    file.write_text('{"version": "1.0", "model": {"type": "none of them"}}', encoding="utf-8")
    PreTrainedTokenizerFast(tokenizer_file=str(file))


def network(folder: Path) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download("someone/model", "config.json", cache_dir=folder, endpoint="http://127.0.0.1:9")


def peft(folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    del folder
    adapted = get_peft_model(torch.nn.Sequential(torch.nn.Linear(2, 2)), LoraConfig(target_modules=["0"]))
    adapted.base_model.model[0].scaling = {}  # what a method's layer looks up is not there
    adapted(torch.ones(1, 2))


def _at_open(code: int, path: Path) -> None:
    """Opens a file where the system refuses it."""

    def refused(path: Any, *_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code), str(path))

    before, os.open = os.open, refused
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    finally:
        os.open = before


KINDS: dict[str, tuple[Callable[[Path], None] | None, str, str]] = {
    "a broken model": (model, "a base model that cannot be read", "SafetensorError"),
    "a full disk": (disk, "disk full", "No space left on device"),
    "out of memory": (memory, "out of memory", "MemoryError"),
    "NaN": (None, "most likely a learning rate that is too high", "not a finite number (nan)"),
    "a killed worker": (killed, "a worker that ended", "was killed by SIG"),
    "no permission": (permission, "no permission", "Permission denied"),
    "a lost mount": (mount, "a disk that is gone", "[Errno "),
    "a bad tokenizer": (tokenizer, "a tokenizer that cannot be read", "untagged enum Model"),
    "no network": (network, "no network", "check your connection"),
    "a bug in PEFT": (peft, "an error inside PEFT", "KeyError"),
}
"""What is injected: how, as which kind it has to be named, and words of its cause."""


def execute(planned: Any, folder: Path) -> dict[str, object]:
    """A run that fails if its study's folder says so (`inject`)."""
    order = folder.parents[1] / "inject" / f"{planned.run.method.name}-{planned.run.finetune_examples}"
    folder.mkdir(parents=True, exist_ok=True)
    value = instant(planned, folder)
    if planned.run.finetune_examples and order.exists():
        fail, _, _ = KINDS[order.read_text(encoding="utf-8")]
        if fail is None:
            value["test_loss"] = float("nan")
        else:
            fail(folder)
    return value


@dataclass(frozen=True)
class Outcome:
    """What a driver said of a study: failures injected, named, and whether its exit code was right."""

    injected: int
    named: int
    code_right: bool
    wrong: tuple[str, ...]


def inject(scratch: Path, kinds: list[str], seed: int) -> Outcome:
    """Drives a study in which one run fails of each of these kinds, and reads what was said.

    Args:
        scratch: An empty folder.
        kinds: Kinds, as many as `PLACES` at most; one may come again.
        seed: Which runs fail.
    """
    folder = scratch / "study"
    (folder / "inject").mkdir(parents=True)
    chosen = random.Random(seed).sample(PLACES, len(kinds))
    for place, kind in zip(chosen, kinds, strict=True):
        (folder / "inject" / place).write_text(kind, encoding="utf-8")
    file = scratch / "study.yaml"
    file.write_text(STUDY.format(seed=seed), encoding="utf-8")
    driver = [sys.executable, str(HERE / "failing.py"), str(file), str(folder)]
    done = subprocess.run(
        driver, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    code = 3 if kinds else 0
    groups = _groups(done.stdout)
    wrong = (
        [] if done.returncode == code else [f"exit code {done.returncode}, not {code}: {done.stderr[-500:]}"]
    )
    named = 0
    for kind in kinds:
        _, name, words = KINDS[kind]
        alike = sum(KINDS[other][1] == name for other in kinds)
        told = [group for group in groups if group["kind"] == name]
        in_lines = sum(int(group["runs"]) for group in told) == alike and all(
            words in group["cause"] and group["remedy"] for group in told
        )
        in_logs = _logs_with(folder, words) >= alike
        named += in_lines and in_logs
        if not (in_lines and in_logs):
            wrong.append(
                f"{kind}: {'' if in_lines else done.stdout[-1500:]}{'' if in_logs else ' not in its log'}"
            )
    return Outcome(len(kinds), named, done.returncode == code, tuple(wrong))


_GROUP = re.compile(
    r"^(?P<runs>\d+) runs? (?:failed|diverged): (?P<kind>.*)\. First: .*\n"
    r"  cause: (?P<cause>(?:.*\n)(?:       .*\n)*)  remedy: (?P<remedy>.*)\n",
    re.MULTILINE,
)


def _groups(said: str) -> list[dict[str, str]]:
    """The kinds of failure in a driver's last lines."""
    return [found.groupdict() for found in _GROUP.finditer(said)]


def _logs_with(folder: Path, words: str) -> int:
    """How many attempts' logs have a cause with these words, and a remedy."""
    logs = [file.read_text(encoding="utf-8") for file in folder.glob("runs/*/logs/*.log")]
    ends = [text.partition(" cause: ")[2] for text in logs]
    return sum(words in end and " remedy: " in end for end in ends)


if __name__ == "__main__":
    import functions

    from finescale.cli import run as commands
    from finescale.study import resolve

    resolve.resolver = functions.resolver
    sys.exit(commands.run(Path(sys.argv[1]), out=Path(sys.argv[2]), workers=1, execute="failing:execute"))
