from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from finescale.executors.local import Job, LocalExecutor, Result
from finescale.executors.machine import usable_cores


@pytest.fixture
def executor() -> Iterator[LocalExecutor]:
    made = LocalExecutor(2)
    yield made
    made.close()


def results(executor: LocalExecutor, count: int) -> list[Result]:
    found: list[Result] = []
    deadline = time.monotonic() + 600
    while len(found) < count and time.monotonic() < deadline:
        found += executor.wait(0.2)
    assert len(found) == count
    return found


def job(run: str, function: str, *arguments: object) -> Job:
    return Job(run, f"calls:{function}", arguments)


def test_a_worker_takes_job_after_job(executor: LocalExecutor) -> None:
    seen = set()
    for turn in range(3):
        executor.submit(job(str(turn), "process"))
        (result,) = results(executor, 1)
        seen.add(result.value)
    assert len(seen) == 1


def test_two_slots_work_at_the_same_time(executor: LocalExecutor) -> None:
    executor.submit(job("a", "process_after", 0.3))
    executor.submit(job("b", "process_after", 0.3))
    assert executor.free() == 0
    assert len({result.value for result in results(executor, 2)}) == 2
    assert executor.free() == 2


def test_workers_are_single_threaded_before_anything_is_imported(executor: LocalExecutor) -> None:
    executor.submit(job("a", "threads"))
    assert results(executor, 1)[0].value == {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "torch": False}


def test_an_exception_comes_back_with_its_traceback(executor: LocalExecutor) -> None:
    executor.submit(job("a", "raising"))
    (result,) = results(executor, 1)
    assert result.error == "ZeroDivisionError: division by zero"
    assert "in raising" in (result.traceback or "")
    executor.submit(job("b", "process"))
    assert results(executor, 1)[0].error is None


def test_a_result_that_cannot_be_sent_is_an_error_and_not_a_hang(executor: LocalExecutor) -> None:
    executor.submit(job("a", "unsendable"))
    assert "cannot be sent" in (results(executor, 1)[0].error or "")


def test_a_killed_worker_fails_its_job_and_is_replaced(executor: LocalExecutor) -> None:
    executor.submit(job("a", "process"))
    process = results(executor, 1)[0].value
    executor.submit(job("b", "process_after", 60))
    time.sleep(0.2)
    os.kill(process, signal.SIGKILL)
    (result,) = results(executor, 1)
    assert result.run == "b"
    assert re.search(r"killed by SIGKILL at a peak of 0\.\d\d GB \(out of memory: lower", result.error or "")
    assert result.peak_memory_bytes is not None
    assert 1e7 < result.peak_memory_bytes < 1e9
    executor.submit(job("c", "process"))
    assert results(executor, 1)[0].value != process


def test_a_killed_worker_does_not_answer_for_the_memory_of_its_driver() -> None:
    large = b"1" * 1_300_000_000
    executor = LocalExecutor(1)
    try:
        executor.submit(job("a", "process"))
        process = results(executor, 1)[0].value
        executor.submit(job("b", "process_after", 60))
        os.kill(process, signal.SIGKILL)
        (result,) = results(executor, 1)
    finally:
        executor.close()
    assert result.peak_memory_bytes is not None
    assert 1e6 < result.peak_memory_bytes < 1e9 < len(large)


def test_the_last_words_of_a_dying_worker_are_kept(executor: LocalExecutor) -> None:
    executor.submit(job("a", "dying"))
    (result,) = results(executor, 1)
    assert result.error == "the worker process ended with exit code 7; its last words: no more memory"
    assert "no more memory" in (result.traceback or "")


def test_progress_reaches_the_driver(executor: LocalExecutor) -> None:
    executor.submit(job("a", "telling"))
    shares = []
    for _ in range(100):
        executor.wait(0.1)
        shares.append(executor.progress().get("a", 0.0))
        if shares[-1] > 0:
            break
    assert shares[-1] == 0.5


def test_versions_and_memory_are_measured_in_the_worker(executor: LocalExecutor) -> None:
    executor.submit(job("a", "process"))
    (result,) = results(executor, 1)
    assert "finescale" in result.environment["packages"]
    assert result.environment["device"] == "cpu"
    assert result.peak_memory_bytes is not None
    assert result.peak_memory_bytes > 1e6


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux measures memory run by run")
def test_peak_memory_is_the_run_s_own_and_not_the_worker_s(executor: LocalExecutor) -> None:
    peaks = []
    for run, megabytes in (("large", 200), ("small", 1)):
        executor.submit(job(run, "allocating", megabytes))
        peaks.append(results(executor, 1)[0].peak_memory_bytes or 0)
    assert peaks[0] - peaks[1] > 150e6


def test_closing_ends_workers_in_the_middle_of_a_run(executor: LocalExecutor, tmp_path: Path) -> None:
    executor.submit(job("a", "stubborn", str(tmp_path)))
    while not list(tmp_path.iterdir()):
        time.sleep(0.02)
    process = int(next(tmp_path.iterdir()).name)
    executor.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_usable_cores_is_at_least_one() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
