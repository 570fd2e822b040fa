from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from example import RUNS, TEXT, plan
from inline import InlineExecutor

from finescale.errors import DataError, FinescaleError, UsageError
from finescale.executors.local import LocalExecutor
from finescale.records.records import COLUMNS, read_records
from finescale.spec.parts import Choice
from finescale.spec.run import OptimizerSpec
from finescale.study.ledger import Ledger
from finescale.study.plan import PretrainPlan
from finescale.study.runner import Summary, run_study
from finescale.study.sweep import choose

SUPPORT = Path(__file__).parents[1] / "support"


def run(folder: Path, function: str, text: str = TEXT, workers: int = 0) -> Summary:
    """Runs the study with so many worker processes; with none, in this process."""
    folder.mkdir(exist_ok=True)
    executor = LocalExecutor(workers) if workers else InlineExecutor()
    return run_study(plan(folder, function, text), folder, executor)


def records(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "records.parquet")


def driver(folder: Path, function: str, text: str = TEXT, workers: int = 2) -> subprocess.Popen[str]:
    file = folder.parent / "study.yaml"
    file.write_text(text)
    return subprocess.Popen(
        [sys.executable, str(SUPPORT / "drive.py"), str(file), str(folder), function, str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(ready, process: subprocess.Popen[str] | None = None, seconds: float = 600.0) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if process is not None and process.poll() is not None:
            pytest.fail(f"the driver ended early: {process.communicate()[0]}")
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def finished(folder: Path) -> int:
    if not (folder / "ledger.sqlite").exists():
        return 0
    with Ledger(folder / "ledger.sqlite") as ledger:
        return len(ledger.statuses())


def executions(folder: Path) -> dict[str, int]:
    return {item.name: len(list(item.glob("began-*"))) for item in (folder / "runs").iterdir()}


def workers_of(process: int) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in listed.splitlines()[1:]]
    return [int(child) for child, parent in pairs if int(parent) == process]


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_study_runs_from_sweep_to_records(tmp_path: Path) -> None:
    summary = run(tmp_path, "instant", workers=2)
    assert summary == Summary({"done": RUNS}, RUNS, 0)
    frame = records(tmp_path)
    assert frame.columns == [column.name for column in COLUMNS]
    assert frame.filter(pl.col("purpose") == "sweep").height == 2
    assert frame.filter(pl.col("method") == "none").height == 2
    full = frame.filter((pl.col("method") == "full") & (pl.col("purpose") == "study"))
    assert full["learning_rate"].unique().to_list() == [3e-3]
    assert full["lr_tuned"].all()
    assert not frame.filter(pl.col("method") == "lora")["lr_tuned"].any()
    assert frame.filter("held_out")["finetune_examples"].unique().to_list() == [256]
    assert frame["study"].unique().to_list() == ["small"]


def test_the_analysis_reads_what_the_runner_writes(tmp_path: Path) -> None:
    run(tmp_path, "instant")
    read = read_records(tmp_path / "records.parquet")
    assert len(read) == RUNS - 2
    assert read.left_out == {"purpose sweep": 2}
    assert pl.read_parquet(tmp_path / "scores.parquet").height == RUNS


def test_a_finished_study_is_not_run_again(tmp_path: Path) -> None:
    run(tmp_path, "noted")
    before = records(tmp_path)
    assert run(tmp_path, "noted").made == 0
    assert records(tmp_path).equals(before)
    assert set(executions(tmp_path).values()) == {1}


def test_the_sweep_comes_first_and_the_longest_run_next(tmp_path: Path) -> None:
    run(tmp_path, "instant", workers=1)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        rows = [(ledger.attempts(row["run"])[0]["attempt"], row) for row in ledger.plan()]
    order = [row for _, row in sorted(rows, key=lambda pair: pair[0])]
    assert [row["purpose"] for row in order] == ["sweep"] * 2 + ["study"] * (RUNS - 2)
    costs = [row["cost"] for row in order[2:]]
    assert costs == sorted(costs, reverse=True)


def test_short_runs_come_first_where_the_study_says_so(tmp_path: Path) -> None:
    run(tmp_path, "instant", TEXT + "order: shortest\n", workers=1)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        rows = [(ledger.attempts(row["run"])[0]["attempt"], row) for row in ledger.plan()]
    order = [row for _, row in sorted(rows, key=lambda pair: pair[0])]
    assert [row["purpose"] for row in order] == ["sweep"] * 2 + ["study"] * (RUNS - 2)
    costs = [row["cost"] for row in order[2:]]
    assert costs == sorted(costs)


def test_the_choice_and_its_evidence_are_committed(tmp_path: Path) -> None:
    run(tmp_path, "instant")
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        (choice,) = ledger.choices()
    assert choice["method"] == "full"
    assert choice["chosen"]["learning_rate"] == 3e-3
    assert choice["evidence"]["edge"] == "highest"
    tried = choice["evidence"]["candidates"]
    assert [item["learning_rate"] for item in tried] == [1e-3, 3e-3]
    assert all(item["dev_loss"] > 3 and len(item["run"]) == 20 for item in tried)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        ("replace(chosen, '0.003', '0.007')", "none of the candidates of its sweep"),
        ("'{}'", "none of the candidates of its sweep"),
        ("replace(chosen, '0.003', '0.0:3')", "not what was committed"),
        ("'3'", "not what was committed"),
    ],
)
def test_a_choice_that_was_altered_is_told_before_anything_runs_with_it(
    tmp_path: Path, now: str, told: str
) -> None:
    run(tmp_path, "instant")
    with Ledger(tmp_path / "ledger.sqlite") as ledger, ledger.transaction():
        ledger.connection.execute(f"UPDATE choices SET chosen = {now}")
    with pytest.raises(FinescaleError, match="the ledger is damaged") as caught:
        run(tmp_path, "instant", TEXT.replace("full: [128, 256]", "full: [128, 256, 512]"))
    assert told in str(caught.value)
    assert finished(tmp_path) == RUNS


