from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from example import RUNS, TEXT, plan
from sharing import ADAMW, planned

from finescale.errors import FinescaleError, UsageError
from finescale.executors import backends
from finescale.executors.local import Job, LocalExecutor, Result
from finescale.executors.ray import RayExecutor
from finescale.runs.finetune import execute
from finescale.spec.resources import Resources
from finescale.study.ledger import Ledger
from finescale.study.runner import Summary, run_study

pytest.importorskip("ray")

SUPPORT = Path(__file__).parents[1] / "support"
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
HEAD = {**NODE, "num_cpus": 0, "include_dashboard": False}
SETTINGS = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
    "PYTHONPATH": os.pathsep.join([str(SUPPORT), *(item for item in sys.path if item)]),
}


def started():
    """A head without CPUs and two nodes of one, as processes of this machine."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args=HEAD)
    for _ in range(2):
        cluster.add_node(**NODE)
    return cluster


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        patch.setenv("RAY_TMPDIR", f"/tmp/finescale-{os.getpid()}")  # sockets need a short path
        yield


@pytest.fixture(scope="module")
def cluster(settings: None):
    made = started()
    yield made
    made.shutdown()


def join(address: str, folder: Path, **options) -> RayExecutor:
    return RayExecutor([Resources()], folder, address=address, **options)


def results(executor: RayExecutor, count: int) -> list[Result]:
    found: list[Result] = []
    deadline = time.monotonic() + 600
    while len(found) < count and time.monotonic() < deadline:
        found += executor.wait(0.2)
    assert len(found) == count
    return sorted(found, key=lambda result: result.run)


def run(address: str, folder: Path, function: str, text: str = TEXT) -> Summary:
    folder.mkdir(exist_ok=True)
    return run_study(plan(folder, function, text), folder, join(address, folder))


def records(folder: Path) -> pl.DataFrame:
    measured = ("wall_seconds", "peak_memory_bytes")
    return pl.read_parquet(folder / "records.parquet").drop(measured)


def attempts(folder: Path) -> list[list[dict]]:
    with Ledger(folder / "ledger.sqlite") as ledger:
        return [ledger.attempts(row["run"]) for row in ledger.plan()]


def finished(folder: Path) -> int:
    if not (folder / "ledger.sqlite").exists():
        return 0
    with Ledger(folder / "ledger.sqlite") as ledger:
        return len(ledger.statuses())


def driver(folder: Path, function: str, address: str) -> subprocess.Popen[str]:
    folder.mkdir()
    (folder.parent / "study.yaml").write_text(TEXT)
    return subprocess.Popen(
        [sys.executable, SUPPORT / "drive.py", folder.parent / "study.yaml", folder, function, "2", address],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(ready, process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 600
    while not ready():
        if process is not None and process.poll() is not None:
            pytest.fail(f"the driver ended early: {process.communicate()[0]}")
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def named(name: str) -> list[int]:
    """The processes whose name starts so."""
    found = []
    for comm in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if comm.read_text().startswith(name):
                found.append(int(comm.parent.name))
    return found


def workers(runs: Path) -> list[int]:
    """The processes that are, or were, at a run."""
    return [int(item.name.removeprefix("pid-")) for item in runs.glob("*/pid-*")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What the local executor makes of the study."""
    folder = tmp_path_factory.mktemp("local")
    run_study(plan(folder, "instant"), folder, LocalExecutor(1))
    return records(folder)


@pytest.mark.slow
def test_a_cluster_makes_the_records_that_this_machine_makes(
    cluster, tmp_path: Path, undisturbed: pl.DataFrame
) -> None:
    assert run(cluster.address, tmp_path, "instant") == Summary({"done": RUNS}, RUNS, 0)
    assert records(tmp_path).equals(undisturbed)


