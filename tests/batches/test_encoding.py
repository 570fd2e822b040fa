from dataclasses import replace

import numpy as np
import pytest
from chat_templates import byte_level, sentencepiece, unigram
from tokenizers.processors import TemplateProcessing

from finescale.batches.batching import Encoded
from finescale.batches.encoded import EncodedSet, fit
from finescale.batches.encoding import encode, frequent_tokens
from finescale.errors import UsageError
from finescale.models.tokenizer import train_tokenizer
from finescale.tasks.task import Example, Task

TEXTS = ["Opens the file menu.", "Öffnet das Dateimenü.", "English German : the the the"] * 50


def task(max_source=256, max_target=256):
    return Task("t", "English: {source}\nGerman:", max_source, max_target, (), (), {})


def example(source, target):
    return Example(source, target, {})


def test_prompt_target_and_end_are_one_sequence_with_the_loss_on_the_target():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    encoded = encode(task(), [example("Opens the file.", "Öffnet das Dateimenü.")], tokenizer)
    one = encoded.examples[0]
    assert tokenizer.decode(one.ids[1 : one.target_start]) == "English: Opens the file.\nGerman:"
    assert tokenizer.decode(one.ids[one.target_start : -1]) == " Öffnet das Dateimenü."
    assert one.ids[-1] == tokenizer.eos_token_id
    assert (encoded.cut_sources, encoded.cut_targets) == (0, 0)
    assert encoded.target_tokens == len(one.ids) - one.target_start


def test_long_sources_and_targets_are_cut_and_counted_and_the_template_survives():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    given = [example("the file menu " * 20, "das Dateimenü " * 20), example("the file", "das")]
    encoded = encode(task(max_source=8, max_target=5), given, tokenizer)
    assert (encoded.cut_sources, encoded.cut_targets) == (1, 1)
    one = encoded.examples[0]
    prompt = tokenizer.decode(one.ids[1 : one.target_start])
    assert prompt.startswith("English: the file")
    assert prompt.endswith("\nGerman:")
    assert one.target_tokens == 6
    source = prompt.removeprefix("English: ").removesuffix("\nGerman:")
    assert len(tokenizer(source, add_special_tokens=False)["input_ids"]) <= 8


def test_frequent_tokens_come_first_without_special_ones():
    given = [Encoded(np.array([5, 9, 9, 9, 7, 7, 1], dtype=np.int32), 1)]
    assert frequent_tokens(given, special=[1]) == [9, 7, 5]


def test_a_tokenizer_that_ends_every_text_does_not_end_the_prompt():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    plain = encode(task(), [example("the file", "das")], tokenizer).examples[0]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|prefix|> $A <|eos|>",
        special_tokens=[
            (token, tokenizer.convert_tokens_to_ids(token)) for token in ("<|prefix|>", "<|eos|>")
        ],
    )
    assert tokenizer("the")["input_ids"][-1] == tokenizer.eos_token_id
    ended = encode(task(), [example("the file", "das")], tokenizer).examples[0]
    assert ended.ids.tolist() == plain.ids.tolist()
    assert ended.target_start == plain.target_start


def encoded_set(*lengths, start=4):
    uncut = np.zeros(len(lengths), dtype=bool)
    return EncodedSet(tuple(Encoded(np.arange(n, dtype=np.int32), start) for n in lengths), uncut, uncut)


def test_examples_are_cut_to_the_model_s_context_and_counted():
    given = encoded_set(6, 12, 9)
    assert fit(given, 12, 100) is given
    assert fit(given, None, 100) is given
    cut = fit(given, 8, 100)
    assert [len(example.ids) for example in cut.examples] == [6, 8, 8]
    assert (cut.cut_examples, cut.target_tokens) == (2, 2 + 4 + 4)


