"""Scores beside the records: what is read, refused, averaged and drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from synthetic import base_only, scores_frame, study_frame

from finescale.errors import UsageError
from finescale.records.records import read_records
from finescale.records.scores import Scores, read_scores
from finescale.report.base_models import figure_10
from finescale.report.drawing import charts
from finescale.report.evidence import Evidence, TaskEvidence, gather
from finescale.report.figures import Figure, untuned_at
from finescale.report.score_figures import KINDS, forgetting_figure, score_figure
from finescale.report.section import Source
from finescale.report.sections.scores import scores_at_base
from finescale.report.write import write_report


@pytest.fixture(scope="module")
def table(frame: pl.DataFrame) -> pl.DataFrame:
    return scores_frame(frame)


def scored(evidence: Evidence) -> Scores:
    assert evidence.scores is not None
    return evidence.scores


def score_figures(task: TaskEvidence, scores: Scores) -> list[Figure]:
    return [made for kind in KINDS if (made := score_figure(task, scores, kind)) is not None]


def test_all_figures_of_scores_are_there_with_the_papers_numbers(evidence: Evidence) -> None:
    made = score_figures(evidence.tasks[0], scored(evidence))
    assert [figure.number for figure in made] == [6, 7, 8, 9, 11, 12, 13, 14]
    for figure in made:
        assert figure.up == "chrF (higher is better)"
        assert "no law is fitted" in figure.caption
        assert [panel.title.split(" ")[0] for panel in figure.panels][-2:] == ["LoRA", "Prompt"]
        assert all(panel.untuned for panel in figure.panels)
    assert len(charts.panel_svgs(made[0])) == 3


def test_a_point_is_the_mean_over_seeds_of_the_runs_scores(
    evidence: Evidence, table: pl.DataFrame, frame: pl.DataFrame
) -> None:
    figure = next(f for f in score_figures(evidence.tasks[0], scored(evidence)) if f.number == 7)
    point = next(p for p in figure.panels[1].points if p["x"] == 512 and p["series"] == "441K")
    runs = frame.filter(
        (pl.col("method") == "lora") & (pl.col("model") == "nano-0.3m") & (pl.col("pet_size") == 4),
        pl.col("finetune_examples") == 512,
        (pl.col("purpose") == "study") & (pl.col("pretrain_tokens") == 6_800_000),
    )["run"]
    mine = table.filter(pl.col("run").is_in(runs.implode()), pl.col("shots") == 0, pl.col("split") == "test")
    values = mine.filter(pl.col("metric") == "chrf")["value"]
    assert len(values) == 2
    assert point["y"] == pytest.approx(values.mean())
    assert (point["low"], point["high"]) == (values.min(), values.max())


def test_the_average_over_languages_is_the_zero_shot_score(evidence: Evidence) -> None:
    scores = scored(evidence)
    rows = scores.of_runs("nano-en-de", "zero_shot", 0, "chrf")
    run = rows["run"][0]
    mine = scores.frame.filter(pl.col("run") == run, pl.col("dataset") == "zero-shot-to-de")
    assert rows["score"][0] == mine.filter(pl.col("metric") == "chrf")["value"].item()
    parts = replace(scores, frame=scores.frame.filter(pl.col("dataset") != "zero-shot-to-de"))
    again = parts.of_runs("nano-en-de", "zero_shot", 0, "chrf")
    both = parts.frame.filter(
        pl.col("run") == run, pl.col("split") == "zero_shot", pl.col("metric") == "chrf"
    )
    assert again["score"][0] == pytest.approx(both["value"].mean())


def test_a_run_that_lacks_a_test_set_is_left_out_of_the_mean(
    frame: pl.DataFrame, table: pl.DataFrame, evidence: Evidence
) -> None:
    second = table.filter(pl.col("dataset") == "test").with_columns(pl.lit("newer").alias("dataset"))
    gone = frame.filter(pl.col("method") == "lora")["run"][0]
    found = read_scores(pl.concat([table, second.filter(pl.col("run") != gone)]), evidence.records)
    runs = found.of_runs("nano-en-de", "test", 0, "chrf")["run"].to_list()
    assert gone not in runs
    assert len(runs) == evidence.records.frame.height - 1


def test_the_metric_that_most_runs_have_is_drawn(evidence: Evidence, table: pl.DataFrame) -> None:
    few = table.filter(pl.col("metric") == "chrf").with_columns(pl.lit("bleurt").alias("metric")).head(40)
    found = read_scores(pl.concat([table, few]), evidence.records)
    assert found.main_metric("nano-en-de", "test", 0) == "chrf"
    all_of_them = table.filter(pl.col("metric") == "chrf").with_columns(pl.lit("bleurt").alias("metric"))
    found = read_scores(pl.concat([table, all_of_them]), evidence.records)
    assert found.main_metric("nano-en-de", "test", 0) == "bleurt"
    assert found.main_metric("nano-en-de", "test", 3) is None


def test_zero_shot_loss_is_drawn_where_nothing_was_generated(evidence: Evidence, table: pl.DataFrame) -> None:
    losses = table.filter(metric="chrf").with_columns(pl.lit("loss").alias("metric"), value=3.0)
    found = read_scores(losses, evidence.records)
    assert found.main_metric("nano-en-de", "zero_shot", 0) == "loss"
    assert found.main_metric("nano-en-de", "test", 0) is None
    (figure,) = score_figures(evidence.tasks[0], found)
    assert (figure.number, figure.up) == (6, "loss (nats per token)")


def test_caption_says_how_far_one_score_is_off_by_itself(evidence: Evidence, table: pl.DataFrame) -> None:
    (figure, *_) = score_figures(evidence.tasks[0], scored(evidence))
    assert "One score's own 90% interval, over its 500 texts, is ±1." in figure.caption
    bare = read_scores(table.drop("low", "high"), evidence.records)
    (figure, *_) = score_figures(evidence.tasks[0], bare)
    assert "own 90% interval" not in figure.caption


def test_test_sets_with_a_slash_in_their_name_are_all_averaged(
    evidence: Evidence, table: pl.DataFrame
) -> None:
    more = table.filter(dataset="test").with_columns(pl.lit("test/a").alias("dataset"), pl.col("value") + 2)
    found = read_scores(pl.concat([table, more]), evidence.records)
    one = scored(evidence).of_runs("nano-en-de", "test", 0, "chrf").sort("run")["score"]
    both = found.of_runs("nano-en-de", "test", 0, "chrf").sort("run")["score"]
    assert both.to_list() == pytest.approx((one + 1).to_list())


def test_sweep_and_unknown_runs_are_counted_and_left_out(evidence: Evidence) -> None:
    assert any("9 runs" in words for words in scored(evidence).notes)
    assert set(scored(evidence).frame["run"]) <= set(evidence.records.frame["run"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (pl.lit("dev").alias("split"), "test or zero_shot"),
        (pl.lit(-1).alias("shots"), "0, 1, 5"),
        (pl.lit("many").alias("value"), "got: many"),
        (pl.lit(float("nan")).alias("value"), "a number"),
        (pl.lit("a").alias("dataset"), "one row for each run"),
    ],
)
def test_scores_that_cannot_be_right_name_row_and_column(
    evidence: Evidence, table: pl.DataFrame, change: pl.Expr, words: str
) -> None:
    with pytest.raises(UsageError, match="row ") as told:
        read_scores(table.with_columns(change), evidence.records)
    assert words in str(told.value)


def test_scores_without_a_column_or_records_without_runs_are_refused(
    evidence: Evidence, table: pl.DataFrame
) -> None:
    with pytest.raises(UsageError, match="no column `metric` in the scores"):
        read_scores(table.drop("metric"), evidence.records)
    nameless = replace(evidence.records, frame=evidence.records.frame.drop("run"))
    with pytest.raises(UsageError, match="scores need to know their runs"):
        read_scores(table, nameless)


def test_forgetting_stands_beside_the_gain_that_it_buys(evidence: Evidence) -> None:
    (task,) = evidence.tasks
    figure = forgetting_figure(task, evidence.records)
    assert figure is not None
    assert figure.number == 0
    panel = figure.panels[2]
    points = [point for point in panel.points if point["series"] == "full tuning"]
    start = untuned_at(task.bare, task.base, {})["loss"].item()
    observed = task.at_base("full")["loss"].to_list()
    assert [point["x"] for point in points] == pytest.approx([start - loss for loss in observed])
    assert [point["y"] for point in points] == pytest.approx([0.05 * k for k in range(1, 7)])
    assert [point["held_out"] for point in points] == [True] + [False] * 5


def test_forgetting_that_is_not_known_is_not_drawn(evidence: Evidence) -> None:
    (task,) = evidence.tasks
    blind = evidence.records.frame.drop("pretrain_loss_after")
    assert forgetting_figure(task, replace(evidence.records, frame=blind)) is None


def test_scores_table_holds_the_base_setting_with_the_untuned_model_first(evidence: Evidence) -> None:
    sheet = scores_at_base(evidence, evidence.tasks[0])
    assert sheet.rows[0]["method"] == "none"
    assert len(sheet.rows) == 1 + 3 * 6
    headings = [column.heading for column in sheet.shown]
    assert headings[2:] == [
        "generation: chrF",
        "1-shot: chrF",
        "5-shot: chrF",
        "zero-shot: chrF",
        "forgotten (nats)",
    ]
    assert {"test_0_chrf_lowest", "test_0_chrf_runs"} <= set(sheet.frame.columns)


def test_figure_10_of_a_pretraining_study_has_sizes_and_checkpoints_with_laws() -> None:
    rows = [
        {"run": f"{n:g}-{d:g}", "task": "text-en-de", "method": "none", "model_params": n}
        | {"pretrain_tokens": d, "finetune_examples": 0, "test_loss": 6 * n**-0.1 * d**-0.05 + 1}
        for n in (1e5, 2e5, 4e5, 8e5, 1.6e6)
        for d in (1e6, 2e6, 4e6, 8e6)
    ]
    evidence = gather(read_records(pl.DataFrame(rows)), bootstrap=20)
    figure = figure_10(evidence)
    assert figure is not None
    assert [panel.title for panel in figure.panels] == ["Model size", "Pretraining tokens"]
    assert {series.label for series in figure.panels[0].series} == {"8M tokens"}
    assert len(figure.panels[1].series) == 5
    for row in figure.panels[0].curve:
        assert row["y"] == pytest.approx(6 * row["x"] ** -0.1 * 8e6**-0.05 + 1, abs=1e-4)
    assert all(len(panel.curve) for panel in figure.panels)


def test_figure_10_without_a_pretraining_study_takes_the_loss_on_pretraining_text(evidence: Evidence) -> None:
    figure = figure_10(evidence)
    assert figure is not None
    assert "on pretraining text" in figure.caption
    assert [len(panel.points) for panel in figure.panels] == [4, 3]
    bare = evidence.records.frame.drop("pretrain_loss_before")
    figure = figure_10(replace(evidence, records=replace(evidence.records, frame=bare)))
    assert figure is not None
    assert "on the test set of nano-en-de" in figure.caption


def test_page_without_scores_says_what_would_fill_their_section(tmp_path: Path) -> None:
    one = base_only(study_frame(methods=("lora",))).drop("pretrain_loss_after")
    text = write_report(gather(read_records(one), bootstrap=0), Source("x"), tmp_path).read_text()
    assert "need scores: an `evaluation:` block" in text
    assert "Forgetting needs the loss on pretraining text" in text
    assert "Figure 10 needs untuned models of two sizes" in text


def test_figures_without_scores_of_their_kind_say_what_would_fill_them(
    frame: pl.DataFrame, table: pl.DataFrame, tmp_path: Path
) -> None:
    generated = table.filter(split="test", shots=0)
    few = base_only(frame)
    evidence = gather(read_records(few), bootstrap=0, scores=generated)
    text = write_report(evidence, Source("x"), tmp_path).read_text()
    assert "Figure 6 needs zero-shot scores at two values of model size." in text
    assert "Figures 11 and 13 need one-shot scores at two values of model size or pretraining tokens." in text
    assert "Figures 7 and 8 need generation scores at two values of model size" in text


def test_page_with_scores_has_every_kind_of_figure(page: Path) -> None:
    names = {path.name for path in (page.parent / "figures").iterdir()}
    for kind in KINDS:
        assert f"figure-{kind.number}-nano-en-de.svg" in names
    assert {"figure-forgetting-nano-en-de.svg", "figure-10-pretraining.svg"} <= names
    text = page.read_text()
    assert text.index("Figure 6.") < text.index("Figure 7.") < text.index("Forgetting beside gain")
