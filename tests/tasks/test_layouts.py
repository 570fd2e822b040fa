"""What is recognised in data files: chats of several kinds, prompt and completion, Alpaca."""

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
from finescale.tasks.task import Task

CASES = Path(__file__).parents[3] / "shared" / "cases"


def task(folder: Path, rows: list[dict[str, Any]], name: str = "rows.json", **settings: Any) -> Task:
    file = folder / name
    file.write_text(json.dumps(rows), encoding="utf-8")
    return local_task(TaskSpec(name="mine", train=str(file), **settings), 2)


def sharegpt(number: int) -> dict[str, Any]:
    turns = [("human", f"One {number}?"), ("gpt", "1"), ("human", "Two?"), ("gpt", f"2 {number}")]
    return {"id": f"x{number}", "conversations": [{"from": who, "value": text} for who, text in turns]}


def test_sharegpt_is_a_chat_with_roles(tmp_path: Path) -> None:
    rows = [sharegpt(i) for i in range(20)]
    rows[3]["system"] = "Be short."
    opened = task(tmp_path, rows)
    assert "rows.json: chats in `conversations`" in opened.notes
    chat = next(e.chat for e in opened.train if e.chat and e.chat.place.endswith("line 1"))
    roles = [message["role"] for message in chat.messages]
    assert roles in (["user", "assistant"] * 2, ["system", *["user", "assistant"] * 2])
    assert chat.answers == tuple(i for i, role in enumerate(roles) if role == "assistant")
    systems = [
        e
        for split in (opened.train, opened.dev, opened.test["test"])
        for e in split
        if e.chat and e.chat.messages[0]["role"] == "system"
    ]
    assert len(systems) == 1


def test_sharegpt_under_version_1_is_lines(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([sharegpt(i) for i in range(20)]))
    example = local_task(TaskSpec(name="mine", train=str(file))).train[0]
    assert example.chat is None
    assert example.source.startswith("User: One ")
    assert example.source.endswith("?\nAssistant: 1\nUser: Two?")


def test_prompt_and_completion_follow_each_other_as_they_are(tmp_path: Path) -> None:
    opened = task(tmp_path, [{"prompt": f"{i} + 1 =", "completion": f" {i + 1}"} for i in range(20)])
    assert opened.prompt(opened.train[0]).endswith("+ 1 =")
    assert (opened.separator, opened.train[0].target[0]) == ("", " ")
    chats = [
        {
            "prompt": [message("user", f"a{i}"), message("assistant", "b"), message("user", "c")],
            "completion": [message("assistant", "d")],
        }
        for i in range(20)
    ]
    chat = task(tmp_path, chats).train[0].chat
    assert chat is not None
    assert (len(chat.messages), chat.answers) == (4, (3,))


def test_alpaca_has_alpaca_s_prompt_with_and_without_input(tmp_path: Path) -> None:
    rows = [
        {"instruction": f"Add {i}.", "input": "1 2" if i % 2 else "", "output": f"{i + 3}"} for i in range(20)
    ]
    opened = task(tmp_path, rows)
    prompts = {opened.prompt(example) for example in opened.train}
    without = next(prompt for prompt in prompts if "Input" not in prompt)
    assert without.startswith("Below is an instruction that describes a task. Write a response")
    assert without.endswith("\n\n### Response:")
    assert any("paired with an input" in p and "\n\n### Input:\n1 2\n\n### Response:" in p for p in prompts)
    own = task(tmp_path, rows, template="Do: {source}\n")
    assert {own.prompt(e) for e in own.train} <= {
        f"Do: Add {i}.{chr(10) * 2 + '1 2' if i % 2 else ''}\n" for i in range(20)
    }


def test_columns_that_the_study_names_come_first(tmp_path: Path) -> None:
    rows = [{"instruction": f"i{i}", "output": f"o{i}", "answer": f"a{i}"} for i in range(20)]
    opened = task(tmp_path, rows, source="instruction", target="answer")
    assert opened.train[0].target[0] == "a"
    assert not any("Alpaca" in note for note in opened.notes)


def message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


