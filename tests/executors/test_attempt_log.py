from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from finescale.executors.attempt_log import capture_output, last_words, log_file, note
from finescale.executors.local import Job, LocalExecutor, Result


@pytest.fixture
def executor():
    made = LocalExecutor(1)
    yield made
    made.close()


def outcome(executor: LocalExecutor, function: str, log: Path, level: str = "info") -> Result:
    executor.submit(Job("a", f"calls:{function}", (), log=log, level=level))
    found: list[Result] = []
    while not found:
        found = executor.wait(0.2)
    return found[0]


def test_all_that_a_run_prints_is_in_its_log_with_times(executor: LocalExecutor, tmp_path: Path) -> None:
    first, second = log_file(tmp_path, "a", 1), log_file(tmp_path, "a", 2)
    outcome(executor, "talking", first)
    outcome(executor, "talking", second, "warning")
    said = first.read_text()
    for words in ("from print", "from C", "from a warning"):
        assert words in said
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO lib: from logging$", said, re.MULTILINE)
    assert "from logging" not in second.read_text()


def test_an_error_that_points_to_what_was_printed_comes_with_it(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    result = outcome(executor, "pointing", tmp_path / "log")
    assert result.error == "RuntimeError: we cannot load it, see the above report\nlayer.7 is missing"
    assert "Traceback" in (tmp_path / "log").read_text()


def test_the_last_words_of_a_process_that_died_are_its_error_and_in_the_log(
    executor: LocalExecutor, tmp_path: Path
) -> None:
    result = outcome(executor, "crashing", tmp_path / "log")
    assert "was killed by SIGSEGV; its last words: Fatal Python error: Segmentation fault" in str(
        result.error
    )
    assert "in crashing" in (tmp_path / "log").read_text()


def test_a_log_that_cannot_be_written_costs_no_run(executor: LocalExecutor, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where a folder should be")
    result = outcome(executor, "talking", log_file(tmp_path, "a", 1))
    assert (result.error, result.value) == (None, "talked")
    if Path("/dev/full").exists():
        result = outcome(executor, "talking", Path("/dev/full"))
        assert (result.error, result.value) == (None, "talked")


def test_printing_goes_where_it_went_before_once_the_run_is_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capture_output(tmp_path / "log"):
        os.system("echo inside")
    os.system("echo outside")
    assert capfd.readouterr().out == "outside\n"
    assert (tmp_path / "log").read_text() == "inside\n"


def test_our_own_lines_are_no_library_s_last_words(tmp_path: Path) -> None:
    note(tmp_path / "log", "attempt 1")
    assert last_words((tmp_path / "log").read_text() + "CUDA error\n\n") == "CUDA error"
