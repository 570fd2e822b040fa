"""Tables in JSON: NaN in lines, runs by name, a list beside what holds for all of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finescale.errors import UsageError
from finescale.records.records import read_records
from finescale.records.tables import read_table

RUNS: list[dict[str, Any]] = [
    {"method": method, "finetune_examples": size, "test_loss": 3.0 - size / 1000}
    for method in ("full", "lora")
    for size in (100, 200)
]


def written(folder: Path, data: Any, name: str = "runs.json") -> Path:
    path = folder / name
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_nan_as_python_writes_it_is_read_in_lines_too(tmp_path: Path) -> None:
    rows = [RUNS[0] | {"test_loss": math.nan}, *RUNS[1:3], RUNS[3] | {"config": {"lr": 0.1}}]
    records = read_records(written(tmp_path, "\n".join(map(json.dumps, rows)), "runs.jsonl"))
    assert records.left_out == {"test_loss nan": 1}
    assert records.frame["config.lr"].to_list() == [None, None, 0.1]


def test_a_line_that_is_no_object_is_told_beside_nan(tmp_path: Path) -> None:
    text = '{"test_loss": NaN}\n{"test_loss": 2'
    with pytest.raises(UsageError, match=r"runs.jsonl, row 2: not a line of JSON"):
        read_table(written(tmp_path, text, "runs.jsonl"))


@pytest.mark.parametrize(
    "names", [("run0", "run1", "run2", "run3"), ("0", "1", "2", "3"), ("a", "b", "c", "d")]
)
def test_runs_by_name_are_rows(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = written(tmp_path, dict(zip(names, RUNS, strict=True)))
    frame = read_records(path).frame
    assert frame["test_loss"].to_list() == [row["test_loss"] for row in RUNS]
    assert ("run" in frame.columns) == (names[0] != "0")


def test_runs_by_name_may_lack_a_setting(tmp_path: Path) -> None:
    some = {
        f"run{at}": row | ({"lora_r": 8} if row["method"] == "lora" else {}) for at, row in enumerate(RUNS)
    }
    assert read_records(written(tmp_path, some)).frame["pet_size"].to_list() == [None, None, 8, 8]


@pytest.mark.parametrize("rows", [("0", "1", "2", "3"), ("r0", "r1", "r2", "r3")])
def test_columns_by_name_stay_columns(tmp_path: Path, rows: tuple[str, ...]) -> None:
    columns = {name: {row: run[name] for row, run in zip(rows, RUNS, strict=True)} for name in RUNS[0]}
    assert read_table(written(tmp_path, columns))[0].to_dicts() == RUNS


def test_groups_of_settings_are_one_run(tmp_path: Path) -> None:
    one = {"config": {"lr": 0.1, "samples": 100}, "summary": {"eval_loss": 2.5}}
    assert read_table(written(tmp_path, one))[0].to_dicts() == [
        {"config.lr": 0.1, "config.samples": 100, "summary.eval_loss": 2.5}
    ]


def test_what_stands_beside_a_list_of_runs_holds_for_each(tmp_path: Path) -> None:
    data = {"model": "m", "setup": {"lr": 0.1}, "tags": ["x"], "results": RUNS}
    table = read_table(written(tmp_path, data))[0]
    assert table.drop("model", "setup.lr").to_dicts() == RUNS
    assert table.select("model", "setup.lr").unique().rows() == [("m", 0.1)]


def test_two_lists_of_objects_are_no_table(tmp_path: Path) -> None:
    path = written(tmp_path, json.dumps({"train": RUNS, "test": RUNS[:1]}, indent=1))
    with pytest.raises(UsageError, match="no table in this JSON"):
        read_table(path)


def test_a_frame_of_pandas_in_json_is_read_in_every_orientation(tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(RUNS, index=[f"r{at}" for at in range(4)])
    expected = pl.DataFrame(RUNS)
    for orient in ("columns", "index", "records", "split", "table"):
        table = read_table(written(tmp_path, frame.to_json(orient=orient)))[0]
        assert table.select(expected.columns).equals(expected, null_equal=True), orient
