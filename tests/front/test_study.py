"""`fs.Study`: the file's schema and messages, and the commands, from a script, a function and a notebook."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from architectures import save_model
from short_forms import SHORT

import finescale as fs
from finescale.spec.file import parse_study
from finescale.spec.python import study_text
from finescale.study.progress import Silent

STUDIES = Path(__file__).parents[2] / "studies"
INSTANT = "functions:instant"
FIELDS: dict[str, Any] = {
    "name": "small",
    "task": "mini-en-de",
    "seeds": [0, 1],
    "test_examples": 100,
    "base": {"model": "nano-0.1m"},
    "grids": [
        {
            "vary": "model",
            "values": ["nano-0.05m", "nano-0.1m"],
            "finetune_examples": {"full": np.array([128, 256]), "lora": range(128, 129)},
        }
    ],
    "hold_out": "finetune_examples >= 256",
    "learning_rates": {"full": [1e-3, 3e-3], "lora": np.float64(1e-2)},
    "sweep": {"model": "nano-0.05m", "finetune_examples": 64},
    "train": {"epochs": {"full": 1, "lora": 2}},
}
RUNS = 16
PATHS = os.pathsep.join(path for path in sys.path if path)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FINESCALE_RESULTS", raising=False)
    return tmp_path


def test_lists_ranges_and_numpy_say_what_a_file_says() -> None:
    study = fs.Study(**FIELDS)
    assert study.grids[0].finetune_examples.full == (128, 256)
    assert study.grids[0].finetune_examples.lora == (128,)
    assert study.learning_rates.lora == (1e-2,)
    assert fs.Study(**{**FIELDS, "test_examples": 1e3}).test_examples == 1000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seedz": [1]}, "fs.Study, seedz: unknown key 'seedz'(.|\n)*did you mean 'seeds'"),
        ({"test_examples": 0.5}, "fs.Study, test_examples: a value(.|\n)*a whole number"),
        ({"grids": [{**FIELDS["grids"][0], "vary": "modle"}]}, r"grids\[0\].vary(.|\n)*did you mean 'model'"),
        ({"learning_rates": {"full": [1e-3]}}, r"learning_rates.lora: (.|\n)*at least one rate for lora"),
        ({"sweep": None}, r"learning_rates.full: (.|\n)*or a `sweep` setting"),
        ({"name": "a\x1b[31mb"}, "name: a control character(.|\n)*U\\+001B"),
    ],
)
def test_messages_are_those_of_a_file_without_lines(change: dict[str, Any], words: str) -> None:
    with pytest.raises(fs.UsageError, match=words) as told:
        fs.Study(**{**FIELDS, **change})
    assert "line" not in str(told.value).partition("\n")[0]


def test_all_problems_are_told_together() -> None:
    with pytest.raises(fs.UsageError, match=r"(?s)nmae.*test_examples"):
        fs.Study(**{**FIELDS, "nmae": "x", "test_examples": -1})


@pytest.mark.parametrize(
    "text",
    [
        SHORT,
        *((STUDIES / f"{name}.yaml").read_text() for name in ("nano", "nano_full", "pythia", "paper/mlsum")),
    ],
    ids=lambda text: str(len(text)),
)
def test_yaml_and_back_is_the_same_study(text: str, here: Path) -> None:
    spec = parse_study(text)
    again = parse_study(study_text(spec))  # type: ignore[arg-type]
    assert again == spec
    (here / "one.yaml").write_text(text)
    study = fs.Study.from_yaml("one.yaml")
    study.to_yaml("two.yaml")
    assert fs.Study.from_yaml("two.yaml").model_dump() == study.model_dump()
    assert fs.Study(**study.model_dump(by_alias=True, exclude_unset=True)).model_dump() == study.model_dump()


def test_text_that_looks_like_a_number_stays_text() -> None:
    study = fs.Study(
        **{**FIELDS, "name": "1e3", "task": {"name": "007", "train": "a.jsonl", "source": "true"}}
    )
    again = parse_study(study.to_yaml())
    assert isinstance(again, type(study).__mro__[1])
    assert (again.name, again.task_name, again.task.source) == ("1e3", "007", "true")  # type: ignore[union-attr]


def test_paths_are_taken_relative_to_where_the_study_is_made(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = fs.Study(**{**FIELDS, "task": {"name": "mine", "train": Path("a.jsonl")}})
    assert study.task.train == str(here / "a.jsonl")  # type: ignore[union-attr]
    (here / "there").mkdir()
    monkeypatch.chdir(here / "there")
    assert str(here / "a.jsonl") in study.to_yaml()


def test_a_pretraining_study_is_named_as_one() -> None:
    with pytest.raises(fs.UsageError, match="a pretraining study"):
        fs.Study.from_yaml(STUDIES / "nano_ladder.yaml")
    assert isinstance(fs.load_study(STUDIES / "nano_ladder.yaml"), fs.PretrainStudy)
    assert isinstance(fs.load_study(STUDIES / "nano.yaml"), fs.Study)


def test_a_dry_run_has_numbers_and_prints_what_the_command_prints() -> None:
    shown = fs.Study(**FIELDS).dry_run()
    assert shown["runs"] == RUNS
    assert shown["flops"] > 0
    assert "16 runs, 2 of them for the learning-rate sweep" in " ".join(str(shown).split())
    assert "<pre>" in shown._repr_html_()
    assert repr(shown) == "StudyView(small: 16 runs)"
    assert not Path("results").exists()


def test_two_studies_in_a_function_run_and_answer(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def both() -> list[fs.Study]:
        studies = [fs.Study(**{**FIELDS, "name": name}) for name in ("one", "two")]
        for study in studies:
            summary = study.run(workers=1, execute=INSTANT)
            assert summary.counts == {"done": RUNS}
            assert summary.made == RUNS
        return studies

    one, two = both()
    assert (one.folder, two.folder) == (Path("results/one"), Path("results/two"))
    assert f"0/{RUNS} runs, about" in capsys.readouterr().out
    assert one.run(workers=1, execute=INSTANT, progress=False).made == 0
    assert capsys.readouterr().out == ""
    assert one.status()["counts"]["done"] == RUNS
    assert "full: adafactor at 0.003 chosen by the sweep" in str(one.status())
    assert one.records().frame.height == two.records().frame.height > 0
    assert one.advise(examples=200, bootstrap=10).task == "mini-en-de"
    page = two.report(bootstrap=10)
    assert page == Path("results/two/report/index.html")
    assert "two" in page.read_text()
    assert fs.load_study("results/one/study.yaml").model_dump() == one.model_dump()


def test_a_dry_run_counts_what_is_done_with_a_model_of_one_s_own(here: Path) -> None:
    save_model(here / "mine")
    own = {"models": {"mine": {"from": "./mine"}}, "base": {"model": "mine"}, "sweep": None}
    grid = {**FIELDS["grids"][0], "values": ["mine"]}
    study = fs.Study(**{**FIELDS, **own, "grids": [grid], "learning_rates": {"full": 1e-3, "lora": 1e-2}})
    made = study.run(workers=1, progress=False, execute=INSTANT).made
    assert f"{made} done, 0 new." in str(study.dry_run())


def test_a_study_that_has_not_begun_says_so() -> None:
    study = fs.Study(**FIELDS)
    for ask in (study.status, study.records, study.advise, study.report):
        with pytest.raises(fs.UsageError, match="results/small"):
            ask()


class Stopping(Silent):
    """Somebody presses the stop button after the third run."""

    def __init__(self) -> None:
        self.seen = 0

    def finished(self, entry: object, record: Mapping[str, Any], seconds: float) -> None:
        self.seen += 1
        if self.seen == 3:
            raise KeyboardInterrupt


def test_the_stop_button_leaves_a_study_that_goes_on() -> None:
    study = fs.Study(**FIELDS)
    with pytest.raises(KeyboardInterrupt):
        study.run(workers=1, progress=Stopping(), execute=INSTANT)
    assert study.status()["counts"]["done"] == 3
    assert study.run(workers=1, progress=False, execute=INSTANT).made == RUNS - 3


def test_results_of_a_file_are_found_and_its_comments_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "# why\n" + fs.Study(**FIELDS).to_yaml()
    (here / "project").mkdir()
    (here / "project" / "mine.yaml").write_text(text)
    monkeypatch.chdir(here / "project")
    fs.Study.from_yaml("mine.yaml").run(workers=1, progress=False, execute=INSTANT)
    assert (here / "project" / "results" / "small" / "study.yaml").read_text() == text
    monkeypatch.chdir(here)
    assert fs.load_study("project/mine.yaml").status()["counts"]["done"] == RUNS  # type: ignore[union-attr]
    assert not (here / "results").exists()


def test_a_script_needs_no_main_guard(here: Path) -> None:
    script = f"""
