"""`finescale advise` as its user types it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from made_up import runs
from typer.testing import CliRunner, Result

from finescale.cli import app, main


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("advise") / "runs.csv"
    runs().write_csv(path)
    return path


def call(*arguments: str | Path, columns: int = 220) -> Result:
    return CliRunner().invoke(app, ["advise", *map(str, arguments)], env={"COLUMNS": str(columns)})


def failing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["finescale", "advise", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().err


def test_the_sentence_comes_first_and_the_table_below(table: Path) -> None:
    result = call(table, "--examples", "32000", "--model-params", "8e8", "--bootstrap", "50")
    assert result.exit_code == 0, result.output
    first = result.output.splitlines()[0]
    assert first.startswith("Full tuning for 32,000 examples on a model of 800M parameters")
    assert "2x model buys" in result.output


@pytest.mark.parametrize(("columns", "heading"), [(220, "candidate"), (110, "Full tuning")])
def test_a_narrow_terminal_has_a_column_a_candidate_and_breaks_no_number(
    table: Path, columns: int, heading: str
) -> None:
    output = call(table, "--bootstrap", "50", columns=columns).output
    lines = [line for line in output.splitlines() if line.startswith(("┃", "│"))]
    assert max(map(len, lines)) <= columns
    assert any(heading in line for line in lines if line.startswith("┃"))
    text = "\n".join(lines)
    assert len(re.findall(r"\d\.\d+ to \d\.\d+ ", text)) == 6
    assert len(re.findall(r"\d\.\d+ for \d\.\de\+\d+ ", text)) == 6


def test_json_on_standard_output_stands_alone(table: Path) -> None:
    result = call(table, "--crossovers", "--json", "-", "--bootstrap", "50")
    (advice,) = json.loads(result.stdout)["advice"]
    assert advice["best"] in {"full", "lora", "prompt", None}
    assert len(advice["crossovers"]) == 3
    assert advice["crossovers"][0]["points"][0]["crossings"]


def test_crossovers_name_equal_reducible_loss_apart(table: Path) -> None:
    result = call(table, "--crossovers", "--law", "multiplicative", "--bootstrap", "50")
    assert "equal reducible loss" in result.output
    assert "Full tuning and LoRA, along model size: at 100M: LoRA up to" in result.output


def test_every_task_is_answered_and_a_task_that_cannot_be_is_said(tmp_path: Path) -> None:
    good = runs(("full", "lora"))
    bad = runs(("lora",), data=(1000,)).with_columns(pl.lit("[bold]u").alias("task"))
    pl.concat([good, bad]).write_csv(tmp_path / "runs.csv")
    result = call(tmp_path / "runs.csv", "--bootstrap", "20")
    assert result.exit_code == 0
    assert result.output.startswith("t: ")
    assert "too few" in result.output
    assert "[bold]u" in result.output


def test_one_method_asked_for_crossovers_says_so(tmp_path: Path) -> None:
    runs(("lora",)).write_csv(tmp_path / "runs.csv")
    result = call(tmp_path / "runs.csv", "--crossovers", "--bootstrap", "20")
    assert result.exit_code == 0
    assert "No crossovers: one method only." in result.output


def test_questions_without_an_answer_end_in_words(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, code, words in (
        (("--target-loss", "0.2"), 1, "out of reach"),
        (("--base", "foo=3"), 2, "--base foo: no such factor"),
        (("--budget", "10"), 1, "the budget buys no run"),
        (("--examples", "0"), 2, "a number above 0"),
        (("--task", "u"), 2, "no finished run of the task"),
        (("--price-per-hour", "-1"), 2, "--price-per-hour -1"),
        (("--law", "bogus"), 2, "no law is called"),
    ):
        got, said = failing(monkeypatch, capsys, table, "--bootstrap", "0", *arguments)
        assert (got, words in said) == (code, True), said
    diverged = tmp_path / "diverged.csv"
    runs().with_columns(pl.lit("diverged").alias("status")).write_csv(diverged)
    got, said = failing(monkeypatch, capsys, diverged)
    assert (got, "nothing can be advised" in said) == (1, True)


def test_a_base_that_would_lose_a_method_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = runs(("full", "lora")).with_columns(
        pl.when(pl.col("method") == "lora").then(4.0).alias("pet_size"),
    )
    frame.write_parquet(tmp_path / "runs.parquet")
    got, said = failing(monkeypatch, capsys, tmp_path / "runs.parquet", "--base", "pet_size.lora=99")
    assert got == 2
    assert "no run of LoRA at this base setting" in said
    assert "wanted: pet_size 4" in said
    assert "got: --base pet_size.lora=99" in said


def test_a_method_that_was_never_run_at_the_base_setting_is_named(tmp_path: Path) -> None:
    frame = runs(("full", "lora")).with_columns(
        pl.when(pl.col("method") == "lora").then(2e9).otherwise(1e9).alias("pretrain_tokens"),
    )
    more = frame.filter(pl.col("method") == "full").with_columns(seed=pl.col("seed") + 100)
    pl.concat([frame, more]).write_parquet(tmp_path / "runs.parquet")
    result = call(tmp_path / "runs.parquet", "--bootstrap", "20")
    assert result.exit_code == 0
    assert "note: LoRA: no run at the base setting, so left out" in result.output


def test_advise_loads_no_training_library(table: Path) -> None:
    code = (
        "import sys; from finescale.cli import app; "
        f"app(['advise', {str(table)!r}, '--bootstrap', '20', '--json', '-'], standalone_mode=False); "
        "assert not {'torch', 'transformers', 'vl_convert', 'scipy.optimize'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_time_and_money_are_budgets_where_the_machine_s_rate_is_stated() -> None:
    def said(*words: str) -> str:
        table = Path(__file__).parents[2] / "examples" / "nano_full.parquet"
        done = CliRunner().invoke(app, ["advise", str(table), "--bootstrap", "10", *words])
        return done.output + str(done.exception)

    rate = ("--flops-per-second", "1e9")
    assert said("--budget", "2min", *rate) == said("--budget", "1.2e11", *rate)
    assert "--flops-per-second" in said("--budget", "2h")
    assert "--price-per-hour" in said("--budget", "20usd", *rate)
