"""Spreadsheets are read by the package that the extra ``excel`` installs."""

from __future__ import annotations

from pathlib import Path

import pytest
import xlsxwriter

from finescale.records.records import read_records


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