def test_the_swept_batch_size_is_the_one_that_the_study_runs_with(tmp_path: Path) -> None:
    text = TEXT.replace("sweep:", "batch_sizes: {full: [8, 4], lora: [8, 32]}\nsweep:")
    run(tmp_path, "instant", text)
    frame = records(tmp_path).filter(pl.col("method") != "none")
    sweep, used = (frame.filter(pl.col("purpose") == name) for name in ("sweep", "study"))
    assert sweep.group_by("method").len().sort("method").rows() == [("full", 4), ("lora", 2)]
    chosen = used.select("method", "batch_size", "learning_rate", "lr_tuned").unique().sort("method")
    assert chosen.rows() == [("full", 4, 3e-3, True), ("lora", 8, 1e-2, False)]


def candidates(*rates: float) -> list[Choice]:
    return [Choice(optimizer=OptimizerSpec(), learning_rate=rate) for rate in rates]


def done(loss: float | None, status: str = "done") -> dict[str, object]:
    return {"status": status, "dev_loss": loss}


def test_equal_losses_choose_the_lower_rate() -> None:
    index, evidence = choose("full", candidates(1e-2, 1e-3, 1e-1), [done(3.0), done(3.0), done(3.1)])
    assert index == 1
    assert evidence["edge"] == "lowest"


def test_the_edge_is_among_the_rates_of_the_chosen_batch_size() -> None:
    tried = [
        Choice(optimizer=OptimizerSpec(), learning_rate=r, batch_size=b) for r in (1, 2, 3) for b in (4, 8)
    ]
    losses = [3.1, 3.2, 3.0, 3.2, 2.9, 3.2]
    index, evidence = choose("full", tried, [done(loss) for loss in losses])
    assert (tried[index].batch_size, evidence["edge"]) == (4, "highest")
    index, evidence = choose("full", tried, [done(loss) for loss in [*losses[:4], 3.3, 2.8]])
    assert (tried[index].batch_size, evidence["edge"]) == (8, "highest")


def test_a_rate_inside_the_grid_is_not_at_its_edge() -> None:
    index, evidence = choose("full", candidates(1e-3, 1e-2, 1e-1), [done(3.1), done(3.0), done(3.1)])
    assert index == 1
    assert evidence["edge"] is None


