"""The explorer, advise, plan and a dry run give the same price for the same run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from finescale.cli import app
from finescale.records.records import read_records
from finescale.report.evidence import gather
from finescale.report.section import Source
from finescale.report.write import write_report

NANO = Path(__file__).parents[1] / "examples" / "nano_full.parquet"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
STUDY = """\
name: one-run
task: mini-en-de
test_examples: 696
base: {{model: nano-0.3m, pet_size: {{lora: 4, prompt: 16}}}}
grids:
  - {{vary: model, values: [nano-0.3m], finetune_examples: {{{method}: [{examples}]}}}}
learning_rates: {{{method}: 0.001}}
"""
"""The runs of the table, at another data size."""

ASKED = "(all) => Object.fromEntries(all.map((o) => [o.id.split('-')[2], +o.dataset.value]))"
ROWS = """(rows) => {
  const cells = (row) => [...row.querySelectorAll("td")].map((td) => [td.dataset.name, +td.dataset.value]);
  return Object.fromEntries(rows.map((row) => [row.dataset.candidate, Object.fromEntries(cells(row))]));
}"""


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(item) for item in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A question beyond the runs, as the explorer answers it: its question, and a row a method."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    folder = tmp_path_factory.mktemp("page")
    page = write_report(gather(read_records(NANO), bootstrap=20), Source("nano"), folder)
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page()
        tab.set_default_timeout(120_000)
        tab.goto(page.as_uri())
        slider = tab.locator("#explorer-0-data")
        slider.fill(str(round(0.75 * int(slider.get_attribute("max")))))
        asked = tab.eval_on_selector_all("#explorer-0 .typed", ASKED)
        rows = tab.eval_on_selector_all("#explorer-0 tbody tr", ROWS)
        browser.close()
    return {"asked": asked, "rows": rows}


@pytest.mark.parametrize("method", ["full", "lora", "prompt"])
def test_four_answers_have_one_price(explored: dict[str, Any], method: str, tmp_path: Path) -> None:
    asked, shown = explored["asked"], explored["rows"][method]
    size, examples = asked["size"], asked["data"]
    assert 5_000 < examples < 26_000

    flags = ["--examples", examples, "--model-params", size, "--price-per-hour", asked["price"]]
    advice = json.loads(call("advise", NANO, "--bootstrap", 20, "--json", "-", *flags))["advice"][0]
    (cost,) = [option["cost"] for option in advice["options"] if option["name"] == method]
    assert shown["flops"] == pytest.approx(cost["flops"], rel=1e-9)
    assert shown["hours"] == pytest.approx(cost["hours"], rel=1e-9)
    assert shown["money"] == pytest.approx(cost["money"], rel=1e-9)

    target = f"model_params={size},finetune_examples={examples}"
    options = ["--target", target, "--budget", 1e15, "--method", method, "--json", tmp_path / "plan.json"]
    call("plan", NANO, *options)
    runs = json.loads((tmp_path / "plan.json").read_text())["runs"]
    (each,) = {run["flops_each"] for run in runs if run["finetune_examples"] == pytest.approx(examples)}
    assert each == pytest.approx(cost["flops"], rel=1e-9)

    (tmp_path / "one.yaml").write_text(STUDY.format(method=method, examples=round(examples)))
    plan = call("run", tmp_path / "one.yaml", "--dry-run")
    (line,) = [
        line for line in plan.splitlines() if re.search(rf"\b{method}\b", line) and "nano-0.3m" in line
    ]
    (told,) = re.findall(r"\d\.?\d*e\+\d+", line)
    assert float(told) == pytest.approx(cost["flops"], rel=0.05)  # two digits, for rows yet to be drawn


def test_prices_are_those_of_the_runs_that_were_made() -> None:
    rows = pl.read_parquet(NANO).filter(
        (pl.col("model") == "nano-0.3m") & (pl.col("finetune_examples") == 4096)
    )
    advice = json.loads(call("advise", NANO, "--bootstrap", 20, "--json", "-", "--examples", 4096))["advice"]
    for option in advice[0]["options"]:
        paid = rows.filter(pl.col("method") == option["name"])["train_flops"].mean()
        assert option["cost"]["flops"] == pytest.approx(paid, rel=0.05)
