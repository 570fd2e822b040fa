"""The page in a browser: no error, no request, the numbers of Python, keyboard, contrast, phone, print."""

from __future__ import annotations

import json
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from synthetic import base_only, study_frame
from typer.testing import CliRunner

import finescale as fs
from finescale.advice.options import Question
from finescale.advice.recommend import advise
from finescale.cli import app
from finescale.records.records import read_records
from finescale.report.decisions import Decision, decide
from finescale.report.evidence import Evidence, gather
from finescale.report.explorer_data import SHOWN
from finescale.report.section import Source
from finescale.report.write import write_report
from finescale.wording import capital, method_name

api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

HOSTILE = "<script>alert('en-de')</script>"
MANY = (
    "lora",
    "dora",
    "<img src=x onerror=alert(1)>",
    "</script>",
    "&amp;\u202e'\"",
    "a-long-name-" * 16,
    "full",
    "ia3",
)
NEAR = {"rel": 1e-6, "abs": 1e-9}
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def crowd() -> Evidence:
    """Eight methods at one model size; every name is hostile or long."""
    one = base_only(study_frame(methods=("lora",), task=HOSTILE))
    parts = [
        one.with_columns(
            pl.when(pl.col("method") == "lora").then(pl.lit(name)).otherwise("method").alias("method"),
            pl.lit("organisation/a-model-" * 8).alias("model"),
            pl.col("test_loss") + 0.0001 * rank,
            pl.format("{}-{}", pl.lit(rank), "run").alias("run"),
        )
        for rank, name in enumerate(MANY)
    ]
    return gather(read_records(pl.concat(parts)), bootstrap=50)


@pytest.fixture(scope="module")
def crowded(crowd: Evidence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(crowd, Source(HOSTILE, (HOSTILE,), HOSTILE * 9), tmp_path_factory.mktemp("crowd"))


@pytest.fixture(scope="module")
def open_page() -> Iterator[Open]:
    """Opens a file in a tab; ``tab.said`` and ``tab.asked`` keep console lines, errors and requests."""
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])

        def opened(
            path: Path, width: int = 1200, scheme: str = "light", hash: str = "", **options: Any
        ) -> Any:
            tab = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme, **options)
            tab.set_default_timeout(120_000)
            tab.said, tab.asked = [], []
            tab.on("console", lambda message: tab.said.append(message.text))
            tab.on("pageerror", lambda error: tab.said.append(str(error)))
            tab.on("dialog", lambda dialog: (tab.said.append(dialog.message), dialog.dismiss()))
            tab.on("request", lambda request: tab.asked.append(request.url))
            tab.goto(path.as_uri() + hash)
            return tab

        yield opened
        browser.close()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