ASKED, SAID = message("user", "a"), message("assistant", "b")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_parts_of_content_tools_and_json_in_columns_are_read(tmp_path: Path, kind: str) -> None:
    call = {"function": {"name": "f", "arguments": '{"x": 1}'}}
    rows = []
    for number in range(20):
        parts = [{"type": "text", "text": "Look "}, {"type": "text", "text": f"here {number}."}]
        messages = [
            message("user", parts),
            message("assistant", None, tool_calls=[call]),
            message("tool", "7"),
            message("assistant", "Seven."),
            message("user", "Thanks."),
        ]
        rows.append({"messages": json.dumps(messages), "tools": json.dumps([call])})
    file = tmp_path / f"rows.{kind}"
    frame = pl.DataFrame(rows)
    frame.write_csv(file, separator=";") if kind == "csv" else frame.write_parquet(file)
    opened = local_task(TaskSpec(name="mine", train=str(file)), 2)
    chat = opened.train[0].chat
    assert chat is not None
    assert str(chat.messages[0]["content"]).startswith("Look here ")
    assert chat.messages[1]["tool_calls"][0]["function"]["arguments"] == {"x": 1}
    assert chat.tools[0]["function"]["name"] == "f"
    assert (chat.answers, chat.dropped) == ((1, 3), 1)
    assert any("20 of 20 chats go on after their last answer" in note for note in opened.notes)


def test_messages_of_a_parquet_file_have_only_the_keys_that_they_state(tmp_path: Path) -> None:
    rows = [
        [message("user", f"a{i}"), message("assistant", "b", name="Bo" if i else None)] for i in range(20)
    ]
    pl.DataFrame({"messages": rows}).write_parquet(tmp_path / "rows.parquet")
    opened = local_task(TaskSpec(name="mine", train=str(tmp_path / "rows.parquet")), 2)
    keys = {tuple(found) for e in opened.train if e.chat for found in e.chat.messages}
    assert ("role", "content") in keys
    assert all("name" not in e.chat.messages[0] for e in opened.train if e.chat)


@pytest.mark.parametrize(
    ("messages", "where", "words"),
    [
        ("hello", "messages", "not a chat"),
        ("[{", "messages", "not a chat"),
        ([message("user", "hi")], "messages", "at least two messages"),
        ([message("user", "hi"), message("user", "you?")], "messages", "a chat without an answer"),
        ([message("user", "hi"), message("assistant", " ")], "messages[1]", "an empty answer"),
        ([message("usr", "hi"), message("assistant", "yes")], "messages[0]", "did you mean 'user'?"),
        ([message("user", [{"type": "image"}]), SAID], "messages[0]", "content that is no text"),
        ([{"from": "martian", "value": "x"}, SAID], "messages[0]", "unknown speaker 'martian'"),
        ([ASKED, message("assistant", None, tool_calls=[3])], "messages[1]", "not a call of a tool"),
        ([ASKED, {"role": "assistant"}], "messages[1]", "not a message"),
    ],
)
def test_a_wrong_chat_is_told(tmp_path: Path, messages: Any, where: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        task(tmp_path, [{"messages": messages}])
    assert str(caught.value).startswith(f"{tmp_path / 'rows.json'}, line 1, {where}: ")
    assert words in str(caught.value)


def test_what_version_1_cannot_read_names_version_2(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([{"messages": [message("tool", "x"), message("assistant", "y")]}]))
    with pytest.raises(UsageError, match="state `version: 2` in the study"):
        local_task(TaskSpec(name="mine", train=str(file)))


def test_the_content_hash_knows_chats_tools_answers_and_what_stands_between(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"messages": [message("user", f"a{i}"), message("assistant", "b")]} for i in range(20)
    ]
    plain = task(tmp_path, rows)
    asked = [{"messages": [message("system", "s"), *row["messages"]]} for row in rows]
    tools = [{**row, "tools": [{"name": "f"}]} for row in rows]
    others = [task(tmp_path, asked), task(tmp_path, tools), task(tmp_path, rows, answers="last")]
    pairs = [{"source": f"a{i}", "target": "b"} for i in range(20)]
    joined = [{"prompt": f"a{i}", "completion": "b"} for i in range(20)]
    others += [task(tmp_path, pairs, template="{source}"), task(tmp_path, joined)]
    assert len({opened.content_hash() for opened in [plain, *others]}) == 1 + len(others)


