"""A page about a score: every section of a page about a loss, with the score's name, direction and bounds."""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from synthetic import LAST, scores_frame, study_frame

import finescale as fs
from finescale.records.scores import read_scores
from finescale.records.settings import PAPER_FACTORS
from finescale.report.base_models import figure_10
from finescale.report.correlation import correlations, wrong_signs
from finescale.report.decisions import decide
from finescale.report.drawing.charts import panel_svgs
from finescale.report.drawing.sheet import Sheet
from finescale.report.evidence import Evidence, describe, gather
from finescale.report.figures import Figure, factor_figure, figure_1
from finescale.report.findings import answer
from finescale.report.page import SECTIONS
from finescale.report.paper_findings import paper_findings
from finescale.report.reducible import table_5
from finescale.report.score_figures import forgetting_figure
from finescale.report.section import Source
from finescale.report.sections.stability import stability
from finescale.report.shape import bend, bend_words, steps_words
from finescale.report.tables import table_2, table_4
from finescale.report.write import write_report

DRAWS = 20


def runs(scale: float = 1.0, extra: float = 0.0) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for method, lift in (("full", 0.0), ("lora", 0.06)):
        for size in (1e8, 4e8):
            for examples in (1000, 4000, 16000, 64000):
                for seed in range(2):
                    lost = 0.5 * (size / 1e8) ** -0.1 * (examples / 1000) ** -0.15 - lift
                    row = {"task": "t", "method": method, "model_params": size, "finetune_examples": examples}
                    value = min(1 - lost + extra + 0.003 * rng.standard_normal(), 1)
                    rows.append(row | {"seed": seed, "accuracy": scale * value, "lr_tuned": True})
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out: Path = tmp_path_factory.mktemp("page")
    evidence = gather(fs.read_records(runs(), score="accuracy"), bootstrap=DRAWS)
    return write_report(evidence, Source("scores"), out).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def study() -> pl.DataFrame:
    """The made-up study at five data sizes, with shares that are right and wrong beside the loss."""
    frame = study_frame().filter(pl.col("finetune_examples").is_in((0, 128, 512, 1024, 2048, 4096)))
    wrong = (pl.col("test_loss") / 8).alias("error_rate")
    return frame.with_columns(wrong, (1 - wrong).alias("accuracy"), wrong.alias("other_loss"))


@pytest.fixture(scope="module")
def by_accuracy(study: pl.DataFrame) -> Evidence:
    records = fs.read_records(study, score="accuracy")
    return gather(records, bootstrap=DRAWS, scores=scores_frame(study))


@pytest.fixture(scope="module")
def by_loss(study: pl.DataFrame) -> Evidence:
    """The same numbers as losses, which the laws of losses see."""
    return gather(fs.read_records(study, loss="other_loss"), bootstrap=DRAWS)


def prose(page: str) -> str:
    """What a reader reads: no scripts, no styles, no tags."""
    text = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]+>", "\n", text))


def test_the_highest_score_leads_in_every_sentence(page: str) -> None:
    assert "Highest accuracy: LoRA" in page
    found = answer(describe(fs.read_records(runs(), score="accuracy")).tasks[0])
    assert found.headline.startswith("Highest accuracy: LoRA")
    assert all(verdict.best == "lora" and verdict.lead.value > 0 for verdict in found.verdicts)


def test_no_sentence_counts_in_nats_and_every_section_is_there(page: str) -> None:
    assert "nats" not in prose(page)
    shown = set(re.findall(r'<section[^>]* id="(\w+)"', page))
    needs = {"rates", "regime", "scores"}  # learning rates, tokens and a table of scores, which it lacks
    assert {section.name for section in SECTIONS} - shown == needs


def test_a_loss_is_spoken_of_only_where_one_is_meant(page: str) -> None:
    said = {line for line in prose(page).splitlines() if "loss" in line.casefold()}
    meant = ("The paper's findings are about losses", "The paper's laws are of losses", "Huber loss")
    meant += ("Forgetting needs the loss on pretraining text",)
    assert [line for line in said if not any(words in line for words in meant)] == []


def test_the_explorer_has_the_direction_the_digits_and_the_scale(page: str) -> None:
    said = '"outcome":{"noun":"accuracy","sign":-1,"unit":"","apart":"","digits":3,"lead":"above",'
    assert said + '"most":"highest"}' in page
    assert '"scale":{"name":"logit","sign":-1,"low":0.0,"high":1.0}' in page


def drawn(evidence: Evidence) -> list[Figure]:
    (task,) = evidence.tasks
    made = [figure_1(task), *(factor_figure(task, factor) for factor in PAPER_FACTORS), figure_10(evidence)]
    return [figure for figure in made if figure is not None]


