"""A law from the outside is found wherever laws are, and a section on the page with its files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import finescale as fs
from finescale.cli import app
from finescale.errors import UsageError
from finescale.laws.formulas import LAWS, contenders
from finescale.records.records import read_records
from finescale.report.drawing.markup import join, tag
from finescale.report.drawing.sheet import Sheet, column
from finescale.report.evidence import gather
from finescale.report.figures import factor_figure
from finescale.report.page import SECTIONS
from finescale.report.section import Content, Made, Section, Source
from finescale.report.sections.parts import draw, figure_html, tables
from finescale.report.write import write_report

OWN = '''
import finescale as fs

@fs.law(linear=("A", "E"), nonlinear={"alpha": (-1, 3), "beta": (-1, 3)}, contender=True)
def toy(X, D, A, alpha, beta, E):
    """$$A X^{-\\alpha} (1 + D / 1000)^{-\\beta} + E$$."""
    return A * X**-alpha * (1 + D / 1000) ** -beta + E

not_a_law = 3
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose losses follow the toy law, and a file with that law."""
    made = tmp_path_factory.mktemp("toy")
    (made / "toy_laws.py").write_text(OWN)
    (made / "broken_laws.py").write_text("import a_module_that_is_not_there")
    rng = np.random.default_rng(0)
    rows = [
        {
            "task": "t",
            "method": method,
            "model_params": x,
            "finetune_examples": d,
            "test_loss": scale * (9.0 * x**-0.15 * (1 + d / 1000) ** -0.4 + 0.8) + rng.normal(0, 0.0005),
        }
        for method, scale in (("full", 1.0), ("lora", 1.02))
        for x in (1e8, 4e8, 1.6e9)
        for d in 100.0 * 3 ** np.arange(6)
    ]
    pl.DataFrame(rows).write_csv(made / "runs.csv")
    return made


@pytest.fixture(scope="module")
def toy(folder: Path) -> Iterator[fs.Law]:
    names: dict[str, fs.Law] = {}
    exec(OWN, names)
    yield names["toy"]
    del LAWS["toy"]


def toy_section(content: Content) -> Made:
    """The transition of the toy law by method: computed, drawn and put into words in one place."""
    (task,) = content.evidence.tasks
    rows = [{"method": law.by["method"], "beta": law.value("beta")} for law in task.laws["toy"]]
    sheet = Sheet(
        "toy-exponents", "Exponents of the toy law", rows, [column("beta", "beta", "{:.2f}".format)]
    )
    figure = factor_figure(task, "model_params")
    assert figure is not None
    pictures = draw(replace(figure, name="toy-figure", title="The toy figure"))
    body = join(tag("p", "What the toy says."), *tables([sheet]), *map(figure_html, pictures))
    return Made(body, [sheet], pictures)


def test_the_toy_law_is_found_by_everything_that_shows_laws_and_the_toy_section_on_the_page(
    folder: Path, toy: fs.Law, tmp_path: Path
) -> None:
    records = read_records(folder / "runs.csv")
    assert "toy" in contenders("surface")
    fitted = fs.fit(records, "toy", bootstrap=0).only(method="full")
    assert fitted.value("beta") == pytest.approx(0.4, rel=0.02)
    assert set(fs.compare(records).table["law"]) == {"multiplicative", "additive", "toy"}
    tested = fs.backtest(records)
    assert tested.best == {"t": "toy"}
    assert {law.law for law in fs.fit(records, "auto", "model_params", bootstrap=0)} == {"toy"}
    assert fs.recommend(records, law="auto", bootstrap=5).law == "toy"
    sections = (*SECTIONS, Section("toy", "A toy section", toy_section))
    page = write_report(gather(records, law=toy, bootstrap=5), Source("toy"), tmp_path, sections).read_text()
    written = {file.name: pl.read_csv(file) for file in (tmp_path / "tables").glob("*.csv")}
    assert "toy_held_out" in written["table-2-deviations.csv"].columns
    assert "toy" in set(written["fits.csv"]["law"])
    assert "held out: toy" in page
    assert '<a href="#toy">A toy section</a>' in page
    assert page.index('<section id="method">') < page.index('<section id="toy">')
    assert "What the toy says." in page
    assert "<h3>The toy figure</h3>" in page
    assert written["toy-exponents.csv"]["beta"].to_list() == pytest.approx([0.4, 0.4], rel=0.05)
    assert (tmp_path / "figures" / "toy-figure.svg").stat().st_size > 1000
    assert '"formula":["+",["*",["*","A",["**",["size"],["neg","alpha"]]]' in page


