from __future__ import annotations

import io
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import functions
import polars as pl
import pytest
from example import RUNS, TEXT
from rich.console import Console
from typer.testing import CliRunner, Result

from finescale.cli import app
from finescale.cli import run as commands
from finescale.errors import UsageError
from finescale.study import opening, resolve


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file in an empty folder; runs are executed by `functions.instant`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)  # one worker is enough
    monkeypatch.setattr(resolve, "resolver", functions.resolver)
    assert commands.run.__kwdefaults__ is not None
    monkeypatch.setitem(commands.run.__kwdefaults__, "execute", "functions:instant")
    (tmp_path / "small.yaml").write_text(TEXT)
    return tmp_path / "small.yaml"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments])


def test_run_makes_the_study_s_folder(study: Path) -> None:
    result = call("run", study)
    assert result.exit_code == 0, result.output
    folder = study.parent / "results" / "small"
    assert {item.name for item in folder.iterdir()} >= {"ledger.sqlite", "records.parquet", "study.yaml"}
    assert (folder / "study.yaml").read_text() == TEXT
    assert f"small: {RUNS} done ({RUNS} made now)" in " ".join(result.output.split())
    again = call("run", study)
    assert f"small: {RUNS} done (0 made now)" in " ".join(again.output.split())


def test_run_takes_another_folder_and_a_number_of_workers(study: Path, tmp_path: Path) -> None:
    assert call("run", study, "--out", tmp_path / "there", "--workers", "1").exit_code == 0
    assert pl.read_parquet(tmp_path / "there" / "records.parquet").height == RUNS


def test_dry_run_shows_the_plan_and_writes_nothing(study: Path) -> None:
    result = call("run", study, "--dry-run")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert f"small: {RUNS} runs, 2 of them for the learning-rate sweep" in said
    assert "4 of 14 study runs held out (29%)" in said
    assert "training FLOPs" in said
    assert [item.name for item in study.parent.iterdir()] == ["small.yaml"]


def test_dry_run_counts_what_is_done_in_the_folder_that_is_used(study: Path) -> None:
    call("run", study, "--out", "there")
    before = (study.parent / "there" / "ledger.sqlite").read_bytes()
    assert "All of it is new: results/small holds no run yet." in call("run", study, "--dry-run").output
    assert f"In there: {RUNS} done, 0 new." in call("run", study, "--dry-run", "--out", "there").output
    study.write_text(TEXT.replace("[128, 256]", "[128, 512]"))
    said = call("run", study, "--dry-run", "--out", "there").output
    assert f"In there: {RUNS - 4} done, 4 new; 4 finished runs there are not in this study file." in said
    assert (study.parent / "there" / "ledger.sqlite").read_bytes() == before


def test_a_study_goes_on_in_its_folder_by_the_folder_s_name(study: Path) -> None:
    call("run", study, "--out", "there")
    assert f"small: {RUNS} done (0 made now). Records: there" in call("run", "there").output
    (study.parent / "empty").mkdir()
    assert "no study in this folder" in told("run", "empty")


def test_dry_run_counts_the_evaluation(study: Path) -> None:
    assert "evaluation adds" not in call("run", study, "--dry-run").output
    text = TEXT.replace("some-task", "mini-en-de")
    study.write_text(f"{text}\nevaluation: {{metrics: [chrf], examples: 5}}\n")
    said = " ".join(call("run", study, "--dry-run").output.split())
    measured = RUNS - 2  # the sweep's runs are not
    assert f"FLOPs and {5 * measured} generated texts: of that time up to 0:00:" in said


def test_dry_run_says_when_nothing_is_held_out(study: Path) -> None:
    study.write_text(TEXT.replace(">= 256", ">= 1e6"))
    assert "hold_out matches no run" in call("run", study, "--dry-run").output


def test_status_shows_counts_and_choices(study: Path) -> None:
    call("run", study)
    for target in (study, study.parent / "results" / "small"):
        said = " ".join(call("status", target).output.split())
        assert f"small: {RUNS} runs: {RUNS} done" in said
        assert "full: adafactor at 0.003 chosen by the sweep - the highest rate tried" in said


def test_status_tells_why_runs_failed(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.run.__kwdefaults__, "execute", "functions:broken")  # pyright: ignore
    call("run", study)
    assert "RuntimeError: no such device" in call("status", study).output
    monkeypatch.setitem(commands.run.__kwdefaults__, "execute", "functions:instant")  # pyright: ignore
    said = " ".join(call("run", study, "--retry-failed").output.split())
    assert "8 failed runs will be tried again" in said
    assert f"small: {RUNS} done (8 made now)" in said


