from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console
from test_ledger import ME, entry

from finescale.errors import UsageError
from finescale.study import status
from finescale.study.failures import remedy
from finescale.study.ledger import Ledger
from finescale.study.state import study_state
from finescale.study.status import show_status, status_view

FIELDS = {"task": "t", "method": "full", "model": "nano", "finetune_examples": 128, "seed": 0}


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        runs = [entry(run, fields=FIELDS, cost=10.0) for run in "abcd"]
        opened.sync_plan("s", [*runs, entry("e", fields={**FIELDS, "method": "lora"}, cost=10.0)])
        yield opened


def end(ledger: Ledger, run: str, status: str = "done", error: str | None = None) -> None:
    attempt = ledger.claim(run, ME)
    assert attempt is not None
    ledger.commit(run, attempt, {run: {"status": status, "error": error}}, seconds=20.0)


def told(ledger: Ledger, folder: Path, width: int = 200) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width)
    for part in status_view(study_state(ledger, folder)):
        console.print(part, soft_wrap=True)
    return out.getvalue()


def test_runs_are_counted_by_task_method_and_model(ledger: Ledger, tmp_path: Path) -> None:
    end(ledger, "a")
    end(ledger, "b", "diverged", "no number")
    ledger.claim("c", ME)
    state = study_state(ledger, tmp_path)
    assert state["counts"] == {"done": 1, "running": 1, "pending": 2, "diverged": 1}
    full = {"purpose": "study", "task": "t", "method": "full", "model": "nano"}
    assert state["groups"][0] == {**full, "done": 1, "running": 1, "pending": 1, "diverged": 1}
    assert state["groups"][1] == {**full, "method": "lora", "pending": 1}
    assert not state["complete"]


def test_the_models_of_a_method_stand_together(tmp_path: Path) -> None:
    order = [("full", "small"), ("lora", "small"), ("full", "large")]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        fields = [{**FIELDS, "method": method, "model": model} for method, model in order]
        ledger.sync_plan("s", [entry(str(i), fields=given) for i, given in enumerate(fields)])
        groups = study_state(ledger, tmp_path)["groups"]
    shown = [(group["method"], group["model"]) for group in groups]
    assert shown == [("full", "small"), ("full", "large"), ("lora", "small")]


def test_a_run_whose_driver_is_dead_is_pending(ledger: Ledger, tmp_path: Path) -> None:
    node, process, began = ME.split(":")
    ledger.claim("a", f"{node}:{process}:{int(began) + 1}")
    state = study_state(ledger, tmp_path)
    assert (state["counts"], state["running"]) == ({"pending": 5}, 0)


def test_the_time_left_is_that_of_measured_costs(ledger: Ledger, tmp_path: Path) -> None:
    assert study_state(ledger, tmp_path)["seconds_left"] is None
    end(ledger, "a")
    state = study_state(ledger, tmp_path)
    assert state["seconds_left"] == 4 * 20.0
    assert state["seconds"] == 20.0
    assert "about 0:01:20 left, one at a time" in told(ledger, tmp_path)


def test_the_time_of_an_evaluation_is_told_part_by_part(ledger: Ledger, tmp_path: Path) -> None:
    assert "finished runs took" not in told(ledger, tmp_path)
    for run, seconds in (("a", 61.0), ("b", 2.0)):
        attempt = ledger.claim(run, ME)
        assert attempt is not None
        took = {"status": "done", "generation_seconds": seconds, "test_seconds": 0.1}
        ledger.commit(run, attempt, {run: took}, seconds=100.0)
    end(ledger, "c")
    state = study_state(ledger, tmp_path)
    assert state["evaluation_seconds"] == {"test": 0.2, "generation": 63.0}
    assert "finished runs took 0:03:40; of it generation 0:01:03\n" in told(ledger, tmp_path)


def test_the_rate_is_told_while_runs_are_made(ledger: Ledger, tmp_path: Path) -> None:
    end(ledger, "a")
    assert study_state(ledger, tmp_path)["runs_per_hour"] is None
    ledger.claim("b", ME)
    ledger.connection.execute("UPDATE attempts SET started = ? WHERE run = 'a'", (time.time() - 60,))
    assert study_state(ledger, tmp_path)["runs_per_hour"] == pytest.approx(60, rel=0.1)