def test_an_oversampled_source_is_set_aside_with_all_of_its_repeats(tmp_path: Path) -> None:
    rows = [{"source": f"q{i}", "target": f"a{i}"} for i in range(60)] * 2
    opened = task(tmp_path, rows)
    parts = [{e.source for e in split} for split in (opened.train, opened.dev, opened.test["test"])]
    assert [len(opened.train), len(opened.dev), len(opened.test["test"])] == [96, 6, 6]
    assert not any(a & b for i, a in enumerate(parts) for b in parts[i + 1 :])
    assert (
        "dev: 6 of the 120 examples in rows.json, set aside; 6 repeats of them are left out of train"
        in opened.notes
    )
    with pytest.raises(UsageError, match="got: 9 different examples in 90 rows"):
        task(tmp_path, rows[:9] * 10)


@pytest.mark.skipif(not CASES.is_dir(), reason="the reported cases are not beside this checkout")
def test_the_reported_cases_are_read_or_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match="two columns are called 'target'"):
        local_task(TaskSpec(name="mine", train=str(CASES / "pairs_two_target_columns.csv")))
    assert len(local_task(TaskSpec(name="mine", train=str(CASES / "pairs_u2028.csv"))).train) > 0


def test_the_version_reaches_every_task() -> None:
    assert (open_task("mini-en-de").version, open_task("mini-en-de", 2).version) == (1, 2)
    assert open_task("mini-en-de", 2).content_hash() == open_task("mini-en-de").content_hash()


def chat(number: int) -> list[dict[str, Any]]:
    return [message("user", f"q{number}"), message("assistant", f"a{number}")]


@pytest.mark.parametrize(
    ("row", "read"),
    [
        (lambda i: {"id": f"x_{i}", "messages": chat(i), "source": "web"}, "user: q{i}"),  # Tulu 3
        (
            lambda i: {"conversations": [{"from": "human", "value": f"q{i}"}, {"from": "gpt", "value": "a"}],
                       "source": "web"},
            "user: q{i}",
        ),
        (lambda i: {"instruction": f"q{i}", "input": "in", "output": "a", "source": "x"},
         "q{i}\n\n### Input:\nin"),
        (lambda i: {"prompt": f"q{i}", "completion": " a", "source": "web"}, "q{i}"),
        (lambda i: {"source": f"q{i}", "target": "a", "messages": chat(i)}, "q{i}"),
    ],
)  # fmt: skip
def test_source_alone_says_where_a_row_is_from(tmp_path: Path, row: Any, read: str) -> None:
    opened = task(tmp_path, [row(i) for i in range(20)])
    sources = {e.source for split in (opened.train, opened.dev, opened.test["test"]) for e in split}
    assert sources == {read.format(i=i) for i in range(20)}


@pytest.mark.parametrize("value", [[1, 2], 5, {"a": 1}])
def test_an_alpaca_input_that_is_no_text_is_refused_with_its_row(tmp_path: Path, value: Any) -> None:
    rows: list[dict[str, Any]] = [{"instruction": f"q{i}", "input": None, "output": "a"} for i in range(20)]
    assert "### Input" not in task(tmp_path, rows).train[0].source
    rows[3]["input"] = value
    with pytest.raises(UsageError, match=r"line 1, input: not text(.|\n)*write it as text"):
        task(tmp_path, rows)


def test_columns_that_are_not_read_are_said(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"instruction": f"q{i}", "output": "a", "system": "Be a pirate.", "history": [], "n": None}
        for i in range(20)
    ]
    said = "columns that are not read: system (a `template` may name further columns of text)"
    assert said in task(tmp_path, rows).notes
    rows[5]["history"] = [["q", "a"]]
    assert any("not read: system, history" in note for note in task(tmp_path, rows).notes)
    template = "{system} {source}"
    assert any("not read: history" in note for note in task(tmp_path, rows, template=template).notes)
    chats = [{"messages": chat(i), "system": "s", "system_prompt": "s"} for i in range(20)]
    assert "columns that are not read: system_prompt" in task(tmp_path, chats).notes


def test_what_is_read_may_not_be_what_is_learned(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"task.target: what is read is also what is learned"):
        task(tmp_path, [{"text": f"t{i}"} for i in range(20)], source="text", target="text")


def test_half_of_a_surrogate_pair_in_a_chat_s_json_text_is_refused(tmp_path: Path) -> None:
    rows = [{"messages": json.dumps([message("user", "\ud83d"), message("assistant", "a")])}]
    with pytest.raises(UsageError, match="line 1, messages: half of a surrogate pair"):
        task(tmp_path, rows)