def executed_by(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    monkeypatch.setitem(commands.run.__kwdefaults__, "execute", f"functions:{function}")  # pyright: ignore


@pytest.mark.parametrize(
    ("function", "code", "last"),
    [
        ("instant", 0, f"small: {RUNS} done ({RUNS} made now). Records: results/small/records.parquet"),
        ("diverging", 0, f"small: 1 diverged, {RUNS - 1} done"),  # a candidate of the sweep, and one is left
        ("stopped_early", 0, f"small: {RUNS - 1} done, 1 stopped"),
        ("broken", 3, "8 runs failed: an error. First: "),
        ("never", 4, "failed: an error. First: "),
    ],
)
def test_the_exit_code_says_how_the_study_ended(
    study: Path, monkeypatch: pytest.MonkeyPatch, function: str, code: int, last: str
) -> None:
    study.write_text(TEXT + "retries: 0\n")
    executed_by(monkeypatch, function)
    result = call("run", study)
    assert (result.exit_code, last in " ".join(result.output.split())) == (code, True), result.output
    assert call("run", study).exit_code == code  # nothing left to make: the study still stands as it did
    if code:
        told = result.output.splitlines()[-4:]
        assert [line.split(":")[0].strip() for line in told] == [
            told[0].split(":")[0],
            "cause",
            "remedy",
            "log",
        ]


def test_until_decided_the_last_lines_say_what_was_decided_and_what_is_left(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed_by(monkeypatch, "lawful")
    text = TEXT.replace("lora: 1e-2", "lora: [1e-2, 2e-2]").replace("[nano-0.05m, nano-0.1m]", "[nano-0.05m]")
    study.write_text(text.replace("lora: [128]", "lora: [128, 256]"))
    for wrong, words in (
        (("--sure", "0.9"), "a probability of nothing"),
        (("--until-decided", "finetune_examples=1M"), "--until-decided: 1M examples are more than 10 times"),
        (("--until-decided", "finetune_examples=256", "--sure", "20%"), "--sure: no probability to decide"),
    ):
        result = call("run", study, *wrong)
        assert isinstance(result.exception, UsageError)
        assert words in str(result.exception)
    assert not (study.parent / "results").exists()
    result = call("run", study, "--until-decided", "finetune_examples=256", "--sure", "90%", "--workers", "1")
    said = result.output.splitlines()
    assert result.exit_code == 0, result.output
    assert "with a probability of 90% (base setting: " in said[0]
    assert said[-3].startswith("Decided. Full tuning for 256 examples on a model of 112K parameters: ")
    assert said[-1].startswith("Not run: 6 runs: 3 full tuning (128 to 256 examples), 3 LoRA (128 to 256 ")
    assert said[-1].endswith(f"`finescale run {study}` makes them.")


def test_a_run_s_attempts_are_shown_with_cause_remedy_and_log(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.write_text(TEXT + "retries: 1\n")
    executed_by(monkeypatch, "broken")
    shown = re.search(r"log: (finescale status \S+ --logs \S+)", call("run", study).output)
    assert shown is not None
    command = shown[1].split()[1:]
    said = call(*command).output
    assert said.count("cause: RuntimeError: no such device") == 4  # two attempts and their logs
    assert said.count("Traceback (most recent call last)") == 2
    remedy = "remedy: the log says where it happened;"
    assert said.count(f"{remedy} `finescale run` tries it again") == 2
    assert said.count(f"{remedy} then `finescale run --retry-failed`") == 2
    beginning = command[-1][:6]
    assert command[-1] in call("status", study, "--logs", beginning).output
    assert "no such run" in told("status", study, "--logs", "zz")
    assert "several runs begin so" in told("status", study, "--logs", "")


def test_quiet_says_only_what_went_wrong(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("run", study, "--quiet").output == ""
    executed_by(monkeypatch, "broken")
    said = call("run", study, "--quiet", "--out", study.parent / "other").output.splitlines()
    assert said[0].startswith("small: ")
    assert [line.split(":")[0] for line in said[1:]] == ["8 runs failed", "  cause", "  remedy", "  log"]


def test_a_study_runs_in_a_thread_that_is_not_the_main_one(study: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(commands.run, study, console=Console(file=io.StringIO())).result() == 0


def test_status_as_json_is_for_machines(study: Path) -> None:
    call("run", study)
    state = json.loads(call("status", study, "--json").output)
    assert state["counts"] == {"done": RUNS}
    assert state["choices"][0]["chosen"]["learning_rate"] == 3e-3
    assert sum(group["done"] for group in state["groups"]) == RUNS


def test_watching_a_folder_waits_for_the_driver_that_makes_it(study: Path) -> None:
    there, said = study.parent / "there", io.StringIO()
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(commands.status, there, watch=True, console=Console(file=said, width=120))
        assert call("run", study, "--out", there).exit_code == 0
        assert watching.result(timeout=900) == 0
    assert f"small: {RUNS} runs: {RUNS} done" in said.getvalue()
    assert "no such study" in told("status", study.parent / "nowhere")


def test_status_exports_parquet_and_csv(study: Path, tmp_path: Path) -> None:
    call("run", study)
    for name in ("table.parquet", "table.csv"):
        assert call("status", study, "--export", tmp_path / name).exit_code == 0
    assert pl.read_parquet(tmp_path / "table.parquet").height == RUNS
    assert pl.read_csv(tmp_path / "table.csv").height == RUNS


def told(*arguments: str | Path) -> str:
    error = call(*arguments).exception
    assert isinstance(error, UsageError)
    assert error.exit_code == 2
    return str(error)


def test_mistakes_are_told_before_anything_is_made(study: Path, tmp_path: Path) -> None:
    assert "did you mean 'small.yaml'?" in told("run", tmp_path / "smal.yaml")
    assert "unknown level" in told("run", study, "--log-level", "loud")
    assert "no workers" in told("run", study, "--workers", "0")
    assert "--text is for pretraining studies" in told("run", study, "--text", tmp_path)
    assert "no study here yet" in told("status", study)
    study.write_text(TEXT.replace("hold_out: finetune", "hold_out: finetunes"))
    assert re.search(r"hold_out.*unknown column", told("run", study))
    study.write_text("kind: pretrain\nname: p\nlanguages: [en]\nmodels: [nano-1m]\n")
    assert "a pretraining study needs its text" in told("run", study)
    assert not (tmp_path / "results").exists()


def test_another_study_s_folder_is_refused_and_left_alone(study: Path, tmp_path: Path) -> None:
    call("run", study, "--out", tmp_path / "there")
    study.write_text(TEXT.replace("name: small", "name: other"))
    assert "belongs to another study" in told("run", study, "--out", tmp_path / "there")
    assert (tmp_path / "there" / "study.yaml").read_text() == TEXT


def test_an_export_of_an_unknown_kind_is_refused(study: Path) -> None:
    call("run", study)
    assert "a name that ends in .parquet or .csv" in told("status", study, "--export", "table.xlsx")


def test_the_flags_of_run_and_status() -> None:
    flags = {name: set(re.findall(r"--[a-z-]+", call(name, "--help").output)) for name in ("run", "status")}
    assert flags["run"] == {
        "--out",
        "--workers",
        "--dry-run",
        "--probe",
        "--gpu-flops",
        "--text",
        "--retry-failed",
        "--retry-diverged",
        "--retune",
        "--check",
        "--executor",
        "--address",
        "--log-level",
        "--quiet",
        "--until-decided",
        "--sure",
        "--help",
    }
    assert flags["status"] == {"--export", "--json", "--watch", "--logs", "--help"}


REAL = """\
name: real
task: mini-en-de
test_examples: 600
base: {model: nano-0.3m}
grids:
  - {vary: model, values: [nano-0.1m], finetune_examples: {full: [128]}}
  - {vary: pretrain_tokens, values: [1765376], finetune_examples: {full: [128]}}
learning_rates: {full: [0.001]}
"""


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ("mini-en-de", "mini-en-dee", "line 2, task", "did you mean 'mini-en-de'?"),
        ("test_examples: 600", "test_examples: 6000", "line 3, test_examples", "at most 696"),
        ("[nano-0.1m]", "[nano-01m]", "line 6, grids[0].values", "did you mean 'nano-0.1m'?"),
        ("[1765376]", "[17]", "line 7, grids[1].values", "one of 706560"),
        ("full: [128]}}\nl", "full: [99999]}}\nl", "line 7, grids[1].finetune_examples.full", "26,022"),
        ("- {vary: model", "- {varry: model", "line 6, grids[0].vary", "did you mean 'vary'?"),
        ("full: [0.001]}", "full: [0.001]}\nhold_out: model_parms > 3", "line 9, hold_out", "model_params"),
    ],
)
def test_what_does_not_exist_is_told_with_file_line_and_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, where: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert old in REAL
    (tmp_path / "real.yaml").write_text(REAL.replace(old, new, 1))
    message = told("run", "real.yaml")
    assert f"real.yaml, {where}: " in message
    assert words in message
    assert [item.name for item in tmp_path.iterdir()] == ["real.yaml"]


def test_an_installation_without_the_training_libraries_is_told_what_to_install(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "find_spec", lambda name: None if name == "torch" else object())
    message = told("run", study)
    assert "got: no torch" in message
    assert 'pip install "finescale[train]"' in message
    assert not (study.parent / "results").exists()
    assert call("run", study, "--dry-run").exit_code == 0