@pytest.mark.parametrize("which", ["page", "crowded"])
def test_page_opens_without_errors_requests_or_sideways_scroll(
    which: str, width: int, scheme: str, open_page: Open, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(which)
    tab = open_page(path, width, scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert tab.said == []
    assert tab.asked == [path.as_uri()]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.locator("figure svg").count() >= 2
    colour = tab.evaluate("getComputedStyle(document.querySelector('figure svg text')).fill")
    assert colour == ("rgb(91, 102, 117)" if scheme == "light" else "rgb(165, 176, 190)")


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
@pytest.mark.parametrize("which", ["page", "crowded"])
def test_axe_finds_nothing_to_complain_of(
    which: str, width: int, scheme: str, open_page: Open, request: pytest.FixtureRequest
) -> None:
    tab = open_page(request.getfixturevalue(which), width, scheme)
    tab.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    found = axe.Axe().run(tab, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()


CONTRAST = """
() => {
  const style = getComputedStyle(document.documentElement), canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const light = (name) => {
    pen.fillStyle = style.getPropertyValue(name).trim();
    pen.fillRect(0, 0, 1, 1);
    const parts = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map((part) => part / 255);
    const linear = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const found = {};
  for (const text of ["--ink", "--soft", "--accent"]) {
    for (const ground of ["--page", "--card"]) found[text + " on " + ground] = ratio(text, ground) / 4.5;
  }
  found["--ink on --warn"] = ratio("--ink", "--warn") / 4.5;
  for (const kind of ["series", "level"]) {
    for (let k = 0; style.getPropertyValue(`--${kind}-${k}`); k++) {
      found[kind + k] = ratio(`--${kind}-${k}`, "--card") / 3;
    }
  }
  return found;
}
"""
"""Contrasts over what WCAG 2.2 asks for: 4.5 for text (1.4.3), 3 for what lines and points show (1.4.11)."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_stands_out_from_its_ground(page: Path, open_page: Open, scheme: str) -> None:
    found = open_page(page, scheme=scheme).evaluate(CONTRAST)
    assert len(found) >= 7 + 6 + 8
    assert {name: value for name, value in found.items() if value < 1} == {}


def test_explorer_shows_the_numbers_of_python_wherever_the_keyboard_moves_it(
    page: Path, evidence: Evidence, open_page: Open
) -> None:
    made = decide(evidence.records, evidence.tasks[0].task, bootstrap=evidence.bootstrap, seed=evidence.seed)
    assert isinstance(made, Decision)
    tab = open_page(page)
    seen = set()
    for slider, key, times in (("size", "ArrowRight", 0), ("data", "ArrowLeft", 90), ("size", "End", 1)):
        for what, presses in ((slider, times), ("price", 3)):
            tab.focus(f"#explorer-0-{what}")
            for _ in range(presses):
                tab.keyboard.press(key)
        asked = _asked(tab)
        prices = replace(made.prices, price_per_hour=asked["price"])
        advice = advise(made.found, Question(asked["data"], asked["size"]), prices)
        verdict = tab.inner_text("#explorer-0 .verdict")
        best = advice.best
        assert verdict.startswith(capital(method_name(best.name)) if best else "Cannot tell.")
        seen.add(verdict)
        for option in advice.options:
            row = _row(tab, option.name)
            assert row["loss"]["value"] == pytest.approx(option.loss, **NEAR)
            assert _ends(row["low"]) == pytest.approx((option.low, option.high), **NEAR)
            assert _ends(row["run_low"]) == pytest.approx((option.run_low, option.run_high), **NEAR)
            assert row["probability"]["value"] == pytest.approx(option.probability, **NEAR)
            assert row["flops"]["value"] == pytest.approx(option.cost.flops, **NEAR)
            assert row["hours"]["value"] == pytest.approx(option.cost.hours, **NEAR)
            assert row["money"]["value"] == pytest.approx(option.cost.money, **NEAR)
    assert len(seen) > 1
    assert tab.said == []


def test_explorer_dragged_to_a_place_shows_what_the_command_advises_there(
    page: Path, frame: pl.DataFrame, evidence: Evidence, open_page: Open, tmp_path: Path
) -> None:
    frame.write_parquet(tmp_path / "runs.parquet")
    tab = open_page(page)
    for what, share in (("data", 0.7), ("size", 0.25)):
        slider = tab.locator(f"#explorer-0-{what}")
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        tab.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
    asked = _asked(tab)
    flags = ("--examples", asked["data"], "--model-params", asked["size"], "--price-per-hour", asked["price"])
    command = ["advise", str(tmp_path / "runs.parquet"), *(repr(flag).strip("'") for flag in flags)]
    result = CliRunner().invoke(app, [*command, "--bootstrap", str(evidence.bootstrap), "--json", "-"])
    assert result.exit_code == 0, result.output
    for option in json.loads(result.stdout)["advice"][0]["options"]:
        row = _row(tab, option["name"])
        assert row["loss"]["value"] == pytest.approx(option["loss"], **NEAR)
        assert _ends(row["low"]) == pytest.approx((option["low"], option["high"]), **NEAR)
        assert row["probability"]["value"] == pytest.approx(option["probability"], **NEAR)
        assert row["money"]["value"] == pytest.approx(option["cost"]["money"], **NEAR)


def _until(tab: Any, condition: str) -> None:
    """Waits for a condition; playwright's own waiting evaluates text in the page, which the page forbids."""
    for _ in range(200):
        if tab.evaluate(condition):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"never so: {condition}")


def _typed(tab: Any, what: str, text: str) -> None:
    tab.fill(f"#explorer-0-{what}-typed", text)
    tab.keyboard.press("Enter")


def _question(tab: Any) -> dict[str, str]:
    """What the page's address asks, once it follows."""
    _until(tab, "location.hash.includes('=')")
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(tab.url).fragment))