@pytest.mark.slow
def test_what_a_job_says_comes_back(cluster, tmp_path: Path) -> None:
    executor = join(cluster.address, tmp_path)
    try:
        assert (executor.size, executor.free(), executor.notes) == (2, 2, [])
        for run in ("raising", "unsendable"):
            executor.submit(Job(run, f"calls:{run}", ()))
        assert executor.free() == 0
        raising, unsendable = results(executor, 2)
        assert raising.error == "ZeroDivisionError: division by zero"
        assert "in raising" in (raising.traceback or "")
        assert "cannot be sent" in (unsendable.error or "")
        executor.submit(Job("threads", "calls:threads", ()))
        executor.submit(Job("wide", "calls:threads", (), Resources(cpus=0.5)))
        for result in results(executor, 2):
            assert result.value == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "torch": False}
            assert "finescale" in result.environment["packages"]
            assert (result.peak_memory_bytes or 0) > 1e6
        executor.submit(Job("telling", "calls:telling_until", (str(tmp_path / "release"),)))
        wait_for(lambda: executor.wait(0.1) or executor.progress().get("telling") == 0.5)
        (tmp_path / "release").touch()
        assert results(executor, 1)[0].error is None
    finally:
        executor.close()


@pytest.mark.slow
def test_progress_goes_on_when_the_process_that_collects_it_dies(cluster, tmp_path: Path) -> None:
    before = set(named("ray::_Board"))
    executor = join(cluster.address, tmp_path)
    try:
        wait_for(lambda: set(named("ray::_Board")) - before)
        (board,) = set(named("ray::_Board")) - before
        os.kill(board, signal.SIGKILL)
        wait_for(lambda: not alive(board))
        executor.submit(Job("telling", "calls:telling_until", (str(tmp_path / "release"),)))
        wait_for(lambda: executor.wait(0.1) or executor.progress().get("telling") == 0.5)
        (tmp_path / "release").touch()
        assert results(executor, 1)[0].error is None
    finally:
        executor.close()


@pytest.mark.slow
def test_worker_processes_are_used_again(cluster, tmp_path: Path) -> None:
    executor = join(cluster.address, tmp_path)
    try:
        processes = set()
        for turn in range(6):
            executor.submit(Job(str(turn), "calls:process", ()))
            processes.add(results(executor, 1)[0].value)
        assert len(processes) <= 2
    finally:
        executor.close()


@pytest.mark.slow
def test_a_killed_worker_costs_its_run_one_attempt(
    cluster, tmp_path: Path, undisturbed: pl.DataFrame
) -> None:
    text = TEXT.replace("full: [128, 256]", "full: [256]").replace("seeds: [0, 1]", "seeds: [0]")
    assert run(cluster.address, tmp_path, "killed_once", text).counts == {"done": 8}
    killed = [tries for tries in attempts(tmp_path) if len(tries) == 2]
    assert len(killed) == 2
    assert all(tries[0]["error"].startswith("the worker process died") for tries in killed)
    same = undisturbed.join(records(tmp_path).select("run"), on="run", how="semi")
    assert records(tmp_path).sort("run").equals(same.sort("run"))


@pytest.mark.slow
def test_the_runs_of_a_dead_node_move_to_another_one(
    cluster, tmp_path: Path, undisturbed: pl.DataFrame
) -> None:
    node, runs = cluster.add_node(**NODE), tmp_path / "runs"

    def disturb() -> None:
        wait_for(lambda: len(workers(runs)) == 3)
        node.kill_raylet()
        wait_for(lambda: not all(alive(worker) for worker in workers(runs)))
        (runs / "go").touch()

    other = threading.Thread(target=disturb)
    other.start()
    summary = run(cluster.address, tmp_path, "held")
    other.join()
    cluster.remove_node(node, allow_graceful=False)
    cluster.wait_for_nodes()  # until the others know, they may still be sent there
    assert summary.counts == {"done": RUNS}
    (lost,) = [tries[0]["error"] for tries in attempts(tmp_path) if len(tries) > 1]
    assert lost == "its node is gone" or lost.startswith("the worker process died")
    assert records(tmp_path).equals(undisturbed)