def test_a_diverged_candidate_is_never_chosen() -> None:
    index, _ = choose("full", candidates(1e-3, 1e-2), [done(None, "diverged"), done(9.0)])
    assert index == 1
    with pytest.raises(DataError, match="no learning rate of full worked"):
        choose("full", candidates(1e-3, 1e-2), [done(None, "diverged"), done(None, "failed")])


def test_a_candidate_that_was_stopped_early_is_never_chosen() -> None:
    index, evidence = choose("full", candidates(1e-3, 1e-2), [done(2.0, "stopped"), done(9.0)])
    assert index == 1
    assert [tried["status"] for tried in evidence["candidates"]] == ["stopped", "done"]


def test_a_stopped_run_keeps_its_dev_loss_and_is_finished(tmp_path: Path) -> None:
    summary = run(tmp_path, "stopped_early")
    stopped = records(tmp_path).filter(pl.col("status") == "stopped")
    assert stopped["learning_rate"].to_list() == [1e-3]
    assert (stopped["dev_loss"].to_list(), stopped["test_loss"].to_list()) == ([2.5], [None])
    assert summary.counts == {"done": RUNS - 1, "stopped": 1}
    assert read_records(tmp_path).left_out["status stopped"] == 1
    assert run(tmp_path, "instant").made == 0


def test_a_sweep_without_a_choice_stops_its_method_only(tmp_path: Path) -> None:
    text = TEXT.replace("full: [1e-3, 3e-3]", "full: [1e-3, {rate}]").replace("{rate}", "1.0e-3")
    summary = run(tmp_path, "diverging", text)
    assert "no learning rate of full worked" in str(summary.problems[0])
    assert (summary.exit_code, [failure.outcome for failure in summary.failures]) == (3, ["diverged"])
    frame = records(tmp_path)
    assert frame.filter((pl.col("method") == "lora") & (pl.col("status") == "done")).height == 4
    assert frame.filter(pl.col("method") == "full")["status"].to_list() == ["diverged"]


def test_a_loss_that_is_no_number_is_never_done(tmp_path: Path) -> None:
    run(tmp_path, "diverging")
    bad = records(tmp_path).filter(pl.col("status") == "diverged")
    assert bad["learning_rate"].to_list() == [1e-3]
    assert bad["test_loss"].to_list() == [None]
    assert bad["error"].to_list() == ["the test loss is not a finite number (nan)"]
    assert run(tmp_path, "instant").made == 0


def test_a_killed_worker_costs_its_run_one_attempt(tmp_path: Path) -> None:
    summary = run(tmp_path, "killed_once", workers=2)
    assert summary.counts == {"done": RUNS}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        attempts = [ledger.attempts(row["run"]) for row in ledger.plan()]
    killed = [tries for tries in attempts if len(tries) == 2]
    assert len(killed) == 8
    assert all("SIGKILL" in tries[0]["error"] for tries in killed)


def test_a_run_that_keeps_breaking_fails_with_its_reason(tmp_path: Path) -> None:
    summary = run(tmp_path, "broken", workers=2)
    assert summary.counts == {"done": RUNS - 8, "failed": 8}
    failed = records(tmp_path).filter(pl.col("status") == "failed")
    assert set(failed["error"]) == {"RuntimeError: no such device (in 4 attempts)"}
    assert failed["model_params"].null_count() == 0
    assert run(tmp_path, "instant").made == 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        trouble = ledger.troubles()[0]
        assert "in broken" in trouble["traceback"]
        assert ledger.retry("failed") == 8
    assert run(tmp_path, "instant").counts == {"done": RUNS}


def test_a_study_says_how_often_runs_are_tried_again(tmp_path: Path) -> None:
    run(tmp_path / "never", "broken", TEXT + "retries: 0\n")
    run(tmp_path / "diverged", "diverging", TEXT + "retries: {diverged: 2}\n")
    tries = {}
    for name in ("never", "diverged"):
        with Ledger(tmp_path / name / "ledger.sqlite") as ledger:
            tries[name] = [len(ledger.attempts(row["run"])) for row in ledger.plan()]
            errors = {row["error"] for row in ledger.troubles()}
        tries[name] = (max(tries[name]), errors)
    assert tries["never"] == (1, {"RuntimeError: no such device"})
    nan = "the test loss is not a finite number (nan)"
    assert tries["diverged"] == (3, {f"{nan} (in 3 attempts)"})