def test_figures_are_on_the_scores_own_scale(by_accuracy: Evidence) -> None:
    figures = drawn(by_accuracy)
    assert [figure.number for figure in figures] == [1, 2, 3, 4, 10]
    for figure in figures:
        assert figure.up == "accuracy (higher is better)"
        assert figure.log == (True, False)
        assert "L is 1 - accuracy, its distance from the best value." in figure.caption or figure.number == 10
        for panel in figure.panels:
            assert panel.points
            assert all(0.4 < point["low"] <= point["y"] <= point["high"] < 0.7 for point in panel.points)
    assert figures[0].title.startswith("Figure 1. Accuracy against finetuning data")


def test_curves_are_the_laws_scores(by_accuracy: Evidence) -> None:
    (task,) = by_accuracy.tasks
    law, figure = task.law("multiplicative", "lora", "model_params"), factor_figure(task, "model_params")
    assert law is not None
    assert figure is not None
    row = figure.panels[1].curve[0]
    lost = law.value("A") * 111_840 ** -law.value("alpha") * row["x"] ** -law.value("beta") + law.value("E")
    assert row["y"] == pytest.approx(1 - lost)
    assert row["low"] <= row["y"] <= row["high"]


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_no_axis_leaves_the_bounds(scale: float) -> None:
    evidence = describe(fs.read_records(runs(scale, extra=0.25), score="accuracy"))
    figure = figure_1(evidence.tasks[0])
    assert figure is not None
    assert max(point["high"] for panel in figure.panels for point in panel.points) == scale
    ticks = [float(text) for text in re.findall(r">([\d.]+)</text>", panel_svgs(figure)[0])]
    assert max(tick for tick in ticks if tick <= 1.2 * scale) <= scale
    figure = replace(figure, bounds=(-math.inf, 0.97 * scale))
    assert len(panel_svgs(figure)[0]) > 1000  # an axis that ends below a point is drawn all the same


def test_tables_are_those_of_the_distance_from_the_best_score(
    by_accuracy: Evidence, by_loss: Evidence
) -> None:
    for make in (table_2, table_4):
        mine, loss = make(by_accuracy), make(by_loss)
        assert len(mine.rows) == len(loss.rows) >= 3
        for row, one in zip(mine.rows, loss.rows, strict=True):
            numbers = {name: v for name, v in one.items() if isinstance(v, float) and v == v}
            assert {n: row[n] for n in numbers} == pytest.approx(numbers, rel=1e-4, abs=1e-6)
    assert table_2(by_accuracy).title.endswith("joint laws, accuracy")
    assert "E (1 - accuracy)" in [shown.heading for shown in table_4(by_accuracy).shown]
    assert table_5(by_accuracy).title == "Table 5. Equal reducible distance of two multiplicative laws"
    mine, loss = table_5(by_accuracy).rows, table_5(by_loss).rows
    assert [row["gamma"] for row in mine] == pytest.approx([row["gamma"] for row in loss], rel=1e-3)


def test_the_papers_printed_numbers_stand_beside_losses_only(study: pl.DataFrame) -> None:
    one = study.filter(pl.col("method") == "lora", pl.col("pretrain_tokens") == LAST, pl.col("pet_size") == 4)
    of_paper = one.with_columns(pl.lit("wmt14-en-de").alias("task"))
    headings = {}
    read = {
        "loss": fs.read_records(of_paper, loss="test_loss"),
        "score": fs.read_records(of_paper, score="accuracy"),
    }
    for name, records in read.items():
        evidence = gather(records, bootstrap=0)
        headings[name] = [shown.heading for shown in table_2(evidence).shown]
        rows = table_4(evidence).rows
        assert ("paper" in [row["source"] for row in rows]) == (name == "loss")
    assert "paper" in headings["loss"]
    assert "paper" not in headings["score"]


def test_findings_are_those_of_the_distance_from_the_best_score(
    by_accuracy: Evidence, by_loss: Evidence
) -> None:
    mine, loss = (
        [item for item in paper_findings(seen, seen.tasks[0], "not asked here") if item.finding < 5]
        for seen in (by_accuracy, by_loss)
    )
    assert [item.who for item in mine] == [item.who for item in loss]
    assert [item.probability for item in mine] == pytest.approx([item.probability for item in loss], abs=0.06)
    assert not any("nats" in item.here for item in mine)


