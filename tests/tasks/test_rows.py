"""Rows of data files: what people's exports look like, and the right reason where one cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finescale.errors import UsageError
from finescale.tasks.rows import read_rows

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8", newline="")
    return file


@given(
    rows=st.lists(st.dictionaries(TEXT, TEXT, min_size=1, max_size=3), min_size=1, max_size=6),
    indent=st.sampled_from([None, 2]),
)
@settings(max_examples=40, deadline=None)
def test_an_array_of_json_is_its_objects_each_with_its_line(tmp_path_factory, rows, indent) -> None:
    text = "\n" + json.dumps(rows, indent=indent, ensure_ascii=False)
    for name in ("rows.json", "rows.jsonl"):
        read = read_rows(written(tmp_path_factory.mktemp("json"), name, text))
        assert [row.values for row in read] == rows
        lines = text.split("\n")
        assert all("{" in lines[row.line - 1] for row in read)


def test_lines_of_json_in_a_json_file_are_rows(tmp_path: Path) -> None:
    file = written(tmp_path, "rows.json", '{"a": "1"}\n\n{"a": "2\u2028"}\n')
    assert [tuple(row) for row in read_rows(file)] == [(1, {"a": "1"}), (3, {"a": "2\u2028"})]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_delimiter_is_the_one_that_divides_the_header(tmp_path: Path, delimiter: str, end: str) -> None:
    lines = [["source", "target"], ["a\u2028b; c, d\x85e", "x"], ['"two\nlines"', "y"]]
    text = "".join(
        delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in line) + end for line in lines
    )
    read = read_rows(written(tmp_path, "rows.csv", text))
    assert [row.values["target"] for row in read] == ["x", "y"]
    assert read[0].values["source"] == "a\u2028b; c, d\x85e"
    assert [row.line for row in read] == [2, 3]


@pytest.mark.parametrize(
    ("name", "text", "where", "words"),
    [
        ("r.csv", "source,target,target\na,b,c\n", "line 1", ["two columns are called 'target'", "2 and 3"]),
        ("r.jsonl", '{"a": 1}\n{"a": 1, "b": 2, "a": 3}\n', "line 2", ["two keys are called 'a'", "1 and 3"]),
        ("r.json", '[{"a": 1},\n {"b": 1, "b": 2}]', "line 2", ["two keys are called 'b'"]),
        ("r.json", '[{"a": 1},\n {"a": }]', "line 2", ["not an array of JSON", "Expecting value"]),
        ("r.json", '[{"a": 1}\n {"a": 2}]', "line 1", ["a comma, or ]", '{"a": 2}']),
        ("r.json", '[{"a": 1},\n {"a": 2}', "line 2", ["the end of the file"]),
        ("r.json", '[{"a": 1},\n [2]]', "line 2", ["not a JSON object", "[2]"]),
        ("r.json", '[{"a": 1}]\n[{"a": 2}]', "line 1", ["text after the array"]),
        ("r.csv", 'source;target\n"a;b\nc;d\n', "line 2", ["not a row of CSV", "unexpected end of data"]),
        ("r.csv", "source;target\na;b;c\n", "line 2", ["another number of fields", "got: 3"]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, name: str, text: str, where: str, words: list[str]
) -> None:
    file = written(tmp_path, name, text)
    with pytest.raises(UsageError) as caught:
        read_rows(file)
    assert str(caught.value).startswith(f"{file}, {where}: ")
    for word in words:
        assert word in str(caught.value)


def test_line_ends_of_old_macs_are_line_ends(tmp_path: Path) -> None:
    read = read_rows(written(tmp_path, "rows.csv", 'source,target\ra,b\r"c\rd",e\r'))
    assert [tuple(row) for row in read] == [
        (2, {"source": "a", "target": "b"}),
        (3, {"source": "c\rd", "target": "e"}),
    ]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            '"question, short, in English";"answer"\na;b\n"c, d";e\n',
            ["question, short, in English", "answer"],
        ),
        ("question, short, in English;answer\na;b\nc, d;e\n", ["question, short, in English", "answer"]),
        ("text;label,with,commas\na;b\n", ["text", "label,with,commas"]),
        ("a;b,c\nx,y\nx;z,w\n", ["a;b", "c"]),
    ],
)
def test_a_header_that_holds_other_delimiters_is_divided_as_the_rows_are(
    tmp_path: Path, text: str, names: list[str]
) -> None:
    assert list(read_rows(written(tmp_path, "rows.csv", text))[0].values) == names


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("more", [{}, {"version": "1.0"}])
def test_rows_may_be_in_the_data_of_one_object(tmp_path: Path, indent: int | None, more: dict) -> None:
    rows = [{"source": "a", "target": "b"}, {"source": "c", "target": "d"}]
    text = json.dumps({"data": rows, **more}, indent=indent)
    read = read_rows(written(tmp_path, "rows.json", text))
    assert [row.values for row in read] == rows
    assert indent is None or "{" in text.split("\n")[read[1].line - 1]


def test_a_row_whose_column_is_called_data_stays_a_row(tmp_path: Path) -> None:
    row = {"data": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    assert [r.values for r in read_rows(written(tmp_path, "one.jsonl", json.dumps(row)))] == [row]
    lines = json.dumps({"data": [{"a": 1}]}) + "\n" + json.dumps({"data": [{"a": 2}]})
    assert len(read_rows(written(tmp_path, "two.jsonl", lines))) == 2


@pytest.mark.parametrize("name", ["r.jsonl", "r.json"])
def test_half_of_a_surrogate_pair_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    rows = ['{"a": "whole \\ud83d\\ude00"}', '{"a": "x", "b": ["half \\ud83d"]}']
    text = "\n".join(rows) if name == "r.jsonl" else f"[{rows[0]},\n{rows[1]}]"
    file = written(tmp_path, name, text)
    with pytest.raises(UsageError, match=r"line 2, b: half of a surrogate pair(.|\n)*got: .ud83d alone"):
        read_rows(file)