@pytest.mark.slow
def test_a_run_over_two_workers_is_the_run_of_one(cluster, tmp_path: Path) -> None:
    shared = planned("full", None, 1e-3, ADAMW)
    executor = join(cluster.address, tmp_path)
    try:
        needed = Resources(workers=2)
        executor.submit(Job("raising", "calls:raising", (), needed))
        assert executor.free() == 0
        (raising,) = results(executor, 1)
        assert raising.error == "ZeroDivisionError: division by zero"
        assert "in raising" in (raising.traceback or "")
        executor.submit(Job("a", "finescale.runs.finetune:execute", (shared, tmp_path / "together"), needed))
        (result,) = results(executor, 1)
    finally:
        executor.close()
    assert result.error is None
    alone = execute(shared, tmp_path / "alone")
    assert result.value["status"] == "done"
    assert result.value["test_loss"] == pytest.approx(alone["test_loss"], abs=1e-5)
    assert result.value["tokens_processed"] == alone["tokens_processed"]
    assert (tmp_path / "together" / "weights" / "model.safetensors").exists()
    assert not (tmp_path / "ray").exists()


@pytest.mark.slow
def test_ctrl_c_cancels_what_runs_and_the_cluster_stays(cluster, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    process = driver(folder, "forever", cluster.address)
    wait_for(lambda: len(workers(folder / "runs")) == 2, process)
    running = workers(folder / "runs")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 130, said
    assert "the same command continues" in said
    assert "Traceback" not in said
    wait_for(lambda: not any(alive(worker) for worker in running))
    assert run(cluster.address, folder, "instant").made == RUNS


@pytest.mark.slow
def test_a_run_that_no_node_can_hold_is_told_before_anything_runs(cluster, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        RayExecutor([Resources(cpus=2, gpus=1)], tmp_path, address=cluster.address)
    assert "wanted: 2 CPUs + 1 GPU" in str(caught.value)
    assert "1 CPUs, 0 GPUs" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_losing_the_head_loses_no_finished_run(
    settings: None, tmp_path: Path, undisturbed: pl.DataFrame
) -> None:
    cluster, folder = started(), tmp_path / "lost"
    try:
        process = driver(folder, "slow", cluster.address)
        wait_for(lambda: finished(folder) >= 4, process)
        cluster.head_node.kill_raylet()
        cluster.head_node.kill_gcs_server()
        said, _ = process.communicate(timeout=600)
    finally:
        cluster.shutdown()
    assert process.returncode == 1
    assert "the Ray cluster is gone" in said
    assert "then the same command" in said
    assert "Traceback" not in said
    kept = finished(folder)
    assert 4 <= kept < RUNS
    assert records(folder).height == kept
    alone = RayExecutor([Resources()], folder, workers=1)  # no cluster is left: one is started here
    assert run_study(plan(folder, "instant"), folder, alone).made == RUNS - kept
    assert records(folder).equals(undisturbed)


def test_an_address_where_nothing_listens_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UsageError, match="no Ray cluster answers") as caught:
            join(address, tmp_path)
    assert f"got: {address}: " in str(caught.value)
    assert "leave --address out" in str(caught.value)


@pytest.mark.parametrize("address", ["somewhere", "host:", "10.0.0.1:x"])
def test_what_is_no_address_is_told(address: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not an address of a Ray cluster[\s\S]*HOST:PORT"):
        join(address, tmp_path)


def test_the_client_protocol_is_refused_with_the_way_to_go(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ray start --address HOST:PORT --num-cpus 0"):
        join("ray://10.0.0.1:10001", tmp_path)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "finescale\[ray\]"'):
        join("auto", tmp_path)


def test_options_that_do_not_fit_together_are_told() -> None:
    with pytest.raises(UsageError, match="did you mean 'ray'"):
        backends.check("rya", None)
    with pytest.raises(UsageError, match="--address is for Ray"):
        backends.check("local", "auto")


def test_a_run_over_several_workers_needs_a_cluster(tmp_path: Path) -> None:
    made = plan(tmp_path, "instant", TEXT + "resources: {full: {workers: 2}}\n")
    with pytest.raises(FinescaleError, match=r"a run over several workers needs Ray"):
        backends.open_executor("local", made, tmp_path)
