"""Hands malformed files to finescale and judges how each ends.

Usage: python tests/durability/fuzzing.py FIRST COUNT   (a line for each input that ends as it must not)

An input must be taken, or end in a `FinescaleError` whose message names the file, the line or row where
the format has them, and the field where one is to blame, without anything that moves a terminal's cursor.
All else - another exception, an endless wait, more memory than allowed, a dead process - is counted against
finescale. The inputs are judged in a process of their own, so that a crash is seen and its input known.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from mutating import Input, make
from rich.console import Console

from finescale.errors import FinescaleError
from finescale.runs.memory import resident_peak

CPU_SECONDS, WALL_SECONDS = 20, 600
"""Longer means hanging; a usual input takes a hundredth of a second. Wall-clock time ends a deadlock."""
MORE_BYTES = 3 * 2**30
"""Address space beyond what the process has after a first, harmless input."""
QUESTION = ["model_params=1e6,finetune_examples=1000", "pretrain_tokens=1e7,finetune_examples=1000"]
GOOD = ("taken", "refused")
WHOLE = (
    "not valid YAML", "the file is empty", "not a text file", "not a study", "a second document",
    "nested too deeply", "a control character", "too many values", "a YAML tag", "alias *", "is there twice",
    "a key that is no single word",
)  # fmt: skip
"""Problems of a study file's text, which no field is to blame for."""
OF_TABLES = (
    "cannot be read as a table", "no column", "no factor column", "the file is empty", "zero bytes inside",
    "too large", "nested values", "two columns are called", "columns are missing", "is damaged",
    "a status that says nothing",
)  # fmt: skip
"""Problems of a whole table, or of a whole column."""


class Hanging(BaseException):
    """The time is over."""


@dataclass
class Tally:
    """How many inputs ended how, and what was wrong with those that ended as they must not.

    Attributes:
        ends: How often each end came: taken, refused, traceback, unnamed, control, hang, crash.
        wrong: (input's number, end, what happened).
        peak_bytes: The largest memory of a judging process.
    """

    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[int, str, str]] = field(default_factory=list)
    peak_bytes: int = 0

    def add(self, other: Tally) -> None:
        """Adds another tally up."""
        self.ends += other.ends
        self.wrong += other.wrong
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)


def fuzz(first: int, count: int) -> Tally:
    """Judges inputs in processes of their own.

    Args:
        first: Number of the first input.
        count: How many.
    """
    tally, at = Tally(), first
    while at < first + count:
        command = [sys.executable, __file__, str(at), str(first + count - at)]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        for line in done.stdout.splitlines():
            told = json.loads(line)
            if "peak" in told:
                tally.peak_bytes = max(tally.peak_bytes, told["peak"])
                continue
            at = told["input"] + 1
            tally.ends[told["end"]] += 1
            if told["end"] not in GOOD:
                tally.wrong.append((told["input"], told["end"], told["words"]))
        if done.returncode:
            tally.ends["crash"] += 1
            tally.wrong.append((at, "crash", f"exit code {done.returncode}: {done.stderr[-500:]}"))
            at += 1
    return tally


def call(first: int, count: int) -> Tally:
    """Hands inputs to the real command line, each in a process of its own.

    Args:
        first: Number of the first input.
        count: How many.
    """
    tally = Tally()
    for number in range(first, first + count):
        with tempfile.TemporaryDirectory() as folder:
            end, words = _call(number, Path(folder))
        tally.ends[end] += 1
        if end not in GOOD:
            tally.wrong.append((number, end, words))
    return tally