def test_a_changed_study_keeps_what_is_the_same(tmp_path: Path) -> None:
    run(tmp_path, "instant")
    more = run(tmp_path, "instant", TEXT.replace("[128, 256]", "[128, 512]").replace(">= 256", ">= 128"))
    assert more.made == 4
    assert more.orphans == 4
    assert set(records(tmp_path).filter("held_out")["finetune_examples"]) == {128, 512}


def test_another_study_s_folder_is_refused(tmp_path: Path) -> None:
    run(tmp_path, "instant")
    with pytest.raises(UsageError, match="belongs to another study"):
        run(tmp_path, "instant", TEXT.replace("name: small", "name: other"))


def test_hold_out_of_an_unknown_column_is_told_before_any_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hold_out"):
        plan(tmp_path, "instant", TEXT.replace("hold_out: finetune_examples", "hold_out: finetune_exampels"))


def test_the_driver_killed_in_the_middle_loses_and_repeats_nothing_finished(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = driver(folder, "slow")
    wait_for(lambda: finished(folder) >= 4, process)
    children = workers_of(process.pid)
    assert len(children) == 2
    process.kill()
    process.wait()
    wait_for(lambda: not any(alive(child) for child in children))
    kept = finished(folder)
    assert 4 <= kept < RUNS
    summary = run(folder, "noted")
    assert summary.counts == {"done": RUNS}
    assert summary.made == RUNS - kept
    repeated = sum(count - 1 for count in executions(folder).values())
    assert repeated <= 2
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    run(undisturbed, "instant")
    columns = ["run", "purpose", "held_out", "lr_tuned", "test_loss", "learning_rate"]
    assert records(folder).select(columns).equals(records(undisturbed).select(columns))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(tmp_path: Path, sent: signal.Signals) -> None:
    folder = tmp_path / "stopped"
    process = driver(folder, "slow")
    wait_for(lambda: finished(folder) >= 3, process)
    children = workers_of(process.pid)
    process.send_signal(sent)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "the same command continues" in said
    assert "Traceback" not in said
    assert not any(alive(child) for child in children)
    kept = finished(folder)
    assert records(folder).height == kept
    assert run(folder, "instant").made == RUNS - kept


def test_two_drivers_at_once_commit_each_run_once(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    drivers = [driver(folder, "slow", workers=1) for _ in range(2)]
    said = [process.communicate(timeout=600)[0] for process in drivers]
    assert [process.returncode for process in drivers] == [0, 0], said
    assert set(executions(folder).values()) == {1}
    assert len(executions(folder)) == RUNS
    with Ledger(folder / "ledger.sqlite") as ledger:
        owners = {tries["owner"] for row in ledger.plan() for tries in ledger.attempts(row["run"])}
    assert len(owners) == 2
    assert records(folder).height == RUNS


def test_a_second_driver_finishes_what_a_killed_one_was_at(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    first = driver(folder, "forever")
    wait_for(lambda: len(list(folder.glob("runs/*/pid-*"))) == 2, first)
    second = driver(folder, "instant")
    time.sleep(1.0)
    assert second.poll() is None
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    said, _ = second.communicate(timeout=600)
    assert second.returncode == 0, said
    assert finished(folder) == RUNS


def test_a_pretraining_run_gives_a_record_for_each_checkpoint(tmp_path: Path) -> None:
    from functions import pretrain_spec

    made = PretrainPlan("ladder", [pretrain_spec()], tmp_path, tmp_path, "functions:pretrain")
    assert run_study(made, tmp_path, LocalExecutor(1)).counts == {"done": 1}
    frame = records(tmp_path)
    fingerprint = pretrain_spec().fingerprint()
    assert frame["run"].to_list() == [f"{fingerprint}-1000", f"{fingerprint}-2000"]
    assert frame["method"].to_list() == ["none", "none"]
    assert frame["pretrain_tokens"].to_list() == [1000, 2000]
