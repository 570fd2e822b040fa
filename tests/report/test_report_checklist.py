"""Stability, the fit checklist and the table of fits."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from scipy import stats
from synthetic import study_frame

from finescale.laws.fit import fit
from finescale.laws.formulas import BASELINE, contenders
from finescale.records.records import read_records
from finescale.report.decisions import decide
from finescale.report.evidence import Evidence, gather
from finescale.report.noise import Noise
from finescale.report.section import Content, Source
from finescale.report.sections.method import checklist, fits_sheet
from finescale.report.sections.stability import sd_interval, share_interval, stability


def test_stability_counts_diverged_runs_of_the_study_and_of_the_sweep_apart(evidence: Evidence) -> None:
    rows = {row["method"]: row for row in stability(evidence).rows}
    assert list(rows) == ["full", "lora", "prompt"]
    assert (rows["full"]["diverged"], rows["full"]["study_runs"]) == (1, 72)
    assert (rows["lora"]["diverged"], rows["lora"]["sweep_runs"]) == (0, 3)
    assert rows["full"]["diverged_low"] < 1 / 72 < rows["full"]["diverged_high"]
    assert rows["lora"]["diverged_low"] == 0
    assert rows["lora"]["sd_low"] < rows["lora"]["sd"] < rows["lora"]["sd_high"]
    assert "1 of 72 [" in stability(evidence).cells()[0][4]


def test_a_large_table_without_a_status_counts_all_runs_as_done(evidence: Evidence) -> None:
    tuned = (pl.col("status") == "done") & (pl.col("finetune_examples") > 0)
    rows = evidence.records.every_row.filter(tuned).drop("status", "purpose")
    large = pl.concat([rows] * (1 + 30_000 // rows.height))
    records = replace(evidence.records, frame=large, every_row=large)
    sheet = stability(replace(evidence, records=records))
    assert sum(row["study_runs"] for row in sheet.rows) == large.height


def test_stability_without_a_second_seed_says_so(frame: pl.DataFrame) -> None:
    one = gather(read_records(frame.filter(pl.col("seed") == 0)), bootstrap=0)
    sheet = stability(one)
    assert {row["sd"] for row in sheet.rows} == {None}
    assert any("two seeds or more" in words for words in sheet.notes)


def test_intervals_of_noise_and_shares_are_the_textbooks() -> None:
    low, high = sd_interval(Noise(0.02, 10, 5))
    assert low == pytest.approx(0.02 * (10 / stats.chi2.ppf(0.95, 10)) ** 0.5)
    assert high == pytest.approx(0.02 * (10 / stats.chi2.ppf(0.05, 10)) ** 0.5)
    assert share_interval(3, 20) == pytest.approx(stats.beta.ppf([0.05, 0.95], 3.5, 17.5))
    assert share_interval(0, 20)[0] == 0
    assert share_interval(20, 20)[1] == 1
    assert share_interval(0, 0) == (None, None)


@pytest.fixture(scope="module")
def content(evidence: Evidence) -> Content:
    decisions = {"nano-en-de": decide(evidence.records, "nano-en-de", bootstrap=20, seed=0)}
    source = Source("x", hold_out="largest", inputs=("records.parquet (SHA-256 abc)",))
    return Content(evidence, decisions, source)


def test_checklist_names_everything_that_a_repetition_needs(content: Content) -> None:
    points = dict(checklist(content))
    assert list(points) == [
        "Input",
        "Laws",
        "Points",
        "Base setting",
        "Objective",
        "Solver",
        "Starts",
        "Held out",
        "Intervals",
        "Advice",
        "Left out",
        "Versions",
    ]
    assert points["Input"] == "records.parquet (SHA-256 abc)"
    assert "nano-0.3m (441K parameters)" in points["Base setting"]
    assert "12 x 12 for 2" in points["Starts"]
    assert "by the rule largest" in points["Held out"]
    assert "100 bootstrap resamples" in points["Intervals"]
    assert "Left out 1 rows with status diverged." in points["Left out"]
    assert "6 runs of untuned models" in points["Left out"]
    assert "scipy " in points["Versions"]


def test_a_fit_of_the_table_is_repeated_from_what_it_says(evidence: Evidence) -> None:
    rows = fits_sheet(evidence).rows
    single = [row for row in rows if (row["law"], row["method"]) == ("power", "lora")]
    assert len(single) == 4
    row = next(row for row in single if row["model_params"] == 440_880)
    frame = evidence.records.frame.filter(
        (pl.col("method") == "lora") & (pl.col("model") == "nano-0.3m") & (pl.col("pet_size") == 4),
        pl.col("pretrain_tokens") == 6_800_000,
    )
    again = fit(replace(evidence.records, frame=frame), "power", bootstrap=0)[0]
    assert row["objective"] == pytest.approx(again.objective, rel=1e-9)
    assert row["beta"] == pytest.approx(again.value("beta"), rel=1e-6)
    assert (row["settings"], row["held_out"]) == (again.n_fitted, again.n_held_out)


def test_one_method_has_its_fits_listed() -> None:
    lonely = gather(read_records(study_frame(methods=("lora",))), bootstrap=0)
    laws = {row["law"] for row in fits_sheet(lonely).rows}
    assert laws >= {"multiplicative", "additive", "power", "rectified"}
    assert laws == {*contenders("surface"), *contenders("curve"), BASELINE}
