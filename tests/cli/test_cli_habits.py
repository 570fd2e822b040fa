"""What people expect of a command line: widths, colours, completion, and a doctor."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from finescale.cli import app, doctor, terminal
from finescale.errors import UsageError
from finescale.executors import machine

TABLE = Path(__file__).parents[2] / "examples" / "nano_full.parquet"


@pytest.mark.parametrize(("stated", "width"), [("80", 80), ("", 160), ("wide", 160), ("0", 160)])
def test_columns_says_how_wide_lines_are(stated: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", stated)
    assert terminal.console().width == width


def test_no_color_is_heeded_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    pty = pytest.importorskip("pty")
    code = "from finescale.cli.terminal import console, say; say(console(), 'stopped', 'red')"

    def shown() -> bytes:
        above, below = pty.openpty()
        terminal_env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
        subprocess.run([sys.executable, "-c", code], stdout=below, env=terminal_env, check=True)
        os.close(below)
        return os.read(above, 1000)

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert b"\x1b[" in shown()
    monkeypatch.setenv("NO_COLOR", "1")
    assert b"\x1b[3" not in shown()


def test_a_shell_completes_commands_and_options() -> None:
    def offered(line: str) -> list[str]:
        words = {
            "_FINESCALE_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(line.count(" ")),
        }
        return CliRunner().invoke(app, [], env=words, prog_name="finescale").output.split()

    assert offered("finescale re") == ["report"]
    assert "--dry-run" in offered("finescale run --d")


def test_the_doctor_names_everything_on_one_line_each_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINESCALE_RESULTS", str(tmp_path / "there"))
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert all(re.match(r"(ok|--|!!) [\w ]+: ", line) for line in lines)
    for what in ("finescale", "training", "GPU", "extra ray", "cores", "memory", "results"):
        assert any(line[3:].startswith(f"{what}: ") for line in lines), what
    assert any(str(tmp_path / "there") in line for line in lines)
    for line in lines:
        assert line.startswith("ok") or " - " in line or "not known" in line


def test_the_doctor_tells_a_folder_that_cannot_be_written_and_libraries_that_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('libcudart.so.12: no such file')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("FINESCALE_RESULTS", "/proc/nowhere")
    machine.gpus.cache_clear()
    found = {one.what: one for one in doctor.findings()}
    machine.gpus.cache_clear()
    assert found["training"].state == "problem"
    assert "libcudart.so.12" in found["training"].found
    assert found["results"].state == "problem"
    assert "FINESCALE_RESULTS" in found["results"].remedy


def test_free_memory_is_what_the_kernel_says() -> None:
    free = machine.free_memory()
    if free is not None:
        total = int(re.findall(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) * 1024
        assert 0 <= free <= total


def test_an_option_for_one_value_that_is_given_twice_is_refused() -> None:
    told = CliRunner().invoke(app, ["fit", str(TABLE), "--by", "task", "--by", "method"])
    assert isinstance(told.exception, UsageError)
    assert "wanted: --by once" in str(told.exception)
    assert "join columns with commas" in str(told.exception)


def test_rows_are_kept_for_which_every_where_is_true(tmp_path: Path) -> None:
    out = tmp_path / "kept.csv"
    where = ["--where", "method=full", "--where", "finetune_examples<=1k"]
    assert CliRunner().invoke(app, ["collect", str(TABLE), *where, "--out", str(out)]).exit_code == 0
    kept = pl.read_csv(out)
    assert set(kept["method"]) == {"full"}
    assert kept["finetune_examples"].max() <= 1000
    assert (
        kept.height
        == pl.read_parquet(TABLE).filter(method="full").filter(pl.col("finetune_examples") <= 1000).height
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            ["fit", "--column", "test_loss=loss", "--column", "test_loss=eval"],
            "--column test_loss is given twice",
        ),
        (["predict", "--at", "finetune_examples=1e4,finetune_examples=2e4"], "finetune_examples twice"),
        (["predict", "--at", "model=nano-1m,finetune_examples=1e4"], "name its size: model_params=7e9"),
        (["predict", "--at", "finetune_examples=many"], "--at finetune_examples"),
    ],
)
def test_a_name_with_two_values_or_none_of_its_own_is_told(given: list[str], told: str) -> None:
    command, *options = given
    found = CliRunner().invoke(app, [command, str(TABLE), *options]).exception
    assert isinstance(found, UsageError)
    assert told in str(found)


def test_sizes_of_a_question_may_have_commas() -> None:
    asked = ["predict", str(TABLE), "--by", "task,method", "--json", "-", "--at"]
    plain, commas = (
        CliRunner().invoke(app, [*asked, f"finetune_examples={size}"]) for size in ("50000", "50,000")
    )
    assert plain.exit_code == commas.exit_code == 0
    assert plain.stdout == commas.stdout