def test_numbers_are_typed_into_the_explorer_as_on_the_command_line(page: Path, open_page: Open) -> None:
    tab = open_page(page)
    for what, text, value in (("data", "1,500", 1500), ("data", "2k", 2000), ("size", "0.25M", 250_000)):
        _typed(tab, what, text)
        assert _asked(tab)[what] == value
        assert tab.inner_text(f"#explorer-0-{what}-typed-wrong") == ""
    assert tab.input_value("#explorer-0-size-typed") == "250K"
    before = tab.inner_text("#explorer-0 tbody")
    for text, words in (
        ("many", "Not a number: write it like 7e9, 7B or 50k; got: many."),
        ("1.500", "A number that can be read in two ways: write 1500 or 1.5000; got: 1.500."),
        ("70B", "got: 70B."),
        ("-5", "(ten times beyond the runs); got: -5."),
    ):
        _typed(tab, "data", text)
        said = tab.inner_text("#explorer-0-data-typed-wrong")
        assert words in said
        assert "The answer is still for 2,000." in said
        assert tab.get_attribute("#explorer-0-data-typed", "aria-invalid") == "true"
        assert tab.inner_text("#explorer-0 tbody") == before
    _typed(tab, "data", "2000")
    assert tab.get_attribute("#explorer-0-data-typed", "aria-invalid") is None
    assert tab.said == []


def test_the_address_carries_the_question_and_whoever_opens_it_sees_the_same_answer(
    page: Path, open_page: Open
) -> None:
    tab = open_page(page)
    assert "#" not in tab.url
    _typed(tab, "data", "1,500")
    tab.focus("#explorer-0-size")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    _until(tab, "location.hash.includes('model_params')")
    tab.wait_for_timeout(300)
    asked = _question(tab)
    assert list(asked) == ["model_params", "finetune_examples", "price_per_hour"]
    assert {name: float(value) for name, value in asked.items()} == {
        "model_params": _asked(tab)["size"],
        "finetune_examples": 1500,
        "price_per_hour": 2,
    }
    answer = tab.inner_text("#explorer-0 .verdict") + tab.inner_text("#explorer-0 tbody")
    other = open_page(page, hash="#" + tab.url.partition("#")[2])
    assert other.inner_text("#explorer-0 .verdict") + other.inner_text("#explorer-0 tbody") == answer
    assert _asked(other) == _asked(tab)
    other.evaluate("location.hash = '#finetune_examples=2k'")  # written by a person; the rest is the start
    _until(other, "document.querySelector('#explorer-0-data-typed').value === '2,000'")
    assert _asked(other)["size"] == _asked(open_page(page))["size"]
    assert other.said == []


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (
            "finetune_example=9",
            "wanted: model_params, finetune_examples, price_per_hour; got: finetune_example",
        ),
        ("task=other&finetune_examples=9", "wanted: a task of this page, nano-en-de; got: other"),
        ("finetune_examples=%3Cb%3E", "Not a number: write it like 7e9, 7B or 50k; got: <b>."),
    ],
)
def test_a_link_that_asks_for_what_is_not_there_is_told(
    page: Path, open_page: Open, link: str, words: str
) -> None:
    tab = open_page(page, hash=f"#{link}")
    assert words in tab.inner_text("#explorer-0 .sliders") + tab.inner_text("#explorer-0 .link")
    assert _asked(tab) == _asked(open_page(page))
    assert tab.said == []


