from __future__ import annotations

import errno
import os

import pytest

from finescale.errors import UsageError
from finescale.study.failures import cause_lines, failure_lines, failures, kind_of, remedy

FIELDS = {"method": "lora", "model": "nano", "finetune_examples": 64, "seed": 0}


def trouble(run: str, error: str, outcome: str = "failed", **fields: object) -> dict[str, object]:
    return {
        "run": run, "outcome": outcome, "error": error, "traceback": None, "fields": {**FIELDS, **fields}
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EDQUOT, "disk full"),
        (errno.EROFS, "no permission"),
        (errno.EACCES, "no permission"),
        (errno.ENOTCONN, "a disk that is gone"),
        (errno.ESTALE, "a disk that is gone"),
        (errno.EIO, "a disk that is gone"),
        (errno.ENOMEM, "out of memory"),
        (errno.ECONNREFUSED, "no network"),
        (errno.ENOENT, "a file that is gone"),
    ],
)
def test_the_system_s_own_words_are_known(code: int, kind: str) -> None:
    error = OSError(code, os.strerror(code))
    assert kind_of("failed", f"{type(error).__name__}: {error}").name == kind


def test_a_failure_is_placed_by_the_innermost_library_that_called() -> None:
    frames = ["finescale/study/run", "peft/tuners/lora/layer", "torch/nn/modules/linear"]
    lines = "".join(f'  File "/v/site-packages/{name}.py", line 3, in f\n' for name in frames)
    assert kind_of("failed", "RuntimeError: shapes do not agree", lines).name == "an error inside PEFT"
    outside = lines.replace("peft/tuners/lora/layer", "transformers/models/llama/modeling_llama")
    assert kind_of("failed", "RuntimeError: shapes do not agree", outside).name == "an error"


def test_finescale_s_own_remedy_is_the_remedy() -> None:
    error = str(UsageError("a prompt without tokens", wanted="one", got="none", remedy="state a template"))
    assert kind_of("failed", error).name == "a prompt without tokens"
    assert remedy("failed", error, FIELDS) == "state a template; then `finescale run --retry-failed`"


def test_a_remedy_names_the_run_s_own_method_and_model() -> None:
    assert "learning_rates.lora" in remedy("diverged", "nan", FIELDS)
    assert "files of nano" in remedy("failed", "SafetensorError: header too large", FIELDS)


def test_a_loss_that_is_no_number_before_the_first_update_is_the_base_model_s() -> None:
    rows = [trouble("a", "loss was not finite at step 1", "diverged", method="full", model="nano")]
    rows += [trouble("b", "gradient was not finite at step 1", "diverged", method="lora", model="nano")]
    rows += [
        trouble("c", "the test loss is not a finite number (nan)", "diverged", method="none", model="nano")
    ]
    rows += [trouble("d", "loss was not finite at step 12", "diverged", method="full", model="nano")]
    own, rate = failures(rows)
    assert (len(own.runs), own.kind) == (3, "a base model whose own loss is not a number")
    assert "weights of nano" in own.remedy
    assert "learning_rates.full" in rate.remedy


def test_each_reason_is_told_once_with_its_count_whatever_the_numbers_in_it() -> None:
    rows = [trouble(str(n), f"OSError: [Errno 28] No space left on device: 'runs/{n}'") for n in range(3)]
    rows += [trouble("d", "loss was not finite at step 3", "diverged", method="full")]
    rows += [trouble("e", "loss was not finite at step 9", "diverged", method="full")]
    rows += [trouble("f", "loss was not finite at step 9", "diverged")]
    found = failures(rows)
    assert [(failure.outcome, len(failure.runs)) for failure in found] == [
        ("failed", 3),
        ("diverged", 2),
        ("diverged", 1),
    ]
    lines = "\n".join(failure_lines(found, "results/s"))  # pyright: ignore[reportArgumentType]
    assert "3 runs failed: disk full. First: 0 (lora, nano, 64 examples, seed 0)" in lines
    assert "  cause: OSError: [Errno 28] No space left on device: 'runs/0'" in lines
    assert "  remedy: free some disk space; then `finescale run --retry-failed`" in lines
    assert "  log: finescale status results/s --logs 0" in lines


def test_a_long_message_keeps_its_first_line_and_its_last_ones() -> None:
    lines = cause_lines("\n".join(f"line {n}" for n in range(100)))
    assert (lines[0], lines[1], lines[-1], len(lines)) == ("line 0", "...", "line 99", 6)
