"""Tables as people keep and paste them: Markdown, aligned, below a title, with merged and marked cells."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import xlsxwriter

import finescale as fs
from finescale.errors import UsageError
from finescale.records.tables import read_table

ROWS = [
    (method, size, seed, round(2.0 - 0.1 * at + 0.01 * seed - 0.02 * (method == "lora"), 4))
    for method in ("full", "lora")
    for at, size in enumerate((1000, 4000, 16_000))
    for seed in (0, 1)
]
HEADER = ("method", "finetune_examples", "seed", "test_loss")
CLEAN = pl.DataFrame(ROWS, schema=list(HEADER), orient="row")


def read(path: Path, text: str) -> fs.Records:
    path.write_text(text, encoding="utf-8")
    return fs.read_records(path)


def runs(records: fs.Records) -> list[tuple]:
    return sorted(records.frame.select(HEADER).rows())


def cells(row: tuple) -> list[str]:
    return [str(value) for value in row]


def lines(apart: str, before: str = "", after: str = "", rule: str = "") -> str:
    """The table with cells apart by a mark, and a rule below its header."""
    rows = [before + apart.join(row) + after for row in (HEADER, *map(cells, ROWS))]
    return "\n".join([rows[0], *([rule] if rule else []), *rows[1:]])


WRITTEN = {
    "markdown": lines(" | ", "| ", " |", "|:---|---:|---|--:|"),
    "markdown without bars at the ends": lines(" | ", rule="---|---|---|---"),
    "below words": "# Results\n\nAll runs of March.\n\n" + lines(" | ", "| ", " |", "|---|---|---|---|"),
    "drawn": "+---+---+---+---+\n" + lines(" | ", "| ", " |", "+===+===+===+===+") + "\n+---+---+---+---+",
    "aligned": "\n".join("   ".join(f"{cell:>18}" for cell in row) for row in (HEADER, *map(cells, ROWS))),
    "with an index": "\n".join(
        f"{at}  {row}" if at else row for at, row in enumerate(lines("  ").split("\n"))
    ),
    "below a title": "Sweep of March,,,\n,,,\n" + lines(","),
    "Excel's hint": "sep=;\n" + lines(";"),
}


@pytest.mark.parametrize("how", list(WRITTEN))
def test_tables_in_text_come_to_the_same_runs(how: str, tmp_path: Path) -> None:
    assert runs(read(tmp_path / "runs.txt", WRITTEN[how] + "\n")) == sorted(ROWS)


def test_what_a_data_frame_prints_is_a_table(tmp_path: Path) -> None:
    assert runs(read(tmp_path / "p.txt", CLEAN.to_pandas().to_string())) == sorted(ROWS)
    with pl.Config(tbl_rows=-1, tbl_hide_column_data_types=True, tbl_hide_dataframe_shape=True):
        assert runs(read(tmp_path / "q.txt", str(CLEAN))) == sorted(ROWS)


def test_a_bad_cell_below_a_title_or_in_markdown_is_named_by_its_line(tmp_path: Path) -> None:
    for how, line in (("markdown", 3), ("below a title", 4), ("below words", 7)):
        with pytest.raises(UsageError, match=rf"row {line}, column finetune_examples"):
            read(tmp_path / "runs.txt", WRITTEN[how].replace("1000", "many", 1))


@pytest.mark.parametrize("merged", [("method",), ("method", "finetune_examples")])
def test_merged_cells_of_a_spreadsheet_are_filled_and_said(merged: tuple[str, ...], tmp_path: Path) -> None:
    with xlsxwriter.Workbook(tmp_path / "runs.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["Results of March"])
        sheet.write_row(2, 0, HEADER)
        before: tuple = ()
        for at, row in enumerate(ROWS):
            same = [name in merged and before[: i + 1] == row[: i + 1] for i, name in enumerate(HEADER)]
            sheet.write_row(
                3 + at, 0, [None if merge else value for merge, value in zip(same, row, strict=True)]
            )
            before = row
    records = fs.read_records(tmp_path / "runs.xlsx")
    assert runs(records) == sorted(ROWS)
    for name in merged:
        assert any(f"blank cells of {name} stand below a value" in note for note in records.notes)


def test_merged_cells_of_markdown_are_filled_too(tmp_path: Path) -> None:
    lines = ["|method|finetune_examples|seed|test_loss|", "|-|-|-|-|".replace("-", "---")]
    lines += [f"|{'' if at % 6 else row[0]}|{row[1]}|{row[2]}|{row[3]}|" for at, row in enumerate(ROWS)]
    assert runs(read(tmp_path / "runs.md", "\n".join(lines))) == sorted(ROWS)


def test_blanks_that_are_no_merged_cells_stay(tmp_path: Path) -> None:
    frame = CLEAN.with_columns(pl.when(pl.col("seed") == 1).then(None).otherwise("method").alias("method"))
    frame.write_csv(tmp_path / "runs.csv")
    assert set(fs.read_records(tmp_path / "runs.csv").frame["method"]) == {"full", "lora", None}


def test_blanks_of_what_no_person_wrote_stay(tmp_path: Path) -> None:
    at = pl.int_range(pl.len())
    alternate = CLEAN.with_columns(
        pl.when(at % 2 == 1)
        .then(None)
        .when(at % 4 == 0)
        .then(pl.lit("full"))
        .otherwise(pl.lit("lora"))
        .alias("method")
    )
    alternate.write_parquet(tmp_path / "collected.parquet")
    assert None in set(fs.read_records(tmp_path / "collected.parquet").frame["method"])


MARKS = ["**{}**", "*{}*", "{}*", "__{}__", "{}†", "<b>{}</b>", "\\textbf{{{}}}", "\\underline{{{}}}"]
MARKS += ["$\\mathbf{{{}}}$", "**{} ± 0.01**", "$\\mathbf{{{}}}_{{\\pm 0.01}}$"]


@pytest.mark.parametrize("mark", MARKS)
def test_the_best_numbers_are_marked_and_still_numbers(mark: str, tmp_path: Path) -> None:
    rows = [(*row[:3], mark.format(row[3]) if at % 3 == 0 else str(row[3])) for at, row in enumerate(ROWS)]
    records = fs.read_records(pl.DataFrame(rows, schema=list(HEADER), orient="row"))
    assert runs(records) == sorted(ROWS)
    assert not records.left_out
    assert any("the number counts" in note for note in records.notes)


@pytest.mark.parametrize(
    ("header", "of_what"),
    [("finetune_examples,Full FT,LoRA", "method"), ("method,1k,2k,4k", "data size"),
     ("method,finetune_examples,loss seed 0,loss seed 1", "repeat")],
)  # fmt: skip
def test_a_table_with_a_column_for_each_is_told_so(header: str, of_what: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"one outcome in a column for each {of_what}: write a row for each"):
        read(tmp_path / "wide.csv", header + "\n" + ",".join("1" for _ in header.split(",")) + "\n")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["train{}samples", "# train {} samples"])
def test_a_name_in_the_header_may_have_a_line_break(tmp_path: Path, name: str, end: str) -> None:
    header = f'method,"{name.format(end)}","eval{end}loss"'
    path = tmp_path / "runs.csv"
    path.write_bytes(end.join([header, "full,100,2.5", "full,200,x", "full,400,2.3", ""]).encode())
    table, _, first_row = read_table(path)
    assert table["eval loss"].to_list() == ["2.5", "x", "2.3"]
    assert first_row == 4
    assert fs.read_records(path).frame["finetune_examples"].to_list() == [100, 400]


def test_rows_that_repeat_the_header_are_left_out(tmp_path: Path) -> None:
    half = len(ROWS) // 2
    tables = [[HEADER, *ROWS[:half]], [HEADER, *ROWS[half:]]]
    lines = [",".join(map(str, row)) for table in tables for row in table]
    (tmp_path / "both.csv").write_text("\n".join(lines), encoding="utf-8")
    markdown = [f"| {' | '.join(map(str, row))} |" for table in tables for row in table]
    for at in (half + 2, 1):
        markdown.insert(at, "|---|---|---|---|")
    markdown.insert(half + 2, "\nLater runs:\n")
    (tmp_path / "both.md").write_text("\n".join(markdown), encoding="utf-8")
    for name in ("both.csv", "both.md"):
        records = fs.read_records(tmp_path / name)
        assert records.frame.select(HEADER).rows() == ROWS
        assert records.left_out == {"the words of the header, which they repeat": 1}
