"""Spreadsheets are read by the package that the extra ``excel`` installs."""

from __future__ import annotations

from pathlib import Path

import pytest
import xlsxwriter

from finescale.records.records import read_records

RUNS = [["method", "samples", "eval_loss"], ["full", 1000, 1.5], ["lora", 2000, 1.25]]


def workbook(path: Path, sheets: dict[str, list[list[object]]]) -> Path:
    with xlsxwriter.Workbook(path) as book:
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for at, row in enumerate(rows):
                sheet.write_row(at, 0, row)
    return path


@pytest.mark.parametrize(
    ("sheets", "note"),
    [
        ({"runs": RUNS}, ""),
        ({"runs": RUNS, "empty": []}, ""),
        ({"runs": RUNS, "old": RUNS}, "`runs` is read; `old` has rows too (save a sheet"),
        ({"about": [["Our runs"], ["by us"]], "runs": RUNS}, "`runs` is read."),
        ({"empty": [], "runs": RUNS, "a": RUNS, "b": RUNS}, "`runs` is read; `a` and `b` have rows too"),
    ],
)
def test_the_first_sheet_with_a_table_is_read_and_others_are_said(
    tmp_path: Path, sheets: dict[str, list[list[object]]], note: str
) -> None:
    pytest.importorskip("fastexcel")
    records = read_records(workbook(tmp_path / "runs.xlsx", sheets))
    assert records.frame["test_loss"].to_list() == [1.5, 1.25]
    said = [one for one in records.notes if one.startswith("Of the sheets of runs.xlsx")]
    assert bool(said) == bool(note)
    assert note in "".join(said)


def test_a_spreadsheet_is_read_like_its_csv(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    rows = [["Method", "# Samples", "Eval Loss"], ["Full FT", "1k", 1.5], ["LoRA", "2k", 1.25]]
    with xlsxwriter.Workbook(tmp_path / "runs.xlsx") as book:
        sheet = book.add_worksheet()
        for at, row in enumerate(rows):
            sheet.write_row(at, 0, row)
    frame = read_records(tmp_path / "runs.xlsx").frame
    assert frame.select("method", "finetune_examples", "test_loss").rows() == [
        ("full", 1000.0, 1.5),
        ("lora", 2000.0, 1.25),
    ]