def of_the_models(frame: pl.DataFrame) -> pl.DataFrame:
    """The runs that vary model and data size only: a page of few figures."""
    last = pl.col("pretrain_tokens") == pl.col("pretrain_tokens").max()
    return frame.filter(last & (pl.col("pet_size").is_null() | pl.col("pet_size").is_in([4, 16])))


def test_explorer_evaluates_a_law_that_the_page_never_heard_of(
    frame: pl.DataFrame, open_page: Open, tmp_path: Path
) -> None:
    @fs.law(linear=("A", "E"), nonlinear={"alpha": (-1, 3), "beta": (-1, 3)})
    def from_the_outside(X, D, A, alpha, beta, E):
        return A * np.exp(-alpha * np.log(X)) / np.sqrt(1 + D) ** (2 * beta) + np.maximum(E, 0)

    made = gather(read_records(of_the_models(frame)), bootstrap=20, law=from_the_outside)
    tab = open_page(write_report(made, Source("nano"), tmp_path))
    found = decide(made.records, made.tasks[0].task, law=made.law, bootstrap=20, seed=made.seed)
    assert isinstance(found, Decision)
    assert found.found.law == "from_the_outside"
    advice = advise(found.found, Question(_asked(tab)["data"], _asked(tab)["size"]), found.prices)
    for option in advice.options:
        row = _row(tab, option.name)
        assert row["loss"]["value"] == pytest.approx(option.loss, **NEAR)
        assert _ends(row["run_low"]) == pytest.approx((option.run_low, option.run_high), **NEAR)
    assert tab.said == []


def test_explorer_leaves_a_method_that_was_run_on_one_model_out_for_the_others(
    frame: pl.DataFrame, open_page: Open, tmp_path: Path
) -> None:
    few = of_the_models(frame).filter((pl.col("method") != "lora") | (pl.col("model") == "nano-0.3m"))
    made = gather(read_records(few), bootstrap=20)
    tab = open_page(write_report(made, Source("nano"), tmp_path))
    read = "(found) => [...new Set(found.map((row) => row.dataset.candidate.split(' ')[0]))].sort()"
    assert tab.eval_on_selector_all("#explorer-0 tbody tr", read) == ["full", "lora", "prompt"]
    tab.focus("#explorer-0-size")
    tab.keyboard.press("End")
    assert tab.eval_on_selector_all("#explorer-0 tbody tr", read) == ["full", "prompt"]
    assert tab.said == []


def test_explorer_of_a_score_ranks_the_highest_first_and_says_so(
    frame: pl.DataFrame, open_page: Open, tmp_path: Path
) -> None:
    scored = frame.with_columns(accuracy=(-pl.col("test_loss") / 3).exp())
    made = gather(read_records(scored, score="accuracy"), bootstrap=20)
    tab = open_page(write_report(made, Source("nano"), tmp_path))
    found = decide(made.records, made.tasks[0].task, bootstrap=20, seed=made.seed)
    assert isinstance(found, Decision)
    tab.focus("#explorer-0-data")
    for key in ("ArrowRight", "End"):
        tab.keyboard.press(key)
        advice = advise(found.found, Question(_asked(tab)["data"], _asked(tab)["size"]), found.prices)
        names = tab.eval_on_selector_all(
            "#explorer-0 tbody tr", "(found) => found.map((row) => row.dataset.candidate)"
        )
        assert names == [option.name for option in advice.options]
        for option in advice.options:
            row = _row(tab, option.name)
            assert row["loss"]["value"] == pytest.approx(option.loss, **NEAR)
            assert _ends(row["run_low"]) == pytest.approx((option.run_low, option.run_high), **NEAR)
            assert row["probability"]["value"] == pytest.approx(option.probability, **NEAR)
    said = tab.inner_text("#explorer-0")
    assert "accuracy" in said
    assert "nats" not in said
    assert tab.said == []