import numpy as np
from numpy import array
import finescale as fs
made = fs.Study(**{FIELDS!r})
summary = made.run(workers=2, progress=False, execute={INSTANT!r}, out="there")
print(summary.counts, made.status()["counts"]["done"])
"""
    (here / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": PATHS},
    )  # fmt: skip
    assert done.stdout.strip() == f"{{'done': {RUNS}}} {RUNS}", done.stderr
    assert (here / "there" / "records.parquet").exists()


def test_a_notebook_shows_a_bar_in_its_place(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", PATHS)
    code = "import numpy as np\nfrom numpy import array\nimport finescale as fs\n"
    code += f"study = fs.Study(**{FIELDS!r})\nprint(study.dry_run())\n"
    code += f"study.run(workers=1, execute={INSTANT!r}).made"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=60, resources={"metadata": {"path": str(here)}}).execute()
    shown = [output.data for output in book.cells[0].outputs if "data" in output]
    bars = [data["text/html"] for data in shown if "<progress" in data.get("text/html", "")]
    assert len(bars) == 1
    assert f"{RUNS}/{RUNS} runs" in bars[0]
    assert shown[-1]["text/plain"] == str(RUNS)
    said = [output.text for output in book.cells[0].outputs if output.output_type == "stream"]
    assert "16 runs, 2 of them for the learning-rate sweep" in " ".join("".join(said).split())
