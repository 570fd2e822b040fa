"""What Jupyter shows of results: tables, with every text of a user escaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import polars as pl
import pytest
from made_up import runs

import finescale as fs
from finescale.advice.crossovers import Pairs

HOSTILE = "<img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Counts elements, and checks that each one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def records() -> fs.Records:
    frame = runs(("full", "lora"), seeds=1)
    names = pl.when(pl.col("method") == "lora").then(pl.lit(HOSTILE)).otherwise("method")
    return fs.read_records(frame.with_columns(names.alias("method"), pl.lit(HOSTILE).alias("task")))


def views(records: fs.Records) -> dict[str, object]:
    fits = fs.fit(records, "multiplicative", "model_params", bootstrap=20)
    at = {"model_params": [1e8, 8e9], "finetune_examples": 5000}
    target = {"model_params": 3.2e9, "finetune_examples": 128_000.0}
    return {
        "fits": fits,
        "law": fits[0],
        "prediction": fits[0].predict(at),
        "comparison": fs.compare(records, factors="model_params"),
        "backtest": fs.backtest(records, factors="model_params"),
        "advice": fs.recommend(records, examples=20_000, bootstrap=20),
        "crossovers": fs.crossovers(list(fits), [1e8, 8e8]),
        "pair": fs.crossovers(list(fits), [1e8])[0],
        "plan": fs.plan(records, target, 1e17, methods=[HOSTILE]),
    }


def test_every_result_shows_itself_as_a_table_and_no_name_becomes_an_element(records: fs.Records) -> None:
    for name, result in views(records).items():
        page = result._repr_html_()  # type: ignore[attr-defined]
        seen = Elements(page).seen
        assert "table" in seen, name
        assert set(seen) <= {"table", "thead", "tbody", "tr", "th", "td", "p", "b", "br", "ul", "li"}, name
        assert HOSTILE not in page


def test_many_predictions_are_cut_and_counted(records: fs.Records) -> None:
    law = fs.fit(records, "multiplicative", "model_params", bootstrap=0)[0]
    page = law.predict(model_params=1e8, finetune_examples=[1000.0 + k for k in range(100)])._repr_html_()
    assert page.count("<tr>") == 31
    assert "70 more predictions" in page
    assert "interval" not in page
    assert re.search(r"<th>mean</th>", page)


def test_no_crossovers_say_so() -> None:
    assert Pairs()._repr_html_() == "<p>No crossovers.</p>"
