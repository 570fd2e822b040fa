"""Chats as tokens: the loss is on every answer, whatever the template; checked token by token."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from chat_templates import KINDS, Segments
from transformers import PreTrainedTokenizerFast

from finescale.batches.batching import collate
from finescale.batches.chat_encoding import chat_prompt_ids
from finescale.batches.encoding import encode
from finescale.batches.rendering import ends_of_answers
from finescale.errors import UsageError
from finescale.tasks.chats import read_chat
from finescale.tasks.task import Example, Task

SYSTEM = "Be short."
TURNS = [("Where are the margins?", "On the page, höher."), ("One?", "two three"), ("And then?", "Größe!")]
WITHOUT_SYSTEM = ("gemma", "mistral")


def task(**changes: Any) -> Task:
    return replace(Task("t", "{source}\nAssistant:", 256, 256, (), (), {}, version=2), **changes)


def chat(*messages: dict[str, Any], place: str = "chats.jsonl, line 7", tools: Any = None) -> Example:
    made = read_chat(list(messages), place, "messages", tools=tools)
    return Example(*made.text(), {}, made)


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def conversation(name: str, turns: list[tuple[str, str]] = TURNS) -> Example:
    system = [] if name in WITHOUT_SYSTEM else [said("system", SYSTEM)]
    both = [(said("user", asked), said("assistant", answer)) for asked, answer in turns]
    return chat(*system, *(message for pair in both for message in pair))


def segments_of(one: Any, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    """The stretches of tokens that carry a loss, as text."""
    places = one.predicted
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [tokenizer.decode(one.ids[run]) for run in runs]


def squeezed(text: str) -> str:
    """A text without blanks: SentencePiece decodes one before each word, special tokens or not."""
    return "".join(text.split())


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_on_every_answer_and_its_end_whatever_the_template(name: str) -> None:
    kind = KINDS[name]
    tokenizer = kind.build()
    encoded = encode(task(), [conversation(name)], tokenizer)
    pieces = kind.expected(SYSTEM, TURNS)
    text = "".join(piece for piece, _ in pieces)
    one = encoded.examples[0]
    # the text is the template's, to the last token that carries a loss
    whole = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert one.ids.tolist() == whole[: len(one.ids)]
    wanted = [squeezed(piece) for piece, loss in _merged(pieces) if loss]
    assert [squeezed(piece) for piece in segments_of(one, tokenizer)] == wanted
    assert encoded.notes == ()


def _merged(pieces: Segments) -> Segments:
    """Neighbours of one kind as one piece."""
    found: Segments = []
    for text, loss in pieces:
        if found and found[-1][1] == loss:
            found[-1] = (found[-1][0] + text, loss)
        else:
            found.append((text, loss))
    return found


@pytest.mark.parametrize("name", KINDS)
def test_a_chat_of_one_turn_is_what_the_model_is_asked_and_then_its_answer(name: str) -> None:
    tokenizer = KINDS[name].build()
    example = conversation(name, TURNS[:1])
    one = encode(task(), [example], tokenizer).examples[0]
    (asked,) = chat_prompt_ids(task(), [[example]], tokenizer)
    assert one.loss is None
    if name == "vicuna":  # SentencePiece has a token for the colon and the space of the answer's first word
        assert one.ids[: one.target_start - 1].tolist() == asked[:-1]
    else:
        assert one.ids[: one.target_start].tolist() == asked
    (end,) = ends_of_answers(tokenizer)
    assert end in one.ids[-4:].tolist()


def test_the_last_answer_alone_carries_the_loss_where_the_task_says_so() -> None:
    tokenizer = KINDS["chatml"].build()
    one = encode(task(answers="last"), [conversation("chatml")], tokenizer).examples[0]
    assert segments_of(one, tokenizer) == ["Größe!<|im_end|>"]
    weighted = conversation("chatml")
    assert weighted.chat is not None
    messages = [
        {**message, "weight": 0} if message["content"] == "two three" else message
        for message in weighted.chat.messages
    ]
    one = encode(task(), [chat(*messages)], tokenizer).examples[0]
    assert segments_of(one, tokenizer) == ["On the page, höher.<|im_end|>", "Größe!<|im_end|>"]


def test_a_batch_predicts_the_tokens_of_every_answer() -> None:
    tokenizer = KINDS["llama-3"].build()
    examples = encode(
        task(), [conversation("llama-3"), conversation("llama-3", TURNS[1:])], tokenizer
    ).examples
    for packed in (True, False):
        batch = collate(examples, 0, prompt_length=3, packed=packed)
        ids = batch.input_ids.flatten()
        assert batch.targets.tolist() == ids[batch.predicting + 1].tolist()
        wanted = [token for one in examples for token in one.ids[one.predicted].tolist()]
        assert batch.targets.tolist() == wanted
        assert len(batch.targets) == sum(one.target_tokens for one in examples)


def test_an_answer_that_was_cut_has_no_end_and_a_message_that_was_cut_keeps_the_template() -> None:
    tokenizer = KINDS["chatml"].build()
    long = [("Where are " * 30, "the margins"), ("One?", "two three " * 30), ("And?", "Größe!")]
    encoded = encode(
        task(max_source_tokens=6, max_target_tokens=8), [conversation("chatml", long)], tokenizer
    )
    one = encoded.examples[0]
    first, second, third = segments_of(one, tokenizer)
    assert (first, third) == ("the margins<|im_end|>", "Größe!<|im_end|>")
    assert second.startswith("two three")
    assert "<|im_end|>" not in second
    assert len(tokenizer(second, add_special_tokens=False)["input_ids"]) <= 8
    assert tokenizer.decode(one.ids).count("<|im_end|>") == 7
    assert (encoded.cut_sources, encoded.cut_targets) == (1, 1)
    last = encode(task(max_target_tokens=8), [conversation("chatml", long[1:2])], tokenizer).examples[0]
    assert last.ids[-1] != tokenizer.convert_tokens_to_ids("<|im_end|>")


CALL = {"type": "function", "function": {"name": "look_up", "arguments": {"word": "margin"}}}
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "d", "parameters": {"type": "object"}},
}
WITH_TOOLS = (
    said("user", "Margins?"), {"role": "assistant", "content": None, "tool_calls": [CALL]},
    said("tool", "2 cm"), said("assistant", "Two."),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("llama-3.2", ['{"name": "look_up", "parameters": {"word": "margin"}}<|eot_id|>', "Two.<|eot_id|>"]),
        (
            "mistral-v3",
            ['[TOOL_CALLS] [{"name": "look_up", "arguments": {"word": "margin"}}]</s>', "Two.</s>"],
        ),
    ],
)
def test_calls_of_tools_are_answers_too(name: str, answers: list[str]) -> None:
    tokenizer = KINDS[name].build()
    one = encode(task(), [chat(*WITH_TOOLS, tools=[TOOL])], tokenizer).examples[0]
    found = [piece.strip() for piece in segments_of(one, tokenizer)]
    assert [squeezed(piece) for piece in found] == [squeezed(piece) for piece in answers]


def test_what_the_template_leaves_out_is_told_by_row() -> None:
    tokenizer = KINDS["chatml"].build()
    whole = conversation("chatml")
    assert encode(task(), [whole], tokenizer).notes == ()
    lacking = [
        chat(said("user", "a"), WITH_TOOLS[3], tools=[TOOL], place=f"c.jsonl, line {n}") for n in range(7)
    ]
    (note,) = encode(task(), [whole, *lacking], tokenizer).notes
    assert note == (
        "7 of 8 chats are not rendered whole by the model's chat template, which leaves out:"
        " the tool 'look_up' (c.jsonl, line 0, 1, 2, 3 and 3 more)"
    )
    one = encode(task(), [chat(*WITH_TOOLS)], tokenizer).examples[0]
    assert segments_of(one, tokenizer) == ["Two.<|im_end|>"]
    with pytest.raises(UsageError, match="renders no answer of this chat"):
        encode(task(), [chat(*WITH_TOOLS[:2])], tokenizer)


@pytest.mark.parametrize("template", [True, False])
def test_a_tool_that_is_called_but_not_described_is_told(template: bool) -> None:
    tokenizer = KINDS["mistral-v3"].build()
    calls = str(tokenizer.chat_template)
    described = "{{ tools | tojson if tools else '' }}" + calls
    for text, notes in ((calls, 1), (described, 0)) if template else ((None, 1),):
        tokenizer.chat_template = text
        found = encode(task(), [chat(*WITH_TOOLS, tools=[TOOL])], tokenizer).notes
        assert len(found) == notes
        assert all("out: the tool 'look_up' (chats.jsonl, line 7)" in note for note in found)


def test_what_was_thought_is_learned_where_the_template_writes_it() -> None:
    tokenizer = KINDS["qwen-3"].build()
    turns = [("One?", "<think>\nhm\n</think>\n\ntwo"), ("Then?", "<think>\nso\n</think>\n\nthree")]
    encoded = encode(task(), [conversation("qwen-3", turns)], tokenizer)
    assert segments_of(encoded.examples[0], tokenizer) == [
        "two<|im_end|>",
        "<think>\nso\n</think>\n\nthree<|im_end|>",
    ]
    assert "leaves out: of an assistant message '<think>" in encoded.notes[0]


@pytest.mark.parametrize(
    ("name", "messages", "words"),
    [
        (
            "gemma",
            [said("system", "x"), said("user", "y"), said("assistant", "z")],
            "System role not supported",
        ),
        ("mistral", [said("user", "x"), said("user", "y"), said("assistant", "z")], "roles must alternate"),
        ("llama-2", [said("assistant", "x"), said("assistant", "y")], "roles must alternate"),
    ],
)
def test_a_chat_that_the_template_refuses_is_told_with_its_row(
    name: str, messages: list[Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        encode(task(), [chat(*messages)], KINDS[name].build())
    assert str(caught.value).startswith(
        "chats.jsonl, line 7: the model's chat template does not take this chat"
    )
    assert "roles: " + ", ".join(message["role"] for message in messages) in str(caught.value)


def test_demonstrations_are_earlier_turns_of_a_chat() -> None:
    tokenizer = KINDS["chatml"].build()
    shown, asked = conversation("chatml", TURNS[:1]), conversation("chatml", TURNS[1:2])
    (ids,) = chat_prompt_ids(task(), [[shown, asked]], tokenizer)
    wanted = "".join(piece for piece, _ in KINDS["chatml"].expected(SYSTEM, TURNS[:2]))
    assert tokenizer.decode(ids) == wanted[: wanted.rindex("two three")]


def weighted(**more: Any) -> Example:
    return chat(
        said("user", "Where?"),
        said("assistant", "Here.", **more),
        said("user", "One?"),
        said("assistant", "Two."),
    )


@pytest.mark.parametrize("more", [{"weight": "0"}, {"weight": "0.0"}, {"weight": 0.0}, {"train": False}])
def test_an_answer_without_weight_is_no_target_however_that_is_written(more: dict[str, Any]) -> None:
    tokenizer = KINDS["chatml"].build()
    one = encode(task(), [weighted(**more)], tokenizer).examples[0]
    assert "".join(segments_of(one, tokenizer)).startswith("Two.")


@pytest.mark.parametrize("more", [{"weight": 1}, {"weight": "1.0"}, {"weight": None}, {"train": True}])
def test_an_answer_with_weight_is_a_target(more: dict[str, Any]) -> None:
    tokenizer = KINDS["chatml"].build()
    one = encode(task(), [weighted(**more)], tokenizer).examples[0]
    assert "".join(segments_of(one, tokenizer)).startswith("Here.")


@pytest.mark.parametrize("weight", [0.5, "half", 2])
def test_a_weight_between_none_and_whole_is_refused(weight: Any) -> None:
    with pytest.raises(UsageError, match="a weight that is neither 0 nor 1") as refused:
        weighted(weight=weight)
    assert refused.value.where == "chats.jsonl, line 7, messages[1]"


def test_sharegpt_s_train_flag_is_read() -> None:
    turns = [("human", "a?"), ("gpt", "b"), ("human", "c?"), ("gpt", "d")]
    rows = [{"from": who, "value": text, "train": text != "b"} for who, text in turns]
    assert read_chat(rows, "line 1", "conversations").answers == (3,)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"reasoning_content": "Let me think."}, "the reasoning_content 'Let me think.'"),
        ({"thinking": "Hm."}, "the thinking 'Hm.'"),
        ({"function_call": {"name": "e", "arguments": "{}"}}, "the function_call 'e'"),
    ],
)
def test_what_stands_beside_an_answer_and_is_not_rendered_is_told(more: dict[str, Any], words: str) -> None:
    (note,) = encode(task(), [weighted(**more)], KINDS["chatml"].build()).notes
    assert words in note
    tokenizer = KINDS["chatml"].build()
    written = "{{ m['reasoning_content'] or m['thinking'] or m['function_call'] }}{{ m['content'] }}"
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: " + written + "<|im_end|>{% endfor %}"
    assert encode(task(), [weighted(**more)], tokenizer).notes == ()


def test_target_bytes_are_those_of_the_text_that_is_learned() -> None:
    tokenizer = KINDS["chatml"].build()
    plain = encode(task(), [weighted()], tokenizer)
    assert plain.target_bytes is not None
    assert plain.target_bytes.tolist() == [len("Here.Two.")]
    said_last = "{{ m['content'].split('</think>')[-1] }}<|im_end|>"
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: " + said_last + "{% endfor %}"
    thought = chat(said("user", "Where?"), said("assistant", "<think>I wonder.</think>Here."))
    less = encode(task(), [thought], tokenizer)
    assert less.target_bytes is not None
    assert segments_of(less.examples[0], tokenizer)[0].startswith("Here.")
    assert less.target_bytes.tolist() == [len("Here.")]


def test_an_answer_that_the_template_leaves_out_has_no_bytes() -> None:
    tokenizer = KINDS["chatml"].build()
    last = "{% for m in messages[-2:] %}{{ m['role'] }}: {{ m['content'] }}<|im_end|>{% endfor %}"
    tokenizer.chat_template = last
    found = encode(task(), [weighted()], tokenizer)
    assert found.target_bytes is not None
    assert found.target_bytes.tolist() == [len("Two.")]
