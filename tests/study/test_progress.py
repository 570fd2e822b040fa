from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from finescale.study.ledger import Entry
from finescale.study.progress import CostsSoFar, TerminalProgress, duration


def entry(run: str, method: str = "full", cost: float = 10.0) -> Entry:
    fields = {"method": method, "model": "nano", "finetune_examples": 128, "seed": 0}
    return Entry(run, "study", False, False, cost, fields, {})


def test_time_left_is_corrected_by_measured_seconds_method_by_method() -> None:
    costs = CostsSoFar()
    entries = [entry("a"), entry("b"), entry("c", "lora"), entry("d", "lora")]
    costs.plan(entries, {"a": "done", "c": "done"}, {"a": 20.0, "c": 5.0}, [])
    assert costs.left(1) == 20.0 + 5.0
    assert costs.left(2) == 12.5
    assert costs.bar() == (20.0, 40.0)


def test_runs_that_are_not_known_yet_are_part_of_the_bar() -> None:
    costs = CostsSoFar()
    costs.plan([entry("a")], {"a": "done"}, {"a": 20.0}, [10.0, 10.0])
    assert costs.total == 3
    assert costs.left(1) == 40.0
    assert costs.bar() == (10.0, 30.0)


def test_a_running_run_s_own_share_counts() -> None:
    costs = CostsSoFar()
    costs.plan([entry("a")], {}, {}, [])
    costs.started(entry("a"))
    costs.shares = {"a": 0.5}
    assert costs.bar() == (5.0, 10.0)
    assert costs.left(1) < 1.0


def test_events_and_a_new_plan_count_the_same() -> None:
    costs, fresh = CostsSoFar(), CostsSoFar()
    entries = [entry("a"), entry("b"), entry("c")]
    costs.plan(entries, {}, {}, [])
    costs.started(entry("a"))
    costs.broken(entry("a"))
    costs.started(entry("a"))
    costs.done(entry("a"), "diverged", 4.0)
    fresh.plan(entries, {"a": "diverged"}, {"a": 4.0}, [])
    assert costs.left(1) == fresh.left(1) == 8.0
    assert (costs.finished, costs.trouble) == (fresh.finished, fresh.trouble) == (1, 1)


def test_without_a_terminal_there_are_plain_lines() -> None:
    out = io.StringIO()
    with TerminalProgress(Console(file=out, width=80), workers=1) as shown:
        shown.plan([entry("a"), entry("b"), entry("c")], {}, {}, [])
        shown.started(entry("a"))
        shown.finished(entry("a"), {"status": "done", "test_loss": 3.25}, 4.0)
        shown.finished(entry("b"), {"status": "failed", "error": "[red]why"}, 4.0)
        shown.broken(entry("c"), "killed", 1)
    assert [re.sub(r"^\d\d:\d\d ", "", line) for line in out.getvalue().splitlines()] == [
        "0/3 runs, about 0:00:30 left",
        "failed: study full nano, 128 examples, seed 0: [red]why",
        "attempt 1 broke, will try again: study full nano, 128 examples, seed 0: killed",
    ]


def test_without_a_terminal_there_is_a_line_a_minute_also_while_nothing_finishes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, now = io.StringIO(), time.monotonic()
    with TerminalProgress(Console(file=out, width=80), workers=1) as shown:
        shown.plan([entry("a"), entry("b")], {}, {}, [])
        shown.finished(entry("a"), {"status": "done", "test_loss": 3.25}, 4.0)
        for second in range(0, 150, 10):
            monkeypatch.setattr(time, "monotonic", lambda second=second: now + second)
            shown.running({"b": 0.5})
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert "1/2 runs" in lines[1]
    assert lines[2].endswith("last: study full nano, 128 examples, seed 0: test loss 3.2500, 4.0 s")


def test_names_and_errors_move_no_cursor() -> None:
    out = io.StringIO()
    hostile = Entry("a", "study", False, False, 1.0, {"method": "full", "model": "\x1b[2Jm"}, {})
    with TerminalProgress(Console(file=out, width=200), workers=1) as shown:
        shown.plan([hostile], {}, {}, [])
        shown.broken(hostile, "\x1b]0;title\x07", 1)
        shown.finished(hostile, {"status": "failed", "error": "\x9b31m"}, 1.0)
    assert not {"\x1b", "\x07", "\x9b"} & set(out.getvalue())
    assert out.getvalue().count("\ufffd[2Jm") == 2


def test_durations_read_as_clocks() -> None:
    assert duration(3725.4) == "1:02:05"
