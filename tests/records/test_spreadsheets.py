"""Spreadsheets are read by the package that the extra ``excel`` installs."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from finescale.records.records import read_records

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def sheet(rows: list[list[str | float]]) -> bytes:
    """A workbook with one sheet, as small as the format allows."""
    cells = [
        "".join(
            f"<c><v>{value}</v></c>" if isinstance(value, float)
            else f'<c t="inlineStr"><is><t>{value}</t></is></c>'
            for value in row
        )
        for row in rows
    ]  # fmt: skip
    body = "".join(f"<row>{row}</row>" for row in cells)
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
        f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        '<sheet name="runs" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
        f'<Relationship Id="r1" Type="{_OFFICE}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData></worksheet>',
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    return data.getvalue()


def test_a_spreadsheet_is_read_like_its_csv(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    rows = [["Method", "# Samples", "Eval Loss"], ["Full FT", "1k", 1.5], ["LoRA", "2k", 1.25]]
    (tmp_path / "runs.xlsx").write_bytes(sheet(rows))
    frame = read_records(tmp_path / "runs.xlsx").frame
    assert frame.select("method", "finetune_examples", "test_loss").rows() == [
        ("full", 1000.0, 1.5),
        ("lora", 2000.0, 1.25),
    ]