def test_finding_5_follows_the_higher_score() -> None:
    rows = [
        {"task": "t", "method": method, "finetune_examples": size, "seed": seed, "accuracy": value(size)}
        | {"lr_tuned": True}
        for method, value in {
            "full": lambda size: 0.5 + 0.05 * math.log2(size / 500),
            "lora": lambda size: 0.62 + 0.02 * math.log2(size / 500),
        }.items()
        for size in (500, 1000, 2000, 4000, 8000, 16000, 32000)
        for seed in (0, 1)
    ]
    rng = np.random.default_rng(3)
    noisy = pl.DataFrame(rows).with_columns(
        pl.col("accuracy") + pl.Series(0.002 * rng.standard_normal(len(rows)))
    )
    evidence = describe(fs.read_records(noisy, score="accuracy"))
    decision = decide(evidence.records, "t", bootstrap=100, seed=0)
    (found,) = [item for item in paper_findings(evidence, evidence.tasks[0], decision) if item.finding == 5]
    assert found.here.startswith("LoRA then full tuning")
    assert found.verdict == "agrees"


def test_bends_and_gains_have_the_scores_direction(study: pl.DataFrame) -> None:
    (accuracy,), (error,) = (
        describe(fs.read_records(study, score=name)).tasks for name in ("accuracy", "error_rate")
    )
    mine, other = bend(accuracy, "full"), bend(error, "full")
    assert mine is not None
    assert other is not None
    assert (mine.small, mine.large) == pytest.approx((other.small, other.large))
    assert 0 < mine.small < mine.large
    assert mine.downwards
    assert bend_words(accuracy)[0].startswith("Full tuning bends upwards: a doubling of the data brings 0.0")
    assert bend_words(error)[0].startswith("Full tuning bends downwards")
    assert ", in accuracy: full tuning 0.0" in steps_words(accuracy)


def test_stability_is_in_points_of_a_hundred() -> None:
    ones, hundreds = (
        stability(describe(fs.read_records(runs(scale), score="accuracy"))) for scale in (1.0, 100.0)
    )
    assert ones.shown[1].heading == "SD of one run (accuracy)"
    assert hundreds.shown[1].heading == "SD of one run (points)"
    assert [row["sd"] for row in hundreds.rows] == pytest.approx([100 * row["sd"] for row in ones.rows])


def test_table_7_correlates_with_the_loss_not_with_the_score_itself(
    by_accuracy: Evidence, study: pl.DataFrame
) -> None:
    losses = scored(fs.read_records(study), study)
    mine, theirs = correlations(by_accuracy).rows, correlations(losses).rows
    assert [row["r"] for row in mine] == pytest.approx([row["r"] for row in theirs])
    assert all(row["r"] < -0.5 for row in mine)
    alone = fs.read_records(study.drop("test_loss", "dev_loss", "other_loss"), score="accuracy")
    assert correlations(scored(alone, study)).rows == []


def scored(records: fs.Records, study: pl.DataFrame) -> Evidence:
    """The settings of records and their scores, without fits."""
    seen = describe(records)
    return replace(seen, scores=read_scores(scores_frame(study), seen.records))


def test_forgetting_stands_beside_the_gain_in_accuracy(by_accuracy: Evidence) -> None:
    figure = forgetting_figure(by_accuracy.tasks[0], by_accuracy.records)
    assert figure is not None
    assert figure.panels[0].across == "gain: accuracy above the untuned model"
    assert all(point["x"] > 0 for panel in figure.panels for point in panel.points)


def test_figure_10_shows_the_untuned_models_scores(by_accuracy: Evidence) -> None:
    figure = figure_10(by_accuracy)
    assert figure is not None
    assert figure.caption.startswith("The accuracy is on the test set of nano-en-de, before finetuning.")
    assert {round(point["y"], 6) for panel in figure.panels for point in panel.points} <= {
        round(value, 6) for value in by_accuracy.tasks[0].bare["loss"].to_list()
    }


def test_laws_that_tie_beat_none() -> None:
    constant = runs().with_columns(accuracy=pl.lit(0.5))
    sheet = table_2(gather(fs.read_records(constant, score="accuracy"), bootstrap=0))
    assert [row["better_held_out"] for row in sheet.rows] == [None, None]
    assert not any("predicts the held-out settings better" in note for note in sheet.notes)


def test_a_score_without_bounds_has_points_and_says_why_no_law() -> None:
    evidence = gather(fs.read_records(runs().rename({"accuracy": "bleurt"}), score="bleurt"), bootstrap=0)
    (task,) = evidence.tasks
    figure = figure_1(task)
    assert figure is not None
    assert not any(panel.curve for panel in figure.panels)
    assert figure.caption.startswith("Points are means over seeds")
    assert all("that of `bleurt` is not known" in words for words in task.problems)


def test_a_correlation_of_the_wrong_sign_is_a_headline() -> None:
    row = {"task": "t", "metric": "chrf", "factor": "model_params", "method": "lora", "r": 0.9, "p": 0.001}
    sheet = Sheet("table-7-correlations", "", [row, {**row, "r": -0.9}, {**row, "p": 0.4}], ())
    assert wrong_signs(sheet) == [
        "Loss and chrF disagree over model size (t, LoRA): a lower loss comes with a worse chrF (r 0.90)."
    ]
