from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from synthetic import base_only, study_frame

from finescale.errors import UsageError
from finescale.records.records import read_records
from finescale.report.drawing.markup import Html
from finescale.report.drawing.sheet import Sheet, plain
from finescale.report.evidence import Evidence, gather
from finescale.report.section import Made, Section, Source
from finescale.report.write import write_report

HOSTILE = "<script>alert('en-de')</script>"


def test_report_writes_page_figures_and_tables_and_leaves_nothing_aside(page: Path) -> None:
    made = {str(path.relative_to(page.parent)) for path in page.parent.rglob("*") if path.is_file()}
    for number in (1, 2, 3, 4, 5):
        assert f"figures/figure-{number}-nano-en-de.svg" in made
    assert not [name for name in made if name.endswith((".png", ".pdf"))]  # on demand
    names = (
        "table-2-deviations",
        "table-4-parameters",
        "crossovers-nano-en-de",
        "table-5-equal-reducible-loss",
        "troubles",
    )
    assert {f"tables/{name}.{kind}" for name in names for kind in ("csv", "tex")} <= made
    assert not [name for name in made if ".part" in name]
    assert page.stat().st_size < 6e6
    assert pl.read_csv(page.parent / "tables/table-2-deviations.csv").height == 8


def test_a_second_report_removes_what_the_first_one_wrote_and_nothing_else(
    evidence: Evidence, frame: pl.DataFrame, tmp_path: Path
) -> None:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("a\n1\n")
    write_report(replace(evidence, bootstrap=0, tasks=()), Source("x"), tmp_path)
    write_report(gather(read_records(base_only(frame)), bootstrap=0), Source("x"), tmp_path)
    first = {path.name for path in tmp_path.rglob("*.csv")}
    assert "single-variable-laws.csv" in first
    write_report(replace(evidence, bootstrap=0, tasks=()), Source("x"), tmp_path)
    assert "single-variable-laws.csv" not in {path.name for path in tmp_path.rglob("*.csv")}
    assert not list(tmp_path.rglob("figure-1-*"))
    assert (tmp_path / "tables" / "mine.csv").exists()


def test_two_sections_cannot_write_the_same_file(evidence: Evidence, tmp_path: Path) -> None:
    made = Made(Html(""), [Sheet("mine", "Mine", [{"a": 1}], [plain("a", "a")])])
    twice = [Section(name, name, lambda content: made) for name in ("first", "second")]
    with pytest.raises(ValueError, match=r"two sections write tables/mine\.csv"):
        write_report(replace(evidence, tasks=()), Source("x"), tmp_path, twice)
    assert not list(tmp_path.iterdir())


def test_a_report_that_cannot_be_written_leaves_the_earlier_one_whole(
    evidence: Evidence, tmp_path: Path
) -> None:
    nothing = replace(evidence, tasks=())
    page = write_report(nothing, Source("first"), tmp_path)
    blocked = tmp_path / "tables" / "troubles.csv"
    blocked.unlink()
    blocked.mkdir()
    with pytest.raises(UsageError, match="the report cannot be written"):
        write_report(nothing, Source("second"), tmp_path)
    assert "first: which finetuning method" in page.read_text()
    assert not list(tmp_path.rglob("*.part"))


def test_page_says_the_answer_first_and_names_nothing_outside(page: Path) -> None:
    text = page.read_text()
    assert text.index("full tuning from 2,048 to 4,096 examples") < text.index("Figure 1")
    outside = re.findall(r'(?:src|href)="(?!#)([^"]*)"|url\((?!#)', text)
    assert outside == []
    assert len(re.findall("<script>", text)) == 1
    identifiers = re.findall(r'\bid="([^"]+)"', text)
    assert len(identifiers) == len(set(identifiers))


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    frame = base_only(study_frame(task=HOSTILE, methods=("lora",))).with_columns(
        pl.lit(HOSTILE).alias("model"),
        pl.when(pl.col("status") != "done").then(pl.lit(HOSTILE)).otherwise("error").alias("error"),
    )
    evidence = gather(read_records(frame), bootstrap=0)
    text = write_report(evidence, Source(HOSTILE, (HOSTILE,), HOSTILE), tmp_path).read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
    assert "script-src 'sha256-" in text


def test_page_without_a_finished_run_says_so_and_lists_what_failed(
    frame: pl.DataFrame, tmp_path: Path
) -> None:
    bad = frame.with_columns(
        pl.lit("diverged").alias("status"), pl.lit(None, dtype=pl.Float64).alias("test_loss")
    )
    text = write_report(gather(read_records(bad), bootstrap=0), Source("bad"), tmp_path).read_text()
    assert "nothing can be said yet" in text
    assert "the loss became nan at step 31" in text
    assert "Figures 1-4 need finished runs." in text


def test_small_foreign_table_gets_a_page(tmp_path: Path) -> None:
    sizes = [200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0]
    frame = pl.DataFrame({"finetune_examples": sizes, "test_loss": [3 * d**-0.2 + 1 for d in sizes]})
    text = write_report(gather(read_records(frame), bootstrap=0), Source("mine"), tmp_path).read_text()
    assert "Only one method" in text
    assert "Figure 2 needs runs at two values of model size or more." in text
    cards = dict(re.findall(r'<section id="(\w+)"[^>]*><h2>[^<]*</h2>(.*?)</section>', text, flags=re.DOTALL))
    assert all(cards.values())
    assert not {"crossovers", "rates", "regime"} & set(cards)  # there is nothing to show in them
    assert set(re.findall(r'<li><a href="#(\w+)">', text)) == set(cards)
    assert list(cards)[-1] == "lacking"
    assert "<strong>Learning rates: </strong>They need a column learning_rate." in cards["lacking"]


def test_a_rate_at_the_edge_of_its_sweep_is_told_before_all_else(page: Path) -> None:
    text = page.read_text()
    words = "Prompt tuning: the chosen learning rate 0.3 is the highest that was tried"
    assert text.index('class="headline"') < text.index(words) < text.index("By the forecast: ")


def test_a_folder_that_cannot_be_written_is_said_in_words(evidence: Evidence, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UsageError, match="the report cannot be written"):
        write_report(replace(evidence, tasks=()), Source("x"), tmp_path / "taken")


def test_the_page_says_what_was_cut_of_the_examples(frame: pl.DataFrame, tmp_path: Path) -> None:
    records = base_only(frame).filter(pl.col("method") == "full")
    for share, words in (
        (0.12, "Targets were cut to the tokens allowed: 12.0% of test."),
        (0.0, "No source and no target was cut"),
    ):
        cut = read_records(records.with_columns(test_targets_truncated=pl.lit(share)))
        text = write_report(gather(cut, bootstrap=0), Source("x"), tmp_path).read_text("utf-8")
        assert words in text
    assert "was cut" not in write_report(
        gather(read_records(records), bootstrap=0), Source("x"), tmp_path
    ).read_text("utf-8")
