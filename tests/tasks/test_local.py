"""A task from one's own files, and every mistake in them, told with file, line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from finescale.errors import UsageError
from finescale.spec.run import TaskSpec
from finescale.tasks.catalog import open_task
from finescale.tasks.local import local_task


def pairs(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"source": f"question {i}", "target": f"answer {i}"} for i in range(start, start + count)]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def splits(tmp_path: Path) -> dict[str, str]:
    sizes = {"train": (30, 0), "dev": (5, 100), "test": (6, 200)}
    return {name: jsonl(tmp_path / f"{name}.jsonl", pairs(*size)) for name, size in sizes.items()}


def test_three_files_are_three_splits(splits: dict[str, str]) -> None:
    task = local_task(TaskSpec(name="mine", **splits))
    assert (len(task.train), len(task.dev), len(task.test["test"])) == (30, 5, 6)
    assert task.prompt(task.train[2]) == "question 2\n"
    assert task.train[2].target == "answer 2"
    assert task.notes == ()
    assert open_task(TaskSpec(name="mine", **splits)).content_hash() == task.content_hash()


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
def test_every_kind_of_file_gives_the_same_task(tmp_path: Path, kind: str) -> None:
    rows = [{"frage": f"wie, {i}?\nSo", "antwort": f'"ja" {i} ä', "rest": "x"} for i in range(40)]
    frame, path = pl.DataFrame(rows), tmp_path / f"data.{kind}"
    if kind == "parquet":
        frame.write_parquet(path)
    elif kind == "jsonl":
        jsonl(path, rows)
    else:
        frame.write_csv(path, separator="," if kind == "csv" else "\t")
    task = local_task(TaskSpec(name="mine", train=str(path), source="frage", target="antwort"))
    same = jsonl(tmp_path / "same.jsonl", [{"source": r["frage"], "target": r["antwort"]} for r in rows])
    assert task.content_hash() == local_task(TaskSpec(name="other", train=same)).content_hash()


def test_without_dev_and_test_a_seeded_tenth_of_train_is_set_aside_and_told(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "all.jsonl", pairs(50) + pairs(10))
    task = local_task(TaskSpec(name="mine", train=train))
    parts = [task.train, task.dev, task.test["test"]]
    assert [len(part) for part in parts] == [48, 6, 6]
    keys = [{(example.source, example.target) for example in part} for part in parts]
    assert not any(a & b for i, a in enumerate(keys) for b in keys[i + 1 :])
    assert task.notes == (
        "dev: 6 of the 60 examples in all.jsonl, set aside",
        "test: 6 of the 60 examples in all.jsonl, set aside",
    )
    assert local_task(TaskSpec(name="mine", train=train)).content_hash() == task.content_hash()
    with_test = TaskSpec(name="mine", train=train, test=jsonl(tmp_path / "test.jsonl", pairs(3, 90)))
    assert [note[:4] for note in local_task(with_test).notes] == ["dev:"]


def test_the_template_reads_columns_and_spells_languages_out(tmp_path: Path) -> None:
    rows = [{**row, "lang": "de" if i % 2 else "pt", "topic": "cells"} for i, row in enumerate(pairs(20))]
    train = jsonl(tmp_path / "train.jsonl", rows)
    spec = TaskSpec(name="mine", train=train, language="lang", template="In {language} on {topic}: {source}")
    prompts = {task.prompt(example) for task in [local_task(spec)] for example in task.train}
    starts = {prompt.rpartition(":")[0] for prompt in prompts}
    assert starts == {"In German on cells", "In Portuguese on cells"}


def test_a_chat_s_last_answer_is_the_target(tmp_path: Path) -> None:
    def chat(i: int) -> dict[str, Any]:
        texts = [("system", "Be short."), ("user", f"One {i}?"), ("assistant", "1"), ("user", "Two?")]
        messages = [{"role": role, "content": text} for role, text in [*texts, ("assistant", f"2 {i}")]]
        return {"messages": messages}

    task = local_task(
        TaskSpec(name="mine", train=jsonl(tmp_path / "chats.jsonl", [chat(i) for i in range(20)]))
    )
    example = task.train[0]
    number = example.target.split()[1]
    assert (
        task.prompt(example)
        == f"System: Be short.\nUser: One {number}?\nAssistant: 1\nUser: Two?\nAssistant:"
    )


def told(spec: TaskSpec) -> str:
    with pytest.raises(UsageError) as caught:
        local_task(spec)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "where", "words"),
    [
        ({"source": "a", "tarket": "b"}, "line 4, target", ["no column 'target'", "did you mean 'tarket'?"]),
        ({"source": "a", "target": " \n"}, "line 4, target", ["an empty target", "remove the row"]),
        ({"source": "a", "target": None}, "line 4, target", ["not text", "got: nothing"]),
        ({"source": "a", "target": 3}, "line 4, target", ["not text", "got: 3"]),
        ('{"source": "a"', "line 4", ["not a line of JSON", "Expecting"]),
        ("[1, 2]", "line 4", ["not a JSON object", "[1, 2]"]),
        (b'{"source": "\xff", "target": "b"}', "line 4", ["invalid UTF-8", "0xff"]),
    ],
)
def test_a_wrong_line_is_told_with_file_line_and_field(
    tmp_path: Path, line: Any, where: str, words: list[str]
) -> None:
    file = tmp_path / "train.jsonl"
    jsonl(file, pairs(3))
    wrong = json.dumps(line) if isinstance(line, dict) else line
    with file.open("ab") as stream:
        stream.write((wrong if isinstance(wrong, bytes) else wrong.encode()) + b"\n")
    message = told(TaskSpec(name="mine", train=str(file)))
    assert message.startswith(f"{file}, {where}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("source,target\na,b\nc,d,e\n", "line 3", ["another number of fields", "wanted: 2", "got: 3"]),
        ('source,target\n"a\nb",c\n"d"x,e\n', "line 4", ["not a row of CSV"]),
        ("source,target\na,b\nc,\n", "line 3, target", ["an empty target"]),
        (
            "question,answer\na,b\n",
            "line 2, source",
            [
                "no column 'source'",
                "columns as one of: source, target; messages; conversations; prompt, completion;",
                "task: {source: question, target: answer, ...}",
            ],
        ),
        (
            "instruction,context,response\na,b,c\n",  # Dolly
            "line 2, source",
            ["task: {source: instruction, target: response, ...}; `template` takes further columns"],
        ),
    ],
)
def test_a_wrong_csv_is_told(tmp_path: Path, text: str, where: str, words: list[str]) -> None:
    file = tmp_path / "train.csv"
    file.write_text(text)
    message = told(TaskSpec(name="mine", train=str(file)))
    assert message.startswith(f"{file}, {where}: ")
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("train.jsnl", "", "unknown kind of data file"),
        ("absent.csv", None, "no such data file"),
        ("train.csv", "source,target\n", "no examples in "),
    ],
)
def test_a_file_that_gives_no_rows_is_told_by_the_field_that_names_it(
    tmp_path: Path, name: str, text: str | None, problem: str
) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    message = told(TaskSpec(name="mine", train=str(file)))
    assert message.startswith(f"task.train: {problem}")
    assert name in message


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("messages", "where", "words"),
    [
        ("hello", "messages", "not a chat"),
        ([message("user", "hi")], "messages", "at least two messages"),
        ([message("user", "hi"), message("assistant", "")], "messages[1]", "without an answer"),
        ([message("user", "hi"), message("user", "you?")], "messages[1]", "without an answer"),
        ([message("usr", "hi"), message("assistant", "yes")], "messages[0]", "not a message"),
        ([message("user", ["hi"]), message("assistant", "yes")], "messages[0]", "not a message"),
    ],
)
def test_a_wrong_chat_is_told(tmp_path: Path, messages: Any, where: str, words: str) -> None:
    file = tmp_path / "train.jsonl"
    jsonl(file, [{"messages": messages}])
    shown = told(TaskSpec(name="mine", train=str(file)))
    assert shown.startswith(f"{file}, line 1, {where}: ")
    assert words in shown


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{source} {topic}", "no column 'topic'"),
        ("{topic}", "leaves out the source"),
        ("{source", "the template cannot be read"),
        ("{source} {0}", "no plain name"),
        ("{source} {a.b}", "no plain name"),
    ],
)
def test_a_wrong_template_is_told(splits: dict[str, str], template: str, words: str) -> None:
    assert words in told(TaskSpec(name="mine", template=template, **splits))


def test_pairs_of_dev_or_test_that_are_in_train_are_refused_with_count_and_lines(
    tmp_path: Path, splits: dict[str, str]
) -> None:
    leak = jsonl(tmp_path / "leak.jsonl", pairs(2, 100) + pairs(2, 7))
    for split in ("dev", "test"):
        shown = told(TaskSpec(name="mine", **splits | {split: leak}))
        assert f"2 of 4 pairs of {split} are also in train" in shown
        assert "line 3 is line 8 of train, line 4 is line 9 of train" in shown


def test_files_that_cannot_be_read_are_told(tmp_path: Path, splits: dict[str, str]) -> None:
    assert "there is: dev.jsonl, test.jsonl, train.jsonl" in told(
        TaskSpec(name="mine", train=str(tmp_path / "trian.jsonl"))
    )
    (tmp_path / "train.json").write_text("[]")
    assert "no examples" in told(TaskSpec(name="mine", train=str(tmp_path / "train.json")))
    (tmp_path / "train.txt").write_text("a")
    assert "a name that ends in .jsonl, .json, .csv" in told(
        TaskSpec(name="mine", train=str(tmp_path / "train.txt"))
    )
    (tmp_path / "train.parquet").write_text("no")
    assert "not a Parquet file" in told(TaskSpec(name="mine", train=str(tmp_path / "train.parquet")))
    (tmp_path / "empty.jsonl").write_text("\n")
    assert "no examples" in told(TaskSpec(name="mine", **splits | {"dev": str(tmp_path / "empty.jsonl")}))


def test_too_few_examples_to_set_some_aside_are_told(tmp_path: Path) -> None:
    few = jsonl(tmp_path / "few.jsonl", pairs(9))
    assert "state files for dev and test" in told(TaskSpec(name="mine", train=few))
    same = jsonl(tmp_path / "same.jsonl", pairs(1) * 40)
    assert "1 different examples" in told(TaskSpec(name="mine", train=same))


def test_other_columns_than_train_s_are_to_be_renamed_in_the_file_not_in_the_study(
    tmp_path: Path, splits: dict[str, str]
) -> None:
    other = [{"question": row["source"], "answer": row["target"]} for row in pairs(5, 300)]
    message = told(TaskSpec(name="mine", **splits | {"test": jsonl(tmp_path / "other.jsonl", other)}))
    assert "other.jsonl, line 1, source: no column 'source'" in message
    assert "wanted: the columns of the first training row: source, target" in message
    assert "the same columns in every row of every file" in message
    assert "task: {" not in message


def test_test_pairs_that_choose_the_checkpoint_are_said(tmp_path: Path, splits: dict[str, str]) -> None:
    both = splits | {"test": splits["dev"]}
    assert local_task(TaskSpec(name="mine", **both)).notes == (
        "5 of 5 pairs of test are also in dev: dev chooses the checkpoint, so their test loss is too low",
    )


def test_examples_that_differ_in_the_template_s_columns_are_different(tmp_path: Path) -> None:
    def rows(count: int, start: int) -> list[dict[str, str]]:
        return [
            {"source": "Is this praise?", "target": "yes" if i % 2 else "no", "review": f"It is {i}."}
            for i in range(start, start + count)
        ]

    file = jsonl(tmp_path / "reviews.jsonl", rows(60, 0))
    spec = TaskSpec(name="mine", train=file, template="{source} {review}\n")
    task = local_task(spec, 2)
    assert [len(task.train), len(task.dev), len(task.test["test"])] == [48, 6, 6]
    with_test = spec.model_copy(update={"test": jsonl(tmp_path / "more.jsonl", rows(5, 100))})
    assert len(local_task(with_test, 2).test["test"]) == 5
    with pytest.raises(UsageError, match="too few examples to set dev and test aside"):
        local_task(spec, 1)  # as it was