def test_advice_takes_a_law_itself(folder: Path) -> None:
    @fs.law(linear=("A", "E"), nonlinear={"beta": (-1, 3)})
    def by_column(finetune_examples, A, beta, E):
        return A * (1 + finetune_examples / 1000) ** -beta + E

    advice = fs.recommend(str(folder / "runs.csv"), law=by_column, model_params=4e8, bootstrap=20)
    assert advice.law == "by_column"
    assert {option.method for option in advice.options} == {"full", "lora"}


def test_advice_refuses_a_law_of_what_no_question_says(folder: Path) -> None:
    @fs.law(linear=("A", "E"), nonlinear={"gamma": (-1, 3)})
    def by_rank(pet_size, finetune_examples, A, gamma, E):
        return A * pet_size**-gamma / finetune_examples + E

    with pytest.raises(UsageError, match="advice cannot use the law `by_rank`"):
        fs.recommend(str(folder / "runs.csv"), law=by_rank)


@pytest.mark.parametrize(
    "command",
    [
        ["fit", "--bootstrap", "0"],
        ["compare", "--backtest"],
        ["predict", "--bootstrap", "0", "--at", "model_params=4e8,finetune_examples=1e4"],
        ["advise", "--bootstrap", "10"],
    ],
    ids=lambda command: command[0],
)
def test_the_commands_take_a_law_of_a_file(folder: Path, command: list[str]) -> None:
    flag = "--laws" if command[0] == "compare" else "--law"
    line = [command[0], str(folder / "runs.csv"), *command[1:], flag, f"{folder / 'toy_laws.py'}:toy"]
    done = CliRunner().invoke(app, [*line, "--json", "-"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert '"toy"' in done.stdout


def test_a_stored_fit_of_a_law_of_ones_own_is_read_with_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    run = CliRunner().invoke
    stored, question = str(tmp_path / "fit.json"), ["--at", "model_params=4e8,finetune_examples=1e4"]
    made = run(app, ["fit", "runs.csv", "--law", "toy_laws:toy", "--bootstrap", "5", "--json", stored])
    assert made.exit_code == 0, made.output
    del LAWS["toy"]
    refused = run(app, ["predict", stored, *question])
    assert isinstance(refused.exception, UsageError)
    assert "no law is called `toy`" in str(refused.exception)
    line = ["predict", stored, *question, "--law", "toy_laws:toy", "--json", "-"]
    answered = run(app, line, catch_exceptions=False)
    assert len(json.loads(answered.stdout)["predictions"]) == 2


@pytest.mark.parametrize(
    ("law", "told"),
    [
        ("toy_laws.py:tyo", "remedy: did you mean 'toy'?"),
        ("toy_laws.py:not_a_law", "`not_a_law` is not a law"),
        ("missing.py:toy", "no file missing.py"),
        ("missing_module:toy", "no module missing_module"),
        ("broken_laws.py:toy", "No module named 'a_module_that_is_not_there'"),
        (":toy", "wanted: MODULE:NAME or FILE.py:NAME"),
    ],
)
def test_a_law_that_cannot_be_had_is_told_in_words(
    folder: Path, law: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    done = CliRunner().invoke(app, ["fit", "runs.csv", "--law", law])
    assert isinstance(done.exception, UsageError)
    assert told in str(done.exception)
