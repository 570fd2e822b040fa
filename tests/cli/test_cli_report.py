from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from synthetic import scores_frame, study_frame
from typer.testing import CliRunner, Result

from finescale.cli import app, main


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(item) for item in arguments])


def failing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str | Path
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["finescale", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study's folder as `run` leaves it."""
    folder = tmp_path_factory.mktemp("results") / "nano"
    folder.mkdir()
    study_frame(methods=("lora",)).write_parquet(folder / "records.parquet")
    return folder


def test_report_of_a_study_folder_prints_the_tables_and_writes_the_page(folder: Path) -> None:
    result = call("report", folder, "--bootstrap", "0")
    assert result.exit_code == 0, result.output
    assert "Tables 2 and 6. Mean absolute deviation" in result.output
    assert "Table 4. Parameters" in result.output
    page = folder / "report" / "index.html"
    assert str(page) in result.output.replace("\n", "")
    text = page.read_text()
    assert "nano: which finetuning method" in text
    assert f"finescale report {folder} --bootstrap 0" in text


def test_report_reads_the_scores_beside_the_records_and_those_of_another_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pl.read_parquet(folder / "records.parquet")
    table = scores_frame(frame).filter(pl.col("metric") == "chrf", pl.col("shots") == 0)
    table.write_csv(tmp_path / "mine.csv")
    page = tmp_path / "page" / "index.html"
    result = call(
        "report", folder, "--bootstrap", "0", "--scores", tmp_path / "mine.csv", "--out", page.parent
    )
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "Figure 7." in text
    assert f"--scores {tmp_path / 'mine.csv'}" in text
    study = tmp_path / "study"
    study.mkdir()
    frame.write_parquet(study / "records.parquet")
    table.write_parquet(study / "scores.parquet")
    assert call("report", study, "--bootstrap", "0").exit_code == 0
    assert "Figure 7." in (study / "report" / "index.html").read_text()
    code, words = failing(monkeypatch, capsys, "report", folder, "--scores", tmp_path / "no.csv")
    assert (code, "no such file" in words) == (2, True)


def test_report_at_another_base_setting_is_that_of_the_other_commands(folder: Path, tmp_path: Path) -> None:
    base = ("--base", "model_params=118976", "--base", "pretrain_tokens=any")
    page = tmp_path / "page"
    result = call("report", folder, "--bootstrap", "0", "--out", page, *base)
    assert result.exit_code == 0, result.output
    text = (page / "index.html").read_text()
    assert f"--base {base[1]} --base {base[3]} --bootstrap 0" in text
    said = call("advise", folder, "--bootstrap", "0", *base)
    assert said.exit_code == 0, said.output
    assert "a model of 119K parameters" in said.output
    assert "119K parameters" in re.sub(r"<[^>]+>", "", text).partition("What the records say")[0]
    assert "no such factor" in str(call("report", folder, "--base", "size=3").exception)


def test_report_makes_the_pictures_that_are_asked_for(tmp_path: Path) -> None:
    table, out = tmp_path / "runs.csv", tmp_path / "page"
    sizes = [200.0, 400.0, 800.0, 1600.0]
    pl.DataFrame({"finetune_examples": sizes, "test_loss": [3 * d**-0.2 + 1 for d in sizes]}).write_csv(table)
    begins = {"svg": b"<svg", "png": b"\x89PNG", "pdf": b"%PDF"}
    for asked in ("png,pdf,svg", "pdf", ""):
        result = call("report", table, "--bootstrap", "0", "--out", out, "--figures", asked)
        assert result.exit_code == 0, result.output
        made = list((out / "figures").iterdir())
        assert {path.suffix[1:] for path in made} == set(filter(None, asked.split(",")))
        assert all(path.read_bytes().startswith(begins[path.suffix[1:]]) for path in made)
        assert "--figures" in html.unescape((out / "index.html").read_text())
    assert "some of svg, png, pdf" in str(call("report", table, "--figures", "gif").exception)


def test_report_without_a_file_ends_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, words = failing(monkeypatch, capsys, "report", tmp_path / "no.csv")
    assert (code, "no such file" in words) == (2, True)
    code, words = failing(monkeypatch, capsys, "report", tmp_path)
    assert (code, "no records in this folder" in words) == (2, True)


def test_report_of_a_table_without_data_sizes_names_the_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.DataFrame({"model_params": [1e6, 2e6], "test_loss": [3.0, 2.0]}).write_csv(tmp_path / "runs.csv")
    code, words = failing(monkeypatch, capsys, "report", tmp_path / "runs.csv")
    assert code == 2
    assert "no column `finetune_examples`" in words
    assert not (tmp_path / "runs-report").exists()


def test_report_of_an_empty_table_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study_frame(methods=("lora",)).clear().write_parquet(tmp_path / "records.parquet")
    code, words = failing(monkeypatch, capsys, "report", tmp_path)
    assert (code, "the table has no run" in words) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["records.parquet"]


def test_report_imports_no_torch_and_help_no_charts() -> None:
    code = (
        "import sys, finescale.cli, finescale.cli.report; "
        "assert not {'torch', 'vl_convert', 'ray'} & set(sys.modules), 'heavy import'; "
        "import finescale.report.write; assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
