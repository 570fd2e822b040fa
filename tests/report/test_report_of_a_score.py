"""A page about a score: the highest leads, the unit is its own, and the paper's sections are left out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import finescale as fs
from finescale.report.correlation import wrong_signs
from finescale.report.drawing.sheet import Sheet
from finescale.report.evidence import gather
from finescale.report.findings import answer
from finescale.report.section import Source
from finescale.report.write import write_report


def runs() -> fs.Records:
    rng = np.random.default_rng(0)
    rows = []
    for method, lift in (("full", 0.0), ("lora", 0.06)):
        for size in (1e8, 4e8):
            for examples in (1000, 4000, 16000, 64000):
                for seed in range(2):
                    lost = 0.5 * (size / 1e8) ** -0.1 * (examples / 1000) ** -0.15 - lift
                    row = {"task": "t", "method": method, "model_params": size, "finetune_examples": examples}
                    row |= {
                        "seed": seed,
                        "accuracy": 1 - lost + 0.003 * rng.standard_normal(),
                        "lr_tuned": True,
                    }
                    rows.append(row)
    return fs.read_records(pl.DataFrame(rows), score="accuracy")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out: Path = tmp_path_factory.mktemp("page")
    evidence = gather(runs(), bootstrap=40)
    return write_report(evidence, Source("scores"), out).read_text(encoding="utf-8")


def test_the_highest_score_leads_in_every_sentence(page: str) -> None:
    assert "Highest accuracy: LoRA" in page
    found = answer(gather(runs(), bootstrap=0).tasks[0])
    assert found.headline.startswith("Highest accuracy: LoRA")
    assert all(verdict.best == "lora" and verdict.lead.value > 0 for verdict in found.verdicts)


def test_no_sentence_is_about_nats_and_no_section_is_the_papers(page: str) -> None:
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    assert "nats" not in text
    assert re.findall(r'<section[^>]* id="(\w+)"', page)[:2] == ["answer", "explorer"]
    assert 'id="findings"' not in page


def test_the_explorer_has_the_direction_and_the_scale(page: str) -> None:
    assert '"outcome":{"noun":"accuracy","sign":-1,"unit":"","lead":"above","most":"highest"}' in page
    assert '"scale":{"name":"logit","sign":-1,"low":0.0,"high":1.0}' in page


def test_a_correlation_of_the_wrong_sign_is_a_headline() -> None:
    row = {"task": "t", "metric": "chrf", "factor": "model_params", "method": "lora", "r": 0.9, "p": 0.001}
    sheet = Sheet("table-7-correlations", "", [row, {**row, "r": -0.9}, {**row, "p": 0.4}], ())
    assert wrong_signs(sheet) == [
        "Loss and chrF disagree over model size (t, LoRA): a lower loss comes with a worse chrF (r 0.90)."
    ]