def test_a_run_that_was_stopped_early_is_no_trouble(ledger: Ledger, tmp_path: Path) -> None:
    for run in "abcd":
        end(ledger, run)
    end(ledger, "e", "stopped")
    state = study_state(ledger, tmp_path)
    assert state["counts"] == {"done": 4, "stopped": 1}
    assert (state["troubles"], state["complete"], state["seconds"]) == ([], True, 100.0)


def test_every_failure_has_its_reason_and_remedy(ledger: Ledger, tmp_path: Path) -> None:
    end(ledger, "a", "diverged", "the loss is not finite")
    end(ledger, "b", "failed", "OSError: No space left on device")
    attempt = ledger.claim("e", ME)
    assert attempt is not None
    ledger.fail("e", attempt, "the worker process was killed by SIGKILL")
    said = told(ledger, tmp_path)
    assert (
        "1 run diverged: most likely a learning rate that is too high."
        " First: a (full, nano, 128 examples, seed 0)\n" in said
    )
    assert "cause: the loss is not finite\n" in said
    assert "remedy: lower learning_rates.full" in said
    assert "remedy: free some disk space; then `finescale run --retry-failed`" in said
    assert "train.micro_batch_size" in said
    assert "`finescale run` tries it again" in said


def test_runs_that_an_older_version_called_diverged_are_named_with_their_remedy(
    ledger: Ledger, tmp_path: Path
) -> None:
    end(ledger, "a", "diverged", "best dev loss 16.1 is above a uniform guess (7.6 nats) at step 40")
    said = told(ledger, tmp_path)
    assert "best dev loss 16.1 is above a uniform guess" in said
    assert "`finescale run --retry-diverged` makes it again" in said


@pytest.mark.parametrize("outcome", ["diverged", "failed", "broken"])
def test_an_unknown_reason_has_a_remedy_too(outcome: str) -> None:
    assert remedy(outcome, "whatever", FIELDS)


def test_orphans_are_listed(ledger: Ledger, tmp_path: Path) -> None:
    end(ledger, "a")
    ledger.sync_plan("s", [entry("b", fields=FIELDS)])
    assert [row["run"] for row in study_state(ledger, tmp_path)["orphans"]] == ["a"]
    said = told(ledger, tmp_path)
    assert "1 finished runs are no longer in the study" in said
    assert "done: a (full, nano, 128 examples, seed 0)" in said


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "[red]", "[/]", "\x1b[31mred", "[link=x]y"])
def test_names_are_shown_as_they_are(tmp_path: Path, name: str) -> None:
    fields = {name: name for name in ("task", "method", "model")}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.sync_plan(name, [entry("a", fields=dict.fromkeys(fields, name))])
        end(ledger, "a", "failed", name)
        said = told(ledger, tmp_path)
        assert json.loads(json.dumps(study_state(ledger, tmp_path)))["study"] == name
    assert said.count(name.replace("\x1b", "\ufffd")) >= 6
    assert "\x1b" not in said


def test_watching_ends_when_the_study_is_complete(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = list("abcde")
    monkeypatch.setattr(status.time, "sleep", lambda _: end(ledger, waiting.pop()))
    out = io.StringIO()
    show_status(tmp_path, Console(file=out, width=120), watch=True)
    assert waiting == []
    assert "5 runs: 5 done" in out.getvalue()


def test_ctrl_c_ends_the_watching(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", interrupt)
    out = io.StringIO()
    show_status(tmp_path, Console(file=out, width=120), watch=True)
    assert "5 runs: 5 pending" in out.getvalue()


def test_watching_and_json_exclude_each_other(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--watch and --json exclude each other"):
        show_status(tmp_path, Console(), watch=True, as_json=True)


def test_watching_waits_for_a_study_that_has_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(seconds: float) -> None:
        with Ledger(tmp_path / "ledger.sqlite") as opened:
            opened.sync_plan("s", [entry("a", fields=FIELDS)])
            end(opened, "a")

    monkeypatch.setattr(time, "sleep", begin)
    out = io.StringIO()
    show_status(tmp_path, Console(file=out, width=200), watch=True)
    assert "Waiting for" in out.getvalue()
    assert "s: 1 runs: 1 done" in out.getvalue()
