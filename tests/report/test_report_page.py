from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from synthetic import base_only, study_frame

from finescale.advice.answers import Question
from finescale.advice.recommend import advise
from finescale.advice.wording import capital, method_name
from finescale.errors import UsageError
from finescale.records import read_records
from finescale.report.content import Source
from finescale.report.decisions import Decision, decide
from finescale.report.evidence import Evidence, gather
from finescale.report.write import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
HOSTILE = "<script>alert('en-de')</script>"


@pytest.fixture(scope="module")
def page(evidence: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(
        evidence, Source("nano", ("finescale report nano",)), tmp_path_factory.mktemp("report")
    )


def test_report_writes_page_figures_and_tables_and_leaves_nothing_aside(page: Path) -> None:
    made = {str(path.relative_to(page.parent)) for path in page.parent.rglob("*") if path.is_file()}
    for number in (1, 2, 3, 4, 5):
        assert {f"figures/figure-{number}-nano-en-de.{kind}" for kind in ("svg", "png", "pdf")} <= made
    names = ("table-2-deviations", "table-4-parameters", "table-5-crossovers-nano-en-de", "troubles")
    assert {f"tables/{name}.{kind}" for name in names for kind in ("csv", "tex")} <= made
    assert not [name for name in made if ".part" in name]
    assert page.stat().st_size < 6e6
    assert pl.read_csv(page.parent / "tables/table-2-deviations.csv").height == 8


def test_a_second_report_removes_what_the_first_one_wrote_and_nothing_else(
    evidence: Evidence, frame: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("a\n1\n")
    write_report(replace(evidence, bootstrap=0, tasks=()), Source("x"), tmp_path)
    write_report(gather(read_records(base_only(frame)), bootstrap=0), Source("x"), tmp_path)
    first = {path.name for path in tmp_path.rglob("*.csv")}
    assert "single-variable-laws.csv" in first
    write_report(replace(evidence, bootstrap=0, tasks=()), Source("x"), tmp_path)
    assert "single-variable-laws.csv" not in {path.name for path in tmp_path.rglob("*.csv")}
    assert not list(tmp_path.rglob("figure-*"))
    assert (tmp_path / "tables" / "mine.csv").exists()


def test_a_report_that_cannot_be_written_leaves_the_earlier_one_whole(
    evidence: Evidence, tmp_path: Path
) -> None:
    nothing = replace(evidence, tasks=())
    page = write_report(nothing, Source("first"), tmp_path)
    blocked = tmp_path / "tables" / "troubles.csv"
    blocked.unlink()
    blocked.mkdir()
    with pytest.raises(UsageError, match="the report cannot be written"):
        write_report(nothing, Source("second"), tmp_path)
    assert "first: which finetuning method" in page.read_text()
    assert not list(tmp_path.rglob("*.part"))


def test_page_says_the_answer_first_and_names_nothing_outside(page: Path) -> None:
    text = page.read_text()
    assert text.index("full tuning from 2,048 to 4,096 examples") < text.index("Figure 1")
    outside = re.findall(r'(?:src|href)="(?!#)([^"]*)"|url\((?!#)', text)
    assert outside == []
    assert len(re.findall("<script>", text)) == 1
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    frame = base_only(study_frame(task=HOSTILE, methods=("lora",))).with_columns(
        pl.lit(HOSTILE).alias("model"),
        pl.when(pl.col("status") != "done").then(pl.lit(HOSTILE)).otherwise("error").alias("error"),
    )
    evidence = gather(read_records(frame), bootstrap=0)
    text = write_report(evidence, Source(HOSTILE, (HOSTILE,), HOSTILE), tmp_path).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "script-src 'sha256-" in text


def test_page_without_a_finished_run_says_so_and_lists_what_failed(
    frame: pl.DataFrame, tmp_path: Path
) -> None:
    bad = frame.with_columns(
        pl.lit("diverged").alias("status"), pl.lit(None, dtype=pl.Float64).alias("test_loss")
    )
    text = write_report(gather(read_records(bad), bootstrap=0), Source("bad"), tmp_path).read_text()
    assert "nothing can be said yet" in text
    assert "the loss became nan at step 31" in text
    assert "Figures 1-4 need finished runs." in text


def test_small_foreign_table_gets_a_page(tmp_path: Path) -> None:
    sizes = [200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0]
    frame = pl.DataFrame({"finetune_examples": sizes, "test_loss": [3 * d**-0.2 + 1 for d in sizes]})
    text = write_report(gather(read_records(frame), bootstrap=0), Source("mine"), tmp_path).read_text()
    assert "Only one method" in text
    assert "Figure 2 needs runs at two values of model size or more." in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_page_opens_without_errors_requests_or_sideways_scroll(page: Path, width: int, scheme: str) -> None:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        tab.set_default_timeout(120_000)
        said: list[str] = []
        asked: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.as_uri())
        assert said == []
        assert asked == [page.as_uri()]
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("figure svg").count() >= 13
        colour = tab.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
        assert colour == ("rgb(91, 102, 117)" if scheme == "light" else "rgb(165, 176, 190)")
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_explorer_shows_the_numbers_of_python_wherever_the_keyboard_moves_it(
    page: Path, evidence: Evidence
) -> None:
    api = pytest.importorskip("playwright.sync_api")
    made = decide(evidence.records, evidence.tasks[0].task, bootstrap=evidence.bootstrap, seed=evidence.seed)
    assert isinstance(made, Decision)
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.set_default_timeout(120_000)
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(page.as_uri())
        seen = set()
        for slider, key, times in (("size", "ArrowRight", 0), ("data", "ArrowLeft", 90), ("size", "End", 1)):
            for what, presses in ((slider, times), ("price", 3)):
                tab.focus(f"#explorer-0-{what}")
                for _ in range(presses):
                    tab.keyboard.press(key)
            asked = {
                what: float(tab.get_attribute(f"output[for=explorer-0-{what}]", "data-value") or "nan")
                for what in ("size", "data", "price")
            }
            prices = replace(made.prices, price_per_hour=asked["price"])
            advice = advise(made.found, Question(asked["data"], asked["size"]), prices)
            verdict = tab.inner_text("#explorer-0 .verdict")
            best = advice.best
            assert verdict.startswith(capital(method_name(best.name)) if best else "Cannot tell.")
            seen.add(verdict)
            for option in advice.options:
                row = f'#explorer-0 tr[data-candidate="{option.name}"]'

                def shown(name: str, end: str = "value", row: str = row) -> float:
                    return float(tab.get_attribute(f"{row} [data-name={name}]", f"data-{end}") or "nan")

                near = {"rel": 1e-6, "abs": 1e-9}
                assert shown("loss") == pytest.approx(option.loss, **near)
                assert shown("low") == pytest.approx(option.low, **near)
                assert shown("low", "high") == pytest.approx(option.high, **near)
                assert shown("run_low") == pytest.approx(option.run_low, **near)
                assert shown("run_low", "high") == pytest.approx(option.run_high, **near)
                assert shown("probability") == pytest.approx(option.probability, **near)
                assert shown("flops") == pytest.approx(option.cost.flops, **near)
                assert shown("hours") == pytest.approx(option.cost.hours, **near)
                assert shown("money") == pytest.approx(option.cost.money, **near)
        assert len(seen) > 1
        assert said == []
        browser.close()


def test_a_folder_that_cannot_be_written_is_said_in_words(evidence: Evidence, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UsageError, match="the report cannot be written"):
        write_report(replace(evidence, tasks=()), Source("x"), tmp_path / "taken")
