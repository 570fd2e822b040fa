"""Which columns `finescale init` takes as read and learned, and what it asks or refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from finescale.errors import UsageError
from finescale.spec.run import TaskSpec
from finescale.start.columns import pair_columns
from finescale.tasks.rows import Row

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def columns(name: str = "data.jsonl", **values: Any) -> dict[str, str]:
    """What is taken of rows with these values; `#` in a text is the row's number."""
    made = [
        Row(i, {k: v.replace("#", str(i)) if isinstance(v, str) else v for k, v in values.items()})
        for i in range(1, 21)
    ]
    return pair_columns(TaskSpec(name="mine"), made, Path(name), None, None)


def told(name: str = "data.jsonl", **values: Any) -> str:
    with pytest.raises(UsageError) as caught:
        columns(name, **values)
    return str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"id": "x_#", "messages": CHAT, "source": "web"},
        {"conversations": CHAT, "source": "web", "category": "qa"},
        {"instruction": "q", "input": "i", "output": "o", "source": "gpt"},
        {"prompt": "p", "completion": "c", "source": "web"},
        {"source": "s", "target": "t", "messages": CHAT},
    ],
)
def test_what_the_layout_says_is_left_to_it(values: dict[str, Any]) -> None:
    assert columns(**values) == {}


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (("reply", "request"), ("request", "reply")),
        (("id", "Question", "Answer"), ("Question", "Answer")),
        (("question", "answer", "source"), ("question", "answer")),
        (("title", "text", "summary"), ("text", "summary")),
        (("article", "highlights", "id"), ("article", "highlights")),
        (("user", "assistant"), ("user", "assistant")),
        (("text", "label"), ("text", "label")),
        (("tgt", "src"), ("src", "tgt")),
    ],
)
def test_known_names_say_what_is_read_and_learned(names: tuple[str, ...], pair: tuple[str, str]) -> None:
    assert columns(**{name: f"some {name} #" for name in names}) == {"source": pair[0], "target": pair[1]}


@pytest.mark.parametrize(
    ("values", "source", "template"),
    [
        ({"instruction": "do it, number #", "context": "", "response": "r"},
         "instruction", "{source}\n\n{context}\n"),
        ({"instruction": "do #", "context": "a long document", "response": "r", "category": "c"},
         "context", "{instruction}\n\n{source}\n"),
        ({"context": "c", "question": "why, # ?", "answer": "a"}, "question", "{context}\n\n{source}\n"),
        ({"context": "a long context", "question": "q#", "answer": "a"},
         "context", "{source}\n\n{question}\n"),
        ({"question": "why, # ?", "A": "x", "B": "y", "answer": "A"},
         "question", "{source}\n\nA. {A}\nB. {B}\n"),
        ({"system": "you are a pirate of the sea", "input": "q#", "output": "o"},
         "input", "{system}\n\n{source}\n"),
        ({"Instruction": "do it #", "Input": "i", "Output": "o"}, "Instruction", "{source}\n\n{Input}\n"),
    ],
)  # fmt: skip
def test_context_goes_into_the_template_and_the_longest_text_is_what_is_cut(
    values: dict[str, Any], source: str, template: str
) -> None:
    found = columns(**values)
    assert (found["source"], found["template"]) == (source, template)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"chosen": "good", "rejected": "bad"}, "cut each `chosen` into what is read and what is learned"),
        ({"prompt": "p", "chosen": "good", "rejected": "bad"}, "--source prompt --target chosen"),
        ({"chosen": CHAT, "rejected": CHAT}, "as the column `messages`"),
        ({"question": "q", "answer": "a", "rejected": "bad"}, "write the good answers into a file of pairs"),
    ],
)
def test_preferences_are_refused_with_the_way_to_the_good_answers(values: dict[str, Any], words: str) -> None:
    message = told(**values)
    assert "preferences, with answers that are to be avoided in `rejected`" in message
    assert words in message


@pytest.mark.parametrize("label", [True, "False"])
def test_completions_that_a_label_judges_are_refused(label: Any) -> None:
    assert "keep the rows whose label is true" in told(prompt="p", completion="c", label=label)


@pytest.mark.parametrize(
    "other",
    [
        {"id": "some words"}, {"url": "some words"}, {"home": "https://a.org/#"}, {"idx": "#"}, {"n": "#.5"},
        {"when": "2024-01-02T10:00:00"}, {"key": "doc-#"}, {"": "#"},
        {"key": "123e4567-e89b-12d3-a456-426614174000"},
    ],
)  # fmt: skip
def test_ids_addresses_numbers_and_dates_are_neither_read_nor_learned(other: dict[str, str]) -> None:
    message = told(text="some text #", **other)
    assert "no two columns of text" in message
    assert "of these `text` is text" in message


def test_two_columns_that_nobody_knows_are_asked_for_with_both_answers() -> None:
    message = told(en="a house #", de="ein Haus #", id="#")
    assert "which column is read, and which is learned?" in message
    assert "remedy: --source en --target de, or --source de --target en" in message
    message = told(context="c #", question="q #", answers={"text": ["a"]})  # SQuAD
    assert "got: context, question, answers (no text: answers)" in message
    assert "write `answers` as text where that is what is learned" in message
    assert "write `label` as text" in told(text="some text #", label=3)
    assert "which column is read" in told(question="q", answer="a", response="r")  # both may be meant
    assert "which column is read" in told(prompt="q", question="q", answer="a")


def test_a_stated_side_is_completed_by_the_known_names_and_gets_no_template() -> None:
    rows = [Row(1, {"question": "q", "context": "c", "answer": "a", "response": "r"})]
    spec = TaskSpec(name="mine")
    assert pair_columns(spec, rows, Path("a.jsonl"), None, "response") == {
        "source": "question",
        "target": "response",
    }
    assert pair_columns(spec, rows, Path("a.jsonl"), "context", "answer") == {
        "source": "context",
        "target": "answer",
    }


@pytest.mark.parametrize(
    "names",
    [("Where is the file, please?", "There."), ("7", "seven"), ("https://a.org", "text"),
     ("a b c d e f g h", "short")],
)  # fmt: skip
def test_a_first_line_that_looks_like_data_is_refused(names: tuple[str, str]) -> None:
    message = told("data.csv", **{name: f"some text # {name}" for name in names})
    assert "the first line looks like data, not like names of columns" in message
    assert "(printf 'source,target\\n'; cat data.csv) > named.csv" in message
