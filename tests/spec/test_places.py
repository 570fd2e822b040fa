"""A study's results are found from its file wherever one stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from finescale.cli import app
from finescale.errors import UsageError
from finescale.spec.places import study_folder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user stands: a folder without results."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("FINESCALE_RESULTS", raising=False)
    return tmp_path / "here"


def begun(folder: Path, text: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "ledger.sqlite").write_bytes(b"")
    (folder / "study.yaml").write_text(text)
    return folder


def study_file(folder: Path, text: str = "name: a") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.yaml").write_text(text)
    return folder / "a.yaml"


def test_a_new_study_begins_in_results_of_the_current_folder(tmp_path: Path) -> None:
    assert study_folder("a", study_file(tmp_path / "project")) == Path("results/a")
    assert study_folder("a") == Path("results/a")


def test_results_beside_the_file_or_its_folder_are_found(tmp_path: Path) -> None:
    beside = begun(tmp_path / "project" / "results" / "a")
    assert study_folder("a", study_file(tmp_path / "project")) == beside
    assert study_folder("a", study_file(tmp_path / "project" / "studies")) == beside
    assert study_folder("a", study_file(tmp_path / "project" / "studies" / "deep")) == Path("results/a")


def test_the_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(tmp_path / "project" / "results" / "a")
    monkeypatch.setenv("FINESCALE_RESULTS", str(tmp_path / "disk"))
    assert study_folder("a", study_file(tmp_path / "project")) == tmp_path / "disk" / "a"


def test_of_two_studies_of_one_name_the_one_that_ran_this_file_is_meant(tmp_path: Path) -> None:
    file = study_file(tmp_path / "project")
    theirs = begun(tmp_path / "here" / "results" / "a", "name: a # another")
    beside = begun(tmp_path / "project" / "results" / "a", file.read_text())
    assert study_folder("a", file) == beside
    (theirs / "study.yaml").write_text(file.read_text())
    with pytest.raises(UsageError, match=r"several folders hold a study 'a'(.|\n)*project/results/a"):
        study_folder("a", file)


def test_the_current_folder_counts_once(tmp_path: Path) -> None:
    begun(tmp_path / "here" / "results" / "a")
    assert study_folder("a", study_file(tmp_path / "here")) == Path("results/a")
    assert study_folder("a", Path("a.yaml")).resolve() == tmp_path / "here" / "results" / "a"


def test_commands_find_the_study(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "studies" / "nano.yaml").read_text()
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "mine.yaml").write_text(text)
    begun(tmp_path / "project" / "results" / "nano", text)
    (tmp_path / "project" / "results" / "nano" / "ledger.sqlite").write_bytes(b"no ledger")
    for command in (["status"], ["report"], ["run", "--dry-run"]):
        done = CliRunner().invoke(app, [*command, str(tmp_path / "project" / "mine.yaml")])
        assert str(tmp_path / "project" / "results" / "nano") in f"{done.output} {done.exception}", command
