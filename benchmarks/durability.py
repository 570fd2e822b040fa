"""How much a study survives: kills, many writers, a hundred thousand runs.

Usage: python benchmarks/durability.py [--part kills] [--part commits] ...   (all parts: about an hour)

It may be stopped at any time and goes on where it was: what is finished is kept in
benchmarks/results/durability.progress.json. Delete that file to start anew.

Figures, by part:
  kills    kills, lost, duplicated, tables, tables_identical: processes of real nano studies killed with
           SIGKILL at random moments; acknowledged records that are missing or altered; records there twice;
           studies, and those whose table of records equals the undisturbed study's, bit for bit.
  commits  commits, commits_lost, commits_per_second, commit_p50_ms, commit_p99_ms, commit_max_ms: 8 processes
           that commit runs to one ledger at the same time.
  scale    expand_100k_seconds (study to runs with names, costs and columns), store_100k_seconds (into the
           ledger), status_100k_seconds (the whole command), expand_100k_bytes, status_100k_bytes (peaks).
  fuzz     fuzz_inputs, fuzz_taken, fuzz_tracebacks, fuzz_unnamed, fuzz_peak_bytes: malformed studies, tables
           and fits; those that are valid all the same; that end in an exception other than a message, in a
           crash or in an endless wait; whose message does not say where or carries control characters;
           memory. fuzz_commands, fuzz_command_tracebacks: the same for whole commands, one for 200 inputs.
  failures failures_injected, failures_named, failure_studies, exit_codes_right: failures of ten kinds put
           into studies; those whose kind, count, cause and remedy are in the driver's last lines, and cause
           and remedy in their logs; failures whose study ended with the right exit code.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from report import RESULTS, publish

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "durability"))

PACKAGES = ("torch", "transformers", "peft", "pydantic")
KILLS_A_STUDY = 12
FUZZ_STEP = 1_000
"""Inputs between two looks at the progress."""


class Progress:
    """What the parts have finished; written aside and renamed after every step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[str, dict[str, Any]] = {}
        if path.exists():
            self.parts = json.loads(path.read_text(encoding="utf-8"))

    def of(self, part: str) -> dict[str, Any]:
        """What is kept of a part; change it and `save`."""
        return self.parts.setdefault(part, {})

    def save(self) -> None:
        """Writes everything."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(".partial")
        aside.write_text(json.dumps(self.parts, indent=1), encoding="utf-8")
        aside.replace(self.path)


Parts = dict[str, tuple[Callable[[Progress, int], dict[str, float]], int]]
"""Name of a part to what it does, and how often."""


def kills(progress: Progress, count: int) -> dict[str, float]:
    """Kills processes of nano studies until `count` kills are made."""
    import killing  # noqa: PLC0415

    kept = progress.of("kills")
    outcomes: list[dict[str, Any]] = kept.setdefault("studies", [])
    with tempfile.TemporaryDirectory() as scratch:
        if "table" not in kept:
            folder = Path(scratch) / "undisturbed"
            kept["seconds"] = killing.finish(folder, 2)
            kept["table"] = killing.table_hash(folder / "study")
            progress.save()
        while (made := sum(outcome["kills"] for outcome in outcomes)) < count:
            folder = Path(scratch) / "disturbed"
            chance = random.Random(f"kills {len(outcomes)}")
            most = min(KILLS_A_STUDY, count - made)
            outcome = killing.disturb(folder, most, kept["seconds"], chance)
            shutil.rmtree(folder)
            outcomes.append(asdict(outcome))
            progress.save()
            print(f"{made + outcome.kills}/{count} kills: {outcome}", file=sys.stderr, flush=True)
    return {
        **{name: sum(item[name] for item in outcomes) for name in ("kills", "lost", "duplicated")},
        "tables": len(outcomes),
        "tables_identical": sum(item["table"] == kept["table"] for item in outcomes),
    }


def commits(progress: Progress, count: int) -> dict[str, float]:
    """Eight processes that commit `count` runs each to one ledger."""
    del progress  # short enough to be made at once
    import committing  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        outcome = committing.many_writers(Path(scratch), processes=8, commits=count)
    taken = sorted(outcome.milliseconds)
    return {
        "commits": len(taken),
        "commits_lost": outcome.lost,
        "commits_per_second": len(taken) / outcome.seconds,
        "commit_p50_ms": taken[len(taken) // 2],
        "commit_p99_ms": taken[len(taken) * 99 // 100],
        "commit_max_ms": taken[-1],
    }


def scale(progress: Progress, count: int) -> dict[str, float]:
    """A study of about `count` runs, in processes of its own so that the peaks are theirs."""
    del progress
    import subprocess  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, str(Path(__file__).with_name("durability_scale.py")), scratch, str(count)]
        found = [
            json.loads(subprocess.run([*command, part], check=True, capture_output=True, text=True).stdout)
            for part in ("expand", "status")
        ]
    return found[0] | found[1]


def fuzz(progress: Progress, count: int) -> dict[str, float]:
    """Malformed files, judged in the process and, a small share of them, by the command line."""
    import fuzzing  # noqa: PLC0415

    kept = progress.of("fuzz")
    for name, least, judged, most in (
        ("files", FUZZ_STEP, fuzzing.fuzz, count),
        ("commands", FUZZ_STEP // 200, fuzzing.call, count // 200),
    ):
        part: dict[str, Any] = kept.setdefault(name, {"inputs": 0, "ends": {}, "wrong": [], "peak": 0})
        while part["inputs"] < most:
            step = min(least, most - part["inputs"])
            tally = judged(part["inputs"], step)
            part["ends"] = {
                end: part["ends"].get(end, 0) + tally.ends[end] for end in (*part["ends"], *tally.ends)
            }
            part["wrong"] += tally.wrong
            part["peak"] = max(part["peak"], tally.peak_bytes)
            part["inputs"] += step
            progress.save()
            print(f"{part['inputs']}/{most} {name}: {part['ends']}", file=sys.stderr, flush=True)
    ends, commands = kept["files"]["ends"], kept["commands"]["ends"]
    bad = ("traceback", "hang", "crash")
    return {
        "fuzz_inputs": sum(ends.values()),
        "fuzz_taken": ends.get("taken", 0),
        "fuzz_tracebacks": sum(ends.get(end, 0) for end in bad),
        "fuzz_unnamed": ends.get("unnamed", 0) + ends.get("control", 0),
        "fuzz_peak_bytes": kept["files"]["peak"],
        "fuzz_commands": sum(commands.values()),
        "fuzz_command_tracebacks": sum(commands.get(end, 0) for end in (*bad, "control")),
    }


def failures(progress: Progress, count: int) -> dict[str, float]:
    """Studies into which `count` failures are injected, up to 20 each; in every fifth all tuned runs fail."""
    import failing  # noqa: PLC0415

    kept: list[dict[str, Any]] = progress.of("failures").setdefault("studies", [])
    kinds = list(failing.KINDS)
    while (made := sum(outcome["injected"] for outcome in kept)) < count:
        chance = random.Random(f"failures {len(kept)}")
        many = 20 if len(kept) % 5 == 4 else chance.randint(3, 8)
        chosen = [kinds[(made + number) % len(kinds)] for number in range(min(many, count - made))]
        with tempfile.TemporaryDirectory() as scratch:
            outcome = failing.inject(Path(scratch), chosen, len(kept))
        kept.append(asdict(outcome))
        progress.save()
        print(f"{made + outcome.injected}/{count} failures: {outcome}", file=sys.stderr, flush=True)
    return {
        "failures_injected": sum(outcome["injected"] for outcome in kept),
        "failures_named": sum(outcome["named"] for outcome in kept),
        "failure_studies": len(kept),
        "exit_codes_right": sum(outcome["injected"] for outcome in kept if outcome["code_right"]),
    }


PARTS: Parts = {
    "kills": (kills, 200),
    "commits": (commits, 10_000),
    "scale": (scale, 100_000),
    "fuzz": (fuzz, 100_000),
    "failures": (failures, 200),
}
"""What each part does, and how often."""


def measure(benchmark: str, what: str | None, parts: Parts) -> None:
    """Runs the parts that were asked for and publishes their figures, beside those of earlier runs.

    Args:
        benchmark: Its name.
        what: Its documentation, for `--help`.
        parts: What each part does, and how often.
    """
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--part", action="append", choices=parts, help="repeat; default: all")
    parser.add_argument("--count", type=int, help="how often (or long), instead of the full count")
    parser.add_argument("--no-keep", action="store_true", help="print only")
    arguments = parser.parse_args()
    keep = not arguments.no_keep
    with tempfile.TemporaryDirectory() as scratch:
        progress = Progress((RESULTS if keep else Path(scratch)) / f"{benchmark}.progress.json")
        for name in arguments.part or parts:
            part, count = parts[name]
            progress.of(name)["figures"] = part(progress, arguments.count or count)
            progress.save()
        figures = [kept.get("figures", {}) for kept in progress.parts.values()]
    if keep and (published := RESULTS / f"{benchmark}.json").exists():  # parts that were run another day
        figures.insert(0, json.loads(published.read_text(encoding="utf-8"))["figures"])
    publish(benchmark, {k: v for part in figures for k, v in part.items()}, packages=PACKAGES, keep=keep)


if __name__ == "__main__":
    measure("durability", __doc__, PARTS)
