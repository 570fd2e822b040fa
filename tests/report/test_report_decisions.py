"""The map of the best method, the table of crossovers and what they say where there is no answer."""

from __future__ import annotations

import html
import json
import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic import base_only, study_frame

from finescale.advice.options import Question
from finescale.advice.recommend import advise
from finescale.records.records import read_records
from finescale.report.crossmap import UNTOLD, CriticalPanel, MapPanel, figure_5
from finescale.report.decisions import Apart, Decision, decide
from finescale.report.drawing.charts import sheet_svg
from finescale.report.drawing.crosschart import crossover_svgs
from finescale.report.evidence import Evidence, gather
from finescale.report.findings import law_at_base
from finescale.report.section import Source
from finescale.report.sections.crossovers import crossover_sheet
from finescale.report.write import write_report


@pytest.fixture(scope="module")
def decision(evidence: Evidence) -> Decision:
    made = decide(evidence.records, "nano-en-de", bootstrap=100, seed=0)
    assert isinstance(made, Decision)
    return made


def test_every_cell_of_the_map_is_what_the_advice_says_there(decision: Decision) -> None:
    figure = figure_5(decision)
    assert figure is not None
    panel = figure.panels[0]
    assert isinstance(panel, MapPanel)
    labels = {series.label for series in panel.series}
    assert UNTOLD in labels
    assert len(labels) > 1
    rng = np.random.default_rng(0)
    for cell in rng.choice(np.array(panel.cells), size=12, replace=False):
        size = math.sqrt(cell["x"] * cell["x2"])
        low, high = cell["y"], cell["y2"]
        step = (max(c["y2"] for c in panel.cells) / min(c["y"] for c in panel.cells)) ** (1 / 48)
        advice = advise(decision.found, Question(low * math.sqrt(step), size), decision.prices)
        said = {"full": "Full tuning", "lora": "LoRA", "prompt": "Prompt tuning"}
        best = UNTOLD if advice.best is None else said[advice.best.name]
        assert cell["series"] == best, (size, low, high)


def test_map_covers_the_range_without_gaps(decision: Decision) -> None:
    figure = figure_5(decision)
    assert figure is not None
    panel = figure.panels[0]
    assert isinstance(panel, MapPanel)
    columns: dict[float, list[tuple[float, float]]] = {}
    for cell in panel.cells:
        columns.setdefault(cell["x"], []).append((cell["y"], cell["y2"]))
    for cells in columns.values():
        assert all(a[1] == b[0] for a, b in pairwise(cells))
    assert len({(cells[0][0], cells[-1][1]) for cells in columns.values()}) == 1


def test_figure_5_draws_the_map_and_a_panel_for_each_pair_that_crosses(decision: Decision) -> None:
    figure = figure_5(decision)
    assert figure is not None
    crossing = [p for p in decision.pairs if sum(bool(point.crossings) for point in p.points) > 1]
    assert sum(isinstance(panel, CriticalPanel) for panel in figure.panels) >= len(crossing)
    pictures = crossover_svgs(figure)
    assert len(pictures) == len(figure.panels)
    assert "cannot tell" in pictures[0]
    assert sheet_svg(figure, pictures).count("<svg") == 1 + len(pictures)


def test_crossover_table_holds_the_numbers_of_the_crossovers(decision: Decision) -> None:
    sheet = crossover_sheet(decision)
    points = [point for pair in decision.pairs for point in pair.points]
    assert len(sheet.rows) == len(points) == 3 * len(decision.found.sizes)
    for row, point in zip(sheet.rows, points, strict=True):
        assert row["at"] == point.at
        assert row["examples"] == (point.crossings[0].examples if point.crossings else None)
    assert sheet.frame.height == len(points)


def test_one_model_size_has_crossovers_but_no_map(frame: pl.DataFrame) -> None:
    evidence = gather(read_records(base_only(frame)), bootstrap=0)
    made = decide(evidence.records, "nano-en-de", bootstrap=50, seed=0)
    assert isinstance(made, Decision)
    assert figure_5(made) is None
    assert len(made.pairs) == math.comb(len(made.found.members), 2)
    assert [point.at for pair in made.pairs for point in pair.points] == [None] * len(made.pairs)


def test_one_candidate_has_neither() -> None:
    one = base_only(study_frame(methods=("lora",))).filter(pl.col("pet_size") == 4)
    records = gather(read_records(one), bootstrap=0).records
    made = decide(records, "nano-en-de", bootstrap=50, seed=0)
    assert isinstance(made, Decision)
    assert made.pairs == ()
    assert crossover_sheet(made).rows == []


def test_a_task_that_cannot_be_fitted_is_a_sentence(evidence: Evidence, frame: pl.DataFrame) -> None:
    few = frame.filter(pl.col("finetune_examples") == 128)
    records = replace(evidence.records, frame=gather(read_records(few), bootstrap=0).records.frame)
    said = decide(records, "nano-en-de", law="multiplicative", bootstrap=0, seed=0)
    assert isinstance(said, str)
    assert "too few settings" in said or "one value only" in said


def two_tokenizers() -> pl.DataFrame:
    """Two methods on models of two tokenizers, whose losses per token do not compare."""
    rng = np.random.default_rng(2)
    models = {"gpt2": (124e6, 0.0), "gpt2-large": (774e6, -0.2)}
    models |= {"t5-base": (220e6, -1.5), "t5-large": (770e6, -1.7)}
    return pl.DataFrame(
        [
            {
                "task": "t",
                "method": method,
                "model": model,
                "model_params": size,
                "finetune_examples": examples,
            }
            | {"seed": seed, "lr_tuned": True}
            | {"test_loss": 3 + shift + worse + 8 * examples**-0.4 + 0.01 * rng.standard_normal()}
            for model, (size, shift) in models.items()
            for method, worse in (("full", 0.0), ("lora", 0.05))
            for examples in (500, 1000, 2000, 4000)
            for seed in (0, 1)
        ]
    )


def test_models_of_different_tokenizers_have_an_answer_a_map_and_an_explorer_each(tmp_path: Path) -> None:
    evidence = gather(read_records(two_tokenizers()), bootstrap=20)
    made = decide(evidence.records, "t", bootstrap=20, seed=0)
    assert isinstance(made, Apart)
    labels = ["t, models with GPT-2's tokenizer", "t, models with T5's tokenizer"]
    assert [one.task for one in made.each] == labels
    page = write_report(evidence, Source("x"), tmp_path).read_text(encoding="utf-8")
    data = re.findall(r'<script type="application/json" class="data">(.*?)</script>', page)
    assert [json.loads(text)["task"] for text in data] == labels
    shown = [{one["label"] for one in json.loads(text)["candidates"]} for text in data]
    assert not any("t5" in label for label in shown[0])
    assert not any("gpt2" in label for label in shown[1])
    text = html.unescape(page)
    assert all(f"Figure 5. Which method is best, and where they cross ({label})" in text for label in labels)
    assert "So every tokenizer has an answer of its own, and none is between them." in text
    assert "needs runs that compare: their tokenizers differ" in text
    assert "needs held-out settings that both laws predict, of models of one tokenizer" in text
    assert "It is fitted across tokenizers, whose losses per token do not compare." in text
    found = law_at_base(evidence.tasks[0], "full")
    assert found is not None
    assert found[0].law == "power"  # of the base setting's model alone
