import pytest
from chat_templates import KINDS
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from finescale.batches.encoding import encode
from finescale.tasks.chats import read_chat
from finescale.tasks.task import Example, Task

TASK = Task("t", "{source}", 256, 256, (), (), {}, version=2)


@pytest.fixture
def tokenizer():
    words = {
        word: place for place, word in enumerate(["<unk>", "<eos>", "file", "open", ":", "User", "Assistant"])
    }
    built = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=built, unk_token="<unk>", eos_token="<eos>")
    made.chat_template = "{% for m in messages %}{{ m['content'] }} <eos> {% endfor %}"
    return made


def pair(source, target):
    return Example(source, target, {})


def test_unknown_tokens_of_sources_and_targets_are_told_with_a_warning(tokenizer):
    (note,) = encode(TASK, [pair("file open", "datei file"), pair("file 答", "答 案")], tokenizer).notes
    assert note == (
        "warning: 1 of 4 source tokens (25.0%) and 3 of 4 target tokens (75.0%) are <unk>:"
        " the tokenizer has no tokens for that text"
    )


def test_few_unknown_tokens_are_told_without_a_warning(tokenizer):
    (note,) = encode(TASK, [pair("file " * 200 + "答", "open")], tokenizer).notes
    assert note.startswith("1 of 201 source tokens (0.5%) are <unk>")


def test_what_the_text_spells_itself_is_not_counted(tokenizer):
    assert encode(TASK, [pair("file <unk>", "open <unk>")], tokenizer).notes == ()


def test_unknown_tokens_of_chats_are_told_by_side(tokenizer):
    rows = [{"role": "user", "content": "file open"}, {"role": "assistant", "content": "open 答"}]
    chat = read_chat(rows, "line 1", "messages")
    (note,) = encode(TASK, [Example(*chat.text(), {}, chat)], tokenizer).notes
    assert note.startswith("warning: 1 of 3 target tokens (33.3%) are <unk>")


def test_tokenizers_that_know_every_byte_tell_nothing():
    assert encode(TASK, [pair("答", "案")], KINDS["chatml"].build()).notes == ()