@pytest.mark.parametrize(
    ("given", "room", "vocabulary", "words"),
    [
        (encoded_set(6, 12, start=5), 5, 100, "no target token is left after truncation"),
        (encoded_set(6, start=0), 10, 100, "a prompt without tokens"),
        (encoded_set(6, 12), 20, 10, "ids below 10"),
    ],
)
def test_what_no_model_could_learn_from_is_refused(given, room, vocabulary, words):
    with pytest.raises(UsageError, match=words):
        fit(given, room, vocabulary)


def version_2(**changes):
    return replace(task(), version=2, **changes)


def test_a_target_that_was_cut_ends_where_it_was_cut_from_version_2_on():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    given = [example("the file", "das Dateimenü " * 20), example("the file", "das")]
    for changed, ends in (
        (task(max_target=5), [True, True]),
        (version_2(max_target_tokens=5), [False, True]),
    ):
        encoded = encode(changed, given, tokenizer)
        assert [one.ids[-1] == tokenizer.eos_token_id for one in encoded.examples] == ends
        assert encoded.shares_cut("train") == {"train_sources_truncated": 0.0, "train_targets_truncated": 0.5}
    cut = encode(version_2(max_target_tokens=5), given, tokenizer).examples[0]
    kept = tokenizer.decode(cut.ids[cut.target_start :])
    assert encode(version_2(max_target_tokens=5), given, tokenizer).target_bytes.tolist() == [
        len(kept.strip().encode()),
        3,
    ]


def test_special_tokens_that_texts_spell_are_not_added_again_and_that_is_said():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    start, end = tokenizer.bos_token, tokenizer.eos_token
    plain, spelled = example("the file", "das"), example("the file", f"das{end}")
    template = start + "English: {source}\nGerman:"
    once = encode(version_2(), [plain], tokenizer).examples[0].ids.tolist()
    found = encode(version_2(template=template), [spelled, spelled], tokenizer)
    assert [one.ids.tolist() for one in found.examples] == [once, once]
    assert found.notes == (
        f"2 of 2 prompts begin with {start} themselves: the tokenizer's is not added again",
        f"2 of 2 targets end with {end} themselves: no other is added",
    )
    twice = encode(replace(task(), template=template), [spelled], tokenizer).examples[0].ids.tolist()
    assert twice == [once[0], *once, once[-1]]
    assert encode(version_2(), [plain], tokenizer).notes == ()


@pytest.mark.parametrize("kind", [sentencepiece, unigram, byte_level])
def test_prompt_and_target_are_the_tokens_of_one_text(kind):
    tokenizer = kind(())
    given = [example("Where are the margins?", "On the page."), example("one", "höher two")]
    for changed in (version_2(), version_2(separator="", template="{source}\n")):
        encoded = encode(changed, given, tokenizer)
        for one, item in zip(encoded.examples, given, strict=True):
            text = changed.prompt(item) + changed.separator + item.target
            assert one.ids[:-1].tolist() == tokenizer(text)["input_ids"]
            target = tokenizer.decode(one.ids[one.target_start : -1])
            assert target.strip() == item.target
        assert encoded.target_bytes.tolist() == [12, 10]
    cut = encode(version_2(max_target_tokens=1), given, tokenizer)
    assert [one.target_tokens for one in cut.examples] == [1, 1]


def test_a_space_marker_between_prompt_and_target_is_version_1_s():
    tokenizer = sentencepiece(())
    given = [example("Where", "On the page.")]
    first, second = (encode(changed, given, tokenizer).examples[0] for changed in (task(), version_2()))
    shown = tokenizer.convert_ids_to_tokens(first.ids[first.target_start :].tolist())
    assert "".join(shown).startswith("\u2581\u2581On")
    assert len(second.ids) < len(first.ids)


def test_bytes_of_targets_follow_what_a_model_has_room_for():
    tokenizer = train_tokenizer(TEXTS, 400, 64)
    encoded = encode(task(), [example("the", "das Dateimenü das Dateimenü")], tokenizer)
    one = encoded.examples[0]
    room = one.target_start + one.target_tokens // 2
    assert fit(encoded, room, 400).target_bytes[0] < encoded.target_bytes[0]
    assert fit(encoded, room, 400).cut_targets == 1