def _call(number: int, folder: Path) -> tuple[str, str]:
    made = make(number)
    (folder / made.name).write_bytes(made.data)
    tables = (["fit", "--bootstrap", "9"], ["advise", "--bootstrap", "9"], ["report", "--bootstrap", "9"])
    command, *flags = {"study": ["run", "--dry-run"], "fit": ["predict", "--at", QUESTION[0]]}.get(
        made.kind, tables[number % 3]
    )
    line = [sys.executable, "-c", "from finescale.cli import main; main()", command, made.name, *flags]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            line, cwd=folder, capture_output=True, check=False, env=environment, timeout=WALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return "hang", command
    told = (done.stdout + done.stderr).decode()
    words = f"{command}: exit code {done.returncode}: {told[-800:]}"
    if done.returncode not in (0, 1, 2):
        return "crash", words
    if "Traceback" in told:
        return "traceback", words
    if _moves_a_cursor(told):
        return "control", words
    return ("refused" if done.returncode else "taken"), words


def judge(made: Input, folder: Path) -> tuple[str, str]:
    """How an input ends: one of `Tally.ends`, and in words."""
    path = folder / made.name
    path.write_bytes(made.data)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _use(made.kind, path)
    except FinescaleError as error:
        words = str(error)
        if _moves_a_cursor(words):
            return "control", repr(words)
        return ("refused" if _is_named(made.kind, words, path.name) else "unnamed"), words
    except Hanging:
        return "hang", traceback.format_exc(limit=-3)
    except BaseException:  # also polars' panics, which are no Exception
        return "traceback", traceback.format_exc(limit=-4)
    return "taken", ""


def _use(kind: str, path: Path) -> None:
    """What a command would do with the file, up to the first thing that takes long."""
    if kind == "study":
        from finescale.cli import run as commands

        out = io.StringIO()
        commands.run(path, dry_run=True, console=Console(file=out, width=200))
        if _moves_a_cursor(out.getvalue()):
            raise AssertionError(f"shown as it is: {out.getvalue()!r}")
    elif kind == "fit":
        from finescale.cli.laws import Table, predict_command

        predict_command(Table(str(path)), at=QUESTION, to=None)
    else:
        from finescale.laws.fit import fit
        from finescale.records.records import read_records

        records = read_records(path)
        with contextlib.suppress(FinescaleError):  # a table that can be read need not allow a fit
            fit(records, bootstrap=0)


def _moves_a_cursor(words: str) -> bool:
    return any(
        (unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char not in "\n\t")
        or unicodedata.bidirectional(char) in _TURNS
        for char in words
    )


_TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
"""Characters that turn the direction of writing around."""


def _is_named(kind: str, words: str, name: str) -> bool:
    """Whether a message says where: file, line or row, field - as far as the format has them."""
    head = words.partition("\n")[0]
    if kind == "fit":
        return name in head or "no law answers" in head
    if kind == "study" and "pairs.jsonl, line " in head:
        return True  # a column that the study names is not in the file that it names
    if name not in head:
        return False
    if kind == "study":
        line = re.search(r", line \d+(, .+: )?", head)
        return "too large" in head or bool(line and (line[1] or any(part in head for part in WHOLE)))
    if re.search(r": \d+ values that cannot be right$", head):
        return bool(re.search(r"\n  got: row \d+, column ", words))
    return ", row " in head or any(part in head for part in OF_TABLES)


def main(first: int, count: int) -> None:
    """Judges inputs; a line of JSON for each."""

    def over(number: int, frame: FrameType | None) -> None:
        raise Hanging

    signal.signal(signal.SIGALRM, over)
    signal.signal(signal.SIGPROF, over)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.chdir(folder)
        rows = [json.dumps({"s": f"source {row}", "t": f"target {row}"}) for row in range(400)]
        Path("pairs.jsonl").write_text("\n".join(rows), encoding="utf-8")
        for harmless in ("study", "fit", "csv"):
            judge(Input(harmless, b"x"), folder)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MORE_BYTES, used + MORE_BYTES))
        for number in range(first, first + count):
            made = make(number)
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            signal.alarm(WALL_SECONDS)
            end, words = judge(made, folder)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
            told = {"input": number, "end": end, "words": words if end not in GOOD else ""}
            print(json.dumps(told), flush=True)
    print(json.dumps({"peak": resident_peak("self") or 0}))  # its own: ru_maxrss begins with its parent's


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
