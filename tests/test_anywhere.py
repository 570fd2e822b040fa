"""The tool where a terminal, a locale, a home or a writable folder is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from finescale.study.ledger import Entry, Ledger

COMMAND = "from finescale.cli import main; main()"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table whose names are in no ASCII."""
    sizes = [100, 200, 400, 800, 1600]
    rows = {
        "task": ["übung"] * 10,
        "method": ["méthode"] * 5 + ["方法"] * 5,
        "model_params": [1e6] * 10,
        "finetune_examples": sizes * 2,
        "test_loss": [2 + n**-0.3 for n in sizes] + [1.9 + n**-0.25 for n in sizes],
    }
    pl.DataFrame(rows).write_csv(tmp_path / "runs.csv")
    return tmp_path / "runs.csv"


def call(folder: Path, *arguments: str, **environment: str | None) -> subprocess.CompletedProcess[bytes]:
    given = {**os.environ, **{name: value for name, value in environment.items() if value is not None}}
    for name, value in environment.items():
        if value is None:
            given.pop(name, None)
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=folder,
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"HOME": None, "USER": None, "LOGNAME": None, "TERM": None},
    ],
)
def test_tables_with_foreign_names_are_shown_whatever_the_terminal_can_write(
    table: Path, environment: dict[str, str | None]
) -> None:
    done = call(table.parent, "fit", table.name, "--law", "power", "--bootstrap", "0", **environment)
    assert (done.returncode, done.stderr) == (0, b"")
    name = "méthode".encode() if environment.get("HOME", "") is None else b"m\\xe9thode"
    assert name in done.stdout


def test_a_ledger_in_a_read_only_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.sqlite"
    with Ledger(file) as ledger:
        spec = type("Spec", (), {"model_dump_json": lambda self: "{}"})()
        ledger.sync_plan("s", [Entry("a", "study", False, False, 1.0, {}, spec)])
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # no mode keeps root from writing
        with Ledger(file, create=False) as read:  # while another process has it open
            assert [row["run"] for row in read.plan()] == ["a"]
            read.sync_plan("s", [])
        assert [row["run"] for row in ledger.plan()] == ["a"]
