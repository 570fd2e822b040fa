from __future__ import annotations

import re

import polars as pl
import pytest

from finescale.records.settings import PAPER_FACTORS
from finescale.report.drawing.sheet import Sheet, plain
from finescale.report.evidence import Evidence
from finescale.report.figures import factor_figure, figure_1
from finescale.report.shape import curve_laws
from finescale.report.tables import paper_tables, table_2, table_4


def test_table_2_holds_the_laws_deviations(evidence: Evidence) -> None:
    sheet = table_2(evidence)
    assert [(row["method"], row["factor"]) for row in sheet.rows] == [
        ("full", "model_params"),
        ("full", "pretrain_tokens"),
        *(
            (method, factor)
            for method in ("lora", "prompt")
            for factor in ("model_params", "pretrain_tokens", "pet_size")
        ),
    ]
    law = evidence.tasks[0].law("multiplicative", "lora", "model_params")
    assert law is not None
    row = sheet.rows[2]
    assert row["multiplicative_held_out"] == law.delta_h
    assert row["multiplicative_fitted"] == law.delta_e
    assert law.points is not None
    held = law.points.filter(pl.col("held_out"))
    by_hand = (held["predicted"] - held["loss"]).abs().mean()
    assert row["multiplicative_held_out"] == pytest.approx(by_hand)
    assert (row["n_fitted"], row["n_held_out"]) == (15, 9)


def test_table_4_shares_beta_and_floor_over_the_factors(evidence: Evidence) -> None:
    rows = {row["method"]: row for row in table_4(evidence).rows}
    (task,) = evidence.tasks
    for method in ("full", "lora", "prompt"):
        for factor in ("model_params", "pretrain_tokens"):
            law = task.law("multiplicative", method, factor)
            assert law is not None
            assert rows[method]["beta"] == law.value("beta")
            assert rows[method]["E"] == law.value("E")
    assert "A_t" not in rows["full"]
    assert rows["lora"]["alpha_t_low"] <= rows["lora"]["alpha_t"] <= rows["lora"]["alpha_t_high"]
    cells = dict(zip([c.heading for c in table_4(evidence).shown], table_4(evidence).cells()[0], strict=True))
    assert cells["A_t"] == "-"
    for cell in (cell for cells in table_4(evidence).cells() for cell in cells if "[" in cell):
        value, low, high = (float(word) for word in re.findall(r"[-+\d.e]+", cell))
        assert low < value < high or low == value == 0 < high, cell


def test_paper_tables_print_and_save(evidence: Evidence) -> None:
    for sheet in paper_tables(evidence):
        assert sheet.frame.height == len(sheet.rows)
        assert sheet.terminal(1000).row_count == len(sheet.rows)


def test_figures_1_to_4_have_a_panel_for_each_model_and_method(evidence: Evidence) -> None:
    task = evidence.tasks[0]
    drawn = [figure_1(task), *(factor_figure(task, factor) for factor in PAPER_FACTORS)]
    made = {figure.number: figure for figure in drawn if figure}
    assert [len(made[number].panels) for number in (1, 2, 3, 4)] == [4, 3, 3, 2]
    assert [panel.title for panel in made[4].panels] == ["LoRA (rank)", "Prompt tuning (prompt length)"]
    for figure in made.values():
        for panel in figure.panels:
            labels = {series.label for series in panel.series}
            assert {point["series"] for point in panel.points} == labels
            assert {row["series"] for row in panel.curve} == labels
            assert panel.untuned
            assert all(point["low"] <= point["y"] <= point["high"] for point in panel.points)


def test_curves_are_the_laws_means(evidence: Evidence) -> None:
    figure = factor_figure(evidence.tasks[0], "model_params")
    assert figure is not None
    row = figure.panels[1].curve[0]
    law = evidence.tasks[0].law("multiplicative", "lora", "model_params")
    assert law is not None
    predicted = law.predict(model_params=111_840, finetune_examples=row["x"])
    assert row["y"] == pytest.approx(float(predicted.value))
    assert row["low"] <= row["y"] <= row["high"]


def test_held_out_points_and_dashed_curves_are_marked(evidence: Evidence) -> None:
    figure = figure_1(evidence.tasks[0])
    assert figure is not None
    for panel in figure.panels:
        assert {point["x"] for point in panel.points if point["held_out"]} == {4096}
        assert all(row["beyond"] == (row["x"] > 2048 * 1.0001) for row in panel.curve)


def test_single_variable_laws_are_compared_on_the_same_curves(evidence: Evidence) -> None:
    rows = {row["method"]: row for row in curve_laws(evidence.tasks[0]).rows}
    assert rows["full"]["curves"] == 4
    assert rows["full"]["best"] == "rectified"
    assert rows["full"]["rectified_held_out"] < rows["full"]["power_held_out"]


def test_latex_escapes_what_latex_would_read() -> None:
    sheet = Sheet("t", "two\nlines", [{"a": r"50% & \x_{}~^<", "b": 1.5}], [plain("A_m", "a")])
    text = sheet.latex()
    assert text.splitlines()[0] == "% two lines"
    assert r"A\_m \\" in text
    assert r"50\% \& \textbackslash{}x\_\{\}\textasciitilde{}\textasciicircum{}\textless{} \\" in text
