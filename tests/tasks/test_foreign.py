"""What is no data file as it is: said, with the line that makes it one."""

from __future__ import annotations

from pathlib import Path

import pytest

from finescale.errors import UsageError
from finescale.tasks.foreign import refuse_saved
from finescale.tasks.rows import read_rows


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_pointer_of_git_lfs_is_no_data(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12345\n")
    with pytest.raises(UsageError, match=r"a pointer of git-lfs, not the data(.|\n)*lfs pull"):
        read_rows(file)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("a.jsonl.gz", "gunzip --keep .*a.jsonl.gz"),
        ("a.txt", "lines of .*into a .jsonl file"),
        ("data-00000-of-00001.arrow", "load_from_disk.*to_parquet"),
        ("a.xlsx", "save the sheet as CSV"),
        ("a.ndjson", "rename it"),
    ],
)
def test_another_kind_of_file_is_told_with_what_makes_it_one(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageError, match=rf"unknown kind of data file(.|\n)*remedy: .*{remedy}"):
        read_rows(tmp_path / name)


def test_a_folder_of_save_to_disk_is_told_with_the_line_that_writes_parquet(tmp_path: Path) -> None:
    refuse_saved(tmp_path)
    for name in ("dataset_info.json", "state.json", "data-00000-of-00001.arrow"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"`save_to_disk` wrote(.|\n)*\.to_parquet\('train.parquet'\)"):
        refuse_saved(tmp_path)
    (tmp_path / "dataset_dict.json").touch()
    with pytest.raises(UsageError, match=r"`save_to_disk` wrote(.|\n)*for split, rows in"):
        refuse_saved(tmp_path)
