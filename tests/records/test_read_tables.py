"""Tables from hostile files: refused in words, or read with every text safe to show."""

from __future__ import annotations

import io
import os
from pathlib import Path

import polars as pl
import pytest

from finescale.errors import UsageError
from finescale.records import tables
from finescale.records.tables import read_table


def written(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def test_control_characters_in_texts_and_in_the_header_are_replaced(tmp_path: Path) -> None:
    frame = pl.DataFrame({"method": ["\x1b[31mlora\x07"], "a\x1bb": ["\u202ex"], "loss": [1.5]})
    frame.write_parquet(tmp_path / "t.parquet")
    table, _, _ = read_table(tmp_path / "t.parquet")
    assert table.columns == ["method", "a\ufffdb", "loss"]
    assert table.row(0) == ("\ufffd[31mlora\ufffd", "\ufffdx", 1.5)
    assert read_table(frame)[0].equals(table)


def test_names_that_are_the_same_once_they_are_shown_are_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a\x01": [1], "a\x02": [2]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"t.parquet, columns 1 and 2: two columns are called"):
        read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "t.jsonl: the file is empty"),
        (b'{"a": 1}\n\n{"a": \n', "t.jsonl, row 3: not a line of JSON"),
        (b'{"a": 1}\n[1]\n', "t.jsonl, row 2: not a line of JSON"),
        (b'{"a": 1}\n"\xff"\n', "t.jsonl, row 2: text that is not UTF-8"),
        (b"[" * 100_000, "t.jsonl, row 1: not a line of JSON"),
    ],
)
def test_json_lines_that_are_none_name_the_row(data: bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=told):
        read_table(written(tmp_path, "t.jsonl", data))


def test_json_lines_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, "t.jsonl", b'\xef\xbb\xbf{"a": 1}\n'))[0].to_dicts() == [{"a": 1}]


def test_a_small_parquet_file_that_unfolds_to_too_much_is_refused_unread(tmp_path: Path) -> None:
    out = io.BytesIO()
    rows = tables.MAX_CELLS // 2 + 1
    pl.select(a=pl.repeat(0, rows, dtype=pl.Int8), b=pl.repeat(0, rows, dtype=pl.Int8)).write_parquet(out)
    assert len(out.getvalue()) < 1_000_000
    with pytest.raises(UsageError, match=r"t.parquet: too large for a table of runs(.|\n)*cells"):
        read_table(written(tmp_path, "t.parquet", out.getvalue()))


def test_a_huge_file_and_a_pipe_are_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "t.csv").open("wb") as file:
        file.truncate(tables.MAX_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(UsageError, match=r"t.csv: too large for a table of runs"):
        read_table(tmp_path / "t.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(UsageError, match=r"not a regular file"):
        read_table(tmp_path / "pipe.csv")


def test_a_name_that_no_file_can_have_is_no_such_file() -> None:
    with pytest.raises(UsageError, match=r"no such file"):
        read_table("x" * 300 + ".csv")
