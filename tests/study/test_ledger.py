from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest

from finescale.errors import FinescaleError, UsageError
from finescale.spec.run import OptimizerSpec
from finescale.study.database import SCHEMA_VERSION
from finescale.study.export import records_frame
from finescale.study.ledger import LEASE_GRACE_SECONDS, Entry, Ledger
from finescale.study.owner import is_gone, this_process

ME = this_process()
DONE = {"status": "done", "test_loss": 3.5}
SPEC = OptimizerSpec()
"""Stands for a run's specification: any pydantic model will do."""


def entry(run: str = "a", **changes: object) -> Entry:
    fields = {
        "purpose": "study",
        "held_out": False,
        "lr_tuned": True,
        "cost": 1.0,
        "fields": {},
        "spec": SPEC,
    }
    return Entry(run=run, **{**fields, **changes})  # pyright: ignore[reportArgumentType]


@pytest.fixture
def ledger(tmp_path: Path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        opened.sync_plan("s", [entry("a"), entry("b")])
        yield opened


def test_a_committed_run_cannot_be_claimed_again(ledger: Ledger) -> None:
    attempt = ledger.claim("a", ME)
    assert attempt is not None
    assert ledger.commit("a", attempt, {"a": DONE})
    assert ledger.claim("a", ME) is None
    assert ledger.statuses() == {"a": "done"}


def test_the_first_commit_wins_and_the_second_counts_as_a_duplicate(ledger: Ledger) -> None:
    first = ledger.claim("a", "elsewhere:1:1")
    second = after_grace(ledger)
    assert first is not None
    assert second is not None
    assert ledger.commit("a", second, {"a": DONE})
    assert not ledger.commit("a", first, {"a": {"status": "done", "test_loss": 9.9}})
    assert ledger.record("a") == DONE
    assert [row["outcome"] for row in ledger.attempts("a")] == ["interrupted", "done"]


def after_grace(ledger: Ledger, owner: str = ME) -> int | None:
    """Claims run `a` once more after its lease was watched for the time of grace."""
    assert ledger.claim("a", owner) is None
    began, ledger.clock = ledger.clock(), lambda: began + LEASE_GRACE_SECONDS + 1
    return ledger.claim("a", owner)


def test_a_lease_holds_until_its_heart_stops(ledger: Ledger) -> None:
    assert ledger.claim("a", "elsewhere:1:1") is not None
    assert ledger.claim("a", ME) is None
    began, ledger.clock = ledger.clock(), lambda: began + LEASE_GRACE_SECONDS + 1
    ledger.heartbeat("elsewhere:1:1")
    assert ledger.claim("a", ME) is None
    ledger.clock = lambda: began + 2 * LEASE_GRACE_SECONDS + 3
    assert ledger.claim("a", ME) is not None


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_by_an_hour_frees_no_lease(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    assert ledger.claim("a", "elsewhere:1:1") is not None
    assert ledger.claim("b", f"{ME.split(':')[0]}:1:{started(1)}") is not None
    wall = time.time
    monkeypatch.setattr(time, "time", lambda: wall() + jump)
    assert (ledger.claim("a", ME), ledger.claim("b", ME)) == (None, None)


def test_a_living_process_of_this_machine_keeps_its_lease_without_a_heartbeat(ledger: Ledger) -> None:
    assert ledger.claim("a", f"{ME.split(':')[0]}:1:{started(1)}") is not None
    assert after_grace(ledger) is None


def test_time_measured_by_the_worker_is_kept(ledger: Ledger) -> None:
    attempt = ledger.claim("a", ME)
    assert attempt is not None
    ledger.commit("a", attempt, {"a": DONE}, seconds=12.5)
    assert ledger.seconds() == {"a": 12.5}


def started(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]


def test_a_dead_process_of_this_machine_loses_its_leases_at_once(ledger: Ledger) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    node = ME.split(":")[0]
    owner = f"{node}:{child.pid}:{started(child.pid)}"
    assert not is_gone(owner)
    assert ledger.claim("a", owner) is not None
    assert ledger.claim("a", ME) is None
    child.kill()
    child.wait()
    assert is_gone(owner)
    assert ledger.claim("a", ME) is not None


def test_a_reused_process_id_is_another_owner() -> None:
    node, process, began = ME.split(":")
    assert not is_gone(ME)
    assert is_gone(f"{node}:{process}:{int(began) + 1}")
    assert not is_gone(f"another-machine:{process}:1")


def test_purpose_and_held_out_follow_the_present_plan(ledger: Ledger) -> None:
    attempt = ledger.claim("a", ME)
    assert attempt is not None
    ledger.commit("a", attempt, {"a": DONE})
    ledger.sync_plan("s", [entry("a", held_out=True, purpose="sweep", lr_tuned=False)])
    (row,) = ledger.rows()
    assert (row["held_out"], row["purpose"], row["lr_tuned"]) == (True, "sweep", False)


def test_what_the_plan_drops_is_kept_and_counted_but_not_shown(ledger: Ledger) -> None:
    attempt = ledger.claim("a", ME)
    assert attempt is not None
    ledger.commit("a", attempt, {"a": DONE})
    ledger.sync_plan("s", [entry("b")])
    assert list(ledger.rows()) == []
    assert ledger.orphans() == 1
    ledger.sync_plan("s", [entry("b"), entry("a")])
    assert [row["run"] for row in ledger.rows()] == ["a"]
    assert ledger.orphans() == 0


def test_all_records_of_a_pretraining_run_are_committed_together(ledger: Ledger) -> None:
    attempt = ledger.claim("a", ME)
    assert attempt is not None
    with pytest.raises(ValueError, match="Out of range float"):
        ledger.commit("a", attempt, {"a-1": DONE, "a-2": {"status": "done", "test_loss": float("nan")}})
    assert ledger.statuses() == {}
    ledger.commit("a", attempt, {"a-1": DONE, "a-2": DONE})
    assert [row["run"] for row in ledger.rows()] == ["a-1", "a-2"]


def test_broken_attempts_keep_their_traceback_and_environment(ledger: Ledger) -> None:
    attempt = ledger.claim("a", ME)
    assert attempt is not None
    assert ledger.fail("a", attempt, "boom", traceback="Traceback ...", environment={"python": "3.11"}) == 1
    (kept,) = ledger.attempts("a")
    assert (kept["outcome"], kept["error"], kept["traceback"]) == ("broken", "boom", "Traceback ...")
    assert kept["environment"] == '{"python": "3.11"}'
    assert ledger.claim("a", ME) is not None


@pytest.mark.parametrize(("again", "freed", "left"), [("failed", "a", "b"), ("diverged", "b", "a")])
def test_retry_frees_the_runs_of_one_status_and_leaves_the_others(
    ledger: Ledger, again: Literal["failed", "diverged"], freed: str, left: str
) -> None:
    statuses = {"a": "failed", "b": "diverged"}
    for run, status in statuses.items():
        attempt = ledger.claim(run, ME)
        assert attempt is not None
        ledger.commit(run, attempt, {run: {"status": status, "error": "why"}})
    assert ledger.retry(again) == 1
    assert ledger.statuses() == {left: statuses[left]}
    assert ledger.claim(freed, ME) is not None


def test_releasing_ends_attempts_without_counting_them(ledger: Ledger) -> None:
    assert ledger.claim("a", ME) is not None
    ledger.release(ME)
    assert [row["outcome"] for row in ledger.attempts("a")] == ["interrupted"]
    assert ledger.claim("a", ME) is not None
    assert ledger.troubles() == []


def test_the_first_choice_of_a_sweep_stays(ledger: Ledger) -> None:
    ledger.choose("full", "sweep-1", {"learning_rate": 1e-3}, {"edge": None})
    ledger.choose("full", "sweep-1", {"learning_rate": 9.0}, {"edge": None})
    assert ledger.choice("full", "sweep-1") == ({"learning_rate": 1e-3}, {"edge": None})
    assert ledger.choice("full", "sweep-2") is None


def test_choices_of_a_sweep_that_the_plan_dropped_are_not_shown(ledger: Ledger) -> None:
    ledger.choose("full", "old", {"learning_rate": 1e-3}, {"candidates": [{"run": "gone"}]})
    ledger.choose("full", "new", {"learning_rate": 2e-3}, {"candidates": [{"run": "a"}, {"run": "b"}]})
    assert [row["sweep"] for row in ledger.choices()] == ["new"]


def test_a_sweep_that_was_extended_is_shown_as_it_is_now(ledger: Ledger) -> None:
    ledger.choose("full", "extended", {"learning_rate": 2e-3}, {"candidates": [{"run": "a"}, {"run": "b"}]})
    ledger.choose("full", "first", {"learning_rate": 1e-3}, {"candidates": [{"run": "a"}]})
    assert [row["sweep"] for row in ledger.choices()] == ["extended"]


def test_the_file_is_durable_and_versioned(tmp_path: Path, ledger: Ledger) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
        assert other.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert other.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
        names = {row[0] for row in other.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"runs", "attempts", "leases", "records", "scores", "choices"} <= names
    assert ledger.connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_ledger_of_an_older_version_keeps_its_scores(tmp_path: Path, ledger: Ledger) -> None:
    ledger.connection.executescript(
        "DROP INDEX runs_by_kind; DROP INDEX attempts_by_outcome; DROP TABLE curves;"
        " ALTER TABLE runs DROP COLUMN task; ALTER TABLE runs DROP COLUMN method;"
        " ALTER TABLE runs DROP COLUMN model; ALTER TABLE runs DROP COLUMN lr_tuned_at;"
        " ALTER TABLE attempts DROP COLUMN seconds;"
        " ALTER TABLE records DROP COLUMN digest;"
        " DROP TABLE scores; CREATE TABLE scores (run TEXT NOT NULL, dataset TEXT NOT NULL,"
        " shots INTEGER NOT NULL, metric TEXT NOT NULL, value REAL,"
        " PRIMARY KEY (run, dataset, shots, metric));"
        " INSERT INTO scores VALUES ('a', 'd', 0, 'loss', 3.5); PRAGMA user_version = 1;"
    )
    ledger.connection.close()
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        (score,) = opened.scores()
        assert (score["value"], score["split"], score["low"]) == (3.5, "test", None)
        attempt = opened.claim("b", ME)
        assert attempt is not None
        opened.commit("b", attempt, {"b": DONE}, scores=[{**score, "run": "b", "low": 3.4, "signature": "s"}])
        assert [row["low"] for row in opened.scores()] == [None, 3.4]


def test_a_ledger_of_the_version_before_keeps_its_records_and_gains_empty_columns(
    tmp_path: Path, ledger: Ledger
) -> None:
    attempt = ledger.claim("a", ME)
    assert attempt is not None
    ledger.commit("a", attempt, {"a": DONE})
    ledger.connection.executescript(
        "ALTER TABLE runs DROP COLUMN lr_tuned_at; DROP TABLE curves; PRAGMA user_version = 2"
    )
    ledger.connection.close()
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        (row,) = opened.rows()
        frame = records_frame(opened)
        opened.sync_plan("s", [entry("a", lr_tuned_at="nano-0.3m at 1000")])
        assert [row["lr_tuned_at"] for row in opened.rows()] == ["nano-0.3m at 1000"]
    assert (row["test_loss"], row["lr_tuned_at"]) == (3.5, None)
    added = ["tokenizer", "target_bytes", "test_loss_per_byte", "active_params", "lr_tuned_at"]
    added += [name for name in frame.columns if name.endswith("s_truncated")]
    assert len(added) == 11
    assert frame.select(added).rows() == [(None,) * 11]


def test_a_paused_run_is_pending_with_its_curve_and_can_be_stopped_for_good(ledger: Ledger) -> None:
    first = ledger.claim("a", ME)
    assert first is not None
    ledger.pause("a", first, [(4, 3.5)], {"status": "stopped", "dev_loss": 3.5}, seconds=2.0)
    assert (ledger.statuses(), ledger.leases(), list(ledger.curve("a"))) == ({}, [], [(4, 3.5)])
    second = ledger.claim("a", ME)
    assert second is not None
    ledger.pause("a", second, [(4, 3.5), (8, 3.4)], {"status": "stopped", "dev_loss": 3.4}, seconds=3.0)
    ledger.stop("a", "it would win with 1% only")
    ledger.stop("a", "another driver's verdict: the first counts")
    assert ledger.statuses() == {"a": "stopped"}
    assert ledger.record("a") == {"status": "stopped", "dev_loss": 3.4}
    ended = [(row["outcome"], row["error"]) for row in ledger.attempts("a")]
    assert ended == [("paused", None), ("stopped", "it would win with 1% only")]
    assert (ledger.total_seconds(), ledger.seconds(), ledger.claim("a", ME)) == (5.0, {}, None)
    ledger.reopen(["a"])
    assert (ledger.statuses(), list(ledger.curve("a"))) == ({}, [])
    third = ledger.claim("a", ME)
    assert third is not None
    assert ledger.commit("a", third, {"a": DONE}, seconds=10.0, curve=[(4, 3.5), (16, 3.0)])
    assert ledger.seconds() == {"a": 12.0}
    assert list(ledger.curve("a")) == [(4, 3.5), (16, 3.0)]


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(FinescaleError, match="newer finescale"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_file_that_is_no_ledger_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(b"not a database, certainly not one" * 100)
    with pytest.raises(FinescaleError, match="the ledger is damaged"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_record_with_a_flipped_bit_is_told(ledger: Ledger) -> None:
    attempt = ledger.claim("a", ME)
    assert attempt is not None
    ledger.commit("a", attempt, {"a": DONE})
    ledger.connection.execute("UPDATE records SET fields = replace(fields, '3.5', '3.4')")
    with pytest.raises(FinescaleError, match=r"damaged(?s:.*)record a is not what was committed"):
        list(ledger.rows())
    with pytest.raises(FinescaleError, match="damaged"):
        ledger.record("a")


def test_a_plan_that_stays_is_not_written_again(ledger: Ledger) -> None:
    before = ledger.connection.total_changes
    ledger.sync_plan("s", [entry("a"), entry("b")])
    assert ledger.read("SELECT count(*) FROM runs WHERE planned")[0][0] == 2
    assert ledger.connection.total_changes - before <= 4  # the list of what is present, twice at most


def test_a_folder_without_a_study_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no study here yet"):
        Ledger(tmp_path / "ledger.sqlite", create=False)


def test_a_folder_of_another_study_is_refused(ledger: Ledger) -> None:
    ledger.belongs_to("s")
    with pytest.raises(UsageError, match="belongs to another study"):
        ledger.belongs_to("t")


def test_the_ledger_loads_no_torch() -> None:
    code = (
        "import sys, finescale.study.ledger, finescale.cli.run, finescale.spec.file;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'peft', 'ray')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