def test_a_probability_counts_candidates_that_are_not_shown(
    crowded: Path, crowd: Evidence, open_page: Open
) -> None:
    made = decide(crowd.records, crowd.tasks[0].task, bootstrap=crowd.bootstrap, seed=crowd.seed)
    assert isinstance(made, Decision)
    tab = open_page(crowded)
    tab.focus("#explorer-0-data")
    tab.keyboard.press("End")
    advice = advise(made.found, Question(_asked(tab)["data"]), made.prices)
    assert tab.locator("#explorer-0 tbody tr").count() == SHOWN < len(advice.options)
    assert sum(option.probability for option in advice.options[SHOWN:]) > 0
    for option in advice.options[:SHOWN]:
        assert _row(tab, option.name)["probability"]["value"] == pytest.approx(option.probability, **NEAR)


def _asked(tab: Any) -> dict[str, float]:
    """What the explorer is asked."""
    read = "(found) => Object.fromEntries(found.map((o) => [o.id.split('-')[2], +o.dataset.value]))"
    return tab.eval_on_selector_all("#explorer-0 .typed", read)


def _row(tab: Any, name: str) -> dict[str, dict[str, float]]:
    """The cells of a candidate's row."""
    read = """(rows, name) => {
      const row = rows.find((r) => r.dataset.candidate === name);
      const numbers = (td) => ({ value: +(td.dataset.value ?? NaN), high: +(td.dataset.high ?? NaN) });
      return Object.fromEntries([...row.querySelectorAll("td")].map((td) => [td.dataset.name, numbers(td)]));
    }"""
    return tab.eval_on_selector_all("#explorer-0 tbody tr", read, name)


def _ends(cell: dict[str, float]) -> tuple[float, float]:
    return cell["value"], cell["high"]


def test_the_tab_key_reaches_sliders_tables_and_folded_parts_and_shows_where_it_is(
    page: Path, open_page: Open
) -> None:
    tab = open_page(page)
    reached = []
    while (
        not reached or reached[-1][0] != "BODY"
    ):  # the end of the page: the browser's own controls come next
        tab.keyboard.press("Tab")
        reached.append(
            tab.evaluate(
                "[document.activeElement.tagName, document.activeElement.id, "
                "getComputedStyle(document.activeElement).outlineStyle]"
            )
        )
    reached.pop()
    assert {"A", "INPUT", "DIV", "SUMMARY"} <= {name for name, _, _ in reached}
    inputs = [name for kind, name, _ in reached if kind == "INPUT"]
    sliders = [f"explorer-0-{what}" for what in ("size", "data", "price")]
    assert inputs == [name for slider in sliders for name in (f"{slider}-typed", slider)]
    assert "none" not in {outline for _, _, outline in reached}
    tab.focus("#explorer-0-data")
    before = tab.get_attribute("#explorer-0-data", "aria-valuetext")
    tab.keyboard.press("Home")
    assert tab.get_attribute("#explorer-0-data", "aria-valuetext") != before
    tab.focus("summary >> nth=0")
    tab.keyboard.press("Enter")
    assert tab.locator("details").first.get_attribute("open") is not None


def test_print_is_dark_on_white_whole_and_not_wider_than_the_paper(page: Path, open_page: Open) -> None:
    tab = open_page(page, width=720, scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(17, 17, 17)"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not tab.locator("#explorer").is_visible()
    assert not tab.locator("nav").is_visible()
    assert tab.evaluate(
        "[...document.querySelectorAll('details > :not(summary)')].every((e) => e.offsetHeight > 0)"
    )
    wide = "(found) => found.filter((t) => t.offsetWidth > 720).map((t) => t.caption.innerText)"
    assert tab.eval_on_selector_all("table", wide) == []


def test_without_javascript_the_page_says_what_to_do_instead(page: Path, open_page: Open) -> None:
    tab = open_page(page, java_script_enabled=False)
    assert "The explorer needs JavaScript; the same: finescale advise." in tab.inner_text("#explorer")
    assert re.search(r"Lowest test loss", tab.inner_text("#answer"))
