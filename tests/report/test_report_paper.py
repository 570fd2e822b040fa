"""The paper's own numbers beside these, and the correlation of loss and score (Table 7)."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats
from synthetic import scores_frame, study_frame

from finescale.laws.published import published_names
from finescale.records.records import read_records
from finescale.report import paper
from finescale.report.correlation import correlations, every_correlation, p_value, pearson, spearman
from finescale.report.drawing.sheet import Sheet
from finescale.report.evidence import Evidence, gather
from finescale.report.reducible import table_5
from finescale.report.tables import table_2, table_4


@pytest.fixture(scope="module")
def of_the_paper(frame: pl.DataFrame) -> Evidence:
    """The made-up records under the name of one of the paper's tasks."""
    named = frame.with_columns(pl.lit("wmt14-en-de").alias("task"))
    return gather(read_records(named), bootstrap=20, scores=scores_frame(named))


def headings(sheet: Sheet) -> list[str]:
    return [column.heading for column in sheet.shown]


def test_shipped_numbers_are_those_of_the_shared_tables() -> None:
    default = Path(__file__).resolve().parents[3] / "shared"
    folder = Path(os.environ.get("FINESCALE_SHARED", default)) / "paper"
    if not folder.is_dir():
        pytest.skip("needs the shared tables (FINESCALE_SHARED)")
    names = {"model": "model_params", "pretrain": "pretrain_tokens", "pet": "pet_size"}

    def rows(number: int) -> list[dict[str, str]]:
        return list(csv.DictReader((folder / f"table{number}.csv").read_text().splitlines()))

    for row in rows(5):
        first, second = row["pair"].split("-")
        found = paper.equal_reducible(row["task"], second, first, names[row["factor"]])
        assert found == (float(row["H"]), float(row["gamma"]))
    for method in ("full", "lora", "prompt"):
        for row in rows(6):
            found = paper.held_out_deviation(row["task"], method, names[row["factor"]], row["law"])
            assert found == (float(row[method]) if row[method] else None)
        for row in rows(7):
            found = paper.correlation(row["task"], method, names[row["factor"]])
            assert found == (float(row[method]) if row[method] else None)


def test_papers_numbers_agree_with_one_another() -> None:
    """Table 6 and Table 7 have a cell for each law of Table 4."""
    for task, method, factor in published_names():
        assert paper.held_out_deviation(task, method, factor, "additive") is not None
        assert -1 <= (paper.correlation(task, method, factor) or 2) < 0
    assert paper.held_out_deviation("mlsum", "full", "pet_size", "additive") is None
    assert paper.correlation("another", "full", "model_params") is None
    assert paper.equal_reducible("mlsum", "full", "dora", "model_params") is None


def test_papers_numbers_stand_beside_those_of_its_tasks(of_the_paper: Evidence) -> None:
    table = table_2(of_the_paper)
    assert headings(table)[2:6] == ["held out: multiplicative", "paper", "held out: additive", "paper"]
    row = next(row for row in table.rows if (row["method"], row["factor"]) == ("lora", "pet_size"))
    assert (row["paper_multiplicative"], row["paper_additive"]) == (0.0031, 0.0032)
    rows = table_4(of_the_paper).rows
    assert [(row["method"], row["source"]) for row in rows][:2] == [("full", "records"), ("full", "paper")]
    assert (rows[1]["A_m"], rows[1]["alpha_p"], rows[1]["beta"]) == (1.2e5, 0.21, 0.15)
    assert "A_t" not in rows[1]
    assert "LoRA (paper)" in [cells[0] for cells in table_4(of_the_paper).cells()]
    found = {(row["factor"], row["first"], row["second"]): row for row in table_5(of_the_paper).rows}
    assert len(found) == 6
    first = found["model_params", "full", "lora"]
    assert (first["paper_H"], first["paper_gamma"]) == (2e24, -2.4)


def test_other_tasks_have_no_column_of_the_paper(evidence: Evidence) -> None:
    for sheet in (table_2(evidence), table_4(evidence), table_5(evidence), correlations(evidence)):
        assert not [name for name in sheet.frame.columns if name.startswith("paper")]
        assert not [name for name in headings(sheet) if "paper" in name]


def test_correlation_is_that_of_scipy() -> None:
    rng = np.random.default_rng(3)
    for points in (4, 9, 40):
        x = rng.normal(size=points)
        y = np.round(0.7 * x + rng.normal(size=points), 1)
        known = stats.pearsonr(x, y)
        assert pearson(x, y) == pytest.approx(known.statistic, abs=1e-12)
        assert p_value(pearson(x, y), points) == pytest.approx(known.pvalue, rel=1e-9)
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert np.isnan(pearson(np.ones(4), np.arange(4.0)))


def test_table_7_is_over_the_settings_of_each_factor(of_the_paper: Evidence) -> None:
    sheet = correlations(of_the_paper)
    assert sheet.title == "Table 7. Correlation of test loss and chrF"
    found = {(row["factor"], row["method"]): row for row in sheet.rows}
    assert len(found) == 8
    assert found["pet_size", "lora"]["settings"] == 18
    assert found["model_params", "full"]["r"] < -0.99
    assert found["model_params", "full"]["paper_r"] == -0.184
    (task,) = of_the_paper.tasks
    assert of_the_paper.scores is not None
    runs = of_the_paper.scores.of_runs(task.task, "test", 0, "chrf")
    mine = runs.filter(pl.col("method") == "lora", pl.col("pet_size") == 4, pl.col("model") == "nano-0.3m")
    mine = mine.group_by("pretrain_tokens", "finetune_examples").agg(pl.col("run_loss", "score").mean())
    known = stats.pearsonr(mine["run_loss"].to_numpy(), mine["score"].to_numpy()).statistic
    assert found["pretrain_tokens", "lora"]["r"] == pytest.approx(known)


def test_table_7_without_scores_is_empty(evidence: Evidence) -> None:
    assert correlations(replace(evidence, scores=None)).rows == []
    lonely = gather(read_records(study_frame(methods=("lora",))), bootstrap=0)
    assert correlations(lonely).rows == []


def test_table_5_holds_eq_3_of_the_laws_and_its_intervals(evidence: Evidence) -> None:
    (task,) = evidence.tasks
    for row in table_5(evidence).rows:
        one, two = (task.law("multiplicative", row[name], row["factor"]) for name in ("first", "second"))
        assert one is not None
        assert two is not None
        gap = one.value("beta") - two.value("beta")
        assert row["gamma"] == pytest.approx((two.value("alpha") - one.value("alpha")) / gap)
        assert np.log(row["H"]) == pytest.approx(np.log(one.value("A") / two.value("A")) / gap)
        draws = (two.draws["alpha"] - one.draws["alpha"]) / (one.draws["beta"] - two.draws["beta"])
        assert [row["gamma_low"], row["gamma_high"]] == pytest.approx(np.percentile(draws, [5, 95]))


def test_every_score_has_its_correlations_and_table_7_is_among_them(evidence: Evidence) -> None:
    sheet = every_correlation(evidence)
    kinds = {(row["split"], row["shots"], row["metric"]) for row in sheet.rows}
    places = [("test", 0), ("test", 1), ("test", 5), ("zero_shot", 0)]
    assert kinds == {(*place, metric) for place in places for metric in ("chrf", "bleu")}
    words = {cells[0] for cells in sheet.cells()}
    assert {"chrF", "BLEU, 5-shot", "chrF, zero-shot"} <= words
    same = [row for row in sheet.rows if (row["split"], row["shots"], row["metric"]) == ("test", 0, "chrf")]
    assert same == correlations(evidence).rows
